"""The Python functions: what they take, what they raise, and how they word it."""

import inspect
import shutil
from os import PathLike
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cdstats
from cdstats.core.arguments import Options, in_python
from cdstats.core.options import (
    AuditOptions,
    CompareOptions,
    LossOptions,
    RatioOptions,
    WeightsOptions,
)

GROUPS: dict[str, type[Options]] = {
    "audit": AuditOptions,
    "compare": CompareOptions,
    "loss": LossOptions,
    "ratio": RatioOptions,
    "weights": WeightsOptions,
}
MASK = np.array([[0, 255], [0, 0]], np.uint8)


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    folder = tmp_path / "masks"
    folder.mkdir()
    for name in "ab":
        Image.fromarray(MASK).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def codes(tmp_path: Path) -> Path:
    """Masks whose encoding is refused."""
    folder = tmp_path / "codes"
    folder.mkdir()
    Image.fromarray(MASK // 255 + 1).save(folder / "a.png")
    return folder


# What raises


@pytest.mark.parametrize("name", ["ratio", "audit", "weights"])
def test_a_missing_path_and_an_empty_set_raise(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    sources: list[Any] = [tmp_path / "gone", tmp_path / "empty", []]
    for paths in sources:
        with pytest.raises(cdstats.DataError):
            getattr(cdstats, name)(paths)
        kept = getattr(cdstats, name)(paths, errors="keep")
        assert len(kept.images) == 0


@pytest.mark.parametrize("name", ["ratio", "weights"])
def test_a_refused_encoding_raises_unless_it_is_kept(name: str, codes: Path) -> None:
    function = getattr(cdstats, name)
    with pytest.raises(cdstats.DataError, match="errors='keep' returns") as caught:
        function(codes)
    assert "--" not in str(caught.value)
    assert 'changed="' in str(caught.value)
    assert [row.status for row in function(codes, errors="keep").images] == ["failed"]


def test_a_refused_encoding_of_targets_raises(codes: Path, masks: Path) -> None:
    for call in (
        lambda: cdstats.loss(masks / "a.png", codes / "a.png"),
        lambda: cdstats.compare(
            {"one": masks / "a.png", "two": masks / "a.png"}, codes / "a.png"
        ),
    ):
        with pytest.raises(cdstats.DataError, match="errors='keep' returns"):
            call()


def test_an_audit_looks_at_refused_encodings(codes: Path) -> None:
    assert cdstats.audit(codes).findings


# What is taken


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"changed": 255, "unchanged": 0}, id="numbers"),
        pytest.param({"changed": np.uint8(255), "unchanged": "0"}, id="numpy"),
        pytest.param({"changed": 255.0, "unchanged": 0.0}, id="floats"),
        pytest.param({"band": "1"}, id="text"),
        pytest.param({"jobs": -1}, id="all-cores"),
        pytest.param({"jobs": None}, id="as-many-as-pay"),
        pytest.param({"max_pixels": None, "cache": None}, id="defaults"),
    ],
)
def test_plain_values_are_taken(masks: Path, options: dict[str, Any]) -> None:
    assert cdstats.ratio(masks, **options).datasets[0].changed == 2


def test_paths_come_as_a_generator_or_by_name(masks: Path) -> None:
    files = sorted(masks.iterdir())
    assert cdstats.ratio(path for path in files).datasets[0].images == 2
    named = cdstats.ratio({"mine": masks, "other": files[0]}).datasets
    assert [row.dataset for row in named if row.split == "all"] == ["mine", "other"]
    shutil.copytree(masks, masks.parent / "preds")
    run = cdstats.loss({"model": masks.parent / "preds"}, masks)
    assert [one.dataset.model for one in run.models] == ["model"]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"changed": [255], "unchanged": "0"}, id="changed"),
        pytest.param({"changed": True, "unchanged": "0"}, id="changed"),
        pytest.param({"band": 1.5}, id="band"),
        pytest.param({"jobs": "many"}, id="jobs"),
        pytest.param({"preset": 3}, id="preset"),
        pytest.param({"strict": "yes"}, id="strict"),
        pytest.param({"cache": 1}, id="cache"),
        pytest.param({"paths": 7}, id="paths"),
        pytest.param({"paths": [b"masks"]}, id="paths"),
        pytest.param({"paths": {"name": ["a", "b"]}}, id="paths"),
    ],
)
def test_other_types_are_refused_by_the_name_of_the_argument(
    masks: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match=next(iter(options))):
        cdstats.ratio(**{"paths": masks, **options})


@pytest.mark.parametrize("name", ["audit", "plot", "ratio", "report", "weights"])
@pytest.mark.parametrize("jobs", [0, -2, np.int64(-7)])
def test_no_number_of_workers_is_below_one(masks: Path, jobs: int, name: str) -> None:
    sources: dict[str, Any] = {
        "masks" if name in ("plot", "report") else "paths": masks
    }
    function = cdstats.write_report if name == "report" else getattr(cdstats, name)
    expected = f"jobs={jobs}: expected at least 1, or -1 for all"
    with pytest.raises(ValueError, match=expected):
        function(**sources, jobs=jobs)


