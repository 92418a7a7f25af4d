"""States that stream: the same rows in any order, in little memory, as they come."""

import pickle
import re
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import cdstats
from cdstats.core.counts import Counted, CountedMask, MaskCounts, Value, ValueCounts
from cdstats.core.errors import DataError, Level, Message
from cdstats.core.labelling import label_dataset
from cdstats.core.labels import RuleChoice, choose_rule
from cdstats.core.records import ImageRecord, split_order, summaries
from cdstats.io.counting import Task
from cdstats.io.found import FoundFile, FoundFiles, FoundSet
from cdstats.scan.cache import Cache
from cdstats.scan.states import Stamp, State
from cdstats.scan.stream import Stream

if TYPE_CHECKING:
    from cdstats.engine.work import Engine

GIVEN = choose_rule(changed="255", unchanged="0")
FOUND = choose_rule()
CHOICES = [pytest.param(GIVEN, id="given"), pytest.param(FOUND, id="found")]
MASKS: tuple[dict[Value, int], ...] = (
    {0: 90, 255: 10},
    {0: 100},
    {255: 100},
    {0: 60, 255: 39, 7: 1},
    {0: 50, 1: 50},
    {0: 40, 2: 60},
    {0.5: 100},
)


def mask(values: dict[Value, int], member: str = "") -> Counted:
    counts = MaskCounts(10, 10, ValueCounts(values))
    return Counted(member, counts, size=(10, 10))


def found_set(splits: Sequence[str], name: str = "D") -> FoundSet:
    """A file 0.png, 1.png, ... of each split."""
    files = (
        FoundFile(f"/nowhere/{place}.png", f"{place}.png", split)
        for place, split in enumerate(splits)
    )
    return FoundSet(name, FoundFiles(files))


def state_of(counted: list[Counted]) -> State:
    return State(Stamp(1, 2), counted, all(one.mask for one in counted))


class Results:
    """Stands for the engine: gives known states, in an order of its own."""

    def __init__(
        self,
        states: Callable[[Task], list[Counted]],
        order: Callable[[Sequence[int]], Sequence[int]] = list,
    ) -> None:
        self._states = states
        self._order = order

    def __call__(
        self, _: object, tasks: Sequence[Task], **__: object
    ) -> Iterator[tuple[int, State]]:
        for number in self._order(range(len(tasks))):
            yield number, state_of(self._states(tasks[number]))


def streamed(
    found: Sequence[FoundSet],
    choice: RuleChoice,
    results: Results,
    **options: Any,
) -> tuple[Stream, list[Message]]:
    """A run whose files are counted already."""
    cache = Cache(None, None, choice.edges)
    run = Stream(found, choice, cache, **options)
    run.count(choice, None, cast("Engine", results), None)
    cache.close()
    return run, [text for number in range(len(found)) for text in run.messages(number)]


COUNTED = st.lists(
    st.one_of(
        st.sampled_from(MASKS).map(mask),
        st.sampled_from([Counted("", None, "broken"), Counted("", None, "gone")]),
    ),
    min_size=1,
    max_size=3,
)
FILES = st.lists(
    st.tuples(st.sampled_from(["", "train", "test", "x"]), COUNTED),
    min_size=1,
    max_size=9,
)


def numbered(several: list[Counted]) -> list[Counted]:
    """The masks of a file, each with its number where there are several."""
    if len(several) == 1:
        return several
    return [
        Counted(f"#{number}", one.mask, one.reason, one.size)
        for number, one in enumerate(several)
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("choice", CHOICES)
@given(files=FILES, data=st.data())
def test_rows_are_those_of_the_whole_list_in_whatever_order_files_come(
    choice: RuleChoice, files: list[tuple[str, list[Counted]]], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(files))))
    states = {f"/nowhere/{n}.png": numbered(m) for n, (_, m) in enumerate(files)}
    found = found_set([split for split, _ in files])
    whole = label_dataset(
        [
            CountedMask("D", split, f"{number}.png{one.member}", one)
            for number, (split, several) in enumerate(files)
            for one in numbered(several)
        ],
        choice,
    )
    each: list[ImageRecord] = []
    results = Results(lambda task: states[task.path], lambda _: order)
    run, messages = streamed([found], choice, results, each=each.append)
    assert list(run.images) == whole.images == each
    assert [run.images[place] for place in range(-len(each), 0)] == each
    assert messages == whole.messages
    assert run.summaries.records(["D"]) == summaries(["D"], whole.images)


def test_rows_come_by_dataset_then_split_then_name() -> None:
    found = [found_set(["val", "train", "test", "val"], name) for name in "zab"]
    run, _ = streamed(found, GIVEN, Results(lambda _: [mask({0: 100})]))
    rows = [(row.dataset, split_order(row.split), row.path) for row in run.images]
    assert rows == sorted(rows, key=lambda row: ("zab".index(row[0]), *row[1:]))
    assert len(rows) == 12


@pytest.mark.parametrize("strict", [False, True])
def test_with_a_rule_rows_come_before_all_is_counted(
    strict: bool, tmp_path: Path
) -> None:
    for place in range(6):
        Image.fromarray(np.eye(4, dtype=np.uint8) * 255).save(tmp_path / f"{place}.png")
    counted: list[int] = []
    seen: list[tuple[str, int]] = []

    def each(row: ImageRecord) -> None:
        seen.append((row.path, len(counted)))

    def progress(done: int, *_: int) -> None:
        counted.append(done)

    count = partial(cdstats.ratio, tmp_path, progress=progress, each=each)
    count(changed="255", unchanged="0", strict=strict)
    assert seen == [(f"{place}.png", place) for place in range(6)]
    counted.clear()
    seen.clear()
    count()
    assert seen == [(f"{place}.png", 6) for place in range(6)]


