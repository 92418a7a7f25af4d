"""Images in the columns of Parquet files, against the same images as PNG files."""

import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import run, save
from PIL import Image

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def png(array: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.asarray(array, np.uint8)).save(out, "png")
    return out.getvalue()


def masks(number: int, seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        (rng.random((12, 16)) > rng.random()) * np.uint8(255) for _ in range(number)
    ]


def structs(images: Any, named: bool = True, start: int = 0) -> pa.Array:
    rows = [
        {"bytes": png(one), "path": f"{at}.png" if named else None}
        for at, one in enumerate(images, start)
    ]
    return pa.array(rows, STRUCT)


def table(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)
    return path


def counted(*arguments: object) -> list[list[str]]:
    """The image rows of a run without their names."""
    done = run("ratio", *arguments, "--by", "image", "--format", "csv")
    assert done.code == 0, done.err
    return [list(row.values())[3:] for row in done.rows()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for at, mask in enumerate(masks(40)):
        save(tmp_path / "png" / f"{at}.png", mask)
    return tmp_path


def test_rows_count_as_the_same_images_in_files(folder: Path) -> None:
    expected = counted(f"X={folder / 'png'}")
    plain = [png(one) for one in masks(40)]
    large = pa.array(plain, pa.large_binary())
    kinds: list[tuple[pa.Array, dict[str, Any]]] = [
        (structs(masks(40)), {"row_group_size": 7}),
        (structs(masks(40)), {}),
        (pa.array(plain), {}),
        (large, {"use_dictionary": False, "compression": "zstd"}),
    ]
    for at, (column, options) in enumerate(kinds):
        path = table(
            folder / f"{at}.parquet", {"id": range(40), "x": column}, **options
        )
        assert counted(f"X={path}#x") == counted(f"X={path}") == expected, options
    assert counted(f"X={folder}/0.parquet#x", "--jobs", "2") == expected


def test_shards_beside_a_text_are_one_dataset_with_splits(folder: Path) -> None:
    home = folder / "LEVIR"
    for at, split in enumerate(("train", "train", "validation", "test")):
        name = f"{split}-{at % 2:05}-of-00002.parquet"
        part = structs(masks(40)[at * 10 : at * 10 + 10], start=at * 10)
        table(home / "data" / name, {"label": part})
    (home / "README.md").write_text("A dataset.")
    done = run("ratio", home, "--by", "split", "--format", "csv")
    assert (done.code, done.column("dataset")) == (0, ["LEVIR"] * 4)
    assert done.column("split") == ["all", "train", "val", "test"]
    assert done.column("images") == ["40", "20", "10", "10"]
    only = run("ratio", f"{home}#label", "--split", "val", "--format", "csv")
    assert only.column("images") == ["10", "10"]
    rows = run(
        "ratio", home / "data/train-*.parquet", "--by", "image", "--format", "csv"
    )
    assert rows.column("path")[-1] == "train-00001-of-00002.parquet#label#9"


def test_nested_columns_are_named_by_their_path(folder: Path) -> None:
    inner = pa.StructArray.from_arrays([structs(masks(40))], ["mask"])
    path = table(folder / "n.parquet", {"objects": inner})
    expected = counted(f"X={folder / 'png'}")
    assert counted(f"X={path}") == counted(f"X={path}#objects.mask") == expected


def test_one_row_is_read_alone(folder: Path) -> None:
    path = table(folder / "a.parquet", {"label": structs(masks(40))})
    expected = counted(folder / "png/33.png")
    assert counted(f"{path}#label#33") == counted(f"{path}#33") == expected


def test_several_columns_of_images_need_a_choice(tmp_path: Path) -> None:
    photo = [np.zeros((4, 4, 3), np.uint8)] * 2
    columns = {
        "imageA": structs(photo),
        "label": structs(masks(2)),
        "id": pa.array([1, 2]),
    }
    path = table(tmp_path / "train.parquet", columns)
    done = run("ratio", path)
    assert done.code == 1
    assert "2 columns hold images: imageA (PNG), label (PNG)" in done.err
    assert f"{path}#label" in " ".join(done.err.split())
    assert len(counted(f"{tmp_path}#label")) == 2
    wrong = run("ratio", f"{path}#id")
    assert "column id holds int64, not images" in wrong.err
    assert "has no column 'mask'; images: imageA (PNG), label (PNG)" in (
        run("ratio", f"{path}#mask").err
    )


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        pytest.param([None], "no image (null)", id="null"),
        pytest.param(
            [{"bytes": None, "path": None}], "no image (null)", id="null-inside"
        ),
        pytest.param(
            [{"bytes": None, "path": "/data/1.png"}],
            "holds the path '/data/1.png' but no bytes",
            id="path-alone",
        ),
        pytest.param([{"bytes": b"", "path": None}], "is empty (0 bytes)", id="empty"),
        pytest.param([{"bytes": b"RIFF....WEBP", "path": None}], "WebP", id="foreign"),
    ],
)
def test_a_row_without_an_image_fails_alone(
    tmp_path: Path, rows: list[Any], reason: str
) -> None:
    good = {"bytes": png(masks(1)[0]), "path": "1.png"}
    path = table(tmp_path / "a.parquet", {"label": pa.array([*rows, good], STRUCT)})
    done = run("ratio", path, "--by", "image", "--format", "csv")
    assert (done.code, done.column("status")) == (1, ["failed", "ok"])
    assert reason in done.column("reason")[0]


