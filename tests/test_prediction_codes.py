"""Predictions whose numbers need a word: palettes, scales, codes, bands, nodata."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Done, run, save
from numpy.typing import NDArray
from PIL import Image

import cdstats

Array = NDArray[Any]
BLACK, WHITE, RED, GREEN = (0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 160, 0)
TRUTH = np.zeros((40, 48), bool)
TRUTH[5:20, 6:30] = True
GUESS = np.roll(TRUTH, 3, axis=1)
PROBS = np.clip(
    0.45 * TRUTH + 0.7 * np.random.default_rng(0).random(TRUTH.shape), 0, 1
).astype(np.float32)


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """A folder with one mask."""
    folder = tmp_path / "masks"
    folder.mkdir()
    Image.fromarray(TRUTH.astype(np.uint8) * 255).save(folder / "0.png")
    return folder


def score(preds: Path, masks: Path, *options: object) -> Done:
    line = ("loss", "--pred", preds, "--target", masks, *options)
    return run(*line, "--format", "json")


def counts(done: Done) -> tuple[int, ...]:
    """True and false positives, false and true negatives."""
    assert done.code == 0, done.err
    row = done.data()["dataset"]
    return tuple(row[name] for name in ("tp", "fp", "fn", "tn"))


def confusion(guess: Array, truth: Array = TRUTH) -> tuple[int, ...]:
    """The right counts."""
    p, y = np.asarray(guess, bool), np.asarray(truth, bool)
    return tuple(int(one.sum()) for one in (p & y, p & ~y, ~p & y, ~p & ~y))


def kind(done: Done) -> str:
    """What the predictions are said to be."""
    return str(done.data()["dataset"]["kind"])


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def palette(path: Path, index: Array, *colours: tuple[int, ...]) -> None:
    image = Image.fromarray(index.astype(np.uint8))
    image.putpalette(sum(colours, ()))
    image.save(path)


@pytest.mark.parametrize("name", ["0.png", "0.bmp", "0.tif"])
@pytest.mark.parametrize(
    ("index", "colours", "said"),
    [
        pytest.param(GUESS, [BLACK, RED], "changed #ff0000", id="red"),
        pytest.param(~GUESS, [RED, BLACK], "changed #ff0000", id="black-last"),
        pytest.param(~GUESS, [WHITE, BLACK], "0 and 255", id="grey"),
        pytest.param(2 * GUESS, [BLACK, RED, WHITE], "0 and 255", id="white"),
    ],
)
def test_a_palette_is_scored_by_its_colours(
    name: str, index: Array, colours: Any, said: str, masks: Path, tmp_path: Path
) -> None:
    palette(folder(tmp_path / "p") / name, index, *colours)
    done = score(tmp_path / "p", masks, "--loss", "lovasz_softmax")
    assert counts(done) == confusion(GUESS)
    assert said in kind(done)


@pytest.mark.parametrize(
    "colours", [[WHITE, RED], [GREEN, RED]], ids=["white", "green"]
)
def test_an_unclear_palette_is_refused_and_every_way_works(
    colours: Any, masks: Path, tmp_path: Path
) -> None:
    palette(folder(tmp_path / "p") / "0.png", GUESS, *colours)
    done = score(tmp_path / "p", masks)
    assert done.code == 1
    ways = re.findall(r"--pred-changed '\S+' --pred-unchanged '\S+'", done.err)
    found = {counts(score(tmp_path / "p", masks, *shlex.split(one))) for one in ways}
    assert found == {confusion(GUESS), confusion(~GUESS)}


def test_palettes_of_a_model_are_decided_together(masks: Path, tmp_path: Path) -> None:
    preds = folder(tmp_path / "p")
    Image.open(masks / "0.png").save(masks / "1.png")
    palette(preds / "0.png", GUESS, BLACK, RED)
    palette(preds / "1.png", GUESS * 0, BLACK, RED)
    assert counts(score(preds, masks))[0] == confusion(GUESS)[0]
    palette(preds / "1.png", GUESS, BLACK, GREEN)
    assert score(preds, masks).code == 1


def test_a_palette_that_makes_most_changed_is_warned_of(
    masks: Path, tmp_path: Path
) -> None:
    palette(folder(tmp_path / "p") / "0.png", ~GUESS, BLACK, RED)
    done = score(tmp_path / "p", masks)
    assert counts(done) == confusion(~GUESS)
    (way,) = re.findall(r"warning: .*(--pred-changed '.*')", done.err)
    assert counts(score(tmp_path / "p", masks, *shlex.split(way))) == confusion(GUESS)


@pytest.mark.parametrize(
    ("stored", "scale"),
    [
        pytest.param(PROBS * 100, 100, id="per-cent-floats"),
        pytest.param(PROBS * 255, 255, id="float-bytes"),
        pytest.param(np.rint(PROBS * 100).astype(np.uint8), 100, id="per-cent"),
        pytest.param(np.rint(PROBS * 1000).astype(np.uint16), 1000, id="thousand"),
        pytest.param(np.rint(PROBS * 10000).astype(np.uint16), 10000, id="uint16"),
        pytest.param(np.rint(PROBS * 10000).astype(np.int16), 10000, id="int16"),
        pytest.param(np.rint(PROBS * 255).astype(np.int32), 255, id="int32"),
        pytest.param(np.rint(PROBS * 127).astype(np.uint8), 127, id="7-bits"),
        pytest.param(np.rint(PROBS * 127).astype(np.int8), 127, id="int8"),
        pytest.param(np.rint(PROBS * 128).astype(np.uint8), 128, id="128"),
        pytest.param(np.rint(PROBS * 4095).astype(np.uint16), 4095, id="12-bits"),
        pytest.param(np.rint(PROBS * 32767).astype(np.int16), 32767, id="15-bits"),
        pytest.param(np.rint(PROBS * 32767).astype(np.uint16), 32767, id="half"),
        pytest.param((PROBS * 100).astype(np.float16), 100, id="float16"),
    ],
)
def test_scaled_predictions_are_refused_with_the_scale_that_fits(
    stored: Array, scale: int, masks: Path, tmp_path: Path
) -> None:
    np.save(folder(tmp_path / "p") / "0.npy", stored)
    refused = score(tmp_path / "p", masks)
    assert refused.code == 1
    assert f"--scale {scale}" in refused.err
    done = score(tmp_path / "p", masks, "--scale", scale)
    plain = stored.astype(np.float64) / scale
    assert counts(done) == confusion(plain >= 0.5)
    found = done.data()["dataset"]["prob_sum"]
    assert found == pytest.approx(plain.sum(), rel=1e-5)
    assert f"{stored.dtype} / {scale}" in kind(done)


def test_two_channels_of_a_scale_add_up_to_it(masks: Path, tmp_path: Path) -> None:
    whole = np.rint(PROBS * 10000).astype(np.int16)
    np.save(folder(tmp_path / "p") / "0.npy", np.stack([10000 - whole, whole]))
    done = score(tmp_path / "p", masks, "--scale", 10000)
    assert counts(done) == confusion(whole >= 5000)


@pytest.mark.parametrize(
    ("stored", "word"),
    [
        pytest.param(PROBS * 12 - 6, "logits: --kind logit.", id="logits"),
        pytest.param(np.where(GUESS, -9999, PROBS), "nodata", id="nodata"),
        pytest.param(PROBS + np.float32(1e-6), "rounding", id="rounding"),
        pytest.param(PROBS + 1, "--scale N", id="unknown"),
        pytest.param(np.log(PROBS + 1e-6) - 1, "exponentials", id="logarithms"),
    ],
)
def test_floating_numbers_outside_get_the_advice_of_their_range(
    stored: Array, word: str, masks: Path, tmp_path: Path
) -> None:
    np.save(folder(tmp_path / "p") / "0.npy", stored.astype(np.float32))
    done = score(tmp_path / "p", masks)
    assert (done.code, word in done.err) == (1, True), done.err
    assert "1 of 1 prediction exceeds [0, 1]: they hold" in done.err
    assert ".." not in done.err.replace("...", "")
    assert "?." not in done.err


def test_labels_beside_scaled_probabilities_are_refused(
    masks: Path, tmp_path: Path
) -> None:
    preds = folder(tmp_path / "p")
    Image.fromarray(np.array(Image.open(masks / "0.png"))).save(masks / "1.png")
    np.save(preds / "0.npy", np.rint(PROBS * 255).astype(np.uint8))
    np.save(preds / "1.npy", GUESS.astype(np.uint8))
    done = score(preds, masks)
    assert (done.code, "or scaled probabilities" in done.err) == (1, True)
    # Noise of one level is a low probability, and no label.
    noise = np.random.default_rng(1).random(TRUTH.shape) < 0.3
    np.save(preds / "1.npy", noise.astype(np.uint8))
    assert score(preds, masks).code == 0


@pytest.mark.parametrize(
    ("stored", "word"),
    [
        pytest.param(PROBS * 0.4, "no valid pixel", id="low"),
        pytest.param(0.6 + PROBS * 0.4, "every valid pixel", id="high"),
        pytest.param(GUESS * 0.0, "no valid pixel", id="zero"),
    ],
)
def test_a_class_that_is_never_predicted_is_warned_of(
    stored: Array, word: str, masks: Path, tmp_path: Path
) -> None:
    np.save(folder(tmp_path / "p") / "0.npy", stored.astype(np.float32))
    rows = tmp_path / "rows.csv"
    told = f"warning: {word} is predicted changed"
    assert told in score(tmp_path / "p", masks, "--csv", rows).err
    again = run("loss", "--from", str(rows))
    assert told in re.sub(r"\s+", " ", again.err)
    np.save(tmp_path / "p/0.npy", PROBS)
    assert "is predicted changed" not in score(tmp_path / "p", masks).err


INSIDE = np.clip(PROBS * 0.9, 0, 1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    ("outside", "advice"),
    [
        pytest.param(PROBS * 100, "--scale 100", id="per-cent"),
        pytest.param(PROBS * 12 - 6, "--kind logit.", id="logits"),
    ],
)
def test_advice_for_all_is_given_only_where_all_are_outside(
    outside: Array, advice: str, dtype: str, masks: Path, tmp_path: Path
) -> None:
    preds = folder(tmp_path / "p")
    truth = np.array(Image.open(masks / "0.png"))
    for number in range(6):
        Image.fromarray(truth).save(masks / f"{number}.png")
        one = INSIDE if number in (1, 4) else outside
        np.save(preds / f"{number}.npy", one.astype(dtype))
    done = score(preds, masks)
    assert done.code == 1
    assert "4 of 6 predictions exceed [0, 1]: 0.npy, 2.npy, 3.npy and 1 more" in (
        done.err
    )
    assert advice not in done.err
    for number in (1, 4):
        np.save(preds / f"{number}.npy", outside.astype(dtype))
    assert advice in score(preds, masks).err
    way = re.findall(r"--(?:scale|kind) \w+", score(preds, masks).err)
    assert score(preds, masks, *way[0].split()).code == 0


def test_predictions_of_zeros_alone_may_be_on_any_scale(
    masks: Path, tmp_path: Path
) -> None:
    preds = folder(tmp_path / "p")
    Image.fromarray(np.array(Image.open(masks / "0.png"))).save(masks / "1.png")
    np.save(preds / "0.npy", (PROBS * 100).astype(np.float32))
    np.save(preds / "1.npy", np.zeros_like(PROBS, dtype=np.float32))
    assert "--scale 100 divides" in score(preds, masks).err


def test_labels_beside_per_cent_get_no_scale_for_all(
    masks: Path, tmp_path: Path
) -> None:
    preds = folder(tmp_path / "p")
    Image.fromarray(np.array(Image.open(masks / "0.png"))).save(masks / "1.png")
    np.save(preds / "0.npy", (PROBS * 100).astype(np.float32))
    np.save(preds / "1.npy", GUESS.astype(np.uint8))
    assert "--scale 100" not in score(preds, masks).err


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(PROBS * 1.3 - 0.15, id="resampled-probabilities"),
        pytest.param(PROBS * 104 - 2, id="resampled-per-cent"),
        pytest.param(GUESS * 20, id="twenty"),
    ],
)
def test_ranges_that_fit_nothing_get_no_advice_that_would_misread_them(
    stored: Array, masks: Path, tmp_path: Path
) -> None:
    np.save(folder(tmp_path / "p") / "0.npy", stored.astype(np.float32))
    told = score(tmp_path / "p", masks).err
    assert "say what they are with --scale N" in told


@pytest.mark.parametrize(
    ("stored", "changed", "unchanged"),
    [
        pytest.param(GUESS + np.uint8(1), "2", "1", id="1-and-2"),
        pytest.param(np.where(GUESS, 1, -1).astype(np.int8), "1", "-1", id="negative"),
        pytest.param(GUESS.astype(np.float32) * 3 - 1, ">0", None, id="floats"),
        pytest.param((GUESS * (1 + TRUTH)).astype(np.uint8), "1-2", "0", id="classes"),
    ],
)
def test_codes_are_read_by_a_rule(
    stored: Array, changed: str, unchanged: str | None, masks: Path, tmp_path: Path
) -> None:
    np.save(folder(tmp_path / "p") / "0.npy", stored)
    refused = score(tmp_path / "p", masks)
    assert (refused.code, "--kind hard" in refused.err) == (1, False)
    rule = ["--pred-changed", changed]
    rule += [] if unchanged is None else ["--pred-unchanged", unchanged]
    done = score(tmp_path / "p", masks, *rule)
    assert counts(done) == confusion(GUESS)
    assert kind(done).startswith(
        f"hard labels (changed {changed}"
        if changed != ">0"
        else "hard labels (changed >0, unchanged rest"
    )


def test_a_value_that_the_rule_does_not_name_fails_the_prediction(
    masks: Path, tmp_path: Path
) -> None:
    np.save(folder(tmp_path / "p") / "0.npy", GUESS + np.uint8(1))
    done = score(tmp_path / "p", masks, "--pred-changed", 2, "--pred-unchanged", 0)
    assert "holds 1; expected 2, 0" in done.err


@pytest.mark.parametrize(
    "options",
    [
        ["--pred-unchanged", "0"],
        ["--scale", "0"],
        ["--scale", "100", "--kind", "hard"],
        ["--pred-changed", "1", "--kind", "prob"],
        ["--pred-nodata", "drop"],
        ["--kind", "b=logit"],
        ["--kind", "p=odds"],
    ],
    ids=" ".join,
)
def test_options_that_contradict_each_other_are_wrong_usage(
    options: list[str], masks: Path, tmp_path: Path
) -> None:
    np.save(folder(tmp_path / "p") / "0.npy", PROBS)
    assert score(tmp_path / "p", masks, *options).code == 2


SOFTMAX = np.random.default_rng(1).random((7, *TRUTH.shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("stored", "band"),
    [
        pytest.param(SOFTMAX, 3, id="(7, H, W)"),
        pytest.param(np.moveaxis(SOFTMAX, 0, 2), 3, id="(H, W, 7)"),
        pytest.param(SOFTMAX[None], 3, id="(1, 7, H, W)"),
        pytest.param(np.moveaxis(SOFTMAX, 0, 2)[None], 3, id="(1, H, W, 7)"),
        pytest.param(SOFTMAX[1:3], 2, id="(2, H, W)"),
    ],
)
def test_channels_of_a_softmax_need_a_choice(
    stored: Array, band: int, masks: Path, tmp_path: Path
) -> None:
    np.save(folder(tmp_path / "p") / "0.npy", stored)
    refused = score(tmp_path / "p", masks)
    assert (refused.code, "--pred-band N" in refused.err) == (1, True)
    assert "--kind" not in refused.err
    done = score(tmp_path / "p", masks, "--pred-band", band)
    assert counts(done) == confusion(SOFTMAX[2] >= 0.5)
    assert kind(done).endswith(f"band {band}")


@pytest.mark.parametrize(
    "shape", [(40, 48, 1), (1, 40, 48, 1), (1, 1, 40, 48)], ids=str
)
def test_one_channel_may_be_first_or_last(
    shape: tuple[int, ...], masks: Path, tmp_path: Path
) -> None:
    np.save(folder(tmp_path / "p") / "0.npy", PROBS.reshape(shape))
    assert counts(score(tmp_path / "p", masks)) == confusion(PROBS >= 0.5)


def test_one_band_of_a_raster_is_read(masks: Path, tmp_path: Path) -> None:
    sure = np.rint(PROBS * 100).astype(np.uint8)
    save(folder(tmp_path / "p") / "0.tif", np.stack([GUESS.astype(np.uint8), sure]))
    assert score(tmp_path / "p", masks).code == 1
    done = score(tmp_path / "p", masks, "--pred-band", 1)
    assert counts(done) == confusion(GUESS)
    scaled = score(tmp_path / "p", masks, "--pred-band", 2, "--scale", 100)
    assert counts(scaled) == confusion(sure >= 50)


@pytest.mark.parametrize("nodata", [-9999, np.nan], ids=str)
def test_nodata_of_floats_is_left_out_if_asked_for(
    nodata: float, masks: Path, tmp_path: Path
) -> None:
    stored = PROBS.copy()
    stored[:9] = nodata
    save(folder(tmp_path / "p") / "0.tif", stored[None], nodata=nodata)
    refused = score(tmp_path / "p", masks)
    assert "--pred-nodata ignore" in refused.err
    done = score(tmp_path / "p", masks, "--pred-nodata", "ignore")
    assert counts(done) == confusion(PROBS[9:] >= 0.5, TRUTH[9:])
    row = done.data()["dataset"]
    assert row["ignored"] == 9 * 48
    assert row["kind"].endswith("nodata ignored")


def test_declared_nodata_may_be_a_prediction(masks: Path, tmp_path: Path) -> None:
    save(folder(tmp_path / "p") / "0.tif", GUESS[None].astype(np.uint8), nodata=0)
    assert score(tmp_path / "p", masks).code == 1
    done = score(tmp_path / "p", masks, "--pred-nodata", "keep")
    assert counts(done) == confusion(GUESS)


def test_miniswhite_needs_a_rule(masks: Path, tmp_path: Path) -> None:
    bands = GUESS[None].astype(np.uint8) * np.uint8(255)
    save(folder(tmp_path / "p") / "0.tif", bands, photometric="miniswhite")
    assert "MINISWHITE" in score(tmp_path / "p", masks).err
    done = score(tmp_path / "p", masks, "--pred-changed", 255)
    assert counts(done) == confusion(GUESS)


def test_labels_in_jpeg_files_are_warned_of(masks: Path, tmp_path: Path) -> None:
    preds = folder(tmp_path / "p")
    Image.fromarray(GUESS.astype(np.uint8) * 255).save(preds / "0.jpg")
    done = score(preds, masks)
    assert (done.code, "labels in JPEG files" in done.err) == (0, True)
    Image.fromarray(GUESS.astype(np.uint8)).save(preds / "0.jpg", quality=95)
    done = score(preds, masks)
    assert (done.code, "JPEG" in done.err) == (1, True)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "uint8"])
def test_a_second_sigmoid_is_asked_about(
    dtype: str, masks: Path, tmp_path: Path
) -> None:
    twice = 1 / (1 + np.exp(-PROBS.astype(float)))
    stored = np.rint(twice * 255) if dtype == "uint8" else twice
    np.save(folder(tmp_path / "p") / "0.npy", stored.astype(dtype))
    asked = "was the sigmoid applied twice?"
    assert asked in score(tmp_path / "p", masks).err
    stored[0, 0] = 0
    np.save(tmp_path / "p" / "0.npy", stored.astype(dtype))
    assert asked not in score(tmp_path / "p", masks).err
    np.save(tmp_path / "p" / "0.npy", np.full_like(stored, 0.5).astype(dtype))
    assert asked not in score(tmp_path / "p", masks).err


def test_logits_of_one_model_stand_beside_probabilities(
    masks: Path, tmp_path: Path
) -> None:
    probs = PROBS * np.float32(0.98) + np.float32(0.01)
    np.save(folder(tmp_path / "a") / "0.npy", probs)
    np.save(folder(tmp_path / "b") / "0.npy", np.log(probs / (1 - probs)))
    run = cdstats.loss(
        {"a": tmp_path / "a", "b": tmp_path / "b"}, masks, kind={"b": "logit"}
    )
    one, two = (model.dataset for model in run.models)
    assert (one.kind, two.kind) == ("probabilities (float32)", "logits (float32)")
    assert (one.tp, one.fp) == (two.tp, two.fp)
    assert one.bce_mean == pytest.approx(two.bce_mean, rel=1e-5)


@pytest.mark.parametrize(
    "codes",
    [
        *((0, 130), (0, 200), (1, 255)),
        *((0, 1, 255), (1, 2, 255), (0, 1, 201), (0, 1, 2, 3, 4, 255)),
    ],
    ids=str,
)
def test_few_integers_are_codes_and_no_probabilities(
    codes: tuple[int, ...], tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    for name in ("p", "t"):
        (tmp_path / name).mkdir()
    values = np.array(codes, np.uint8)[rng.integers(0, len(codes), (40, 40))]
    np.save(tmp_path / "p/0.npy", values)
    np.save(tmp_path / "t/0.npy", rng.integers(0, 2, (40, 40), dtype=np.uint8))
    with pytest.raises(cdstats.DataError, match="expected labels 0 and 1"):
        cdstats.loss(tmp_path / "p", tmp_path / "t")
    named = cdstats.loss(
        *(tmp_path / "p", tmp_path / "t"),
        pred_changed=str(codes[1]),
        pred_unchanged="rest",
    )
    score = named.models[0].dataset
    assert (score.tp or 0) + (score.fp or 0) == (values == codes[1]).sum()
    assert cdstats.loss(tmp_path / "p", tmp_path / "t", kind="prob").failed == 0


@pytest.fixture
def mixed(tmp_path: Path, masks: Path) -> list[object]:
    """Two models of the same guess: classes of which 2 is changed, and scores."""
    codes = np.where(GUESS, 2, np.arange(TRUTH.size).reshape(TRUTH.shape) % 2 * 3)
    save(tmp_path / "a/0.npy", codes.astype(np.uint8))
    save(tmp_path / "b/0.npy", np.where(GUESS, 80, 20).astype(np.float32))
    models = [x for name in "ab" for x in ("--pred", f"{name}={tmp_path / name}")]
    return [*models, "--target", masks]


@pytest.mark.parametrize(
    "options",
    [
        ["--pred-changed", "a=2", "--pred-unchanged", "a=0,3", "--scale", "b=100"],
        ["--pred-changed", "a=2", "--scale", "100"],
        ["--pred-changed", "2", "--scale", "b=100"],
        ["--pred-changed", "a=2", "--pred-changed", "b=>=50"],
        ["--pred-changed", "3", "--pred-changed", "a=2", "--pred-changed", "b=80"],
        ["--pred-changed", "a=2,>=9", "--pred-unchanged", "rest", "--scale", "b=100"],
    ],
)
def test_a_rule_of_codes_may_be_that_of_one_model(
    mixed: list[object], options: list[str]
) -> None:
    done = run("loss", *mixed, *options, "--format", "csv")
    assert done.code == 0, done.err
    rows = [[row[n] for n in ("tp", "fp", "fn", "tn")] for row in done.rows()]
    assert rows == 2 * [[str(one) for one in confusion(GUESS)]]


def test_python_names_the_model_of_a_rule_in_a_mapping(
    mixed: list[object],
) -> None:
    found = cdstats.loss(
        [str(mixed[1]), str(mixed[3])],
        str(mixed[-1]),
        pred_changed={"a": 2},
        scale={"b": 100},
    )
    assert [(row.tp, row.fp) for row in found.images] == 2 * [confusion(GUESS)[:2]]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--pred-changed", "c=2"], "--pred-changed c=: no such model; models: a, b"),
        (["--pred-unchanged", "a=0"], "--pred-unchanged a= needs --pred-changed a="),
        (
            ["--pred-changed", "b=2", "--pred-unchanged", "a=0"],
            "--pred-unchanged a= needs --pred-changed a=",
        ),
        (["--pred-changed", "a="], "--pred-changed and --pred-unchanged must name"),
        (
            ["--pred-changed", "a=2", "--kind", "a=prob"],
            "--pred-changed makes labels; omit --scale and --kind",
        ),
    ],
)
def test_a_rule_of_no_model_is_refused(
    mixed: list[object], options: list[str], told: str
) -> None:
    done = run("loss", *mixed, *options)
    assert (done.code, done.out) == (2, "")
    assert told in done.err


def test_the_codes_of_one_model_are_advised_for_it(mixed: list[object]) -> None:
    done = run("loss", *mixed, "--scale", "b=100")
    assert done.code == 1
    assert "--pred-changed a=RULE --pred-unchanged a=RULE" in done.err