# The first failure.


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kinds=st.lists(st.sampled_from(["ok", "broken", "no rule"]), min_size=1),
    data=st.data(),
)
def test_strict_names_the_first_failure_by_place_in_whatever_order_files_come(
    kinds: list[str], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(kinds))))
    states = {
        "ok": mask({0: 90, 255: 10}),
        "broken": Counted("", None, "broken"),
        "no rule": mask({7: 100}),
    }
    counted: list[int] = []

    def state(task: Task) -> list[Counted]:
        counted.append(int(task.path[9:-4]))
        return [states[kinds[counted[-1]]]]

    found, results = found_set([""] * len(kinds)), Results(state, lambda _: order)
    first = next((at for at, kind in enumerate(kinds) if kind != "ok"), None)
    if first is None:
        streamed([found], GIVEN, results, strict=True)
        return
    with pytest.raises(DataError) as told:
        streamed([found], GIVEN, results, strict=True)
    why = "broken" if kinds[first] == "broken" else "holds 7"
    assert re.search(rf"(^|/){first}\.png: {why}", str(told.value))
    # No more is waited for than what comes before it.
    assert counted == order[: max(map(order.index, range(first + 1))) + 1]


# Memory.


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.full
def test_memory_per_image_is_small(choice: RuleChoice) -> None:
    """The difference between many files and few, of all that Python allocates."""

    def peak(number: int) -> int:
        def values(task: Task) -> list[Counted]:
            changed = int(task.path[9:-4]) % 99 + 1
            return [mask({0: 100 - changed, 255: changed})]

        tracemalloc.start()
        try:
            files = found_set(["train"] * number)
            run, _ = streamed([files], choice, Results(values))
            assert len(run.images) == number
            assert run.summaries.records(["D"])[0].images == number
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = 500, 2_000
    peak(few)
    assert (peak(many) - peak(few)) / (many - few) < 200


# What is told early.


def told(
    splits: Sequence[str], states: Callable[[Task], list[Counted]]
) -> list[tuple[str, int]]:
    """What is announced, and after how many files."""
    counted: list[str] = []
    found: list[tuple[str, int]] = []

    def watched(task: Task) -> list[Counted]:
        counted.append(task.path)
        return states(task)

    def announce(message: Message) -> None:
        assert message.level is Level.WARNING
        found.append((message.text, len(counted)))

    streamed([found_set(splits)], FOUND, Results(watched), announce=announce)
    return found


def test_a_refusal_is_told_once_as_soon_as_it_is_certain() -> None:
    found = told(["train"] * 9, lambda _: [mask({1: 50, 2: 50})])
    assert [after for _, after in found] == [5]
    assert "D/train: the encoding is ambiguous (4 files left to count)" in found[0][0]


def test_codes_that_no_further_mask_can_settle_are_told_at_once() -> None:
    found = told([""] * 9, lambda _: [mask({0: 50, 1: 49, 255: 1})])
    assert [after for _, after in found] == [1]


@pytest.mark.parametrize(
    "several",
    [
        pytest.param([mask({0: 50, 255: 50})], id="clear"),
        pytest.param([mask({255: 100})], id="other splits may settle it"),
        pytest.param(numbered([mask({1: 50, 2: 50})] * 2), id="stacks of any number"),
    ],
)
def test_what_is_not_certain_is_not_told(several: list[Counted]) -> None:
    assert told(["a"] * 9, lambda _: several) == []


# Rows as a sequence.


@pytest.fixture
def result(tmp_path: Path) -> cdstats.RatioResult:
    for place in range(5):
        values = np.full((4, 4), 255, np.uint8)
        values.flat[place:] = 0
        Image.fromarray(values).save(tmp_path / f"{place}.png")
    np.save(tmp_path / "stack.npy", np.full((3, 4, 4), 255, np.uint8))
    (tmp_path / "bad.png").write_bytes(b"no image")
    return cdstats.ratio(tmp_path)


def test_rows_are_a_sequence(result: cdstats.RatioResult) -> None:
    rows = tuple(result.images)
    assert len(result.images) == len(rows) == 9
    assert result.images == rows
    assert [result.images[place] for place in range(-9, 9)] == [*rows, *rows]
    assert result.images[2:8:2] == rows[2:8:2]
    assert rows[3] in result.images
    assert result.images.index(rows[7]) == 7
    assert list(reversed(result.images)) == list(reversed(rows))
    with pytest.raises(IndexError):
        result.images[9]


def test_rows_sent_to_another_process_are_the_same(
    result: cdstats.RatioResult,
) -> None:
    assert pickle.loads(pickle.dumps(result.images)) == tuple(result.images)  # noqa: S301


def test_rows_outlive_their_files(result: cdstats.RatioResult, tmp_path: Path) -> None:
    rows = tuple(result.images)
    for path in tmp_path.iterdir():
        path.unlink()
    assert tuple(result.images) == rows
    assert len(result.image_frame()) == 9


def test_rows_sort_by_most_change_and_failed_ones_last(
    result: cdstats.RatioResult,
) -> None:
    rows = [row.changed for row in result.sorted_images("changed")]
    assert rows == [16, 16, 16, 4, 3, 2, 1, 0, None]
    assert [row.path for row in result.failures()] == ["bad.png"]
    assert list(result.failures(leave_out="is not an image")) == []
    with pytest.raises(ValueError, match="rule"):
        result.sorted_images("rule")
