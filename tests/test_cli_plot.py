"""`cdstats plot`: files of figures in a folder, and nothing over an input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import run

import cdstats
from cdstats.cli.commands.report import command_text
from cdstats.render.figures import FIGURES
from cdstats.report.options import ReportOptions

ROOT = Path(__file__).parents[1]
MASKS = ROOT / "sample_masks/CDD"


def plot(*arguments: str) -> tuple[int, str, str]:
    done = run("plot", *arguments)
    return done.code, done.out, done.err


@pytest.mark.usefixtures("blank_figures")
def test_masks_give_five_figures_in_three_formats_with_data(tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    code, out, _ = plot("--masks", str(MASKS), "-o", str(folder))
    assert code == 0
    names = sorted(path.name for path in folder.iterdir())
    expected = {
        f"{name}.{end}"
        for name in list(FIGURES)[:5]
        for end in ("pdf", "svg", "png", "csv")
    }
    assert set(names) == expected
    assert sorted(Path(line).name for line in out.splitlines()) == names


def test_a_second_run_writes_the_same_bytes_over_the_first(tmp_path: Path) -> None:
    written = []
    for _ in range(2):
        assert plot("--masks", str(MASKS), "-o", str(tmp_path), "--only", "regions")
        written.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})
    assert written[0] == written[1]
    assert sorted(written[0]) == [
        f"regions.{end}" for end in ("csv", "pdf", "png", "svg")
    ]


def test_one_figure_and_one_format_may_be_chosen(tmp_path: Path) -> None:
    options = ["--only", "splits", "--format", "pdf", "-o", str(tmp_path)]
    code, out, _ = plot("--masks", str(MASKS), *options)
    assert code == 0
    assert out.splitlines() == [f"{tmp_path}/splits.pdf", f"{tmp_path}/splits.csv"]


@pytest.mark.usefixtures("blank_figures")
def test_several_datasets_have_figures_of_their_own(tmp_path: Path) -> None:
    sources = ["--masks", f"a={MASKS}/val", "--masks", f"b={MASKS}/test"]
    options = ["--only", "heat-map", "--format", "svg", "-o", str(tmp_path)]
    code, *_ = plot(*sources, *options)
    assert code == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"heat-map-{d}.{end}" for d in "ab" for end in ("csv", "svg")]


def test_rows_of_a_run_give_the_figures_of_counts(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    run("ratio", str(MASKS), "--csv", str(rows))
    svg = ("--format", "svg", "-o")
    code, _, err = plot("--from", str(rows), *svg, str(tmp_path / "figures"))
    assert code == 0
    assert "note: no figure heat-map: needs the pixels of masks" in err
    found = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert found == {"distribution", "splits"}
    figures = ("--only", "distribution", "--only", "splits")
    plot("--masks", str(MASKS), *svg, str(tmp_path / "again"), *figures)
    for name in ("distribution.csv", "splits.svg"):
        one, two = (tmp_path / folder / name for folder in ("figures", "again"))
        assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(["--only", "no"], 2, "there is no figure 'no'", id="figure"),
        pytest.param(["-o", "{file}"], 2, "is a file, not a folder", id="file"),
        pytest.param(
            ["-o", "{folder}/a/b"], 2, "parent folder does not exist", id="above"
        ),
        pytest.param(["--only", "epochs"], 1, "no figure can be drawn", id="nothing"),
        pytest.param(["--format", "gif"], 2, "'gif' is not one of", id="format"),
    ],
)
def test_wrong_usage_is_refused(
    arguments: list[str], code: int, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    names = {"{file}": str(file), "{folder}": str(tmp_path)}
    given = arguments
    for name, text in names.items():
        given = [one.replace(name, text) for one in given]
    output = [] if "-o" in given else ["-o", str(tmp_path / "figures")]
    found, out, err = plot("--masks", str(MASKS), *given, *output)
    assert (found, out) == (code, "")
    assert message in " ".join(err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert file.read_text() == "mine"


@pytest.mark.parametrize("text", ["{}", "D={}", "{}/*.npy", "{}/{{}}.npy"])
def test_figures_are_not_written_among_what_is_read(text: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(4, dtype=np.uint8))
    (tmp_path / "out").mkdir()
    source = text.format(tmp_path)
    for folder in (tmp_path, tmp_path / "out"):
        code, _, err = plot("--masks", source, "-o", str(folder))
        assert code == 2
        assert "would be taken for masks" in err
    assert {path.name for path in tmp_path.iterdir()} == {"a.npy", "out"}


@pytest.mark.usefixtures("blank_figures")
def test_figures_of_labels_say_why_there_is_no_curve(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "preds").mkdir()
    np.save(tmp_path / "masks/a.npy", np.eye(9, dtype=np.uint8))
    np.save(tmp_path / "preds/a.npy", np.eye(9, k=1, dtype=np.uint8))
    sources = ["--pred", f"{tmp_path}/preds", "--target", f"{tmp_path}/masks"]
    svg = ("--format", "svg", "-o", str(tmp_path / "figures"))
    code, out, err = plot(*sources, *svg)
    assert code == 0
    assert {Path(line).stem for line in out.splitlines()} == {"loss-beta", "errors"}
    assert "no figure calibration: needs probabilities" in err


def test_the_library_takes_the_names_of_formats(tmp_path: Path) -> None:
    written = cdstats.plot(tmp_path, only=["splits"], formats=["png"], masks=[MASKS])
    assert [path.name for path in written.files] == ["splits.png", "splits.csv"]
    with pytest.raises(cdstats.UsageError, match="expected pdf, svg or png"):
        cdstats.plot(tmp_path, formats=["gif"], masks=[MASKS])


def test_a_command_is_named_as_it_may_be_typed_again() -> None:
    options = ReportOptions(Path("r.html"), masks=["a b", "c"], band=2, jobs=4)
    text = "cdstats report --masks 'a b' --masks c --band 2 --output r.html"
    assert command_text(options) == text