def test_a_page_is_limited_by_all_its_copies_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    column, options = pa.array([bytes(1 << 24)]), {"compression": "zstd"}
    path = table(tmp_path / "a.parquet", {"x": column}, **options)
    monkeypatch.setattr("cdstats.io.limits._memory", lambda: 1 << 26)
    assert "at once, more than half of the memory" in run("ratio", path).err


def test_names_of_columns_are_shown_on_one_line(tmp_path: Path) -> None:
    columns = {"a\n\x1b[31m": structs(masks(2)), "b": structs(masks(2))}
    refused = run("ratio", table(tmp_path / "a.parquet", columns))
    assert "2 columns hold images: a\\n\\x1b[31m (PNG), b (PNG)." in refused.err


def test_a_file_without_images_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path / "a.parquet", {"name": ["x"], "raw": [b"no image"]})
    done = run("ratio", path)
    assert done.code == 1
    assert "no column holds images; columns: name (string), raw (binary)" in done.err
    empty = table(tmp_path / "e.parquet", {"label": structs([])})
    assert "has no rows" in run("ratio", empty).err


def test_a_table_beside_images_is_skipped_unless_it_holds_some(folder: Path) -> None:
    table(folder / "png/metadata.parquet", {"name": ["0.png"]})
    done = run("ratio", folder / "png", "--format", "csv")
    assert (done.code, done.column("images")[0]) == (0, "40")
    assert "1 Parquet file skipped: no column holds images" in done.err
    table(folder / "png/rows.parquet", {"label": structs(masks(2))})
    both = run("ratio", folder / "png")
    assert both.code == 1
    assert "images are in Parquet files (rows.parquet) and beside them" in both.err


def test_a_damaged_shard_is_a_failed_row(tmp_path: Path) -> None:
    good = table(tmp_path / "train-0.parquet", {"label": structs(masks(5))})
    data = good.read_bytes()
    (tmp_path / "train-1.parquet").write_bytes(data[:-20])
    done = run("ratio", tmp_path, "--by", "image", "--format", "csv")
    assert (done.code, done.column("status")) == (1, ["ok"] * 5 + ["failed"])
    assert "Parquet file is damaged or cut short" in done.column("reason")[-1]


FLIPS = """
import sys
from pathlib import Path
from cdstats.io.counting import Task, count_file
from cdstats.io.discovery import find_masks

path = Path(sys.argv[1])
data = path.read_bytes()
footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")

def counted():
    (found,) = find_masks([str(path)])
    tasks = [Task(file.path, file.member) for file in found.files]
    return [one for task in tasks for one in count_file(task)]

whole, failed, silent = counted(), 0, 0
for bit in range(footer * 8, footer * 8 + 800, 13):
    hurt = bytearray(data)
    hurt[bit // 8] ^= 1 << bit % 8
    path.write_bytes(hurt)
    found = counted()
    failed += not found or any(one.mask is None for one in found)
    wrong = [one.mask and one.mask.counts for one in found]
    true = [one.mask.counts for one in whole]
    silent += len(found) == 6 and any(w not in (None, t) for w, t in zip(wrong, true))
print(failed > 10, silent)
"""


