"""Class weights against independent formulas, and `cdstats weights` as a stranger."""

import json
import math
import runpy
import shutil
from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from typer.testing import CliRunner, Result

from cdstats.cli import app
from cdstats.core.counts import PixelCounts
from cdstats.core.records import ImageRecord
from cdstats.core.weights import (
    PIXEL_SCHEMES,
    Scheme,
    Tally,
    recommend,
    sampling_weights,
    schemes,
    tally,
)
from cdstats.render.table import Table
from cdstats.render.weights import yaml_text
from cdstats.render.writers import csv_lines

SAMPLES = Path(__file__).parents[1] / "sample_masks"
COUNTS = st.integers(1, 10**12)


def row(changed: int, unchanged: int, split: str = "", ignored: int = 0) -> ImageRecord:
    counts = PixelCounts(changed, unchanged, ignored)
    return ImageRecord.counted(("d", split, "a.png"), (counts.pixels, 1), counts, "r")


def write_rows(path: Path, rows: list[ImageRecord]) -> Path:
    """Image rows as `cdstats ratio --csv` writes them, each with its own name."""
    named = [replace(one, path=f"{n}.png") for n, one in enumerate(rows)]
    path.write_text("".join(csv_lines(Table.of(ImageRecord, named))), encoding="utf-8")
    return path


def by_name(counts: Tally) -> dict[str, Scheme]:
    return {one.scheme: one for one in schemes(counts)}


def counted(changed: int, unchanged: int) -> dict[str, Scheme]:
    return by_name(tally([row(changed, unchanged)]))


def weights(*arguments: str | Path) -> Result:
    done = CliRunner().invoke(app, ["weights", *map(str, arguments)])
    assert isinstance(done.exception, SystemExit | None), repr(done.exception)
    return done


def only(*arguments: str | Path) -> dict[str, Any]:
    done = weights(*arguments, "--format", "json")
    assert done.exit_code == 0, done.stderr
    (found,) = json.loads(done.stdout)["datasets"]
    assert isinstance(found, dict)
    return found


@pytest.fixture
def rows_file(tmp_path: Path) -> Path:
    """Saved image rows: a train split of 20 in 120 changed, and a test split."""
    rows = [row(20, 80, "train"), row(0, 20, "train"), row(50, 40, "test", 10)]
    return write_rows(tmp_path / "rows.csv", rows)


@given(COUNTS, COUNTS)
def test_weights_agree_with_exact_arithmetic(changed: int, unchanged: int) -> None:
    n = changed + unchanged
    found = counted(changed, unchanged)
    exact = {
        "inverse-frequency": (Fraction(n, 2 * unchanged), Fraction(n, 2 * changed)),
        "inverse-square": (
            Fraction(n, 2 * unchanged) ** 2,
            Fraction(n, 2 * changed) ** 2,
        ),
        "hed-beta": (Fraction(changed, n), Fraction(unchanged, n)),
        "focal-alpha": (Fraction(changed, n), Fraction(unchanged, n)),
        "pos-weight": (Fraction(1), Fraction(unchanged, changed)),
    }
    for name, (zero, one) in exact.items():
        got = (found[name].unchanged_weight, found[name].changed_weight)
        # 1 - beta loses digits where beta is near 1, so it is held absolutely.
        expected = (float(zero), float(one))
        assert got == pytest.approx(expected, rel=1e-12, abs=1e-15), name
    root = found["inverse-sqrt"].weight_ratio
    assert root == pytest.approx(math.sqrt(unchanged / changed), rel=1e-12)
    bias = found["prior-bias"].changed_weight
    assert bias == pytest.approx(math.log(changed / unchanged), rel=1e-12, abs=1e-13)


@pytest.mark.parametrize(
    ("changed", "unchanged"), [(3, 500), (1, 1), (40_000, 7), (12_345, 99_999)]
)
def test_the_effective_number_agrees_with_its_definition(
    changed: int, unchanged: int
) -> None:
    with localcontext(prec=50):
        base = Decimal("0.9999")
        raw = [(1 - base) / (1 - base**n) for n in (unchanged, changed)]
        expected = [float(2 * one / sum(raw)) for one in raw]
    found = counted(changed, unchanged)["effective-number"]
    assert [found.unchanged_weight, found.changed_weight] == pytest.approx(
        expected, rel=1e-9
    )


