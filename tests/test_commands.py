"""Commands on demand: shown without their modules, and whole when they are called."""

from __future__ import annotations

import inspect
import subprocess
import sys
from enum import Enum
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from cdstats.cli import app
from cdstats.cli.commands import COMMANDS

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "cdstats/cli/commands"


def commands(of: typer.Typer = app) -> dict[str, Any]:
    found: dict[str, Any] = get_command(of).commands  # type: ignore[attr-defined]
    return found


def loaded_by(*arguments: str) -> set[str]:
    """The commands whose modules a fresh run of the program imports."""
    code = (
        f"import sys\nsys.argv = ['cdstats', *{arguments!r}]\n"
        "from cdstats.cli import run\n"
        "try:\n    run()\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    modules = done.stdout.splitlines()[-1].split()
    assert modules[0] == "LOADED"
    return {name for name in COMMANDS if f"cdstats.cli.commands.{name}" in modules}


def completed(words: str) -> list[str]:
    """What a shell offers for the last of some words."""
    place = len(words.split()) - (not words.endswith(" "))
    asked = {
        "_CDSTATS_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(place),
    }
    done = CliRunner().invoke(app, [], prog_name="cdstats", env=asked)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_a_command_is_the_first_of_its_own_help(name: str) -> None:
    found = commands()[name]
    shown = found.short_help
    assert found.callback.__doc__.partition("\n\n")[0].split() == shown.split()
    assert found.help.partition("\n\n")[0].split() == shown.split()
    assert found.short_help == shown


@pytest.mark.parametrize("width", [60, 80])
def test_the_text_of_a_help_fills_its_lines(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", width)
    for name in COMMANDS:
        shown = CliRunner().invoke(app, [name, "--help"], prog_name="cdstats").stdout
        lines = shown.partition("╭")[0].splitlines()
        for one, other in pairwise(line.strip() for line in lines):
            word = other.partition(" ")[0]
            assert not (one and word) or len(one) + 1 + len(word) > width - 2, one


def test_the_commands_are_those_of_the_modules_in_order() -> None:
    modules = [
        module.stem
        for module in sorted(FOLDER.glob("*.py"))
        if "\n@command\n" in module.read_text(encoding="utf-8")
    ]
    assert modules == list(COMMANDS) == list(commands())


def test_a_choice_that_is_a_default_is_its_own_text() -> None:
    """Click before 8.2 compares a default with the texts of the choices."""
    choices = []
    for name in COMMANDS:
        function = getattr(import_module(f"cdstats.cli.commands.{name}"), name)
        defaults = [p.default for p in inspect.signature(function).parameters.values()]
        choices += [one for one in defaults if isinstance(one, Enum)]
    assert len(choices) > 3
    assert [one.value for one in choices] == choices


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["ration"], set(), id="mistyped"),
        pytest.param(["explain", "dice"], {"explain"}, id="command"),
    ],
)
def test_only_the_command_that_is_called_is_loaded(
    arguments: list[str], expected: set[str]
) -> None:
    assert loaded_by(*arguments) == expected


def test_a_mistyped_command_is_answered_with_the_one_that_is_meant() -> None:
    done = CliRunner().invoke(app, ["ration"])
    assert done.exit_code == 2
    assert "Did you mean 'ratio'?" in done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("cdstats ", list(COMMANDS)),
        ("cdstats re", ["report"]),
        ("cdstats ratio --ch", ["--changed"]),
        ("cdstats audit --fail-on ", ["error", "warning"]),
        ("cdstats ratio --preset cdn", ["cdnet2014"]),
    ],
)
def test_a_shell_completes_commands_options_and_values(
    words: str, expected: list[str]
) -> None:
    assert completed(words) == expected


def test_the_program_can_be_a_part_of_another() -> None:
    outer = typer.Typer()
    outer.add_typer(app, name="masks")
    inner = commands(outer)["masks"].commands
    assert "changed" in [parameter.name for parameter in inner["ratio"].params]
    done = CliRunner().invoke(outer, ["masks", "presets", "--format", "csv"])
    assert done.exit_code == 0
    assert "cdnet2014" in done.stdout


@pytest.mark.usefixtures("blank_figures")
@pytest.mark.parametrize("name", ["weights", "plot"])
def test_an_option_that_a_command_lacks_is_not_named(name: str, tmp_path: Path) -> None:
    for number in range(12):
        path = tmp_path / f"m/{number}.npy"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\x93NUMPY" + bytes(number))
    np.save(tmp_path / "m/good.npy", np.eye(4, dtype=np.uint8))
    figure = ["--only", "distribution", "--format", "svg", "-o", f"{tmp_path}/out"]
    place = [] if name == "weights" else [*figure, "--masks"]
    line = [name, *place, f"{tmp_path}/m"]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 1
    assert "--csv" not in done.stderr


# An option that takes one value has one


def test_every_option_of_one_value_is_refused_with_two_values() -> None:
    refused = set()
    for name, known in commands().items():
        for one in known.params:
            if one.param_type_name != "option" or one.multiple or one.is_flag:
                continue
            value = next(iter(getattr(one.type, "choices", ["1"])))
            words = [name, one.opts[0], str(value), f"{one.opts[-1]}", "2"]
            done = CliRunner().invoke(app, words)
            assert done.exit_code == 2, words
            expected = f"error: {one.opts[0]} is given 2 times; it takes one value\n"
            assert done.stderr == expected
            refused.add((name, one.opts[0]))
    assert {("loss", "--from"), ("ratio", "--against"), ("plot", "--output")} < refused
    assert ("report", "--from") not in refused


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("compare --curves --no-curves", 2),
        ("ratio --strict MASK -q --quiet --strict", 0),
        ("ratio MASK MASK", 0),
        ("ratio MASK --jobs=1 -q --jobs 1", 0),
        ("ratio MASK --format json --format json", 0),
        ("ratio MASK --jobs=1 -q --jobs 2", 2),
        ("ratio -- MASK --jobs", 1),
    ],
)
def test_words_may_be_repeated_contradictions_not(words: str, code: int) -> None:
    mask = str(next((ROOT / "sample_masks").rglob("*.png")))
    done = CliRunner().invoke(app, words.replace("MASK", mask).split())
    assert done.exit_code == code, done.output
    assert ("2 times" in done.stderr) is (code == 2)


def test_a_repeated_option_does_not_disturb_completion() -> None:
    assert "--ignore" in completed("cdstats ratio --split a --split b --ig")
