"""What the project is made of: pins, bounds and licences."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

from generate_licences import (  # type: ignore[import-not-found]  # noqa: E402
    licence,
    listed,
    pinned,
)


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def bounds() -> dict[str, str]:
    """The oldest version of every package that the project allows."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    extras = [
        text for extra in project["optional-dependencies"].values() for text in extra
    ]
    found = {}
    for text in (*project["dependencies"], *extras):
        match = re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", text)
        if match:
            found[plain(match[1])] = match[2]
        else:
            assert text.startswith("cdstats["), text
    return found


def oldest() -> dict[str, str]:
    text = (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8")
    return {plain(n): v for n, v in (line.split("==") for line in text.splitlines())}


def numbers(text: str) -> tuple[int, ...]:
    parts = [int(part) for part in text.split(".")]
    while parts and not parts[-1]:
        parts.pop()
    return tuple(parts)


def test_every_package_that_the_project_names_is_pinned() -> None:
    assert set(bounds()) <= {plain(name) for name in pinned()}


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-oldest.txt"])
def test_pins_are_exact_and_name_no_address(name: str) -> None:
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r"[\w.-]+==[\w.]+", line), line


def test_the_oldest_versions_are_the_bounds_of_the_project() -> None:
    known = {"torch": "2.13.0"}
    tools = {"build", "hatchling", "mypy", "ruff", "tifffile"}
    # The oldest environment has no stores, so their bounds are not tried there.
    stores = {"boto3", "flask", "flask-cors", "moto", "obstore"}
    site = {name for name in bounds() if re.search("sphinx|myst", name)}
    for name, bound in bounds().items():
        if name not in tools | stores | site and not re.search("stubs|types-", name):
            assert numbers(oldest()[name]) == numbers(known.get(name, bound)), name


def test_the_licence_of_every_pinned_package_is_listed() -> None:
    assert listed() == pinned()


def is_installed(name: str) -> bool:
    """Whether a pinned package is here; some are for other systems alone."""
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def test_the_licences_are_those_of_the_installed_packages() -> None:
    here = {n: v for n, v in pinned().items() if is_installed(n)}
    if any(version(n).split("+")[0] != v for n, v in here.items()):
        pytest.skip("other versions than the pinned ones are installed")
    assert len(here) > len(pinned()) - 5
    text = (ROOT / "docs/licences.md").read_text(encoding="utf-8")
    for name, found in here.items():
        assert f"| {name} | {found} | {licence(name)} |\n" in text
        assert not re.match(r"A?GPL", licence(name)), name
