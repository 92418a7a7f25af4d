"""Figures: their files, their data, and the names that they hold."""

import csv
import io
import re
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest

from cdstats.core.charts import FractionShare
from cdstats.core.material import Material
from cdstats.render.figures import FIGURES, FigureFormat
from cdstats.render.figures.charts import Chart, Missing, figures_of
from cdstats.render.figures.files import (
    figure_bytes,
    figure_files,
    file_stems,
)
from cdstats.render.figures.masks import draw_splits
from cdstats.render.figures.style import SERIES, label, series_style, styled
from cdstats.report.gather import gather
from cdstats.report.options import ShownOptions

ROOT = Path(__file__).parents[1]
MASKS = ROOT / "sample_masks/CDD"


def save_models(folder: Path, names: tuple[str, ...]) -> list[str]:
    """Predictions of the masks of the split val, for each model."""
    from cdstats.io.masks import open_masks

    generator = np.random.default_rng(4)
    for name in names:
        for file in sorted(MASKS.glob("val/*/*.jpg")):
            (image,) = open_masks(str(file), "", None)
            mask = np.concatenate([block.values for block in image.blocks()]) >= 128
            noise = generator.normal(size=mask.shape)
            probs = 1 / (1 + np.exp(2 - 4 * mask - 2 * noise))
            path = folder / name / file.relative_to(MASKS / "val")
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path.with_suffix(".npy"), probs.astype(np.float32))
    return [f"{name}={folder / name}" for name in names]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Sample masks, and two saved epochs that predict some of them."""
    models = save_models(tmp_path_factory.mktemp("preds"), ("epoch1", "epoch2"))
    found = gather(ShownOptions(masks=MASKS, pred=models, target=MASKS / "val"))
    assert found.material.failures == []
    return found.material


Drawn: TypeAlias = tuple[list[Chart], list[Missing]]


@pytest.fixture(scope="module")
def drawn(material: Material) -> Drawn:
    return figures_of(material)


def files_of(drawn: Drawn, *names: str) -> dict[str, bytes]:
    """Some figures in every format."""
    chosen = [one for one in drawn[0] if one.figure in names]
    return dict(figure_files(chosen, list(FigureFormat)))


@pytest.fixture(scope="module")
def files(drawn: Drawn) -> dict[str, bytes]:
    """Every figure as SVG, two of them in all formats.

    Those of masks are drawn in every format by `test_cli_plot`.
    """
    whole = files_of(drawn, "loss-beta", "calibration")
    return {**dict(figure_files(drawn[0], [FigureFormat.SVG])), **whole}


def test_sources_with_everything_give_every_figure(drawn: Drawn) -> None:
    found, missing = drawn
    assert list(dict.fromkeys(one.figure for one in found)) == list(FIGURES)
    assert missing == []


def test_a_figure_is_written_with_its_data(files: dict[str, bytes]) -> None:
    stems = {name.rpartition(".")[0] for name in files}
    assert {*FIGURES} - {"errors"} < stems
    assert stems >= {"errors-epoch1", "errors-epoch2"}
    assert {f"{stem}.{end}" for stem in stems for end in ("svg", "csv")} <= set(files)
    assert {f"loss-beta.{end}" for end in ("pdf", "svg", "png", "csv")} <= set(files)


def test_equal_records_give_equal_files(
    material: Material, files: dict[str, bytes]
) -> None:
    again = files_of(figures_of(material), "loss-beta", "calibration")
    assert {name.partition(".")[2] for name in again} == {"pdf", "svg", "png", "csv"}
    assert again == {name: files[name] for name in again}


def test_figures_are_as_wide_as_a_column_and_name_no_date(
    files: dict[str, bytes],
) -> None:
    for name, data in files.items():
        if name.endswith(".svg"):
            assert re.search(rb'<svg [^>]*width="252pt"', data), name
        if name.endswith(".pdf"):
            assert b"/MediaBox [ 0 0 252 " in data, name
            assert b"/CreationDate" not in data
        if name.endswith(".png"):
            width = int.from_bytes(data[16:20], "big")
            assert width == round(3.5 * 300), name
            assert b"atplotlib" not in data


def test_text_stays_text(files: dict[str, bytes]) -> None:
    svg = files["loss-beta.svg"].decode()
    assert ">epoch2</text>" in svg
    assert ">β, weight of a changed pixel</text>" in svg
    assert b"/FontFile2" in files["loss-beta.pdf"]  # a TrueType font, not outlines


def test_the_data_of_a_figure_are_its_rows(
    material: Material, drawn: Drawn, files: dict[str, bytes]
) -> None:
    rows = list(csv.DictReader(io.StringIO(files["loss-beta.csv"].decode())))
    chart = next(one for one in drawn[0] if one.figure == "loss-beta")
    assert len(rows) == len(chart.rows)
    for model in material.scores.models if material.scores else ():
        (plain,) = [
            row for row in rows if row["model"] == model.name and row["mark"] == "plain"
        ]
        mean = model.dataset.bce_mean
        assert float(plain["weighted_mean"]) == pytest.approx(mean, rel=1e-12)


def test_rows_without_pixels_leave_out_what_needs_them(material: Material) -> None:
    assert material.masks
    assert material.scores
    masks = replace(material.masks, has_pixels=False)
    scores = replace(material.scores, has_pixels=False)
    found, missing = figures_of(replace(material, masks=masks, scores=scores))
    drawn = {one.figure for one in found}
    assert drawn == {"distribution", "splits", "loss-beta", "epochs"}
    assert {one.figure for one in missing} == {*FIGURES} - drawn
    assert all("needs the pixels" in one.reason for one in missing)


NAMES = {
    "a$x_1$b": "a$x_1$b",  # no formula
    "<b>&": "&lt;b&gt;&amp;",
    "_hidden": "_hidden",
    "变化": r"\u53d8\u5316",  # not in the font
    "a\nb\x1b": r"a\nb\x1b",
    "\udcff": r"\udcff",  # no text
}
"""Names of models, and how an SVG shows them."""


def test_names_are_drawn_as_they_are(material: Material) -> None:
    assert material.scores
    held, one = material.scores, material.scores.models[0]
    models = [replace(one, dataset=replace(one.dataset, model=name)) for name in NAMES]
    rows = [row for row in held.images if row.model == "epoch1"]
    images = [replace(row, model=name) for name in NAMES for row in rows]
    scores = replace(held, models=tuple(models), images=tuple(images), pictures=())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, _ = figures_of(replace(material, masks=None, scores=scores))
        figures = ("loss-beta", "precision-recall")
        chosen = [one for one in found if one.figure in figures]
        files = dict(figure_files(chosen, [FigureFormat.SVG]))
    for shown in NAMES.values():
        assert f">{shown}</text>" in files["loss-beta.svg"].decode()
        assert f">{shown} AP " in files["precision-recall.svg"].decode()


def test_files_of_several_subjects_have_names_of_their_own() -> None:
    @cache
    def nothing() -> None: ...

    subjects = ("a/b", "a b", "A_B", "../..", "变")
    found = [
        Chart("regions", s, "", "", (), nothing)  # type: ignore[arg-type]
        for s in subjects
    ]
    assert file_stems(found) == [
        "regions-a_b",
        "regions-a_b-2",
        "regions-A_B-3",
        "regions-other",
        "regions-other-2",
    ]


def test_no_two_of_eighteen_lines_look_alike() -> None:
    assert len({str(series_style(n)) for n in range(3 * len(SERIES))}) == 18


def test_a_long_name_is_cut_in_its_middle() -> None:
    text = label("predictions/of/a/very/long/path/0001.png")
    assert (len(text), text[:4], text[-4:]) == (22, "pred", ".png")


def test_a_line_over_very_many_masks_stays_small() -> None:
    rows = [
        FractionShare("D", "a", (n + 1) / 1e5, (n + 1) / 1e5) for n in range(99_999)
    ]
    rows.append(FractionShare("D", "b", 0.5, 1.0))
    with styled():
        figure = draw_splits(rows)
        lines = figure.axes[0].get_lines()
        data = figure_bytes(figure, "splits", FigureFormat.SVG)
    x, y = (list(map(float, values)) for values in lines[0].get_data())  # type: ignore[arg-type]
    assert (max(y), len(data) < 400_000) == (1.0, True)
    # What is drawn lies on the line of all masks, to the height of a dot.
    assert all(abs(b - a) < 1 / 1000 for a, b in zip(x, y, strict=True) if a < 0.99)