def test_the_effective_number_says_where_it_weighs_nothing() -> None:
    many = counted(2_000_000, 30_000_000)["effective-number"]
    assert many.weight_ratio == pytest.approx(1)
    assert "plain cross-entropy" in many.remark
    assert counted(50, 5_000)["effective-number"].remark == ""


def test_median_frequency_counts_a_class_in_the_images_that_hold_it() -> None:
    counts = tally([row(20, 80), row(0, 300), row(0, 0, ignored=5)])
    found = by_name(counts)["median-frequency"]
    one, zero = 20 / 100, 380 / 400
    middle = (one + zero) / 2
    assert found.changed_weight == pytest.approx(middle / one)
    assert found.unchanged_weight == pytest.approx(middle / zero)


def test_enet_weights_are_the_papers() -> None:
    found = counted(10, 90)["enet"]
    assert found.changed_weight == pytest.approx(1 / math.log(1.02 + 0.1))
    assert found.unchanged_weight == pytest.approx(1 / math.log(1.02 + 0.9))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_sampling_weights_draw_images_with_and_without_change_alike(
    changed: list[int],
) -> None:
    counts = tally([row(n, 5) for n in changed])
    zero, one = sampling_weights(counts)
    without = changed.count(0)
    if 0 < without < len(changed):
        assert zero is not None
        assert one is not None
        assert zero * without == pytest.approx(one * (len(changed) - without))
        total = zero * without + one * (len(changed) - without)
        assert total == pytest.approx(len(changed))
    else:
        assert {zero, one} == {None, 1.0}


@pytest.mark.parametrize(
    ("changed", "unchanged", "reason"),
    [
        pytest.param(0, 9, "no pixel is changed", id="no-change"),
        pytest.param(9, 0, "no pixel is unchanged", id="all-change"),
        pytest.param(0, 0, "no pixel is valid", id="all-ignored"),
    ],
)
def test_without_both_classes_no_weight_is_recommended(
    changed: int, unchanged: int, reason: str
) -> None:
    found = recommend(tally([row(changed, unchanged, ignored=1)]))
    assert found.pos_weight is None
    assert reason in found.text
    ratios = by_name(tally([row(changed, unchanged, ignored=1)]))
    assert ratios["inverse-frequency"].weight_ratio is None
    assert ratios["prior-bias"].changed_weight is None


@given(COUNTS, COUNTS)
def test_the_recommendation_lies_between_no_weight_and_the_full_ratio(
    changed: int, unchanged: int
) -> None:
    found = recommend(tally([row(changed, unchanged)])).pos_weight
    assert found is not None
    low, high = sorted((1.0, unchanged / changed))
    assert low * (1 - 1e-9) <= found <= high * (1 + 1e-9)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(min_size=1), inner),
        max_leaves=8,
    )
    | st.text()
    | st.sampled_from(["no", "1e-05", "~", "a: b\n# c", "é\x1b[31m", "- x"])
)
def test_yaml_reads_back_as_it_was(data: Any) -> None:
    assert yaml.safe_load(yaml_text({"data": data})) == {"data": data}


def test_the_train_split_alone_is_counted(rows_file: Path) -> None:
    found = only("--from", rows_file)
    assert (found["split"], found["basis"]) == ("train", "train split")
    assert (found["changed"], found["unchanged"], found["images"]) == (20, 100, 2)
    assert [one["weight"] for one in found["sampling"]] == [1.0, 1.0]


def test_another_split_can_be_asked_for(rows_file: Path) -> None:
    found = only("--from", rows_file, "--split", "testing")
    assert (found["changed"], found["unchanged"], found["ignored"]) == (50, 40, 10)
    missing = weights("--from", rows_file, "--split", "val")
    assert missing.exit_code == 1
    assert "has no split 'val'; it holds test, train" in missing.stderr


