"""The figures of the pages are what their command draws."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/figures"
PAGES = [ROOT / "README.md", ROOT / "docs/reports.md"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    code = (
        "import sys, pathlib; sys.path.insert(0, 'docs'); import generate_figures; "
        "generate_figures.draw(pathlib.Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.mark.full
def test_the_figures_of_the_pages_are_drawn_by_their_command(drawn: Path) -> None:
    kept = {path.name: path.read_bytes() for path in FOLDER.iterdir()}
    assert kept == {path.name: path.read_bytes() for path in drawn.iterdir()}


def test_every_figure_is_on_a_page_and_small() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for path in FOLDER.iterdir():
        assert f"figures/{path.name})" in text
        assert path.stat().st_size < 100_000
