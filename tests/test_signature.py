"""The hash of labels and the signature of a score."""

import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from affine import Affine
from helpers import Done, run, save
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

import cdstats
from cdstats.core.errors import UsageError
from cdstats.core.label_hash import label_hash, total_hash
from cdstats.core.options import LossOptions
from cdstats.core.signature import Signature

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 70))
LABELS = arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 0, 0, 0, 1, 255]))
RNG = np.random.default_rng(15)
MASK = (RNG.random((8, 8)) > 0.7).repeat(8, 0).repeat(8, 1)
PROBS = np.clip(MASK * 0.7 + RNG.random(MASK.shape) * 0.4, 0, 1).astype(np.float32)


def whole(labels: NDArray[np.generic]) -> int:
    return label_hash(labels, labels.shape[::-1])


def written(folder: Path, number: int = 2) -> list[str]:
    """The options of a run over masks and their predictions."""
    for one in range(number):
        save(folder / f"masks/{one}.png", np.roll(MASK, one))
        save(folder / f"preds/{one}.npy", np.roll(PROBS, one))
    return ["--pred", str(folder / "preds"), "--target", str(folder / "masks")]


def signature(*arguments: object) -> str:
    done = run("loss", *arguments, "--format", "csv", "--quiet")
    assert done.code == 0, done.err
    (line,) = done.column("signature")
    return line


# The hash.


@given(LABELS, st.data())
def test_hashes_of_tiles_add_up_to_that_of_the_mask(
    labels: NDArray[np.uint8], data: st.DataObject
) -> None:
    height, width = labels.shape
    row, column = (data.draw(st.integers(0, n)) for n in (height, width))
    parts = [
        label_hash(labels[r][:, c], (width, height), (r.start or 0, c.start or 0))
        for r in (slice(row), slice(row, None))
        for c in (slice(column), slice(column, None))
    ]
    assert total_hash(data.draw(st.permutations(parts))) == whole(labels)


@given(LABELS, st.data())
def test_one_other_pixel_gives_another_hash(
    labels: NDArray[np.uint8], data: st.DataObject
) -> None:
    other = labels.copy()
    place = data.draw(st.integers(0, labels.size - 1))
    other.flat[place] = data.draw(
        st.sampled_from([one for one in (0, 1, 255) if one != labels.flat[place]])
    )
    assert whole(other) != whole(labels)


@given(LABELS)
def test_pixels_without_a_prediction_add_nothing(labels: NDArray[np.uint8]) -> None:
    size = labels.shape[1], labels.shape[0]
    rest = np.where(labels == 1, np.uint8(255), labels)
    assert label_hash(labels, size, covered=labels != 1) == whole(rest)
    assert label_hash(labels, size, covered=labels == 7) == 0


def test_the_hash_is_a_sum_over_pixels() -> None:
    """Tables hold eight pixels each; here every pixel has tables of its own."""
    noise = RNG.integers(0, 2, (40, 50)).astype(np.uint8)
    each = (
        label_hash(noise[r : r + 1, c : c + 1], (50, 40), (r, c))
        for r in range(40)
        for c in range(50)
    )
    assert total_hash(each) == whole(noise)


def test_masks_wider_than_a_table_add_up() -> None:
    wide = RNG.integers(0, 2, (2, 70_000)).astype(np.uint8)
    wide[0, ::7] = 255
    parts = (
        label_hash(wide[:, c : c + 999], (70_000, 2), (0, c))
        for c in range(0, 70_000, 999)
    )
    assert total_hash(parts) == whole(wide)


def test_the_hash_depends_on_the_size_and_on_the_place() -> None:
    mask = np.eye(6, dtype=np.uint8)
    found = {
        *(label_hash(mask, size) for size in ((6, 6), (7, 6), (6, 7))),
        *(label_hash(mask, (6, 6), corner) for corner in ((1, 0), (0, 1))),
        *(whole(one) for one in (mask[::-1], 1 - mask)),
    }
    assert len(found) == 7


def test_a_known_mask_has_a_known_hash() -> None:
    """The hash is written in papers, so that it may never change."""
    labels = np.array([[0, 1, 255], [1, 1, 0]], np.uint8)
    assert f"{whole(labels):016x}" == "d272cfcdab25de01"
    soft = np.array([[0.0, 0.25, -1.0], [1.0, 0.5, 0.0]])
    assert f"{whole(soft):016x}" == "584795b81cb86a54"


