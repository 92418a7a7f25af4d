"""Gates: limits of scores, scores of an earlier run, and the files for CI."""

import math
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers import Done, run, save

import cdstats
from cdstats.core.metrics import F1, Confusion

ROOT = Path(__file__).parents[1]
FURTHER = ("--loss", "dice", "--loss", "lovasz_softmax")


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four masks and their predictions, and the rows of a run over them."""
    random = np.random.default_rng(0)
    for number in range(4):
        mask = random.random((16, 16)) < 0.3
        save(tmp_path / f"masks/{number}.png", mask)
        noise = random.normal(0, 0.3, mask.shape)
        probs = np.clip(0.2 + 0.6 * mask + noise, 0.01, 0.99)
        save(tmp_path / f"preds/{number}.npy", probs.astype(np.float32))
    monkeypatch.chdir(tmp_path)
    assert score("--csv", "old.csv", *FURTHER).code == 0
    return tmp_path


def score(*options: object, pred: str = "preds") -> Done:
    return run("loss", "--pred", pred, "--target", "masks", "-q", *options)


def f1_of(rows: list[dict[str, str]]) -> float:
    counts = [
        Confusion(*(int(row[n]) for n in ("tp", "fp", "fn", "tn"))) for row in rows
    ]
    value = F1.of(sum(counts, Confusion()))
    assert value is not None
    return value


@pytest.mark.usefixtures("pair")
def test_a_limit_that_holds_passes_and_one_a_hair_beyond_fails() -> None:
    f1 = f1_of(score("--by", "image", "--format", "csv").rows())
    above = math.nextafter(f1, 2)
    assert score("--fail-under", f"f1_pooled={f1!r}").code == 0
    failed = score("--fail-under", f"f1_pooled={above!r}")
    assert failed.code == 1
    assert f"f1_pooled is {f1!r}; expected at least" in failed.err
    assert score("--fail-over", f"f1_pooled={f1!r}").code == 0
    below = math.nextafter(f1, 0)
    assert score("--fail-over", f"f1_pooled={below!r}").code == 1


def test_every_limit_of_every_model_is_told(pair: Path) -> None:
    save(pair / "other/0.npy", np.zeros((16, 16), np.float32))
    limits = ("--fail-under", "oa=0.1", "--fail-under", "recall_pooled=0.5")
    done = score(
        *("--pred", "other=other", *limits, "--fail-over", "dice[smooth=1]_pooled=0.1"),
        *("--loss", "dice", "--max-failed", 3, "--format", "csv"),
        pred="preds=preds",
    )
    assert done.code == 1
    assert len(done.rows()) == 2
    lines = [line for line in done.err.splitlines() if "expected at" in line]
    assert [re.sub(r" is .*; ", " … ", line) for line in lines] == [
        "error: preds: dice[smooth=1]_pooled … expected at most 0.1",
        "error: other: recall_pooled … expected at least 0.5",
        "error: other: dice[smooth=1]_pooled … expected at most 0.1",
    ]


def test_an_undefined_number_fails_either_limit(pair: Path) -> None:
    save(pair / "empty/0.png", np.zeros((4, 4), bool))
    save(pair / "none/0.npy", np.zeros((4, 4), np.float32))
    for flag in ("--fail-under", "--fail-over"):
        done = run(
            *("loss", "--pred", "none", "--target", "empty", "-q"),
            *("--changed", "255", "--unchanged", "0", flag, "f1_pooled=0.5"),
        )
        assert (done.code, "f1_pooled is undefined" in done.err) == (1, True)


@pytest.mark.parametrize("flag", ["--fail-under", "--fail-over"])
@pytest.mark.parametrize(
    ("limit", "told"),
    [
        pytest.param("f1=0.9", "did you mean f1_pooled, f1_image_mean", id="short"),
        pytest.param("f1_poled=0.9", "did you mean f1_pooled", id="misspelt"),
        pytest.param("kind=1", "no number 'kind'", id="text"),
        pytest.param("lovasz_softmax_pooled=1", "no number", id="loss-not-asked-for"),
        pytest.param("f1_pooled", "expected NAME=NUMBER", id="no-number"),
        pytest.param("f1_pooled=high", "expected NAME=NUMBER", id="word"),
        pytest.param("f1_pooled=nan", "expected NAME=NUMBER", id="nan"),
        pytest.param("=0.9", "expected NAME=NUMBER", id="no-name"),
    ],
)
def test_a_wrong_limit_is_wrong_usage_before_a_file_is_read(
    flag: str, limit: str, told: str
) -> None:
    done = run("loss", "--pred", "absent", "--target", "absent", flag, limit)
    assert (done.code, done.out) == (2, "")
    assert told in done.err


@pytest.mark.usefixtures("pair")
def test_the_same_predictions_agree_with_their_rows() -> None:
    for options in (FURTHER, (*FURTHER, "--tolerance", "0"), ()):
        done = score("--against", "old.csv", *options)
        assert (done.code, "no number differs from old.csv" in done.out) == (0, True)
    again = run("loss", "--from", "old.csv", "--against", "old.csv", *FURTHER)
    assert again.code == 0


def test_an_improvement_fails_and_names_the_image_responsible(pair: Path) -> None:
    mask = np.asarray(cdstats_mask("masks/2.png"))
    save(pair / "preds/2.npy", np.where(mask, 0.95, 0.05).astype(np.float32))
    done = score("--against", "old.csv", *FURTHER, "--format", "csv")
    assert done.code == 1
    assert len(done.rows()) == 1  # the result alone is on standard output
    lines = [line.strip() for line in done.err.splitlines()]
    assert re.fullmatch(r"\d+ numbers differ from old.csv:", lines[0])
    models = [line for line in lines[1:] if line.startswith("all images: ")]
    changed = {line.split()[2] for line in models}
    assert {"f1_pooled", "oa", "kappa", "bce_mean", "class_mean_bce"} <= changed
    assert {"dice[smooth=1]_pooled", "dice[smooth=1]_image_mean"} <= changed
    assert "lovasz_softmax[classes=foreground]_image_mean" in changed
    images = lines[1 + len(models) :]
    assert {line.partition(":")[0] for line in images} == {"2.npy"}
    assert any(line.startswith("2.npy: fp was ") for line in images)
    assert images[-1].startswith("2.npy: lovasz_softmax")


def cdstats_mask(path: str) -> Any:
    from PIL import Image

    return Image.open(path)


def test_the_tolerance_is_absolute_and_holds_for_scores_alone(pair: Path) -> None:
    probs = np.load("preds/1.npy")
    probs[0, 0] += np.float32(1e-3)
    np.save("preds/1.npy", probs)
    assert score("--against", "old.csv").code == 1
    assert score("--against", "old.csv", "--tolerance", "0.001").code == 0
    mask = np.asarray(cdstats_mask("masks/1.png")).copy()
    mask[0, 0] = 255 - mask[0, 0]
    save(pair / "masks/1.png", mask)
    done = score("--against", "old.csv", "--tolerance", "1")
    assert done.code == 1
    lines = [line.strip() for line in done.out.split("old.csv:\n")[1].splitlines()]
    assert [line.rpartition(" was ")[0] for line in lines] == [
        "1.npy: changed",
        "1.npy: unchanged",
    ]


@pytest.mark.usefixtures("pair")
def test_another_threshold_is_told_first_where_scores_differ() -> None:
    done = score("--against", "old.csv", "--threshold", "0.3")
    assert done.code == 1
    first = done.out.split("old.csv:\n")[1].splitlines()[0]
    assert first == "  all images: threshold was 0.5, now 0.3"


@pytest.mark.usefixtures("pair")
def test_blanks_around_a_limit_are_none_of_its_name() -> None:
    assert score("--fail-under", " oa = 0.1 ").code == 0
    assert score("--fail-under", "oa = 1.1").code == 1


def test_images_that_are_gone_or_new_fail(pair: Path) -> None:
    Path("preds/3.npy").unlink()
    Path("masks/3.png").unlink()
    mask = save(pair / "masks/7.png", np.eye(16, dtype=bool))
    save(pair / "preds/7.npy", np.eye(16, dtype=np.float32))
    done = score("--against", "old.csv", "--tolerance", "1")
    assert done.code == 1
    assert "  3.npy: is gone\n  7.npy: is new\n" in done.out
    assert mask.exists()


@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--against", "absent.csv"], 1, "no such file"),
        (["--against", "masks/0.png"], 1, "is not a file of image rows"),
        (["--against", "old.csv", "--loss", "tversky"], 0, ""),
        (["--against", "old.csv", "--loss", "focal"], 1, "probabilities that focal"),
        (["--tolerance", "1"], 2, "--tolerance needs --against"),
        (["--against", "old.csv", "--tolerance", "-1"], 2, "x>=0"),
        (["--against", "old.csv", "--tolerance", "nan"], 2, "at least 0"),
        (["--against", "old.csv", "--csv", "old.csv"], 2, "overwrite an input"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    options: list[str], code: int, told: str
) -> None:
    done = score(*options)
    assert (done.code, told in done.err) == (code, True)


def test_python_has_the_same_gates(pair: Path) -> None:
    found = cdstats.loss("preds", "masks")
    assert found.beyond_limits(under={"oa": 0.1}, over={"bce_mean": 9}) == []
    assert len(found.beyond_limits(under={"oa": 1}, over={"bce_mean": 0})) == 2
    with pytest.raises(cdstats.UsageError, match="did you mean f1_pooled"):
        found.beyond_limits(under={"f1": 0.9})
    assert found.differences("old.csv") == []
    save(pair / "preds/0.npy", np.zeros((16, 16), np.float32))
    gaps = cdstats.loss("preds", "masks").differences("old.csv")
    assert {gap.row for gap in gaps if gap.is_image} == {"0.npy"}


# The files for continuous integration.

HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
SCRIPTS = {step["name"]: step for step in ACTION["runs"]["steps"] if "env" in step}


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
@pytest.mark.parametrize(
    ("step", "inputs", "code"),
    [
        ("Audit the masks", {"masks": "masks", "fail-on": "error"}, 0),
        ("Audit the masks", {"masks": "twice\n", "fail-on": "warning"}, 1),
        ("Audit the masks", {"masks": "masks", "fail-on": "never"}, 2),
        ("Compare the counts", {"masks": "masks", "against": "counts.csv"}, 0),
        ("Compare the counts", {"masks": "twice", "against": "counts.csv"}, 1),
        (
            "Compare the counts",
            {
                "masks": "masks\n",
                "against": "counts.csv",
                "options": "--changed=>=128\n--unchanged=rest\n",
            },
            0,
        ),
    ],
)
def test_the_steps_of_the_action_run(
    pair: Path, step: str, inputs: dict[str, str], code: int
) -> None:
    for name in ("train/a.png", "test/b.png"):  # one mask in two splits
        shutil.copytree("masks", "twice/train", dirs_exist_ok=True)
        shutil.copy("masks/0.png", save(pair / "twice" / name, np.eye(2)))
    assert run("ratio", "masks", "--csv", "counts.csv").code == 0
    held = {
        name: inputs.get(re.findall(r"inputs\.([\w-]+)", text)[0], "")
        for name, text in SCRIPTS[step]["env"].items()
    }
    # The shell hands the words over, and the program runs here.
    program = pair / "bin/cdstats"
    program.parent.mkdir()
    program.write_text("#!/bin/bash\nprintf '%s\\n' \"$@\" >words\nexit 7\n")
    program.chmod(0o755)
    shell = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*shell, SCRIPTS[step]["run"]], env={**os.environ, **held, "PATH": path}
    )
    assert done.returncode == 7
    found = run(*Path("words").read_text().splitlines())
    assert found.code == code, found.out + found.err


def test_every_input_of_the_action_is_used() -> None:
    used = set(re.findall(r"inputs\.([\w-]+)", (ROOT / "action.yml").read_text()))
    assert used == set(ACTION["inputs"])


@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_the_hooks_run_with_their_own_arguments(hook: Any) -> None:
    shutil.rmtree("preds")
    assert run("ratio", ".", "--csv", "counts.csv").code == 0
    program, *words = [*str(hook["entry"]).split(), *map(str, hook["args"])]
    assert program == "cdstats"
    assert run(*words).code == 0
    assert re.search(hook["files"], "data/masks/0.PNG")
    assert not re.search(hook["files"], "README.md")
