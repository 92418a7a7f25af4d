"""Write docs/licences.md: the licence of every pinned package, from its metadata.

Run this in the environment of the tests, in which all packages are installed.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"
HEAD = """# Licences of the packages that cdstats uses

cdstats has the MIT licence. The packages that it uses have their own licences. None of
these packages is part of cdstats; pip installs them. The table lists the packages of
`constraints.txt`: the dependencies of the program, its extras and the tools that test
it. The licences come from the metadata of each package. `docs/generate_licences.py`
writes this page.

| package | version | licence |
| :-- | :-- | :-- |
"""


def pinned() -> dict[str, str]:
    """The packages of constraints.txt and their versions."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines)


def licence(name: str) -> str:
    """The licence of an installed package, from its metadata.

    The licence expression has priority, then the classifiers, then a short text.
    """
    found = metadata(name)
    expression = found.get("License-Expression")
    if expression:
        return expression
    prefix = "License :: OSI Approved :: "
    classes = found.get_all("Classifier") or []
    told = [text.removeprefix(prefix) for text in classes if text.startswith(prefix)]
    text = (found.get("License") or "").strip()
    if told:
        return ", ".join(told)
    return text if text and len(text) < 40 else "see the package"


def row(name: str, version: str) -> str:
    """The row of a package; one of another system keeps that of the page."""
    try:
        return f"| {name} | {version} | {licence(name)} |\n"
    except PackageNotFoundError:
        text = PAGE.read_text(encoding="utf-8")
        kept = re.search(rf"^\| {re.escape(name)} \| .*\n", text, re.MULTILINE)
        if kept is None:
            raise
        return kept[0]


def page() -> str:
    """The whole page."""
    return HEAD + "".join(row(n, v) for n, v in pinned().items())


def listed() -> dict[str, str]:
    """The packages and versions that the page as it stands lists."""
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\S+) \| (\d\S*) \| .+ \|$", text, re.MULTILINE)
    return dict(rows)


if __name__ == "__main__":
    try:
        PAGE.write_text(page(), encoding="utf-8")
    except PackageNotFoundError as error:
        raise SystemExit(f"error: {error} is not installed: install '.[dev]'") from None
