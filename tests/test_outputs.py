"""What a run writes: never over an input, whole, with the right permissions."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import helpers
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import cdstats
from cdstats.cli import app
from cdstats.io import outputs
from cdstats.io.outputs import write_whole

RULE = ("--changed", "255", "--unchanged", "0")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks in ``m``, predictions in ``p``, rows and lists."""
    folder = tmp_path_factory.mktemp("made")
    random = np.random.default_rng(3)
    for name in ("m", "p/m", "f", "e"):
        (folder / name).mkdir(parents=True)
    for name in "ab":
        mask = random.random((8, 8)) < 0.4
        helpers.save(folder / f"m/{name}.png", mask)
        scores = torch.from_numpy(mask * 0.5 + 0.2)
        path = folder / f"p/m/{name}.pt"
        torch.save(scores, path, _use_new_zipfile_serialization=False)
    (folder / "e/empty.png").touch()
    (folder / "list").write_text("m/a.png\nm/b.png\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("ratio", "@list", "--csv", "rows.csv", *RULE)
        run("ratio", "@list", "--csv", "f/distribution.csv", *RULE)
        run("loss", "--pred", "p", "--target", "@list", "--csv", "scores.csv")
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of these in the working folder, with further names of some files."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    os.link("m/a.png", "hard")
    (tmp_path / "soft").symlink_to("m/b.png")
    os.link("rows.csv", "other.csv")
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    done = helpers.run(*arguments)
    return done.code, done.err


def everything(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


LOSS = ["loss", "--pred", "p", "--target", "@list"]
OVER = [
    [*LOSS, "--csv", "p/m/a.pt"],
    [*LOSS, "--csv", "list"],
    [*LOSS, "--csv", "m/a.png"],
    ["loss", "--pred", "x=p", "--target", "@list", "--csv", "p/m/b.pt"],
    ["loss", "--from", "scores.csv", "--csv", "./scores.csv"],
    ["compare", *LOSS[1:], "--pred", "y=p", "--csv", "p/m/a.pt"],
    ["ratio", "m", "e", "--csv", "e/empty.png"],
    ["ratio", "m/*.png", "--csv", "hard"],
    ["ratio", "@list", "--csv", "soft"],
    ["ratio", "@list", "--csv", "list"],
    ["ratio", "--from", "rows.csv", "--csv", "other.csv"],
    ["ratio", "@list", "--against", "rows.csv", "--csv", "other.csv"],
    ["ratio", "@list", "--cache", "hard"],
    ["ratio", "m/empty", "m/a.png", "--cache", "m/empty"],
    ["weights", "--from", "rows.csv", "--cache", "other.csv"],
    ["report", "--masks", "@list", "-o", "list"],
    ["plot", "--from", "f/distribution.csv", "-o", "f"],
]


@pytest.mark.parametrize("arguments", OVER, ids=" ".join)
def test_an_output_is_no_input_by_any_name(arguments: list[str], place: Path) -> None:
    (place / "m/empty").touch()
    before = everything(place)
    code, told = run(*arguments)
    assert code == 2, told
    assert everything(place) == before
    if "weights" not in arguments:
        assert "would overwrite an input" in told


@pytest.mark.parametrize("option", ["--csv", "--summary", "--cache"])
@pytest.mark.parametrize("name", ["m/c.png", "new.TIF", "x.npy", "m/a.png.aux.xml"])
def test_no_output_is_named_as_a_mask(option: str, name: str, place: Path) -> None:
    before = everything(place)
    code, told = run("ratio", "m", option, name)
    assert (code, everything(place)) == (2, before)
    assert "has the extension of a mask" in told


@pytest.mark.parametrize(
    "line",
    [
        "ratio m --csv counts.sqlite",
        "ratio m --summary counts.sqlite",
        "weights m --cache rows.csv",
        "loss --pred p --target @list --csv counts.sqlite",
    ],
)
def test_no_output_replaces_a_cache(line: str, place: Path) -> None:
    assert run("ratio", "m", "--cache", "counts.sqlite")[0] == 0
    before = everything(place)
    code, told = run(*line.split())
    assert (code, everything(place)) == (2, before)
    assert "cache" in told


@pytest.mark.usefixtures("blank_figures")
def test_results_replace_those_of_an_earlier_run(place: Path) -> None:
    figures = place / "figures"
    for _ in range(2):
        assert run("plot", "--from", "rows.csv", "-o", "figures")[0] == 0
        assert run(*LOSS, "--csv", "again.csv")[0] == 0
    assert (figures / "distribution.csv").is_file()
    assert Path("again.csv").read_bytes() == Path("scores.csv").read_bytes()


def test_no_input_is_looked_at_where_no_output_exists(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = outputs._identity

    def told(path: str) -> object:
        asked.append(os.fspath(path))
        return real(path)

    monkeypatch.setattr(outputs, "_identity", told)
    times = []
    for _ in range(2):
        asked.clear()
        assert run("ratio", "@list", "--jobs", "1", "--csv", "new.csv", *RULE)[0] == 0
        times.append(asked.count(str(place / "m/a.png")))
    assert times == [0, 1]


def bits(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.skipif(sys.platform == "win32", reason="has no permission bits")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o444, 0o755])
def test_a_replaced_file_keeps_its_permissions(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("old")
    path.chmod(mode)
    write_whole(path, "new")
    assert (path.read_text(), bits(path)) == ("new", mode)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="has no permission bits")
@pytest.mark.usefixtures("blank_figures")
def test_new_files_follow_the_umask(place: Path) -> None:
    names = ["new.csv", "sums.json", "counts.sqlite"]
    options = zip(("--csv", "--summary", "--cache"), names, strict=True)
    old = os.umask(0o027)
    try:
        line = (*RULE, *(one for two in options for one in two))
        assert run("ratio", "@list", *line)[0] == 0
        assert run("plot", "--from", "rows.csv", "-o", "new")[0] == 0
        assert run("report", "--from", "rows.csv", "-o", "new.html")[0] == 0
    finally:
        os.umask(old)
    files = [*map(Path, names), Path("new.html"), *place.glob("new/*")]
    assert {bits(file) for file in files} == {0o640}


# Texts come from any stream; each is read once.


def shell(line: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    line = line.replace("cdstats", f"{sys.executable} -m cdstats")
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, capture_output=True, text=True, check=False
    )


def piped(word: str) -> str:
    """The word with a stream of the same text in place of its file."""
    text = Path(word.removeprefix("@")).read_bytes()
    ends = os.pipe()
    os.write(ends[1], text)
    os.close(ends[1])
    return f"{'@' * word.startswith('@')}/dev/fd/{ends[0]}"


@pytest.mark.skipif(sys.platform == "win32", reason="has no such streams")
@pytest.mark.parametrize(
    "line",
    [
        "ratio @list --by image --format csv",
        "ratio --from rows.csv --format csv",
        "ratio @list --against rows.csv",
        "loss --from scores.csv --format csv",
        "report --from rows.csv --from scores.csv -o r.html",
    ],
)
@pytest.mark.usefixtures("place", "blank_figures")
def test_texts_are_read_from_any_stream(line: str) -> None:
    plain = line.split()
    streamed = [piped(w) if w == "@list" or w.endswith(".csv") else w for w in plain]
    done, expected = (CliRunner().invoke(app, one) for one in (streamed, plain))
    assert (done.exit_code, expected.exit_code) == (0, 0), done.stderr
    assert done.stderr.count("\n") == expected.stderr.count("\n")
    if "csv" in plain:
        cut = [row.split(",")[2:] for row in done.stdout.splitlines()]
        assert cut == [row.split(",")[2:] for row in expected.stdout.splitlines()]
    for word in streamed:
        if "/dev/fd/" in word:
            os.close(int(word.rpartition("/")[2]))


@pytest.mark.skipif(sys.platform == "win32", reason="has no pipes of a name")
def test_an_image_is_never_read_from_a_stream(place: Path) -> None:
    done = shell("cdstats ratio <(cat m/a.png) --format csv --by image", place)
    assert done.returncode == 1
    assert "expected a regular file" in done.stdout


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_rows_may_begin_with_a_byte_order_mark(mark: str, place: Path) -> None:
    text = (place / "rows.csv").read_text(encoding="utf-8")
    (place / "saved.csv").write_text(mark + text, encoding="utf-8")
    assert run("ratio", "--from", "saved.csv") == (0, "")


@pytest.mark.parametrize(
    ("command", "file"),
    [
        (["ratio", "--from"], "rows.csv"),
        (["weights", "--from"], "rows.csv"),
        (["audit", "--from"], "rows.csv"),
        (["report", "--from"], "rows.csv"),
        (["ratio", "@list", "--against"], "rows.csv"),
        (["loss", "--from"], "scores.csv"),
        (["compare", "--from"], "scores.csv"),
    ],
)
def test_a_row_that_stands_twice_is_refused(
    command: list[str], file: str, place: Path
) -> None:
    lines = (place / file).read_text().splitlines()
    (place / "twice.csv").write_text("\n".join([*lines, lines[1]]) + "\n")
    code, told = run(*command, "twice.csv")
    assert code == 1
    assert "2 rows of " in told


@pytest.mark.parametrize(
    "address", ["s3://b/o.csv", "https://h/o.csv", "file:///o.csv"]
)
@pytest.mark.parametrize(
    "command",
    ["ratio m --csv", "ratio m --summary", "ratio m --cache"],
)
@pytest.mark.usefixtures("place")
def test_an_address_is_no_output(command: str, address: str) -> None:
    code, told = run(*command.split(), address)
    assert (code, "outputs must be local files" in told) == (2, True), told
    assert f"{address.replace(':///', '://')}: " in told
    for also in (["plot", f"{address}/figures"], ["report", f"{address}.html"]):
        code, told = run(also[0], "--masks", "m", "-o", also[1])
        assert (code, "outputs must be local files" in told) == (2, True), told


@pytest.mark.usefixtures("place")
def test_a_file_of_the_database_is_no_second_output() -> None:
    code, told = run("ratio", "m", "--cache", "c.sqlite", "--csv", "c.sqlite-wal")
    assert (code, "two outputs" in told) == (2, True), told


@pytest.mark.usefixtures("place")
def test_a_pipe_that_is_too_long_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cdstats.io.outputs._MOST_STREAMED", 10)
    ends = os.pipe()
    os.write(ends[1], b"m/a.png\n" * 2)
    os.close(ends[1])
    code, told = run("ratio", f"@/dev/fd/{ends[0]}")
    os.close(ends[0])
    assert (code, "10 characters or more" in told) == (1, True), told


@pytest.mark.skipif(os.name != "posix", reason="closes a stream by the shell")
@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("", ">&-", "standard output: bad file descriptor"),
        ("mkdir gone; cd gone; rmdir ../gone;", "", "working folder: no such file"),
    ],
)
def test_results_that_cannot_be_printed_are_told(
    before: str, after: str, told: str, place: Path
) -> None:
    command = [sys.executable, "-m", "cdstats", "ratio", str(place / "m")]
    done = subprocess.run(
        ["sh", "-c", f'{before} exec "$@" {after}', "sh", *command],
        capture_output=True,
        check=False,
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(Path(cdstats.__file__).parents[1])},
    )
    assert done.returncode == 1
    assert told in done.stderr.decode()
