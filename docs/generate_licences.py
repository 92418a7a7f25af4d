"""Writes docs/licences.md: the licence of every pinned package, from its metadata.

Run it in the environment of the tests, which holds them all.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"
HEAD = """# Licences of the packages that cdstats uses

cdstats is under the MIT licence. What it uses comes with licences of its own, listed
here as the metadata of each package says (`docs/generate_licences.py` writes this
page). None of them is part of cdstats: pip fetches them. The list is that of
`constraints.txt`: what the program needs, its extras, and the tools that test it.

| package | version | licence |
| :-- | :-- | :-- |
"""


def pinned() -> dict[str, str]:
    """The packages of constraints.txt and their versions."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines)


def licence(name: str) -> str:
    """The licence of an installed package, as its metadata tells it.

    An expression comes first, then the classifiers, then a text if it is a short one.
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
