"""Sets of masks that are known by their counts or by the hash of their labels."""

from pathlib import Path

import numpy as np
import pytest
from helpers import run, save
from test_signature import MASK, signature, written

from cdstats.core.errors import DataError
from cdstats.core.known_sets import (
    KnownSet,
    entries_text,
    known_sets,
    own_file,
    recognised,
)
from cdstats.core.reference import published

LEVIR = {"images": "128", "px": "134217728", "changed": "6837335"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration folder of its own."""
    for name in ("XDG_CONFIG_HOME", "HOME", "APPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    return tmp_path


def test_published_counts_are_recognised() -> None:
    text = recognised(LEVIR)
    assert text == "masks are LEVIR-CD test (128 masks, 1024 x 1024)"
    other = recognised({**LEVIR, "changed": "6837334"})
    assert other.startswith(
        "masks have 6,837,334 changed pixels and labels that differ from"
    )
    assert "LEVIR-CD test (128 masks, 1024 x 1024)" in other
    assert recognised({**LEVIR, "px": "134217727"}) == ""
    assert recognised({**LEVIR, "rule": "soft"}) == ""


def test_every_exact_or_rounded_row_is_a_known_set() -> None:
    rows = [row for row in published() if row.status in ("exact", "rounded")]
    held = {(one.dataset, one.split, one.images): one.changed for one in known_sets()}
    assert len(rows) > 20
    further = {
        ("Taizhou (Landsat)", "all", 1): 4227,
        ("Nanjing (Landsat)", "all", 1): 2363,
    }
    assert held == {(r.dataset, r.split, r.images): r.changed for r in rows} | further


def test_rounded_counts_match_what_rounds_to_them() -> None:
    one = KnownSet("a", "all", 1, None, 2**25, rounded=True)
    exact = KnownSet("a", "all", 1, None, 2**25)
    line = {"images": "1", "px": "9", "changed": str(2**25 + 1)}
    assert (one.holds(line), exact.holds(line)) == (True, False)


def test_the_hash_decides_where_it_is_known() -> None:
    known = KnownSet("a", "all", 2, 16, 5, labels="0" * 16)
    line = {"images": "2", "px": "16", "changed": "5", "labels": "0" * 16}
    assert known.holds(line) is True
    assert known.holds({**line, "labels": "1" * 16}) is False
    assert known.holds({**line, "images": "3"}) is None


def test_a_set_of_the_user_is_recognised_afterwards(home: Path) -> None:
    options = written(home)
    note = "masks are My 'set' \"é\" (2 masks)"
    name = "My 'set' \"é\""
    assert note not in run("loss", *options).err
    done = run("published", "--add", name, home / "masks")
    assert done.code == 0, done.err
    labels = signature(*options).rpartition(":")[2]
    assert f"{name} (2 masks): labels {labels}" in done.out
    assert str(own_file()) in done.err
    assert f"note: {note}" in run("loss", *options).err
    before = own_file().read_text(encoding="utf-8")
    assert run("published", "--add", name, home / "masks").code == 0
    assert own_file().read_text(encoding="utf-8") == before
    save(home / "masks/0.png", np.roll(MASK, 4))
    assert note not in run("loss", *options).err


def test_splits_are_sets_of_their_own(home: Path) -> None:
    for split, number in (("train", 2), ("test", 1)):
        for one in range(number):
            save(home / f"set/{split}/label/{one}.png", np.roll(MASK, one))
    assert run("published", "--add", "set", home / "set").code == 0
    held = {one.split: one.images for one in known_sets() if one.dataset == "set"}
    assert held == {"all": 3, "train": 2, "test": 1}


def test_a_set_of_the_user_is_listed_and_compared_with(home: Path) -> None:
    written(home)
    assert run("published", "--add", "Our set", home / "masks").code == 0
    (row,) = run("published", "our SET", "--format", "json").data()["rows"]
    assert (row["status"], row["source"], row["images"]) == ("own", str(own_file()), 2)
    assert (row["changed"], row["unchanged"]) == (2 * MASK.sum(), 2 * (~MASK).sum())
    assert "Our set" in run("published").out
    same = run("ratio", home / "masks", "--against", "Our set", "--format", "csv")
    assert (same.code, "own: " in same.err, " 0 " in same.err) == (0, True, True)
    near = run("ratio", home / "masks", "--against", "Our sett")
    assert (near.code, "did you mean Our set" in near.err) == (2, True)
    for name in ("Published", "DASNet"):
        refused = run("published", "--add", name, home / "masks")
        assert (refused.code, "is reserved for published" in refused.err) == (2, True)


def test_rules_are_those_of_ratio(home: Path) -> None:
    save(home / "codes/0.png", np.arange(16).reshape(4, 4) % 3)
    refused = run("published", "--add", "codes", home / "codes")
    assert (refused.code, own_file().exists()) == (1, False)
    rule = ("--changed", 2, "--unchanged", "rest")
    assert run("published", "--add", "codes", home / "codes", *rule).code == 0
    assert next(iter(known_sets())).changed == 5
    assert run("published", *rule).code == 2
    save(home / "soft/0.npy", np.full((4, 4), 0.5))
    assert "soft targets" in run("published", "--add", "s", home / "soft").err


@pytest.mark.parametrize(
    "text",
    [
        "[[set]",
        "set = 3",
        "[[set]]\nname = 'a'",
        "[[set]]\ndataset = 'a'",
        "[[set]]\nimages = '3'",
        "[[set]]\nlabels = 'x'",
    ],
)
def test_a_broken_file_is_told_and_costs_no_score(home: Path, text: str) -> None:
    own_file().parent.mkdir(parents=True)
    own_file().write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="not a file of known sets"):
        known_sets()
    done = run("loss", *written(home))
    assert done.code == 0
    assert f"warning: {own_file()}: not a file of known sets" in done.err
    assert run("published", "--add", "a", home / "masks").code == 1
    assert own_file().read_text(encoding="utf-8") == text


def test_entries_are_read_as_they_were_written() -> None:
    sets = [
        KnownSet("a\\\"'", "all", 1, None, 2, "0" * 16, "x", rounded=True),
        KnownSet("b", "test", 1, 4, 2),
    ]
    own_file().parent.mkdir(parents=True)
    own_file().write_text(entries_text(sets), encoding="utf-8")
    assert known_sets()[:2] == sets