def test_without_a_train_split_the_basis_says_that_test_is_included(
    rows_file: Path,
) -> None:
    text = rows_file.read_text().replace(",train,", ",val,")
    rows_file.write_text(text)
    found = only("--from", rows_file)
    assert found["basis"] == "all splits, test included"
    assert found["changed"] == 70


def test_masks_and_their_saved_rows_give_the_same_weights(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    saved = CliRunner().invoke(app, ["ratio", str(SAMPLES / "CDD"), "--csv", str(rows)])
    assert saved.exit_code == 0
    assert only("--from", rows) == only(SAMPLES / "CDD")


def test_json_and_yaml_hold_the_same(rows_file: Path) -> None:
    done = weights("--from", rows_file, "--format", "yaml")
    (found,) = yaml.safe_load(done.stdout)["datasets"]
    assert found == only("--from", rows_file)


def executed(text: str, path: Path) -> dict[str, Any]:
    path.write_text(text, encoding="utf-8")
    return runpy.run_path(str(path))


@pytest.mark.parametrize("scheme", [None, *PIXEL_SCHEMES])
def test_the_torch_lines_run_and_weigh_as_they_say(
    scheme: str | None, rows_file: Path, tmp_path: Path
) -> None:
    options = ["--scheme", scheme] if scheme else []
    done = weights("--from", rows_file, "--format", "torch", *options)
    lines = executed(done.stdout, tmp_path / "lines.py")
    bce, ce = lines["bce"], lines["ce"]
    assert isinstance(bce, nn.BCEWithLogitsLoss)
    zero, one = ce.weight.tolist()
    assert bce.pos_weight is not None
    assert bce.pos_weight.item() == pytest.approx(one / zero, rel=1e-6)

    torch.manual_seed(0)
    logits = torch.randn(1, 6, 6)
    target = (torch.rand(1, 6, 6) < 0.3).long()
    target[0, 0, 0] = 255
    counted_pixels = target != 255
    two = torch.stack([torch.zeros_like(logits), logits], dim=1)
    plain = nn.functional.cross_entropy(two, target, reduction="none", ignore_index=255)
    weight = torch.where(target == 1, one, zero) * counted_pixels
    weighted = (weight * plain).sum()
    assert ce(two, target).item() == pytest.approx((weighted / weight.sum()).item())
    mean_over_pixels = weighted / zero / counted_pixels.sum()
    found = bce(logits[counted_pixels], target[counted_pixels].float())
    assert found.item() == pytest.approx(mean_over_pixels.item(), rel=1e-5)


def test_weights_take_counts_from_the_cache_of_ratio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "c.sqlite"
    counted = CliRunner().invoke(
        app, ["ratio", str(SAMPLES / "CDD"), "--cache", str(cache)]
    )
    assert counted.exit_code == 0
    plain = weights(SAMPLES / "CDD").stdout
    monkeypatch.setattr("cdstats.io.counting.open_masks", None)
    assert weights(SAMPLES / "CDD", "--cache", cache).stdout == plain


def test_the_opencd_lines_are_a_configuration(rows_file: Path, tmp_path: Path) -> None:
    done = weights("--from", rows_file, "--format", "opencd", "--scheme", "pos-weight")
    lines = executed(done.stdout, tmp_path / "lines.py")
    two, one = lines["loss_decode"], lines["loss_decode_one_channel"]
    assert two["class_weight"] == [1.0, 5.0]
    assert (two["use_sigmoid"], one["use_sigmoid"]) == (False, True)
    assert one["class_weight"] == [5.0]
    assert two["avg_non_ignore"] is one["avg_non_ignore"] is True


def test_ignored_pixels_are_warned_of_for_mmsegmentation(rows_file: Path) -> None:
    ignored = weights("--from", rows_file, "--split", "test", "--format", "opencd")
    assert "10 pixels ignored: " in ignored.stdout
    train = weights("--from", rows_file, "--format", "opencd")
    assert "ignored: " not in train.stdout


@pytest.mark.parametrize("output", ["torch", "opencd"])
@pytest.mark.parametrize("name", ["a\nraise SystemExit(7)\n", "a'] = 1 #", "d\\"])
def test_a_name_cannot_leave_its_comment_or_its_key(
    output: str, name: str, rows_file: Path, tmp_path: Path
) -> None:
    text = rows_file.read_text()
    rows_file.write_text(text.replace("\nd,", f'\n"{name}",'))
    done = weights("--from", rows_file, "--format", output)
    executed(done.stdout, tmp_path / "lines.py")
    assert name.replace("\n", "\\n") in done.stdout
    _, _, rows = text.partition("\n")
    rows_file.write_text(rows_file.read_text() + rows)
    both = weights("--from", rows_file, "--format", output)
    lines = executed(both.stdout, tmp_path / "lines.py")
    assert set(lines["bce" if output == "torch" else "loss_decode"]) == {name, "d"}


def test_the_lines_of_two_datasets_have_a_weight_for_each(tmp_path: Path) -> None:
    one, two = row(20, 80), row(10, 90)
    rows = write_rows(tmp_path / "rows.csv", [one, replace(two, dataset="e")])
    for output, scheme in (("torch", "pos-weight"), ("opencd", "pos-weight")):
        options = "--from", rows, "--format", output, "--scheme", scheme
        lines = executed(weights(*options).stdout, tmp_path / "lines.py")
        if output == "torch":
            found = {
                name: loss.pos_weight.item() for name, loss in lines["bce"].items()
            }
            assert lines["prior_bias"].keys() == {"d", "e"}
        else:
            found = {
                name: loss["class_weight"][1]
                for name, loss in lines["loss_decode"].items()
            }
        assert found == {"d": 4.0, "e": 9.0}


@pytest.mark.parametrize("output", ["torch", "opencd"])
def test_undefined_weights_are_a_comment(output: str, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.csv", [row(0, 4)])
    done = weights("--from", rows, "--format", output)
    assert "none: no pixel is changed" in done.stdout
    assert "nan" not in done.stdout
    executed(done.stdout, tmp_path / "lines.py")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param([], "no masks named", id="nothing"),
        pytest.param(["x", "--from", "y.csv"], "omit PATH", id="both"),
        pytest.param(["x", "--scheme", "enet"], "requires --format torch", id="table"),
        pytest.param(
            ["x", "--format", "torch", "--scheme", "prior-bias"],
            "no scheme 'prior-bias' weights pixels; expected inverse-frequency",
            id="no-scheme",
        ),
        pytest.param(["x", "--format", "csv"], "'csv' is not one of", id="format"),
    ],
)
def test_wrong_use_is_told_before_a_file_is_read(
    arguments: list[str], says: str
) -> None:
    done = weights(*arguments)
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.split())