def test_soft_targets_add_up_and_differ() -> None:
    soft = RNG.random((5, 9))
    soft[0, 0] = -1
    parts = [label_hash(soft[:2], (9, 5)), label_hash(soft[2:], (9, 5), (2, 0))]
    assert total_hash(parts) == whole(soft)
    for value in (0.0, 0.25, 0.5, 1.0):
        other = soft.copy()
        other[3, 3] = value
        assert whole(other) != whole(soft)
    zero = np.zeros((2, 2))
    assert whole(zero) == whole(-zero) != 0


# The signature of a run.


def test_the_signature_says_how_a_score_was_made(tmp_path: Path) -> None:
    options = written(tmp_path)
    line = signature(*options)
    rest, _, labels = line.rpartition("|labels:")
    pixels, changed = 2 * MASK.size, 2 * MASK.sum()
    version = f"cdstats:{cdstats.__version__}|f1:pooled.changed|thr:0.5|kind:prob.f32"
    assert rest == (
        f"{version}|rule:255/0|ignore:none|grid:same|images:2|px:{pixels}"
        f"|changed:{changed}"
    )
    assert len(labels) == 16
    assert shlex.split(f"'{line}'") == [line]


def stored(folder: Path, masks: list[NDArray[np.bool_]]) -> dict[str, list[object]]:
    """The options of one set of masks in each form, with one set of predictions."""
    ground = {"crs": "EPSG:32631", "transform": Affine(1, 0, 5e5, 0, -1, 4e6)}
    tiled = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    rows = []
    for one, values in enumerate(masks):
        mask, probs = values * np.uint8(255), np.roll(PROBS, one)
        save(folder / f"preds/{one}.npy", probs)
        save(folder / f"geo/{one}.tif", probs, compress="deflate", **ground)
        for ending, options in (("png", {}), ("npy", {}), ("tif", tiled | ground)):
            save(folder / f"{ending}/{one}.{ending}", mask, **options)
        for y, x in np.ndindex(2, 2):
            part = probs[y * 32 :, x * 32 :][:32, :32]
            save(folder / f"crops/{one}_{y * 32}_{x * 32}.npy", part)
        data = (folder / f"png/{one}.png").read_bytes()
        rows.append({"bytes": data, "path": f"{one}.png"})
    (folder / "rows").mkdir(exist_ok=True)
    pq.write_table(pa.table({"label": rows}), folder / "rows/test-0.parquet")
    crops = ["--pred", folder / "crops/{}_{y}_{x}.npy"]
    pattern = ["--target", folder / "npy/{}.npy"]
    kept = folder / "kept.csv"
    run("loss", *pattern, "--pred", folder / "preds/{}.npy", "--csv", kept)
    return {
        **{
            name: ["--pred", folder / "preds", "--target", folder / name]
            for name in ("png", "npy", "rows")
        },
        "tif": ["--pred", folder / "geo", "--target", folder / "tif"],
        "crops": [*crops, *pattern],
        "merged": [*crops, *pattern, "--overlap", "first"],
        "kept": ["--from", kept],
    }


def test_a_set_has_one_signature_however_stored_and_other_sets_have_others(
    tmp_path: Path,
) -> None:
    masks = [np.roll(MASK, one) for one in range(2)]
    known = stored(tmp_path / "known", masks)
    (line,) = {signature(*options) for options in known.values()}
    # Two pixels change places, so that only the hash can tell.
    changed, unchanged = np.argwhere(MASK)[0], np.argwhere(~MASK)[0]
    other = MASK.copy()
    other[tuple(changed)], other[tuple(unchanged)] = False, True
    (exchanged,) = {
        signature(*options)
        for options in stored(tmp_path / "other", [other, masks[1]]).values()
    }
    assert exchanged.rpartition(":")[0] == line.rpartition(":")[0]
    other[tuple(unchanged)] = False
    further = {line, exchanged}
    further |= {
        signature(*options)
        for options in stored(tmp_path / "one", [other, masks[1]]).values()
    }
    assert len(further) == 3
    for more in (["--threshold", 0.7], ["--changed", ">=128", "--unchanged", "rest"]):
        # Rows that were saved keep their threshold and rule.
        found = {signature(*o, *more) for n, o in known.items() if n != "kept"}
        assert len(found) == 1
        further |= found
    assert len(further) == 5