@pytest.mark.parametrize("name", GROUPS)
def test_no_argument_takes_another_type_or_an_empty_text(
    name: str, masks: Path
) -> None:
    """Each argument that does not list its types is named by the error."""
    base: dict[str, Any] = {"paths": masks}
    if name in ("loss", "compare"):
        base = {"pred": {"a": masks, "b": masks}, "target": masks}
    function, refused = getattr(cdstats, name), []
    for argument, known in GROUPS[name].declared.items():
        wrong: list[Any] = [object(), 3j, b"x", np.array(1), lambda: 1]
        if known.typed is FunctionType:
            wrong = [3, "x", True, object()]
            refused.append(argument)
        for value in wrong:
            with pytest.raises(TypeError, match=rf"^{argument} "):
                function(**{**base, argument: value})
        if known.typed in (str, Path, PathLike):
            with pytest.raises(ValueError, match=f"^{argument} is empty; expected"):
                function(**{**base, argument: ""})
        if known.typed is int:
            with pytest.raises(ValueError, match=f"^{argument}={2**70}: expected"):
                function(**{**base, argument: 2**70})
    assert "progress" in refused


@pytest.mark.parametrize("key", ["", " ", "a=b", "a/b", "="])
def test_a_name_that_no_command_could_give_is_refused(masks: Path, key: str) -> None:
    for call in (
        lambda: cdstats.loss({key: masks}, masks),
        lambda: cdstats.compare({"one": masks, key: masks}, masks),
    ):
        with pytest.raises(cdstats.UsageError, match=f"^pred has the name {key!r}"):
            call()
    with pytest.raises(cdstats.UsageError, match=f"^paths has the name {key!r}"):
        cdstats.ratio({key: masks})
    nameless: Any = {None: masks}
    with pytest.raises(TypeError, match=r"^paths maps None to"):
        cdstats.ratio(nameless)


@pytest.mark.parametrize("ignore", [1, 128, "170", "2-4", 255])
def test_an_audit_counts_as_a_ratio_whatever_is_ignored(
    masks: Path, ignore: Any
) -> None:
    """The rules that an audit prepares may contradict the ignored values."""
    array = np.where(MASK == 255, 255, [[0, 0], [0, 170]]).astype(np.uint8)
    if ignore in (128, "170"):
        array = np.where(array == 170, int(ignore), array).astype(np.uint8)
    else:
        array = MASK
    Image.fromarray(array).save(masks / "c.png")
    own, other = (
        [
            (row.path, row.changed, row.unchanged, row.ignored)
            for row in function(masks, ignore=ignore).images
        ]
        for function in (cdstats.audit, cdstats.ratio)
    )
    assert own == other
    assert len(own) == 3


@pytest.mark.parametrize("argument", ["changed", "unchanged", "ignore"])
def test_a_value_that_is_none_is_named_with_its_argument(
    masks: Path, argument: str
) -> None:
    rule = {"changed": "255", "unchanged": "0", argument: "white"}
    with pytest.raises(cdstats.UsageError, match=f"^{argument}: 'white' in 'white'"):
        cdstats.ratio(masks, **rule)  # type: ignore[arg-type]


@pytest.mark.parametrize("threshold", [float("nan"), -0.1, 1.5, float("inf")])
def test_a_threshold_is_a_probability(masks: Path, threshold: float) -> None:
    with pytest.raises(ValueError, match="a number from 0 to 1"):
        cdstats.loss(masks, masks, threshold=threshold)
    with pytest.raises(ValueError, match="a number from 0 to 1"):
        cdstats.compare([f"a={masks}", f"b={masks}"], masks, threshold=threshold)


# How it is worded


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--kind logits: expected prob", 'kind="logits": expected prob'),
        ("add --unchanged, for example", "add unchanged, for example"),
        ("leave out --changed and --from", "leave out changed and from_file"),
        ("--from reads rows; leave out PATH", "from_file reads rows; leave out paths"),
        ("`cdstats presets` lists them", "`cdstats presets` lists them"),
        ("a--b/PATH.png: raise --max-pixels", "a--b/PATH.png: raise max_pixels"),
        ("is floating; --kind logit?", 'is floating; kind="logit"?'),
        (
            "--preset sitscd; --split test --band 1",
            'preset="sitscd"; split="test", band=1',
        ),
        ("raise --max-pixels", "raise max_pixels"),
        (
            "--changed 2 --unchanged 1 --ignore 0",
            'changed="2", unchanged="1", ignore="0"',
        ),
        ("--preset bandon-train or", 'preset="bandon-train" or'),
        ("a -- b", "a -- b"),
    ],
)
def test_a_message_names_arguments(text: str, expected: str) -> None:
    assert in_python(text, RatioOptions.declared) == expected


# Signatures and help


@pytest.mark.parametrize("name", GROUPS)
def test_a_function_shows_the_arguments_of_its_group(name: str) -> None:
    function = getattr(cdstats, name)
    shown = inspect.signature(function).parameters
    assert list(shown) == list(GROUPS[name].signature().parameters)
    for argument, known in GROUPS[name].declared.items():
        assert f"    {argument}: {known.help[:20]}" in (inspect.getdoc(function) or "")