def test_failed_masks_are_told_beside_the_weights(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    shutil.copy(SAMPLES / "CDD/train/OUT/00000.jpg", folder)
    done = weights(tmp_path)
    assert done.exit_code == 1
    assert "broken.png: PNG file is cut short" in done.stderr
    assert "masks not counted: 1" in " ".join(done.stdout.split())
    assert weights(tmp_path, "--max-failed", "1").exit_code == 0


def test_the_lines_of_the_page_are_those_of_the_sample_masks() -> None:
    page = (SAMPLES.parent / "docs/weights.md").read_text(encoding="utf-8")
    printed = weights(SAMPLES / "CDD", "--format", "torch").stdout.splitlines()
    losses = [line for line in printed if line.startswith(("bce =", "ce ="))]
    assert len(losses) == 2
    assert [line for line in losses if line not in page.splitlines()] == []


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        pytest.param(
            Tally(images=40, without_change=39, changed=3, unchanged=10**7),
            "only 3 changed pixels in 1 image: pos_weight",
            id="hardly any change",
        ),
        pytest.param(
            Tally(images=40, without_change=0, changed=9 * 10**6, unchanged=10**6),
            "most pixels are changed, so check whether masks are inverted: pos_weight",
            id="mostly changed",
        ),
        pytest.param(
            Tally(images=40, without_change=3, changed=10**5, unchanged=10**6),
            "pos_weight",
            id="sound",
        ),
    ],
)
def test_a_doubtful_recommendation_begins_with_the_doubt(
    counts: Tally, words: str
) -> None:
    assert recommend(counts).text.startswith(words)
