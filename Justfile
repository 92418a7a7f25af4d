# Commands for developers; `just` lists them. Each line also works without just.

python := ".venv/bin/python"

_list:
    @just --list

# Create the environment
setup:
    python3 -m venv .venv
    .venv/bin/pip install -c constraints.txt -e '.[dev]'

# Run tests: `just test` or `just test tests/test_counts.py -k add_up`
test *ARGS:
    .venv/bin/pytest {{ARGS}}

# Check formatting, style and types
lint:
    .venv/bin/ruff format --check .
    .venv/bin/ruff check .
    .venv/bin/mypy --strict

# Format the code
format:
    .venv/bin/ruff format .
    .venv/bin/ruff check --fix .

# Regenerate the golden outputs and the generated pages of docs
rewrite:
    {{python}} -m tests.rewrite_golden

# Build the documentation site in docs/_build/html
docs:
    {{python}} -m sphinx -W --keep-going docs docs/_build/html

# Run a benchmark against the alternatives: `just bench ratio` or `just bench loss`
bench NAME *ARGS:
    {{python}} benchmarks/{{NAME}}.py {{ARGS}}

# Count damaged files and report silent errors
fuzz FILES="1000":
    {{python}} -m tests.fuzz --files {{FILES}}

# Run all checks in a new environment
ci:
    .ci/run
