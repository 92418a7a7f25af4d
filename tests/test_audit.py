"""What `cdstats.audit` finds, against independent computations."""

import itertools
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Done, run, save
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

import cdstats
from cdstats.core.audit_records import Finding
from cdstats.core.counts import PixelCounts
from cdstats.core.records import ImageRecord
from cdstats.io.beside import forget_folders, images_beside
from cdstats.scan.findings import split_shifts
from cdstats.scan.inspection import (
    count_cells,
)
from cdstats.scan.regions import Regions, quantile

SAMPLES = Path(__file__).parents[1] / "sample_masks"
REAL = Path(__file__).parents[2] / "shared" / "real_masks"
MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))
Pixels = NDArray[Any]


def noise(seed: int, share: float = 0.3, side: int = 16) -> Pixels:
    """A random mask of 0 and 255."""
    drawn = np.random.default_rng(seed).random((side, side)) < share
    return np.where(drawn, 255, 0).astype(np.uint8)


def audit(*arguments: str | Path) -> Done:
    return run("audit", *arguments)


def found(folder: Path, check: str, **options: Any) -> list[Finding]:
    return [f for f in cdstats.audit(folder, **options).findings if f.check == check]


def row(changed: int, unchanged: int, split: str = "") -> ImageRecord:
    counts = PixelCounts(changed, unchanged)
    return ImageRecord.counted(("d", split, "a.png"), (counts.pixels, 1), counts, "r")


def flood(mask: Pixels, steps: list[tuple[int, int]]) -> list[int]:
    """Sizes of regions, by walking from pixel to pixel."""
    left = {(int(r), int(c)) for r, c in zip(*np.nonzero(mask), strict=True)}
    sizes = []
    while left:
        waiting, size = [left.pop()], 0
        while waiting:
            r, c = waiting.pop()
            size += 1
            near = {(r + dr, c + dc) for dr, dc in steps} & left
            left -= near
            waiting += near
        sizes.append(size)
    return sorted(sizes)


@pytest.mark.parametrize("connectivity", [4, 8])
@settings(deadline=None)
@given(mask=MASKS, strip=st.integers(1, 60))
def test_regions_are_those_of_a_walk_however_they_are_cut(
    connectivity: int, mask: Pixels, strip: int
) -> None:
    steps = [
        (r, c)
        for r, c in itertools.product((-1, 0, 1), repeat=2)
        if (r or c) and (connectivity == 8 or not (r and c))
    ]
    regions = Regions(connectivity)
    rows = max(1, strip // max(1, mask.shape[1]))
    for row in range(0, len(mask), rows):
        regions.add(mask[row : row + rows])
    sizes = regions.sizes
    assert sorted(sizes.tolist()) == flood(mask, steps)


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=40),
    st.sampled_from([0, 0.25, 0.5, 0.75, 1]),
)
def test_quantiles_are_those_of_numpy(sizes: list[int], share: float) -> None:
    expected = np.quantile(sizes, share, method="inverted_cdf")
    assert quantile(Counter(sizes), share) == expected


@given(MASKS)
def test_cells_add_up_to_the_mask(mask: Pixels) -> None:
    cells = count_cells(mask)
    assert cells.sum() == mask.sum()
    assert cells.shape == tuple(min(8, side) for side in mask.shape)
    assert count_cells(np.ones_like(mask)).min() > 0


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 8), min_size=1, max_size=7),
    st.lists(st.integers(0, 8), min_size=1, max_size=7),
)
def test_the_shift_is_the_largest_distance_of_two_distributions(
    first: list[int], other: list[int]
) -> None:
    rows = [row(n, 8 - n, "train") for n in first]
    rows += [row(n, 8 - n, "test") for n in other]
    (shift,) = split_shifts("d", rows)
    assert shift.reference == "train"
    assert shift.ks_distance == pytest.approx(distance(first, other))


def distance(first: Sequence[int], other: Sequence[int]) -> float:
    def below(values: Sequence[int], limit: int) -> float:
        return sum(value <= limit for value in values) / len(values)

    return max(abs(below(first, n) - below(other, n)) for n in range(9))


