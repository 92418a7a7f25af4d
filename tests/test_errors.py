"""Maps of `cdstats errors`: every pixel, the files, and the counts of the scores."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from helpers import run, save
from PIL import Image
from rasterio.crs import CRS
from rasterio.transform import Affine

import cdstats
from cdstats.render.figures.style import OUTCOMES
from cdstats.score.maps import VALUES

RANDOM = np.random.default_rng(3)
MASK = (RANDOM.random((24, 36)) < 0.3) * np.uint8(255)
MASK[:2, :9] = 128
RULE = ("--changed", "255", "--unchanged", "0", "--ignore", "128")
NAMES = ("tp", "fp", "fn", "tn")


def read(path: Path) -> Any:
    with rasterio.open(path) as file:
        return file.read(1)


def expected(found: Any) -> Any:
    """The map of a prediction, by its definition."""
    values = np.select(
        [MASK == 128, (MASK == 255) & found, (MASK == 255) & ~found, found],
        [255, 1, 3, 2],
        0,
    )
    return values.astype(np.uint8)


def counts(values: Any) -> dict[str, int]:
    return {name: int((values == VALUES[name]).sum()) for name in NAMES}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("scores", "options", "cut"),
    [
        pytest.param(
            RANDOM.random(MASK.shape).astype("f4"), ["--threshold", "0.7"], 0.7, id="p"
        ),
        pytest.param(
            RANDOM.normal(size=MASK.shape), ["--kind", "logit"], 0.0, id="logit"
        ),
        pytest.param(
            RANDOM.integers(0, 256, MASK.shape).astype("u1"), [], 127.5, id="bytes"
        ),
        pytest.param(
            RANDOM.integers(0, 101, MASK.shape).astype("u1"),
            ["--scale", "100"],
            50,
            id="per-cent",
        ),
        pytest.param(RANDOM.random(MASK.shape) > 0.5, [], 0.5, id="labels"),
    ],
)
def test_a_map_tells_what_every_pixel_is_and_adds_up_to_the_scores(
    tmp_path: Path, scores: Any, options: list[str], cut: float
) -> None:
    save(tmp_path / "masks/a.png", MASK)
    save(tmp_path / "preds/a.npy", scores)
    paths = ("--pred", tmp_path / "preds", "--target", tmp_path / "masks")
    table = run(
        "errors", *paths, *RULE, *options, "-o", tmp_path / "maps", "--format=csv"
    )
    assert (table.code, table.column("maps")) == (0, ["1"])
    values = read(tmp_path / "maps/a.png")
    assert (values == expected(scores >= cut)).all()
    loss = run("loss", *paths, *RULE, *options, "--format=csv")
    for name, pixels in counts(values).items():
        assert table.column(name) == loss.column(name) == [str(pixels)]
    assert table.column("ignored") == ["18"]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("corners", "options", "lacking"),
    [
        pytest.param([(0, 0), (0, 18)], [], None, id="side-by-side"),
        pytest.param(
            [(0, 0), (0, 12), (0, 18)], ["--overlap=first"], None, id="merged"
        ),
        pytest.param([(0, 18)], ["--uncovered=ignore"], 255, id="left-out"),
        pytest.param([(0, 18)], ["--uncovered=unchanged"], 0, id="unchanged"),
    ],
)
def test_crops_of_a_mask_make_one_map(
    tmp_path: Path, corners: Any, options: list[str], lacking: int | None
) -> None:
    save(tmp_path / "masks/a.png", MASK)
    scores = RANDOM.random(MASK.shape).astype("f4")
    for y, x in corners:
        save(tmp_path / f"preds/a_{y}_{x}.npy", scores[y : y + 24, x : x + 18])
    crops = f"--pred={tmp_path / 'preds'}/{{}}_{{y}}_{{x}}.npy"
    paths = (crops, f"--target={tmp_path / 'masks'}/{{}}.png")
    out = ("-o", tmp_path / "maps", "--format=csv")
    table = run("errors", *paths, *RULE, *options, *out)
    assert table.code == 0, table.err
    values = read(tmp_path / "maps/a.png")
    found = scores >= 0.5
    if lacking is not None:
        found[:, :18] = False
    wanted = expected(found)
    if lacking == 255:
        wanted[:, :18] = 255
    assert (values == wanted).all()
    loss = run("loss", *paths, *RULE, *options, "--format=csv")
    for name, pixels in counts(values).items():
        assert table.column(name) == loss.column(name) == [str(pixels)]


def test_a_mask_on_the_ground_has_a_geotiff_with_a_colour_table(tmp_path: Path) -> None:
    ground = Affine(0.5, 0, 5e5, 0, -0.5, 4e6)
    save(tmp_path / "masks/a.tif", MASK, crs="EPSG:32631", transform=ground)
    save(tmp_path / "preds/a.npy", MASK > 200)
    paths = ("--pred", tmp_path / "preds", "--target", tmp_path / "masks")
    assert run("errors", *paths, *RULE, "-o", tmp_path / "maps").code == 0
    with rasterio.open(tmp_path / "maps/a.tif") as file:
        assert (file.crs, file.transform) == (CRS.from_epsg(32631), ground)
        colours = file.colormap(1)
        assert (file.read(1) == expected(MASK > 200)).all()
    for name, value in VALUES.items():
        assert bytes(colours[value][:3]).hex() == OUTCOMES[name][1:]


def test_each_model_has_a_folder_with_thumbnails_of_the_images(tmp_path: Path) -> None:
    photo = np.full((600, 900, 3), (200, 90, 10), dtype=np.uint8)
    mask = np.zeros((600, 900), dtype=np.uint8)
    mask[:300] = 255
    for folder in ("A", "B"):
        save(tmp_path / f"set/{folder}/x/1.png", photo)
    save(tmp_path / "set/A/x/2.png", photo[:9])
    save(tmp_path / "set/B/x/2.png", np.full((600, 900), 7, np.uint8))
    for name in ("x/1", "x/2"):
        save(tmp_path / f"set/label/{name}.png", mask)
        for model in ("m", "n"):
            save(tmp_path / f"{model}/{name}.png", mask)
    maps = tmp_path / "maps"
    models = [f"--pred={one}={tmp_path / one}" for one in ("m", "n")]
    done = run("errors", *models, "--target", tmp_path / "set/label", "-o", maps)
    assert done.code == 0, done.err
    names = sorted(str(one.relative_to(maps)) for one in maps.rglob("*.*"))
    # The image of another size is left out.
    own = ["x/1.png", "x/1_A.jpg", "x/1_B.jpg", "x/2.png", "x/2_B.jpg"]
    assert names == [f"{model}/{name}" for model in ("m", "n") for name in own]
    with Image.open(maps / "m/x/1_A.jpg") as small:
        assert small.size == (256, 171)
        assert np.abs(np.asarray(small, float) - (200, 90, 10)).max() < 3
    with Image.open(maps / "m/x/1.png") as image:
        assert (image.mode, image.size) == ("P", (900, 600))
        assert image.convert("RGB").getpixel((0, 0)) == (0xF5, 0xF5, 0xF5)


def test_thumbnails_are_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Masks may be named from the folder of the set, or from their own."""
    for folder in ("A", "B", "label", "preds"):
        save(tmp_path / f"set/{folder}/1.png", MASK)
    for place, pred, target in (
        ("", "set/preds", "set/label"),
        ("set", "preds", "label"),
        ("set/label", "../preds", "."),
    ):
        monkeypatch.chdir(tmp_path / place)
        maps = tmp_path / "maps" / place
        done = run("errors", "--pred", pred, "--target", target, *RULE, "-o", maps)
        assert done.code == 0, done.err
        names = {one.name for one in maps.glob("1*")}
        assert names == {"1.png", "1_A.jpg", "1_B.jpg"}