@pytest.mark.parametrize("change", ["rule", "mask"])
def test_the_signature_differs(tmp_path: Path, change: str) -> None:
    options = written(tmp_path)
    line = signature(*options)
    if change == "rule":
        given_rule = ("--changed", ">=128", "--unchanged", "rest")
        assert "|rule:>=128/rest@given|" in signature(*options, *given_rule)
        ignored = signature(*options, "--changed", 255, "--ignore", 0)
        assert "|rule:255/@given|ignore:0|" in ignored
        assert ignored.split("|")[-1] != line.split("|")[-1]
    else:
        (tmp_path / "preds/1.npy").unlink()
        (tmp_path / "masks/1.png").unlink()
        assert "|images:1|" in signature(*options)


def test_the_signature_stays_with_rows(
    tmp_path: Path,
) -> None:
    options, rows = written(tmp_path), tmp_path / "rows.csv"
    line = signature(*options, "--csv", rows)
    assert signature("--from", rows) == line
    text = rows.read_text(encoding="utf-8")
    hashes = run("loss", *options, "--by", "image", "--format", "csv").column("labels")
    rows.write_text(text.replace(hashes[0], "0x1"), encoding="utf-8")
    done = run("loss", "--from", rows)
    assert (done.code, "labels is '0x1'" in done.err) == (1, True)


def test_models_have_a_signature_each(tmp_path: Path) -> None:
    options = written(tmp_path)
    for one in range(2):
        save(tmp_path / f"hard/{one}.png", np.roll(PROBS, one) > 0.6)
    models = [f"a={options[1]}", f"b={tmp_path / 'hard'}"]
    arguments = ("--pred", models[0], "--pred", models[1], *options[2:])
    for command in ("loss", "compare"):
        data = run(command, *arguments, "--format", "json").data()
        found = [one.get("dataset", one)["signature"] for one in data["models"]]
        assert found == [signature(*options), found[0].replace("prob.f32", "hard")]
        text = run(command, *arguments, "--format", "markdown").out
        assert f"signature of b: {found[1]}".replace("|", r"\|") in text.replace(
            r"\_", "_"
        ).replace(r"\>", ">")
        shown = " ".join(run(command, *arguments).out.split())
        assert f"signature of a: {Signature.parse(found[0]).short} signature" in shown


def test_models_with_one_signature_share_its_note(tmp_path: Path) -> None:
    options = written(tmp_path)
    hard = tmp_path / "hard"
    for one in range(2):
        save(hard / f"{one}.png", np.roll(PROBS, one) > 0.6)
    arguments = ("--pred", f"a={options[1]}", "--pred", f"b={options[1]}", *options[2:])
    for format_ in ("table", "latex", "markdown"):
        text = run("loss", *arguments, "--format", format_).out
        assert text.count("signature:") == text.count("cdstats:0.1.0") == 1
    shown = run("loss", *arguments[:4], "--pred", f"c={hard}", *options[2:]).out
    assert [line for line in shown.splitlines() if line.startswith("signature")] == [
        "signature of a, b:",
        "signature of c:",
    ]


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        pytest.param(["--kind", "logit"], {"kind": "logit.f32"}, id="logits"),
        pytest.param(["--scale", "2"], {"kind": "prob.f32/2"}, id="scale"),
        pytest.param(
            ["--pred-changed", ">0.5", "--pred-unchanged", "rest"],
            {"kind": "hard.>0.5/rest"},
            id="codes",
        ),
        pytest.param(
            ["--preset", "levir-cd"], {"rule": ">=128/<128@levir-cd"}, id="preset"
        ),
    ],
)
def test_what_options_say_can_be_read_back(
    tmp_path: Path, options: list[str], fields: dict[str, str]
) -> None:
    arguments = written(tmp_path)
    line = signature(*arguments, *options)
    held = Signature.parse(line)
    assert {name: held.fields[name] for name in fields} == fields
    again = cdstats.loss(arguments[1], arguments[3], **held.options)
    assert again.models[0].dataset.signature == line


@given(
    st.dictionaries(
        st.sampled_from(["kind", "rule", "ignore", "grid"]),
        st.text(min_size=1).filter(lambda text: "%" not in text and text.strip()),
    )
)
def test_a_line_survives_whatever_its_values_are(fields: dict[str, str]) -> None:
    held = Signature({"cdstats": "1.0", **fields})
    line = str(held)
    assert line.isascii()
    assert not set("'\" \\`!$&\n") & set(line)
    assert Signature.parse(f" '{line}'\n") == held


