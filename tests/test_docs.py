"""What the documents say is what the program does."""

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from helpers import run
from typer.main import get_command

from cdstats.cli import app
from cdstats.core.columns import columns_of
from cdstats.core.presets import presets
from cdstats.core.records import ImageRecord, SummaryRecord
from cdstats.core.score_records import DatasetScore, ScoreRecord
from cdstats.io.signatures import FORMATS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "benchmarks/README.md",
    ROOT / "tests/fuzz/README.md",
]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


sys.path.append(str(ROOT / "docs"))


def commands() -> dict[str, Any]:
    found: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    return found


def section(command: str) -> str:
    """The help block of a command in the page of commands."""
    page = text_of(ROOT / "docs/cli.md")
    _, _, after = page.partition(f"\n## `cdstats {command}`\n")
    return after.partition("\n## ")[0]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text_of(page), re.DOTALL)


@pytest.mark.parametrize("command", commands())
def test_every_command_appears_in_the_documents(command: str) -> None:
    assert f"cdstats {command}" in text_of(README)
    assert section(command).startswith("\n```text\n")


@pytest.mark.parametrize("command", commands())
def test_every_command_and_parameter_has_help(command: str) -> None:
    found = commands()[command]
    assert found.help
    assert [p.name for p in found.params if not getattr(p, "help", "")] == []


def test_the_page_of_commands_is_the_help_of_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 88)
    for name in ("COLUMNS", "TERMINAL_WIDTH", "NO_COLOR"):
        monkeypatch.setenv(name, "")  # The page sets these: put them back later.
    page = importlib.import_module("generate_cli").render()
    assert page == text_of(ROOT / "docs/cli.md")


def test_the_schemas_of_json_are_those_of_the_records() -> None:
    held = {one.stem: text_of(one) for one in (ROOT / "docs/schemas").glob("*.json")}
    schemas = importlib.import_module("generate_schemas")
    made = {name: schemas.render(name) for name in schemas.DOCUMENTS}
    assert made.keys() == held.keys()
    # When this fails: python docs/generate_schemas.py
    assert [name for name, text in held.items() if text != made[name]] == []


def test_the_table_of_the_readme_is_what_its_command_prints(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    (block,) = blocks(README, "console")
    command, _, table = block.partition("\n")
    assert command.startswith("$ cdstats ratio sample_masks/CDD sample_masks/BCDD")
    printed = run(*command.split()[2:]).out
    shown = [line.rstrip() for line in table.splitlines()]
    assert [line.rstrip() for line in printed.splitlines()] == shown


@pytest.mark.parametrize(
    ("page", "command"), [("docs/loss.md", "loss"), ("docs/compare.md", "compare")]
)
def test_the_screen_of_a_page_is_what_its_command_prints(
    page: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample_masks").symlink_to(ROOT / "sample_masks")
    script = next(b for b in blocks(ROOT / page, "sh") if "END" in b)
    code, _, typed = script.partition("<<'END'\n")[2].partition("\nEND\n")
    words = shlex.split(typed.replace("\\\n", " "))
    assert words[:2] == ["cdstats", command]
    exec(code, {})  # noqa: S102 - the code of the page
    printed = run(*words[1:]).out
    shown = blocks(ROOT / page, "text")[0]
    found = [line.rstrip() for line in printed.splitlines()]
    assert found[: len(shown.splitlines())] == shown.splitlines()


def test_the_python_example_of_the_readme_prints_what_it_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    example = next(b for b in blocks(README, "python") if "cdstats.ratio" in b)
    (promised,) = re.findall(r"print\(.*\)  # (.*)", example)
    exec(example, {})  # noqa: S102 - the code of the page
    assert capsys.readouterr().out.splitlines()[0] == promised


def test_the_readme_is_short() -> None:
    assert len(text_of(README).splitlines()) <= 200


def test_the_readme_sets_up_in_two_lines() -> None:
    lines = text_of(README).splitlines()
    setup = [line for line in lines if line.startswith("python3 -m venv .venv &&")]
    assert len(setup) == 2
    main_job = ".venv/bin/cdstats ratio sample_masks/CDD sample_masks/BCDD"
    assert [main_job in line for line in setup].count(True) == 1
    assert ["pytest" in line for line in setup].count(True) == 1


def test_the_page_on_reliability_is_short_and_names_every_format() -> None:
    page = text_of(ROOT / "docs/reliability.md")
    assert len(page.splitlines()) <= 120
    for one in FORMATS.values():
        assert one.title in page
    details = text_of(ROOT / "tests/fuzz/README.md")
    for place in ("docs/reliability.md", "python -m tests.fuzz", "| PNG | 20,000 |"):
        assert place in details


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    links = [link.partition("#")[0] for link in LINK.findall(text_of(page))]
    local = [link for link in links if link and "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.skipif(shutil.which("sed") is None, reason="needs sed")
def test_a_release_makes_the_links_of_the_readme_absolute() -> None:
    workflow = text_of(ROOT / ".github/workflows/release.yml")
    (script,) = re.findall(r'sed -i -E "(.*)" README\.md', workflow)
    for name, value in (("REPOSITORY", "someone/cdstats"), ("REF_NAME", "v0.1.0")):
        script = script.replace(f"$GITHUB_{name}", value)
    done = subprocess.run(
        ["sed", "-E", script, str(README)], capture_output=True, check=True
    )
    links = LINK.findall(done.stdout.decode())
    assert [link for link in links if not link.startswith("https://")] == []
    assert "https://github.com/someone/cdstats/blob/v0.1.0/docs/ratio.md" in links


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_a_heading_lead_to_one(page: Path) -> None:
    links = [link.partition("#") for link in LINK.findall(text_of(page))]
    inside = [one for one in links if one[2] and "://" not in one[0]]
    places = [(page.parent / name if name else page, at) for name, _, at in inside]
    assert [(str(to), at) for to, at in places if at not in anchors(to)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_presets_that_the_documents_name_exist(page: Path) -> None:
    named = set(re.findall(r"cdstats ratio .*--preset ([a-z][\w-]*)", text_of(page)))
    assert named <= {preset.name for preset in presets()}


def test_dasnet_counts_are_marked_as_not_verified() -> None:
    flat = " ".join(text_of(README).split())
    assert "transcription not verified against the paper's PDF" in flat


def test_one_licence_is_named_everywhere() -> None:
    pages = [README, ROOT / "sample_masks/README.md", ROOT / "CITATION.cff"]
    licence = text_of(ROOT / "LICENSE").splitlines()[0]
    name = licence.split()[0]
    assert [str(page) for page in pages if name not in text_of(page)] == []


@pytest.mark.parametrize(
    "record", [ImageRecord, SummaryRecord, ScoreRecord, DatasetScore]
)
def test_every_column_is_on_the_page_of_columns(record: Any) -> None:
    page = text_of(ROOT / "docs/columns.md")
    assert [name for name in columns_of(record) if f"`{name}`" not in page] == []
