"""Masks whose numbers alone say little: palettes, MINISWHITE, mask files, JPEG."""

import re
import shlex
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from helpers import Done, run
from numpy.typing import NDArray
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

Pixels = NDArray[np.uint8]
BLACK, WHITE, RED, GREEN = (0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 160, 0)
SQUARE = np.zeros((16, 16), np.uint8)
SQUARE[2:7, 3:9] = 1
CHANGED, UNCHANGED = 30, 226
QUALITY: dict[str, Any] = {"quality": 95}


def ratio(*arguments: object) -> Done:
    return run("ratio", *arguments, "--format", "json")


def counts(done: Done) -> tuple[int, int, str]:
    """Changed and unchanged pixels and the rule of the dataset row."""
    assert done.code == 0, done.err
    row = done.data()["datasets"][-1]
    return row["changed"], row["unchanged"], row["rule"]


def palette(path: Path, index: Pixels, *colours: tuple[int, ...], **more: Any) -> Path:
    """Write an image of palette indices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(index)
    image.putpalette(sum(colours, ()))
    image.save(path, **more)
    return path


def tiff(path: Path, values: Pixels, colours: Any = None, **profile: Any) -> Path:
    """Write a TIFF file of one band."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = values.shape
    size = {"count": 1, "height": height, "width": width, "dtype": values.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", **size, **profile) as file:
            file.write(values, 1)
            if colours:
                file.write_colormap(1, dict(enumerate(colours)))
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
@pytest.mark.parametrize(
    ("index", "colours"),
    [
        pytest.param(SQUARE, [BLACK, RED], id="black-first"),
        pytest.param(1 - SQUARE, [RED, BLACK], id="black-last"),
        pytest.param(5 - 4 * SQUARE, [GREEN, RED, WHITE, GREEN, GREEN, BLACK], id="6"),
    ],
)
def test_the_colour_beside_black_is_changed(
    name: str, index: Pixels, colours: list[tuple[int, int, int]], tmp_path: Path
) -> None:
    file = palette(tmp_path / name, index.astype(np.uint8), *colours)
    rule = "changed #ff0000, unchanged #000000 (detected)"
    assert counts(ratio(file)) == (CHANGED, UNCHANGED, rule)


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_a_palette_of_a_tiff_decides_at_every_depth(bits: int, tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", 1 - SQUARE, [RED, BLACK], nbits=bits)
    assert counts(ratio(path))[:2] == (CHANGED, UNCHANGED)
    swapped = tiff(tmp_path / "b.tif", 1 - SQUARE, [WHITE, BLACK], nbits=bits)
    assert counts(ratio(swapped))[:2] == (CHANGED, UNCHANGED)


def test_black_and_white_in_a_palette_of_colours_are_levels(tmp_path: Path) -> None:
    palette(tmp_path / "label" / "0.png", 2 * SQUARE, BLACK, RED, WHITE)
    palette(tmp_path / "label" / "1.png", 1 - SQUARE, WHITE, BLACK)
    found = counts(ratio(tmp_path / "label"))
    rule = "changed 255, unchanged 0 (detected)"
    assert found == (2 * CHANGED, 2 * UNCHANGED, rule)


def test_masks_of_one_colour_follow_their_split(tmp_path: Path) -> None:
    palette(tmp_path / "label" / "0.png", SQUARE, BLACK, RED)
    palette(tmp_path / "label" / "1.png", SQUARE * 0, BLACK, RED)
    Image.fromarray(SQUARE * 0).save(tmp_path / "label" / "2.png")
    found = counts(ratio(tmp_path / "label"))[:2]
    assert found == (CHANGED, UNCHANGED + 2 * SQUARE.size)


def test_audit_looks_at_the_labels_of_a_palette(tmp_path: Path) -> None:
    for name, index in (("0.png", SQUARE), ("1.png", SQUARE[::-1])):
        palette(tmp_path / "label" / name, 1 - index, RED, BLACK)
    words = ["audit", str(tmp_path / "label"), "--format", "json"]
    done = run(*words)
    assert done.code == 0, done.err
    found = done.data()
    fractions = [row["change_fraction"] for row in found["splits"]]
    assert fractions == [CHANGED / SQUARE.size]
    assert (len(found["regions"]), found["duplicates"]) == (1, [])


def test_a_transparent_palette_entry_is_ignored(tmp_path: Path) -> None:
    three = SQUARE.copy()
    three[0] = 2
    file = palette(
        tmp_path / "a.png", three, BLACK, RED, GREEN, transparency=bytes([255, 255, 0])
    )
    assert counts(ratio(file))[:2] == (CHANGED, UNCHANGED - 16)


@pytest.mark.parametrize(
    "colours",
    [[WHITE, RED], [GREEN, RED], [RED, (1, 0, 0)]],
    ids=["white", "2", "dark"],
)
def test_two_colours_without_black_are_refused_with_both_ways(
    colours: list[tuple[int, int, int]], tmp_path: Path
) -> None:
    file = palette(tmp_path / "a.png", SQUARE, *colours)
    done = ratio(file)
    assert done.code == 1
    pairs = re.findall(r"--changed ('\S+'|\d+) --unchanged ('\S+'|\d+)", done.err)
    found = {
        counts(ratio(file, *shlex.split(f"--changed {one} --unchanged {two}")))[:2]
        for one, two in pairs
    }
    assert found == {(CHANGED, UNCHANGED), (UNCHANGED, CHANGED)}


def test_three_colours_are_refused(tmp_path: Path) -> None:
    three = SQUARE.copy()
    three[0] = 2
    file = palette(tmp_path / "a.png", three, BLACK, RED, GREEN)
    done = ratio(file)
    assert (done.code, "#00a000" in done.err) == (1, True)
    named = ratio(file, "--changed", "#ff0000,#00a000", "--unchanged", "rest")
    assert counts(named)[:2] == (CHANGED + 16, UNCHANGED - 16)


def test_a_warning_tells_where_most_pixels_have_the_colour(tmp_path: Path) -> None:
    file = palette(tmp_path / "a.png", 1 - SQUARE, BLACK, RED)
    done = ratio(file)
    assert counts(done)[:2] == (UNCHANGED, CHANGED)
    advice = r"warning: .*(--changed '#000000' --unchanged '#ff0000')"
    (way,) = re.findall(advice, done.err)
    assert counts(ratio(file, *shlex.split(way)))[:2] == (CHANGED, UNCHANGED)


GREY_RULES = [
    pytest.param(["--preset", "levir-cd"], id="preset"),
    pytest.param(["--changed", ">=128", "--unchanged", "<128"], id="bound"),
]


@pytest.mark.parametrize("rule", GREY_RULES)
def test_levels_of_a_rule_are_those_of_black_and_white(
    rule: list[str], tmp_path: Path
) -> None:
    file = palette(tmp_path / "a.png", SQUARE, BLACK, WHITE, RED)
    assert counts(ratio(file, *rule))[:2] == (CHANGED, UNCHANGED)
    swapped = palette(tmp_path / "b.png", 1 - SQUARE, WHITE, BLACK, RED)
    assert counts(ratio(swapped, *rule))[:2] == (CHANGED, UNCHANGED)


@pytest.mark.parametrize("rule", GREY_RULES)
def test_levels_of_a_rule_name_no_colours_of_a_palette(
    rule: list[str], tmp_path: Path
) -> None:
    file = palette(tmp_path / "a.png", SQUARE, BLACK, RED)
    done = ratio(file, *rule)
    assert (done.code, "Name colours (#rrggbb)" in done.out) == (1, True)


def test_numbers_of_a_preset_that_contradict_colours_are_refused(
    tmp_path: Path,
) -> None:
    file = palette(tmp_path / "a.png", 1 - SQUARE, RED, BLACK)
    done = ratio(file, "--preset", "dsifn-cd")
    assert done.code == 1
    assert "palette index 1 has the colour #000000" in done.out


def test_indices_above_a_low_bound_are_classes(tmp_path: Path) -> None:
    file = palette(tmp_path / "a.png", SQUARE, BLACK, RED)
    rule = ["--changed", ">0", "--unchanged", "0"]
    assert counts(ratio(file, *rule))[:2] == (CHANGED, UNCHANGED)


@pytest.mark.parametrize("profile", [{}, {"nbits": 1}], ids=["8-bit", "1-bit"])
def test_miniswhite_is_refused_without_a_rule_and_noted_with_one(
    profile: dict[str, Any], tmp_path: Path
) -> None:
    high = 1 if profile else 255
    mask = SQUARE * np.uint8(high)
    file = tiff(tmp_path / "a.tif", mask, photometric="miniswhite", **profile)
    done = ratio(file)
    assert (done.code, "MINISWHITE" in done.err) == (1, True)
    white = ("--changed", 0, "--unchanged", high)
    assert " ".join(map(str, white)) in done.err
    given = ratio(file, *white)
    assert counts(given)[:2] == (UNCHANGED, CHANGED)
    assert "1 mask in MINISWHITE TIFF files, where 0 is white" in given.err


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_an_image_with_a_mask_file_beside_it_is_refused(
    name: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    Image.fromarray(SQUARE).save(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False),
            rasterio.open(file, "r+") as dataset,
        ):
            dataset.write_mask(SQUARE == 0)
    done = ratio(file)
    assert done.code == 1
    assert (
        f"its mask file {name}.msk hides pixels" in done.data()["images"][0]["reason"]
    )


@pytest.mark.parametrize("name", ["0.jpg", "0.tif"])
def test_codes_of_0_and_1_in_jpeg_are_refused(name: str, tmp_path: Path) -> None:
    file = tmp_path / "label" / name
    file.parent.mkdir()
    if name == "0.jpg":
        Image.fromarray(SQUARE).save(file, quality=95)
    else:
        tiff(file, SQUARE, compress="jpeg", jpeg_quality=95)
    done = ratio(file.parent)
    assert (done.code, "JPEG" in done.err) == (1, True)


def test_a_jpeg_of_0_and_1_among_png_files_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "label").mkdir()
    for name in ("0.png", "1.png", "2.jpg"):
        Image.fromarray(SQUARE).save(tmp_path / "label" / name, **QUALITY)
    rows = ratio(tmp_path / "label").data()["images"]
    assert [row["status"] for row in rows] == ["ok", "ok", "failed"]
    assert "JPEG" in rows[2]["reason"]