@pytest.fixture
def pair(tmp_path: Path) -> tuple[object, ...]:
    """Two masks and two predictions, of which the second cannot be scored."""
    for name in ("a", "b"):
        save(tmp_path / f"masks/{name}.png", MASK == 255)
    save(tmp_path / "preds/a.png", MASK == 255)
    save(tmp_path / "preds/b.png", (MASK == 255)[:5])
    return "errors", "--pred", tmp_path / "preds", "--target", tmp_path / "masks"


def test_a_prediction_that_is_not_scored_has_no_map(
    tmp_path: Path, pair: tuple[object, ...]
) -> None:
    out = ("-o", tmp_path / "maps", "--csv", tmp_path / "maps.csv")
    done = run(*pair, *out, "--format=csv")
    assert done.code == 1
    assert "error: b.png: is (5, 36) but its mask b.png is (24, 36)" in done.err
    assert (done.column("maps"), done.column("failed")) == (["1"], ["1"])
    assert [one.name for one in (tmp_path / "maps").iterdir()] == ["a.png"]
    rows = (tmp_path / "maps.csv").read_text().splitlines()
    assert rows[1].startswith(",,a.png,a.png,")
    assert run(*pair, *out, "--max-failed=1").code == 0
    by_image = run(*pair, *out, "--by=image", "--format=json")
    assert [one["status"] for one in by_image.data()["images"]] == ["ok", "failed"]