@pytest.mark.parametrize(
    "text",
    ["", "F1 0.91", "cdstats", "thr:0.5", "cdstats:0.1|thr:half", "cdstats:1|a:b"],
)
def test_other_texts_are_no_signature(text: str) -> None:
    with pytest.raises(UsageError, match="not a signature"):
        Signature.parse(text)


def test_a_footnote_of_latex_may_be_broken(tmp_path: Path) -> None:
    done: Done = run("loss", *written(tmp_path), "--format", "latex")
    assert r"signature: cdstats:0.1.0\textbar{}\allowbreak{}f1:pooled" in done.out


# Verification.


def verify(line: str, *arguments: object) -> Done:
    return run("verify", line, *arguments, "--format", "csv", "--quiet")


def differing(done: Done) -> list[str]:
    return [row["field"] for row in done.rows() if row["agrees"] == "no"]


def test_files_are_verified_by_their_signature(tmp_path: Path) -> None:
    options = written(tmp_path)
    rule = ("--changed", ">=128", "--unchanged", "rest", "--threshold", 0.7)
    for line in (signature(*options), signature(*options, *rule)):
        done = verify(line, *options)
        assert (done.code, differing(done)) == (0, [])
        assert done.column("stated") == done.column("found")
        assert done.rows()[0]["agrees"] == ""
        short = Signature.parse(line).short
        assert verify(f" {short.replace('|', chr(10) + '|')}", *options).code == 0
        other_version = line.replace(cdstats.__version__, "0.0.1")
        assert verify(other_version, *options).code == 0


def test_what_differs_is_said(tmp_path: Path) -> None:
    options = written(tmp_path)
    line = signature(*options)
    labels = line.rpartition(":")[2]
    for old, new, field in (
        (labels, labels[::-1], "labels"),
        ("images:2", "images:3", "images"),
        ("kind:prob.f32", "kind:hard", "kind"),
    ):
        done = verify(line.replace(old, new), *options)
        assert (done.code, differing(done)) == (1, [field])
    assert differing(verify(line, *options, "--threshold", 0.2)) == ["thr"]
    save(tmp_path / "masks/0.png", np.roll(MASK, 3, axis=0))
    done = verify(line, *options)
    assert (done.code, differing(done)) == (1, ["labels"])
    save(tmp_path / "preds/1.npy", np.zeros((3, 3)))
    done = verify(line, *options)
    assert done.code == 1
    assert {"failed", "images", "labels"} <= set(differing(done))


def test_the_screen_of_a_verification_has_the_metrics(tmp_path: Path) -> None:
    options = written(tmp_path)
    done = run("verify", signature(*options), *options)
    f1 = cdstats.loss(options[1], options[3]).models[0].dataset.f1_pooled
    assert done.code == 0
    assert f"F1 {f1:.3f}" in done.out


def test_python_verifies_arrays(tmp_path: Path) -> None:
    line = signature(*written(tmp_path))
    preds = [np.roll(PROBS, one) for one in range(2)]
    masks = [np.roll(MASK, one) * np.uint8(255) for one in range(2)]
    assert cdstats.verify(line, preds, masks).agrees
    assert not cdstats.verify(line, preds, [masks[0], masks[0]]).agrees


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param(["F1 0.91"], "not a signature", id="other"),
        pytest.param([""], "SIGNATURE is empty", id="empty"),
        pytest.param([], "no signature given", id="none"),
        pytest.param(["cdstats:1|thr:7"], "from 0 to 1", id="threshold"),
        pytest.param(["cdstats:1|rule:5@given"], "--changed", id="rule"),
        pytest.param(["cdstats:1|rule:1/0@nowhere"], "nowhere", id="preset"),
    ],
)
def test_a_line_that_is_none_is_wrong_usage(
    tmp_path: Path, arguments: list[str], text: str
) -> None:
    done = run("verify", *arguments, *written(tmp_path))
    assert (done.code, done.out) == (2, "")
    assert text in done.err


@given(st.text("0123456789./;+-@>=,bandhrolit", max_size=12), st.sampled_from("trk"))
def test_whatever_a_line_says_is_options_or_refused(value: str, field: str) -> None:
    name = {"t": "thr", "r": "rule", "k": "kind"}[field]
    try:
        LossOptions(**Signature.parse(f"cdstats:1|{name}:{value}").options)
    except UsageError:
        return