def test_a_damaged_footer_never_ends_the_process(tmp_path: Path) -> None:
    path = table(tmp_path / "a.parquet", {"label": structs(masks(6))})
    command = [sys.executable, "-c", FLIPS, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True 0\n"), done.stderr[-300:]


# Pairs.


def scored(pred: object, target: object, *more: object) -> list[list[str]]:
    arguments = ("--pred", pred, "--target", target, "--by", "image", "--format", "csv")
    done = run("loss", *arguments, *more)
    assert done.code == 0, done.err
    return [
        [
            value
            for name, value in row.items()
            if name not in ("pred", "target", "split")
        ]
        for row in done.rows()
    ]


def pred_files(folder: Path, order: list[int]) -> list[np.ndarray]:
    found = masks(10, seed=2)
    for at, one in enumerate(found):
        save(folder / "pred" / f"{at}.png", one)
        save(folder / "label" / f"{at}.png", masks(10)[at])
    return [found[at] for at in order]


def test_rows_pair_by_the_name_in_their_path(tmp_path: Path) -> None:
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    found = pred_files(tmp_path, order)
    rows = [
        {"bytes": png(one), "path": f"out/{at}.png"}
        for at, one in zip(order, found, strict=True)
    ]
    preds = table(tmp_path / "p.parquet", {"pred": pa.array(rows, STRUCT)})
    data = table(tmp_path / "d.parquet", {"label": structs(masks(10))})
    expected = scored(tmp_path / "pred", tmp_path / "label")
    assert sorted(scored(f"{preds}#pred", f"{data}#label")) == sorted(expected)
    assert sorted(scored(preds, tmp_path / "label")) == sorted(expected)
    assert sorted(scored(tmp_path / "pred", data)) == sorted(expected)


def test_rows_without_a_path_pair_by_number_across_shards(tmp_path: Path) -> None:
    found = pred_files(tmp_path, list(range(10)))
    preds = table(tmp_path / "p.parquet", {"pred": [png(one) for one in found]})
    for at, part in enumerate((masks(10)[:4], masks(10)[4:])):
        table(tmp_path / f"data/test-{at}.parquet", {"label": structs(part)})
    expected = scored(tmp_path / "pred", tmp_path / "label")
    assert scored(preds, f"{tmp_path / 'data'}#label") == expected
    fewer = table(tmp_path / "f.parquet", {"pred": [png(one) for one in found[:9]]})
    done = run("loss", "--pred", fewer, "--target", tmp_path / "data")
    assert done.code == 1
    assert "9 predictions for 10 masks of split test" in done.err


def test_numbers_of_rows_never_pair_with_names_of_files(tmp_path: Path) -> None:
    found = pred_files(tmp_path, list(range(10)))
    preds = table(tmp_path / "p.parquet", {"pred": [png(one) for one in found]})
    done = run("loss", "--pred", preds, "--target", tmp_path / "label")
    assert done.code == 1
    assert "no prediction pairs with a mask" in done.err
    assert "Rows of a Parquet file pair by the file name" in done.err


def test_numbers_of_rows_need_one_split(tmp_path: Path) -> None:
    preds = table(tmp_path / "p.parquet", {"pred": [png(one) for one in masks(4)]})
    for split in ("train", "test"):
        path = tmp_path / f"data/{split}-0.parquet"
        table(path, {"label": structs(masks(4, seed=2))})
    data = tmp_path / "data"
    done = run("loss", "--pred", preds, "--target", data)
    assert done.code == 1
    assert "the masks are in test, train: choose one with --split" in done.err
    assert len(scored(preds, data, "--split", "test")) == 4


def test_a_sheet_and_a_list_name_rows(tmp_path: Path) -> None:
    found = pred_files(tmp_path, list(range(10)))
    table(tmp_path / "p.parquet", {"pred": [png(one) for one in found]})
    table(tmp_path / "d.parquet", {"label": structs(masks(10))})
    lines = [f"p.parquet#pred#{at},d.parquet#label#{at}\n" for at in range(10)]
    sheet = tmp_path / "pairs.csv"
    sheet.write_text("pred,target\n" + "".join(lines))
    done = run("loss", "--pred", f"@{sheet}", "--by", "image", "--format", "csv")
    assert (done.code, done.column("status")) == (0, ["ok"] * 10)
    places = ("--pred", tmp_path / "pred", "--target", tmp_path / "label")
    files = run("loss", *places, "--by", "image", "--format", "csv")
    assert done.column("bce_sum") == files.column("bce_sum")
    sheet.write_text("pred,target\np.parquet,d.parquet\n")
    whole = run("loss", "--pred", f"@{sheet}")
    assert whole.code == 1
    assert "expected a row in a cell: p.parquet#pred#0" in whole.err
    (tmp_path / "list.txt").write_text("d.parquet#label\n")
    assert len(counted(f"@{tmp_path / 'list.txt'}")) == 10


def test_without_pyarrow_one_line_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(folder / "a.parquet", {"label": structs(masks(2))})
    table(folder / "png/metadata.parquet", {"name": ["0.png"]})
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    done = run("ratio", path)
    assert done.code == 2
    assert "pip install 'cdstats[parquet]'" in done.err
    beside = run("ratio", folder / "png")
    assert beside.code == 0
    assert "1 Parquet file skipped" in beside.err


def test_a_cache_knows_rows_until_their_file_changes(tmp_path: Path) -> None:
    path = table(tmp_path / "a.parquet", {"label": structs(masks(6))})
    cache = tmp_path / "c.sqlite"
    first = counted(path, "--cache", cache)
    assert counted(path, "--cache", cache) == first
    table(path, {"label": structs(masks(6, seed=3))})
    assert counted(path, "--cache", cache) == counted(path) != first


def test_an_output_never_replaces_the_table_that_is_read(tmp_path: Path) -> None:
    path = table(tmp_path / "a.parquet", {"label": structs(masks(2))})
    link = tmp_path / "out.csv"
    link.hardlink_to(path)
    done = run("ratio", path, "--csv", link)
    assert done.code == 2
    assert "would overwrite an input" in done.err


def test_other_commands_read_rows(tmp_path: Path) -> None:
    path = table(tmp_path / "a.parquet", {"label": structs(masks(6))})
    for command in ("audit", "weights"):
        assert run(command, path).code == 0
    shutil.copy(path, tmp_path / "b.bin")
    assert "its name must end in .parquet" in run("ratio", tmp_path / "b.bin").err