@pytest.mark.parametrize("name", ["a.png", "other.png", "deep/in/it/x.TIF"])
def test_a_folder_is_filled_again_unless_it_holds_other_images(
    tmp_path: Path, pair: tuple[object, ...], name: str
) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    (maps / "notes.txt").write_text("mine")
    for _ in range(2):
        table = ("--csv", maps / "rows.csv")
        assert run(*pair, "-o", maps, *table, "--max-failed=1").code == 0
    assert (maps / "notes.txt").read_text() == "mine"
    kept = (maps / "a.png").read_bytes()
    (maps / name).unlink(missing_ok=True)
    save(maps / name, MASK)
    before = (maps / name).read_bytes()
    done = run(*pair, "-o", maps)
    assert done.code == 2
    assert f"{maps / name}: is not a cdstats map" in done.err
    assert (maps / name).read_bytes() == before
    assert name == "a.png" or (maps / "a.png").read_bytes() == kept


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("masks/maps", "maps would be taken for masks"),
        ("preds", "maps would be taken for masks"),
        ("masks/a.png", "is a file, not a folder"),
        ("no/maps", "its parent folder does not exist"),
    ],
)
def test_a_folder_that_cannot_be_filled_is_refused(
    tmp_path: Path, pair: tuple[object, ...], place: str, text: str
) -> None:
    done = run(*pair, "-o", tmp_path / place)
    assert done.code == 2
    assert text in done.err


def test_a_name_that_no_file_can_have_everywhere_is_changed(tmp_path: Path) -> None:
    for folder in ("masks", "preds"):
        save(tmp_path / f"{folder}/x/a.png", MASK == 255)
    model, target = f"--pred=a:b={tmp_path / 'preds'}", f"--target={tmp_path / 'masks'}"
    assert run("errors", model, target, "-o", tmp_path / "maps").code == 0
    assert list((tmp_path / "maps").rglob("*.png")) == [tmp_path / "maps/a_b/x/a.png"]


def test_arrays_have_maps_too_and_soft_targets_have_none(tmp_path: Path) -> None:
    found = cdstats.errors(MASK == 255, MASK == 255, folder=tmp_path / "maps")
    assert (found.failed, found.models[0].maps, found.models[0].fp) == (0, 1, 0)
    assert len(list((tmp_path / "maps").iterdir())) == 1
    soft = RANDOM.random((4, 4)).astype("f4")
    found = cdstats.errors(soft, soft, folder=tmp_path / "soft")
    assert [row.reason for row in found.images] == [
        "soft targets: no pixel is right or wrong"
    ]
    assert not (tmp_path / "soft").exists()


@pytest.mark.parametrize("command", ["loss", "errors", "report"])
def test_a_refused_split_is_told_once(tmp_path: Path, command: str) -> None:
    data = tmp_path / "data"
    for split in ("train", "val"):
        for one in range(3):
            mask = np.arange(90).reshape(9, 10) % (3 + (split == "val"))
            save(data / f"{split}/label/{one}.png", mask)
            save(data / f"{split}/pred/{one}.npy", mask / 9)
    paths = [data / "{split}/pred/{}.npy", data / "{split}/label/{}.png"]
    more = {"loss": [], "errors": ["-o", tmp_path / "maps"]}.get(command)
    if more is None:
        more = ["--masks", data, "-o", tmp_path / "page.html"]
    done = run(command, "--pred", paths[0], "--target", paths[1], *more)
    assert done.code == 1
    for first in ("90 pixels", "69 pixels"):
        assert done.err.count(f"holds 0 ({first}") == 1, done.err


def test_a_map_of_many_strips_is_known_again(tmp_path: Path) -> None:
    """The offsets of its strips lie before the name of the program."""
    ground = Affine(0.5, 0, 5e5, 0, -0.5, 4e6)
    mask = np.zeros((60_000, 2), np.uint8)
    mask[::3] = 255
    save(tmp_path / "masks/a.tif", mask, crs="EPSG:32631", transform=ground)
    save(tmp_path / "preds/a.npy", mask > 0)
    paths = ("--pred", tmp_path / "preds", "--target", tmp_path / "masks")
    for _ in range(2):
        assert run("errors", *paths, "-o", tmp_path / "maps").code == 0
    with (tmp_path / "maps/a.tif").open("r+b") as file:
        file.truncate(100)
    done = run("errors", *paths, "-o", tmp_path / "maps")
    assert (done.code, "is not a cdstats map" in done.err) == (2, True)
