"""The screens of `cdstats loss` and `cdstats weights`."""

from pathlib import Path

import numpy as np
import pytest
from helpers import run, save

MASK = np.eye(8, dtype=bool)
HEAD = ["P", "R", "F1", "IoU", "OA", "Kappa"]
SCHEMES = ("hed-beta", "pos-weight", "median-frequency")


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(Path("masks/0.png"), MASK)
    for name, least in (("good", 0.1), ("bad", 0.4)):
        probs = np.where(MASK, 0.8, least)
        probs[0] = 0.7
        save(Path(name, "0.npy"), probs.astype(np.float32))


def test_a_row_of_metrics_for_each_model_stands_before_any_loss() -> None:
    done = run(
        *("loss", "--pred", "good=good", "--pred", "bad=bad", "--target", "masks"),
        *("--by", "dataset"),
    )
    lines = done.out.splitlines()
    assert lines[1].split() == ["Model", *HEAD]
    assert [line.split()[0] for line in lines[3:5]] == ["good", "bad"]
    csv = run(
        *("loss", "--pred", "good=good", "--pred", "bad=bad", "--target", "masks"),
        *("--format", "csv"),
    ).rows()
    names = ("precision_pooled", "recall_pooled", "f1_pooled", "iou_pooled")
    for line, row in zip(lines[3:5], csv, strict=True):
        shown = [f"{float(row[name]):.3f}" for name in (*names, "oa", "kappa")]
        assert line.split()[1:] == shown
    blocks = [n for n, line in enumerate(lines) if line in ("good", "bad")]
    starts = [n for n, line in enumerate(lines) if line.startswith("BCE ")]
    assert len(blocks) == len(starts) == 2
    assert all(5 < block < start for block, start in zip(blocks, starts, strict=True))
    # Predictors that know nothing are the same for both.
    assert sum("p = prior everywhere" in line for line in lines) == 1


def test_one_model_has_a_row_without_a_name() -> None:
    lines = run("loss", "--pred", "good", "--target", "masks").out.splitlines()
    assert lines[1].split() == HEAD
    assert len(lines[3].split()) == len(HEAD)


def test_soft_targets_have_no_metrics_and_say_so() -> None:
    save(Path("soft/0.npy"), np.where(MASK, 0.75, 0.25).astype(np.float32))
    lines = run("loss", "--pred", "good", "--target", "soft").out.splitlines()
    assert set(lines[3].split()) == {"–"}


def test_formulas_and_sources_of_weights_stand_there_with_explain_alone() -> None:
    plain, full = (run("weights", "masks", *more) for more in ((), ("--explain",)))
    assert plain.code == full.code == 0
    for scheme in SCHEMES:
        assert sum(line.startswith(scheme) for line in plain.out.splitlines()) == 1
        assert sum(line.startswith(scheme) for line in full.out.splitlines()) == 2
    assert "torch.nn.BCEWithLogitsLoss" in full.out
    assert "[" not in plain.out.split("Scheme")[1]
    kept = plain.out.splitlines()[:-1]
    assert full.out.splitlines()[: len(kept)] == kept
    assert "--explain" in plain.out.splitlines()[-1]


@pytest.mark.parametrize("form", ["json", "yaml", "torch", "opencd"])
def test_explain_is_for_the_table(form: str) -> None:
    done = run("weights", "masks", "--explain", "--format", form)
    assert (done.code, done.out) == (2, "")
    assert "--explain" in done.err
