# Commands of the project; `just` lists them. Each is one line that also works without just.

python := ".venv/bin/python"

_list:
    @just --list

# Make the environment
setup:
    python3 -m venv .venv
    .venv/bin/pip install -c constraints.txt -e '.[dev]'

# Run tests: `just test`, `just test tests/test_counts.py -k add_up`
test *ARGS:
    .venv/bin/pytest {{ARGS}}

# Check format, style and types
lint:
    .venv/bin/ruff format --check .
    .venv/bin/ruff check .
    .venv/bin/mypy --strict

# Format the code
format:
    .venv/bin/ruff format .
    .venv/bin/ruff check --fix .

# Write the golden outputs and the generated pages of docs anew
rewrite:
    {{python}} -m tests.rewrite_golden

# Build the documentation site in docs/_build/html
docs:
    {{python}} -m sphinx -W --keep-going docs docs/_build/html

# Measure, in turns with the alternatives: `just bench ratio`, `just bench loss`
bench NAME *ARGS:
    {{python}} benchmarks/{{NAME}}.py {{ARGS}}

# Count damaged files and look for silent errors
fuzz FILES="1000":
    {{python}} -m tests.fuzz --files {{FILES}}

# All checks, in a new environment
ci:
    .ci/run