def test_the_probability_of_a_shift_is_that_of_all_permutations() -> None:
    first, other = [0, 1, 2, 3], [4, 5, 6, 7, 8]
    rows = [row(n, 8 - n, "train") for n in first]
    rows += [row(n, 8 - n, "val") for n in other]
    (shift,) = split_shifts("d", rows)
    every = set(range(9))
    draws = [set(some) for some in itertools.combinations(range(9), len(first))]
    as_far = [
        distance(sorted(some), sorted(every - some)) >= shift.ks_distance - 1e-12
        for some in draws
    ]
    assert shift.p_value == pytest.approx(sum(as_far) / len(draws))


CASES: dict[str, Callable[[], Pixels]] = {
    "0/255": lambda: noise(1),
    "0/1": lambda: noise(1) // 255,
    "0 alone": lambda: np.zeros((5, 5), np.uint8),
    "255 alone": lambda: np.full((5, 5), 255, np.uint8),
    "smeared": lambda: np.clip(noise(1).astype(int) - 5, 0, 255).astype(np.uint8),
    "0/1/255": lambda: np.arange(9).reshape(3, 3) % 3 * 127 // 1,
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("beside", ["0/255", "0/1", "smeared"])
def test_the_audit_and_the_ratio_have_the_same_rows(
    case: str, beside: str, tmp_path: Path
) -> None:
    save(tmp_path / "a.png", CASES[case]())
    for number in range(3):
        save(tmp_path / f"b{number}.png", CASES[beside]())
    result = cdstats.audit(tmp_path, speck=10_000)
    assert result.images == cdstats.ratio(tmp_path, errors="keep").images
    changed = sum(image.changed or 0 for image in result.images)
    assert sum(one.speck_pixels for one in result.regions) == changed


def test_a_rule_that_was_not_foreseen_takes_another_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = noise(3)
    save(tmp_path / "a.png", pixels)
    expected = cdstats.audit(tmp_path).regions
    monkeypatch.setattr("cdstats.scan.audit.possible_rules", lambda _: ())
    assert cdstats.audit(tmp_path).regions == expected
    regions = Regions(8)
    regions.add(pixels > 0)
    assert expected[0].regions == len(regions.sizes)


def test_workers_find_the_same(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / f"train/label/{number}.png", noise(number % 2))
        save(tmp_path / f"train/A/{number}.png", noise(0, side=8 + 8 * (number < 3)))
    alone = cdstats.audit(tmp_path, jobs=1)
    assert cdstats.audit(tmp_path, jobs=2) == alone
    assert {one.check for one in alone.findings} >= {"size", "duplicate"}


def test_unreadable_files_are_errors_with_their_reason(tmp_path: Path) -> None:
    save(tmp_path / "good.png", noise(1))
    (tmp_path / "bad.png").write_bytes(b"hello")
    (one,) = found(tmp_path, "unreadable")
    assert (one.severity, one.paths) == ("error", ("bad.png",))
    assert "is not an image" in one.text
    (tmp_path / "empty.png").write_bytes(b"")
    (one,) = found(tmp_path, "unreadable")
    assert one.text.startswith("2 masks, 2 reasons, such as: is ")


def test_a_mask_that_contradicts_its_split_leaves_the_domain(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png", noise(number))
    save(tmp_path / "odd.png", noise(9) // 255)
    (one,) = found(tmp_path, "values")
    assert (one.severity, one.paths) == ("error", ("odd.png",))
    values = cdstats.audit(tmp_path).values
    assert {v.value: v.is_stray for v in values} == {0: False, 1: True, 255: False}
    assert sum(v.pixels for v in values) == 4 * 256


def test_stray_greys_are_a_warning_that_names_their_masks(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png", noise(number, side=64))
    pixels = noise(7, side=64)
    pixels[0, 0] = 156
    save(tmp_path / "stray.png", pixels)
    (one,) = found(tmp_path, "values")
    assert (one.severity, one.paths) == ("warning", ("stray.png",))
    assert "156 (1 pixel)" in one.text


def test_codes_that_a_rule_names_are_in_the_domain(tmp_path: Path) -> None:
    save(tmp_path / "a.png", [[0, 255, 50, 85]])
    for number in range(3):
        save(tmp_path / f"{number}.png", [[0, 255, 0, 0]])
    result = cdstats.audit(tmp_path, preset="cdnet2014")
    assert not any(value.is_stray for value in result.values)


def test_a_refused_split_is_an_error_and_nothing_in_it_a_stray(tmp_path: Path) -> None:
    save(tmp_path / "a.png", [[1, 2, 2, 1]])
    result = cdstats.audit(tmp_path)
    assert [(f.severity, f.check) for f in result.findings] == [("error", "encoding")]
    assert not any(value.is_stray for value in result.values)


@pytest.mark.parametrize(
    ("pixels", "severity"),
    [
        pytest.param(lambda n: noise(n) // 255, "warning", id="0/1"),
        pytest.param(lambda n: noise(n), None, id="0/255"),
    ],
)
def test_loaders_that_lose_the_change_are_a_warning(
    pixels: Callable[[int], Pixels], severity: str | None, tmp_path: Path
) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png", pixels(number))
    told = found(tmp_path, "binarisation")
    assert [one.severity for one in told] == ([severity] if severity else [])
    shares = {b.rule: b.changed for b in cdstats.audit(tmp_path).binarisations}
    white = sum(int((pixels(n) >= 128).sum()) for n in range(3))
    assert shares[">=128"] == white


def test_masks_of_one_class_are_told_apart(tmp_path: Path) -> None:
    save(tmp_path / "none.png", np.zeros((4, 4)))
    save(tmp_path / "all.png", np.full((4, 4), 255))
    save(tmp_path / "some.png", noise(1, side=4))
    save(tmp_path / "ignored.png", np.full((4, 4), 7))
    result = cdstats.audit(tmp_path, changed="255", unchanged="0", ignore="7")
    told = {one.check: one.paths for one in result.findings}
    assert told["without-change"] == ("none.png",)
    assert told["wholly-changed"] == ("all.png",)
    assert told["wholly-ignored"] == ("ignored.png",)


def test_equal_masks_across_splits_are_a_leak(tmp_path: Path) -> None:
    save(tmp_path / "train/1.png", noise(1))
    save(tmp_path / "train/2.png", noise(2))
    save(tmp_path / "test/9.bmp", noise(1))
    shutil.copy(tmp_path / "train/2.png", tmp_path / "train/3.png")
    (leak,) = found(tmp_path, "leakage")
    assert (leak.severity, leak.paths) == ("error", ("train/1.png", "test/9.bmp"))
    (repeated,) = found(tmp_path, "duplicate")
    assert (repeated.severity, repeated.images) == ("warning", 2)
    groups = {g.paths[0]: g for g in cdstats.audit(tmp_path).duplicates}
    assert groups["train/1.png"].splits == ("train", "test")
    assert [g.is_byte_equal for g in groups.values()] == [False, True]


def test_masks_of_one_class_or_another_shape_are_no_duplicates(tmp_path: Path) -> None:
    for number in (1, 2):
        save(tmp_path / f"none{number}.png", np.zeros((4, 4)))
        save(tmp_path / f"all{number}.png", np.full((4, 4), 255))
    save(tmp_path / "wide.png", [[0, 255, 0, 255]])
    save(tmp_path / "high.png", [[0, 255], [0, 255]])
    assert cdstats.audit(tmp_path).duplicates == ()


def test_equal_labels_of_other_values_are_duplicates(tmp_path: Path) -> None:
    pixels = noise(4, side=64)
    save(tmp_path / "a.png", pixels)
    pixels = pixels.copy()
    pixels[pixels == 255] = np.where(np.arange((pixels == 255).sum()) == 0, 254, 255)
    save(tmp_path / "b.png", pixels)
    (group,) = cdstats.audit(tmp_path).duplicates
    assert not group.is_byte_equal


def test_a_mask_of_another_size_than_its_image_is_an_error(tmp_path: Path) -> None:
    for number, side in enumerate((16, 16, 8)):
        save(tmp_path / f"label/{number}.png", noise(number))
        save(tmp_path / f"A/{number}.jpg", noise(0, side=side))
    (one,) = found(tmp_path, "size")
    assert (one.severity, one.paths) == ("error", ("label/2.png",))
    assert "label/2.png is 16 x 16, A/2.jpg is 8 x 8" in one.text


def test_a_mask_without_its_image_is_a_warning(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"label/{number}.png", noise(number))
    save(tmp_path / "A/0.png", noise(0))
    (one,) = found(tmp_path, "image")
    assert (one.severity, one.images) == ("warning", 2)


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tif"])
def test_the_size_of_an_image_is_read_from_its_header(
    ending: str, tmp_path: Path
) -> None:
    forget_folders()
    mask = save(tmp_path / "label/deep/1.png", noise(1))
    colours = np.zeros((5, 7, 3))
    save(tmp_path / f"B/deep/1.{ending}", colours)
    (beside,) = images_beside(str(mask))
    assert (beside.folder, beside.size) == ("B", (7, 5))


def test_specks_are_counted_and_their_limit_can_be_chosen(tmp_path: Path) -> None:
    pixels = np.zeros((20, 20), np.uint8)
    pixels[0, 0] = pixels[5:9, 5:9] = 255
    pixels[1, 1] = 255
    save(tmp_path / "a.png", pixels)
    (one,) = found(tmp_path, "specks")
    assert one.text.startswith("1 of 2 changed regions (50 %) are specks")
    assert one.severity == "warning"
    (sizes,) = cdstats.audit(tmp_path, connectivity=4, speck=17).regions
    assert (sizes.regions, sizes.specks, sizes.speck_pixels) == (3, 3, 18)
    assert (sizes.size_min, sizes.size_median, sizes.size_max) == (1, 1, 16)


def test_the_heat_map_is_the_mean_of_the_masks(tmp_path: Path) -> None:
    masks = [noise(n, side=16) for n in range(5)]
    for number, pixels in enumerate(masks):
        save(tmp_path / f"{number}.png", pixels)
    (heat,) = cdstats.audit(tmp_path).heat_maps
    mean = np.mean([pixels == 255 for pixels in masks], axis=0)
    expected = mean.reshape(8, 2, 8, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(np.array(heat.cells, dtype=float), expected)
    save(tmp_path / "wide.png", noise(9, side=8))
    result = cdstats.audit(tmp_path)
    assert result.heat_maps == ()
    assert [f.check for f in result.findings if f.check == "sizes"] == ["sizes"]


def test_splits_that_differ_are_a_warning(tmp_path: Path) -> None:
    for number in range(12):
        save(tmp_path / f"train/{number}.png", noise(number, 0.05))
        save(tmp_path / f"val/{number}.png", noise(100 + number, 0.05))
        save(tmp_path / f"test/{number}.png", noise(200 + number, 0.6))
    (one,) = found(tmp_path, "shift")
    assert (one.severity, one.split) == ("warning", "test")
    assert "distance 1.00" in one.text


def test_an_unknown_connectivity_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 4 or 8"):
        cdstats.audit(SAMPLES / "CDD", connectivity=6)


def test_the_screen_of_the_page_is_part_of_the_golden_one() -> None:
    page = (SAMPLES.parent / "docs/audit.md").read_text(encoding="utf-8")
    _, _, after = page.partition("`cdstats audit sample_masks/CDD` prints")
    shown = after.split("```")[1].splitlines()[1:]
    golden = (Path(__file__).parent / "golden/audit.txt").read_text(encoding="utf-8")
    printed = {line.rstrip() for line in golden.splitlines()}
    assert len(shown) > 20
    assert [line for line in shown if line not in printed] == []


@pytest.mark.parametrize(
    ("fail_on", "checks", "code"),
    [
        pytest.param(None, "warning", 0, id="no-limit"),
        pytest.param("error", "warning", 0, id="milder"),
        pytest.param("warning", "warning", 1, id="warning"),
        pytest.param("warning", "error", 1, id="worse"),
        pytest.param("error", "error", 1, id="error"),
        pytest.param(None, "error", 0, id="error-without-limit"),
    ],
)
def test_the_exit_code_follows_fail_on(
    fail_on: str | None, checks: str, code: int, tmp_path: Path
) -> None:
    save(tmp_path / "train/1.png", noise(1))
    save(tmp_path / ("test/2.png" if checks == "error" else "train/2.png"), noise(1))
    options = ["--fail-on", fail_on] if fail_on else []
    assert audit(tmp_path, *options).code == code


def test_failed_masks_always_exit_with_1(tmp_path: Path) -> None:
    save(tmp_path / "good.png", noise(1))
    (tmp_path / "bad.png").write_bytes(b"")
    done = audit(tmp_path)
    assert done.code == 1
    assert "error unreadable" in done.out


def test_json_holds_every_list(tmp_path: Path) -> None:
    save(tmp_path / "a.png", noise(1))
    data = audit(tmp_path, "--format", "json").data()
    lists = ["findings", "splits", "values", "binarisations", "regions"]
    assert list(data)[1:] == [
        *lists,
        "shifts",
        "duplicates",
        "heat_maps",
        "not_checked",
    ]
    assert data["splits"][0]["bin_over_20"] == 1


def test_saved_rows_tell_what_counts_can_and_what_needs_pixels(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    run("ratio", str(SAMPLES / "CDD"), "--csv", str(rows))
    saved = audit("--from", rows, "--format", "json").data()
    masks = audit(SAMPLES / "CDD", "--format", "json").data()
    assert saved["splits"] == masks["splits"]
    assert saved["shifts"] == masks["shifts"]
    assert saved["regions"] == saved["heat_maps"] == []
    assert {"regions", "heat map", "duplicates"} <= set(saved["not_checked"])
    screen = audit("--from", rows).out
    assert "not checked, needs the files: values, binarisation" in screen


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param([], "no masks named", id="nothing"),
        pytest.param(["--from", "x.csv", "--speck", "3"], "omit --speck", id="speck"),
        pytest.param(["x", "--connectivity", "6"], "'6' is not one of", id="six"),
        pytest.param(["x", "--speck", "0"], "--speck", id="zero"),
        pytest.param(["x", "--fail-on", "note"], "'note' is not one of", id="note"),
        pytest.param(["x", "--changed", "1"], "add --unchanged", id="rule"),
    ],
)
def test_wrong_use_is_told_before_a_file_is_read(
    arguments: list[str], says: str
) -> None:
    done = audit(*arguments)
    assert done.code == 2
    assert says in " ".join(done.err.split())


def test_a_missing_folder_is_told_and_exits_with_1(tmp_path: Path) -> None:
    done = audit(tmp_path / "nowhere")
    assert done.code == 1
    assert "no such file or folder" in done.err


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real masks are not at {REAL}")
def test_the_two_codings_of_oscd_have_the_same_regions() -> None:
    tif, png = (
        cdstats.audit(REAL / "oscd", preset=name).regions
        for name in ("oscd-tif", "oscd-png")
    )
    assert tif == png


def test_masks_that_are_mostly_changed_are_asked_about(tmp_path: Path) -> None:
    for number in range(3):
        values = np.full((20, 20), 255, dtype=np.uint8)
        values[: number + 1] = 0
        Image.fromarray(values).save(tmp_path / f"{number}.png")
    found = cdstats.audit(tmp_path).findings
    (one,) = [f for f in found if f.check == "mostly-changed"]
    assert (one.severity, one.images) == ("warning", 3)
    assert one.text == "90 % of the valid pixels are changed: inverted masks?"
