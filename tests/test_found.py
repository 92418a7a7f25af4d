"""Found files: held compactly, and given back as they were."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from cdstats.io.found import FoundFile, FoundFiles

TEXTS = st.text(st.characters(exclude_categories=()), max_size=6)
FOLDERS = st.sampled_from(["", "/data/", "/data/train/", "масk/"])


@st.composite
def found(draw: st.DrawFn) -> FoundFile:
    """A file below a folder, as most are, or one whose path is another."""
    name = draw(TEXTS)
    path = draw(st.just(draw(FOLDERS) + name) | TEXTS)
    extra = st.just("") | TEXTS
    mark = draw(st.none() | st.tuples(st.integers(0, 9), st.integers(0, 2**63 - 1)))
    return FoundFile(path, name, draw(extra), draw(extra), draw(extra), mark)


@given(st.lists(found()))
def test_files_come_back_as_they_were(files: list[FoundFile]) -> None:
    held = FoundFiles(files)
    assert list(held) == files
    assert [held[place - len(files)] for place in range(len(files))] == files
    assert set(held.splits) == {file.split for file in files}


@given(st.lists(found()), st.slices(9))
def test_a_slice_holds_the_same_files(files: list[FoundFile], part: slice) -> None:
    assert list(FoundFiles(files)[part]) == files[part]


def test_a_file_takes_little_more_than_its_name() -> None:
    number = 20_000
    tracemalloc.start()
    try:
        held = FoundFiles(
            FoundFile(f"/data/label/{name}", name, "train")
            for name in (f"label/tile_{place:06}.png" for place in range(number))
        )
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held[-1].path == "/data/label/label/tile_019999.png"
    assert size / number < len(held[-1].name) + 20
