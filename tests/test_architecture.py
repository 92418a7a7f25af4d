"""The house: floors, third-party packages by folder, and what a command loads."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cdstats"
MOST_LINES = 400
FLOORS = {
    "core": 1,
    "io": 2,
    "engine": 2,
    "report": 2,
    "scan": 3,
    "score": 3,
    "cli": 4,
}
THIRD_PARTY = {
    "core": {"numpy"},
    "io": {"numpy", "rasterio", "kornia_rs", "torch", "obstore", "boto3"},
    "engine": {"distributed"},
    "report": {"pandas", "rich", "matplotlib", "jinja2", "yaml"},
    "scan": {"numpy", "scipy"},
    "score": {"torch", "numpy", "scipy", "numba", "triton"},
    "cli": {"typer", "rich"},
}
TYPES_ONLY = {"scan": {"pandas"}, "score": {"pandas"}}
HEAVY = {
    *("torch", "pandas", "matplotlib", "dask", "distributed", "rasterio", "numba"),
    *("scipy", "obstore", "asyncio"),
}
OUTSIDE = ("__init__.py", "__main__.py")
LOSSES = "losses"

MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def folder_of(module: Path) -> str:
    """The folder of the house, or what stands beside the floors."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def package_of(module: Path) -> list[str]:
    return ["cdstats", *module.relative_to(PACKAGE).parts[:-1]]


def imports(module: Path, *, types: bool) -> Iterator[str]:
    """Dotted names that a module imports: when it runs, or for its types alone."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    for_types = {
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and is_type_checking(branch.test)
        for statement in branch.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if (node in for_types) == types:
            yield from imported(node, package_of(module))


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imported(node: ast.AST, package: list[str]) -> Iterator[str]:
    """The modules that a statement imports; `from a import b` may import `a.b`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package[: len(package) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
        yield from (str(arg.value) for arg in node.args if is_text(arg))


def is_text(node: ast.expr) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def house_modules() -> list[Path]:
    return [module for module in MODULES if name_of(module) not in OUTSIDE]


def third_party(names: Iterator[str]) -> set[str]:
    found = {name.partition(".")[0] for name in names}
    return found - sys.stdlib_module_names - {"cdstats"}


@pytest.mark.parametrize("module", house_modules(), ids=name_of)
def test_a_module_stands_on_a_floor(module: Path) -> None:
    assert folder_of(module) in {*FLOORS, LOSSES}


@pytest.mark.parametrize("module", house_modules(), ids=name_of)
def test_a_module_imports_from_its_folder_or_a_lower_floor(module: Path) -> None:
    own = folder_of(module)
    inside = [
        name
        for types in (False, True)
        for name in imports(module, types=types)
        if name.startswith("cdstats.")
    ]
    folders = {name.split(".")[1] for name in inside} - {"__version__", own}
    lower = {folder for folder, floor in FLOORS.items() if floor < FLOORS.get(own, 0)}
    assert folders <= lower


@pytest.mark.parametrize("module", house_modules(), ids=name_of)
def test_third_party_packages_live_only_where_the_table_says(module: Path) -> None:
    folder = folder_of(module)
    allowed = THIRD_PARTY.get(folder, {"torch"})
    assert third_party(imports(module, types=False)) <= allowed
    for_types = third_party(imports(module, types=True))
    assert for_types <= allowed | TYPES_ONLY.get(folder, set())


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_module_is_small_and_named_after_what_it_does(module: Path) -> None:
    assert len(module.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    assert module.stem not in ("utils", "util", "helpers", "common", "misc")


def test_what_is_imported_is_seen_wherever_it_stands(tmp_path: Path) -> None:
    module = tmp_path / "probe.py"
    module.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import pandas as pd\nelse:\n    import numba\n"
        "def later():\n    from rasterio.io import MemoryFile\n"
    )
    tree = ast.parse(module.read_text())
    found = [name for node in ast.walk(tree) for name in imported(node, ["cdstats"])]
    assert set(found) >= {"pandas", "numba", "rasterio.io.MemoryFile"}
    relative = ast.parse("from ..core import counts").body[0]
    assert list(imported(relative, ["cdstats", "io"])) == ["cdstats.core.counts"]


def loaded(code: str, packages: frozenset[str] = frozenset(HEAVY)) -> set[str]:
    """The heavy packages that are loaded after some code ran in a fresh process."""
    return set(packages) & modules_after(code)


def modules_after(code: str) -> set[str]:
    """The modules that are loaded after some code ran in a fresh process."""
    report = "import sys; print('LOADED', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        encoding="utf-8",
    )
    last = done.stdout.splitlines()[-1].split()
    assert last[0] == "LOADED"
    return set(last)


def command(*arguments: str) -> str:
    return (
        "import sys\nfrom cdstats.cli import app\n"
        f"try:\n    app({list(arguments)!r}, prog_name='cdstats')\n"
        "except SystemExit as end:\n    assert not end.code, end.code"
    )


def test_the_command_line_loads_nothing_heavy() -> None:
    # NumPy alone would take as long as the help text may.
    assert loaded("import cdstats.cli", frozenset(HEAVY | {"numpy"})) == set()


def test_the_package_itself_loads_nothing_heavy() -> None:
    assert loaded("import cdstats; cdstats.ratio; cdstats.DataError") == set()


@pytest.mark.parametrize("arguments", [["--help"], ["ratio", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    assert loaded(command(*arguments)) == set()


@pytest.mark.parametrize(
    ("sample", "needed"),
    [
        pytest.param("sample_masks/CDD", set(), id="JPEG"),
        pytest.param("sample_masks/BCDD", {"rasterio"}, id="GeoTIFF"),
    ],
)
def test_counting_loads_only_what_the_files_need(sample: str, needed: set[str]) -> None:
    found = loaded(command("ratio", sample))
    assert "torch" not in found
    assert found == needed


def rooms_after(code: str) -> set[str]:
    """The modules of the house that are loaded after some code ran, floors aside."""
    names = [name.split(".") for name in modules_after(code)]
    return {".".join(n[1:]) for n in names if n[0] == "cdstats" and len(n) > 2}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_the_help_loads_no_more_than_the_names_of_the_commands(
    arguments: list[str],
) -> None:
    frame = {"cli.commands", "cli.main", "core.errors"}
    assert rooms_after(command(*arguments)) == frame


def test_the_help_of_a_command_loads_what_its_options_name_and_no_more() -> None:
    needed = {
        *("cli.commands", "cli.main", "cli.ratio", "core.errors"),
        *("cli.options", "cli.choices", "engine.choice", "report.formats"),
        *("cli.files", "report.files", "io.signatures", "engine.memory"),
    }
    assert rooms_after(command("ratio", "--help")) == needed


def test_counting_png_files_leaves_other_rooms_alone(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((4, 4), np.uint8), "P")
    image.putpalette([number % 256 for number in range(768)])
    image.save(tmp_path / "mask.png")
    rule = ("--changed", "255", "--unchanged", "0")
    modules = modules_after(command("ratio", str(tmp_path), *rule, "--format", "csv"))
    others = {
        *("rich", "rasterio", "torch", "pandas", "tomllib", "statistics"),
        *("cdstats.io.gdal", "cdstats.io.rasters", "cdstats.io.tiff"),
        *("cdstats.io.jpeg", "cdstats.io.stores", "cdstats.io.remote"),
        *("cdstats.core.presets", "cdstats.core.reference", "cdstats.scan.saved"),
        *("cdstats.report.terminal", "cdstats.engine.crew"),
    }
    assert "kornia_rs" in modules
    assert modules.isdisjoint(others)
