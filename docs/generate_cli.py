"""Write ``docs/cli.md``: the help of every command, as the program prints it.

Run ``python docs/generate_cli.py`` after a change of the command line.
"""

from __future__ import annotations

import os
from pathlib import Path

PAGE = Path(__file__).with_name("cli.md")
INTRODUCTION = """\
# Command line

The help of every command, as the program prints it (`docs/generate_cli.py` writes this
page). Results go to standard output; progress, notes, warnings and errors to standard
error. Exit codes: 0 done; 1 some data failed or an encoding was refused, and what
succeeded is still reported; 2 wrong usage; 130 interrupted; 141 when nobody
reads the results to their end, as in `cdstats ... | head`.
"""


def render() -> str:
    """The page as the program's help makes it."""
    os.environ |= {"COLUMNS": "88", "TERMINAL_WIDTH": "88", "NO_COLOR": "1"}
    from typer.main import get_command
    from typer.testing import CliRunner

    from cdstats.cli import app

    names = [[], *([name] for name in sorted(get_command(app).commands))]  # type: ignore[attr-defined]
    sections = []
    for name in names:
        title = " ".join(["cdstats", *name])
        done = CliRunner().invoke(app, [*name, "--help"], prog_name="cdstats")
        text = "\n".join(line.rstrip() for line in done.stdout.strip("\n").split("\n"))
        sections.append(f"\n## `{title}`\n\n```text\n{text.strip()}\n```\n")
    return INTRODUCTION + "".join(sections)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
