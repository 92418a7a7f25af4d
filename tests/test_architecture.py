"""The house: floors, third-party packages by folder, and what a command loads."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TypeGuard

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cdstats"
MOST_LINES = 600
FLOORS = {
    "core": 1,
    "io": 2,
    "engine": 2,
    "render": 2,
    "scan": 3,
    "score": 3,
    "report": 4,
    "cli": 5,
}
THIRD_PARTY = {
    "core": {"numpy"},
    "io": {
        "numpy",
        "rasterio",
        "kornia_rs",
        "torch",
        "obstore",
        "boto3",
        "h5py",
        "pyarrow",
        "numcodecs",
        "google_crc32c",
    },
    "engine": {"distributed"},
    "render": {"pandas", "rich", "matplotlib", "yaml"},
    "report": {"jinja2"},
    "scan": {"numpy", "scipy"},
    "score": {"torch", "torchmetrics", "numpy", "scipy", "numba", "triton"},
    "cli": {"typer", "rich"},
}
TYPES_ONLY = {"scan": {"pandas"}, "score": {"pandas"}}
HEAVY = {
    *("torch", "pandas", "matplotlib", "dask", "distributed", "rasterio", "numba"),
    *("scipy", "obstore", "asyncio", "h5py", "pyarrow", "numcodecs"),
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


def imports(module: Path) -> tuple[set[str], set[str]]:
    """Dotted names that a module imports: when it runs, and for its types alone."""
    nodes = list(ast.walk(ast.parse(module.read_text(encoding="utf-8"))))
    for_types = {
        node
        for branch in nodes
        if isinstance(branch, ast.If) and last_name(branch.test) == "TYPE_CHECKING"
        for statement in branch.body
        for node in ast.walk(statement)
    }
    found: tuple[set[str], set[str]] = (set(), set())
    package = package_of(module)
    for node in nodes:
        found[node in for_types].update(imported(node, package))
    return found


def last_name(node: ast.expr) -> str:
    """`b` of the names `b` and `a.b`."""
    return str(getattr(node, "attr", getattr(node, "id", "")))


def imported(node: ast.AST, package: list[str]) -> Iterator[str]:
    """The modules that a statement imports; `from a import b` may import `a.b`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package[: len(package) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and last_name(node.func) == "import_module":
        yield from (str(arg.value) for arg in node.args if is_text(arg))


def is_text(node: ast.expr) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def third_party(names: Iterable[str]) -> set[str]:
    found = {name.partition(".")[0] for name in names}
    return found - sys.stdlib_module_names - {"cdstats"}


def faults(module: Path) -> Iterator[str]:
    """What a module does against the rules of the house."""
    yield from faults_of_any(module)
    if name_of(module) in OUTSIDE:
        return
    own = folder_of(module)
    if own not in {*FLOORS, LOSSES}:
        yield f"{own} is no floor"
    now, for_types = imports(module)
    inside = [name for name in now | for_types if name.startswith("cdstats.")]
    folders = {name.split(".")[1] for name in inside} - {"__version__", own}
    lower = {folder for folder, floor in FLOORS.items() if floor < FLOORS.get(own, 0)}
    yield from (f"imports {folder}" for folder in sorted(folders - lower))
    allowed = THIRD_PARTY.get(own, {"torch"})
    beyond = third_party(now) - allowed
    beyond |= third_party(for_types) - allowed - TYPES_ONLY.get(own, set())
    yield from (f"imports {package}" for package in sorted(beyond))


def faults_of_any(module: Path) -> Iterator[str]:
    lines = len(module.read_text(encoding="utf-8").splitlines())
    if lines > MOST_LINES:
        yield f"has {lines} lines; at most {MOST_LINES} are allowed"
    if module.stem in ("utils", "util", "helpers", "common", "misc"):
        yield "is not named after what it does"


def test_every_module_keeps_to_the_rules_of_the_house() -> None:
    found = {name_of(module): list(faults(module)) for module in MODULES}
    assert len(found) > 50
    assert {name: texts for name, texts in found.items() if texts} == {}


def test_a_module_that_breaks_the_rules_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    module = tmp_path / "core" / "utils.py"
    module.parent.mkdir()
    lines = ["import pandas", "from cdstats.io import png", *["x = 1"] * MOST_LINES]
    module.write_text("\n".join(lines))
    assert list(faults(module)) == [
        f"has {MOST_LINES + 2} lines; at most {MOST_LINES} are allowed",
        "is not named after what it does",
        "imports io",
        "imports pandas",
    ]


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


UNUSED = frozenset(
    {
        *("tarfile", "zipfile", "hashlib", "tempfile", "multiprocessing"),
        *("cdstats.core.charts", "cdstats.io.archives", "cdstats.io.tensors"),
    }
)
"""What neither a mask nor a prediction in a file of its own needs."""


def loaded(code: str) -> set[str]:
    """The heavy packages that are loaded after some code ran in a fresh process."""
    return HEAVY & modules_after(code)


@cache
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


def test_the_package_itself_loads_nothing_heavy() -> None:
    assert loaded("import cdstats; cdstats.ratio; cdstats.DataError") == set()


def test_help_of_a_command_loads_nothing_heavy() -> None:
    assert loaded(command("ratio", "--help")) == set()


def test_counting_jpeg_and_geotiff_loads_nothing_heavy() -> None:
    # The messages of these need no more of Rich than their table.
    unused = UNUSED | {"rich.console", "random", "numpy.ma", "cdstats.core.sums"}
    samples = ("sample_masks/CDD/val", "sample_masks/BCDD")
    assert modules_after(command("ratio", *samples)).isdisjoint(HEAVY | unused)


def test_scoring_on_a_processor_loads_no_torch(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.full((4, 4), 0.25, np.float32))
    Image.fromarray(np.eye(4, dtype=np.uint8) * 255).save(tmp_path / "t.png")
    files = ["--pred", str(tmp_path / "p.npy"), "--target", str(tmp_path / "t.png")]
    modules = modules_after(command("loss", *files, "--device", "cpu"))
    heavy = {"torch", "scipy", "numba", "pandas", "rasterio"}
    assert modules.isdisjoint(heavy | UNUSED)


def rooms_after(code: str) -> set[str]:
    """The modules of the house that are loaded after some code ran, floors aside."""
    names = [name.split(".") for name in modules_after(code)]
    return {".".join(n[1:]) for n in names if n[0] == "cdstats" and len(n) > 2}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_the_help_loads_no_more_than_the_names_of_the_commands(
    arguments: list[str],
) -> None:
    frame = {"cli.commands", "cli.main", "core.errors", "core.secrets"}
    assert rooms_after(command(*arguments)) == frame
    # NumPy alone would take as long as the help text may.
    assert modules_after(command(*arguments)).isdisjoint(HEAVY | {"numpy"})


def test_counting_png_files_leaves_other_rooms_alone(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((4, 4), np.uint8), "P")
    image.putpalette([number % 256 for number in range(768)])
    image.save(tmp_path / "mask.png")
    rule = ("--changed", "255", "--unchanged", "0")
    counted = ("ratio", str(tmp_path), *rule, "--quiet")
    modules = modules_after(command(*counted, "--format", "csv"))
    others = {
        *("rich", "rasterio", "torch", "pandas", "statistics"),
        *("cdstats.io.raster", "cdstats.io.tiff"),
        *("cdstats.io.jpeg", "cdstats.io.stores", "cdstats.io.stores"),
        *("cdstats.core.presets", "cdstats.core.reference", "cdstats.scan.saved"),
        *("concurrent.futures", *UNUSED),
        *("cdstats.render.terminal", "cdstats.engine.processes"),
    }
    assert "kornia_rs" in modules
    assert modules.isdisjoint(others)
    with_table = modules_after(command(*counted))
    # Of Rich, a table needs the width of signs alone.
    assert with_table & others == {"cdstats.render.terminal", "rich"}
    assert "rich.console" not in with_table
