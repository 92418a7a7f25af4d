"""`cdstats report`: one page that holds everything and loads nothing."""

from __future__ import annotations

import hashlib
import importlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import run, save

import cdstats
from cdstats.core.columns import Column
from cdstats.render.table import Table
from cdstats.report import gather
from cdstats.report.html import is_wide

ROOT = Path(__file__).parents[1]
MASKS = ROOT / "sample_masks/CDD"
EVIL = "<script>alert(1)</script>&\"'"


class Page(HTMLParser):
    """The elements of a page, and whether every one is closed."""

    VOID = ("meta", "link", "br", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def report(*arguments: object) -> tuple[int, str, str]:
    done = run("report", *arguments)
    return done.code, done.out, done.err


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks and predictions of a model, with names that are markup."""
    folder = tmp_path_factory.mktemp("sources")
    generator = np.random.default_rng(8)
    for split, name in (("train", "a"), ("train", EVIL.replace("/", "")), ("val", "b")):
        mask = (generator.random((12, 10)) < 0.3).astype(np.uint8)
        probs = np.clip(0.6 * mask + 0.4 * generator.random(mask.shape), 0, 1)
        for kind, data in (("masks", mask), ("preds", probs.astype(np.float32))):
            save(folder / kind / split / f"{name}.npy", data)
    return folder


@pytest.fixture(scope="module")
def page_file(sources: Path) -> Path:
    path = sources / "report.html"
    code, out, _ = report(
        *("--masks", f"{EVIL.replace('/', '')}={sources}/masks", "-o", str(path)),
        *("--pred", f"m{EVIL.replace('/', '')}={sources}/preds"),
        *("--target", f"{sources}/masks"),
    )
    assert (code, out) == (0, f"{path}\n")
    return path


@pytest.fixture(scope="module")
def page(page_file: Path) -> Page:
    return Page(page_file.read_text(encoding="utf-8"))


def test_the_page_loads_nothing(page: Page) -> None:
    assert page.named("script") == []
    (policy,) = [m for m in page.named("meta") if "http-equiv" in m]
    assert policy["content"] == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    )
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))


def test_names_from_the_file_system_are_text(page: Page, page_file: Path) -> None:
    assert "<script" not in page_file.read_text(encoding="utf-8")
    assert EVIL.replace("/", "") in page.text


def test_names_of_elements_are_unique_and_references_lead_to_them(page: Page) -> None:
    names = [a["id"] for _, a in page.elements if "id" in a]
    assert len(names) == len(set(names))
    for _, attributes in page.elements:
        for key in ("aria-labelledby", "aria-describedby"):
            if key in attributes:
                assert attributes[key] in names
        for value in attributes.values():
            for found in re.findall(r"url\(#([^)]*)\)|^#(.+)$", value or ""):
                assert "".join(found) in names


def test_figures_pictures_and_tables_are_described(page: Page) -> None:
    drawings = [svg for svg in page.named("svg") if svg.get("aria-hidden") != "true"]
    assert len(drawings) >= 8
    assert all(svg["role"] == "img" and "aria-labelledby" in svg for svg in drawings)
    assert len(page.named("title")) == len(drawings) + 1
    assert all(" FP " in (image["alt"] or "") for image in page.named("img"))
    assert len(page.named("caption")) == len(page.named("table"))
    assert all("scope" in head for head in page.named("th"))
    assert page.named("html") == [{"lang": "en"}]
    assert page.elements[[t for t, _ in page.elements].index("body") + 1][0] == "a"


def test_headings_leave_out_no_level(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))


def test_the_page_holds_the_numbers_of_the_library(page: Page, sources: Path) -> None:
    row = cdstats.ratio(sources / "masks").datasets[0]
    score = cdstats.loss(sources / "preds", sources / "masks").models[0].dataset
    for text in (
        f"{row.changed:,}",
        f"{row.change_ratio:.3f}",
        f"{score.f1_pooled:.3f}",
        f"{score.class_mean_bce:.3f}",
    ):
        assert text in page.text


def test_provenance_names_command_rule_and_the_hash_of_the_list(
    page: Page, sources: Path
) -> None:
    rows = cdstats.ratio(f"D={sources}/masks").images
    name = EVIL.replace("/", "")
    text = "".join(f"{name}\t{row.split}\t{row.path}\n" for row in rows)
    assert hashlib.sha256(text.encode()).hexdigest() in page.text
    assert f"cdstats {cdstats.__version__}" in page.text
    assert "cdstats report --masks" in page.text
    assert "changed 1, unchanged 0 (detected)" in page.text


def test_equal_sources_give_an_equal_page(page_file: Path, sources: Path) -> None:
    again = sources / "again.html"
    options: dict[str, Any] = {
        "masks": [f"{EVIL.replace('/', '')}={sources}/masks"],
        "pred": [f"m{EVIL.replace('/', '')}={sources}/preds"],
        "target": f"{sources}/masks",
    }
    cdstats.report(again, **options)
    first, second = (
        re.sub(r"<dt>Command</dt>.*\n", "", path.read_text(encoding="utf-8"))
        for path in (page_file, again)
    )
    assert first == second


@pytest.mark.usefixtures("blank_figures")
def test_rows_of_earlier_runs_give_the_same_numbers(
    sources: Path, tmp_path: Path
) -> None:
    masks, scores = tmp_path / "masks.csv", tmp_path / "scores.csv"
    run("ratio", sources / "masks", "--csv", masks)
    loss = ("loss", "--pred", sources / "preds", "--target", sources / "masks")
    run(*loss, "--csv", scores)
    path = tmp_path / "report.html"
    code, _, notes = report("--from", scores, "--from", masks, "-o", path)
    assert code == 0
    assert "no figure regions: needs the pixels of masks" in notes
    found = Page(path.read_text(encoding="utf-8"))
    numbers = re.findall(r"\d\.\d{3}\b", found.text)
    assert len(numbers) > 10
    assert "Not shown" in found.text
    score = cdstats.loss(sources / "preds", sources / "masks").models[0].dataset
    assert f"{score.class_mean_bce:.3f}" in found.text
    assert found.named("img") == []


@pytest.mark.usefixtures("blank_figures")
def test_a_file_that_fails_is_named_and_the_exit_code_says_so(tmp_path: Path) -> None:
    save(tmp_path / "masks/good.npy", np.eye(3, dtype=np.uint8))
    (tmp_path / "masks/bad.png").write_bytes(b"no picture")
    path = tmp_path / "report.html"
    named = ("--masks", tmp_path / "masks", "-o", path)
    code, out, err = report(*named)
    assert code == 1
    assert out == f"{path}\n"
    assert "masks: bad.png: " in err
    assert "Failed files" in Page(path.read_text(encoding="utf-8")).text
    assert report(*named, "--max-failed", 1)[0] == 0


@pytest.mark.usefixtures("blank_figures")
def test_pictures_are_bounded_in_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "MOST_PICTURES", 2)
    save(tmp_path / "masks/a.npy", np.eye(3, dtype=np.uint8))
    models = []
    for number in range(3):
        folder = tmp_path / f"model{number}"
        save(folder / "a.npy", np.zeros((3, 3), dtype=np.float32))
        models += ["--pred", folder]
    path = tmp_path / "report.html"
    code, *_ = report(*models, "--target", tmp_path / "masks", "-o", path)
    assert code == 0
    found = Page(path.read_text(encoding="utf-8"))
    assert len(found.named("img")) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([], "nothing to show", id="nothing"),
        pytest.param(["--pred", "x"], "name predictions with --pred and", id="no-mask"),
        pytest.param(["--from", "{rows}", "--masks", "x"], "omit --masks", id="twice"),
        pytest.param(
            ["--from", "{rows}", "--from", "{rows}"],
            "found two files of the same kind",
            id="alike",
        ),
        pytest.param(
            ["--from", "{rows}", "--preset", "cdnet2014"], "--preset", id="rule"
        ),
        pytest.param(
            ["--from", "{rows}", "--threshold", "0.3"], "--threshold", id="threshold"
        ),
        pytest.param(
            ["--from", "{rows}", "--loss", "dice"],
            "--loss needs predictions",
            id="loss",
        ),
        pytest.param(
            ["--masks", "x", "--device", "cpu"],
            "no predictions are read here; omit --device",
            id="device",
        ),
        pytest.param(
            ["--pred", "x", "--target", "y", "--jobs", "1"],
            "no masks are given with --masks; omit --jobs",
            id="workers",
        ),
        pytest.param(
            ["--from", "{rows}", "--jobs", "2"],
            "not pixels; omit --jobs",
            id="jobs",
        ),
        pytest.param(["--from", "{rows}", "-o", "{rows}"], "overwrite", id="input"),
        pytest.param(
            ["--from", "{rows}", "-o", "x.pdf"], "a report is an HTML file", id="pdf"
        ),
        pytest.param(["--pred", "-", "--target", "y"], "@list.txt", id="stdin"),
    ],
)
def test_wrong_usage_is_refused_with_a_way_out(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.html"
    run("ratio", MASKS / "val", "--csv", rows)
    before = rows.read_bytes()
    given = [text.replace("{rows}", str(rows)) for text in arguments]
    output = [] if "-o" in given else ["-o", str(tmp_path / "r.html")]
    code, out, err = report(*given, *output)
    assert (code, out) == (2, "")
    assert message in err
    assert rows.read_bytes() == before
    assert not (tmp_path / "r.html").exists()


def test_without_the_extra_the_way_out_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "jinja2" else name
    )
    code, _, err = report("--masks", str(MASKS), "-o", str(tmp_path / "r.html"))
    assert code == 2
    assert "pip install 'cdstats[report]'" in err


@pytest.mark.parametrize("command", ["report", "plot"])
def test_a_broken_matplotlib_is_one_line(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = importlib.import_module

    def broken(name: str, package: str | None = None) -> object:
        if name == "matplotlib.figure":
            raise ImportError("undefined symbol: x\nmore")
        return load(name, package)

    monkeypatch.setattr(importlib, "import_module", broken)
    done = run(command, "--masks", MASKS, "-o", tmp_path / "out")
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith("error: matplotlib is installed and cannot be loaded: undef")


def test_the_rows_behind_a_figure_are_a_table_of_the_page(page: Page) -> None:
    assert "rows behind this figure" in page.text
    assert any("Rows of the figure" in text for text in page.texts)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with images, two models of labels and one refused dataset."""
    folder = tmp_path_factory.mktemp("compared")
    generator = np.random.default_rng(2)
    photo = generator.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    for name in ("1", "2", "3"):
        mask = generator.random((16, 16)) < 0.3
        save(folder / f"set/label/{name}.png", mask)
        save(folder / f"bad/{name}.png", generator.choice([0, 3, 9], (16, 16)))
        for date in ("A", "B"):
            save(folder / f"set/{date}/{name}.png", photo)
        for model, share in (("m", 0.1), ("n", 0.2)):
            wrong = generator.random((16, 16)) < share
            save(folder / f"{model}/{name}.png", mask ^ wrong)
    return folder


@pytest.mark.usefixtures("blank_figures")
def test_models_are_compared_and_losses_of_labels_are_folded(compared: Path) -> None:
    models = [f"--pred={one}={compared / one}" for one in ("m", "n")]
    target = f"--target={compared / 'set/label'}"
    path = compared / "report.html"
    code, _, err = report(*models, target, "-o", str(path))
    assert code == 0, err
    page = Page(path.read_text(encoding="utf-8"))
    found = cdstats.compare(
        {one: compared / one for one in ("m", "n")},
        compared / "set/label",
        curves=False,
    )
    gap = found.models[1].compared["f1_pooled"].to_first
    assert gap is not None
    assert gap.low is not None
    assert gap.high is not None
    low, high = (f"{one:+.3f}".replace("-", "−") for one in (gap.low, gap.high))
    assert f"{low} to {high}" in page.text
    assert "3 images compared: intervals from so few images are unreliable" in page.text
    assert page.text.index("Metrics of the changed") < page.text.index("Losses (pred")
    tags = [
        name for name, a in page.elements if name == "details" or "losses" in str(a)
    ]
    assert "details" in tags
    photos = [one for one in page.named("img") if "image A of" in (one["alt"] or "")]
    assert len(photos) == 6
    assert all(
        (one["src"] or "").startswith("data:image/jpeg;base64,") for one in photos
    )


@pytest.mark.usefixtures("blank_figures")
def test_a_refused_dataset_is_told_once(compared: Path) -> None:
    path = compared / "refused.html"
    sources = (f"--masks=bad={compared / 'bad'}", f"--masks=good={compared / 'set'}")
    code, _, err = report(*sources, "-o", str(path))
    assert code == 1
    text = Page(path.read_text(encoding="utf-8")).text
    assert text.count("Class codes 0, 3, 9?") == 1
    assert "bad: none of 3 masks could be counted" in text
    assert "bad: 3 masks refused; see Findings" in text
    assert err.count("no figure") == 2  # one for the dataset, one without splits


@pytest.mark.usefixtures("blank_figures")
def test_findings_of_the_audit_are_on_the_page(tmp_path: Path) -> None:
    for name in ("1", "2"):
        save(tmp_path / f"masks/{name}.png", np.eye(8, dtype=bool))
    path = tmp_path / "report.html"
    assert report(f"--masks={tmp_path / 'masks'}", "-o", str(path))[0] == 0
    page = Page(path.read_text(encoding="utf-8"))
    found = cdstats.audit(tmp_path / "masks").findings
    assert found
    for one in found:
        assert f"{one.check} {one.text}" in page.text
    assert {"href": "#findings"} in page.named("a")


def test_a_table_wider_than_a_phone_says_that_it_scrolls() -> None:
    narrow = Table((Column("a", "A"), Column("b", "B")), ())
    assert not is_wide(narrow)
    assert is_wide(replace(narrow, columns=(Column("a", "A" * 50),)))
