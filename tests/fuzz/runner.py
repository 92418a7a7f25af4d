"""Counting damaged files in a child process that may crash or hang."""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .damage import damaged_file, without_unchecked
from .outcome import Outcome, Screen, judge, judge_naive, learn, naive_readers, remove

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    from cdstats.core.counts import Counted

    from .damage import Damaged

HANG_SECONDS: Final = 10.0
START_SECONDS: Final = 120.0
MEMORY_BYTES: Final = 4 << 30
"""Address space of the child: a declared size that is taken at its word fails."""
OURS: Final = "cdstats"
Answer = tuple[Outcome, str, bool]
"""What became of a file, a word, and whether only unchecked bytes were damaged."""
READY: Final[Answer] = (Outcome.TRUE, "ready", False)
HANG: Final[Answer] = (Outcome.HUNG, "no result in time", False)
CRASH: Final[Answer] = (Outcome.CRASHED, "the process died", False)
Serve = Callable[["Connection", str, int, tuple[int, int], int, int], None]
Job = tuple[Serve, str, int, tuple[int, int], int, int]
"""What a child does: with a format and a seed, from a file and reader on, to a file,
with so many readers."""


@dataclass(frozen=True)
class Finding:
    """A file that was neither counted truly nor refused."""

    number: int
    outcome: Outcome
    unchecked: bool
    text: str


@dataclass
class Tally:
    """What became of the damaged files of a format.

    Attributes:
        format: The format.
        seed: What its files follow from.
        files: Files in all.
        unchecked: Files damaged only where nothing in the file could tell.
        outcomes: Files by outcome.
        naive: Files that each naive reader miscounted without an error, and those it
            crashed or hung on.
        findings: What was neither true nor refused.
    """

    format: str
    seed: int = 0
    files: int = 0
    unchecked: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    naive: dict[str, Counter[Outcome]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def silent(self, *, unchecked: bool) -> int:
        """Silent miscounts: of checked bytes, or of those that nothing checks."""
        return sum(
            one.outcome is Outcome.WRONG and one.unchecked is unchecked
            for one in self.findings
        )

    @property
    def broken_promises(self) -> list[Finding]:
        """All findings but miscounts that nothing could have told."""
        return [
            one
            for one in self.findings
            if not (one.outcome is Outcome.WRONG and one.unchecked)
        ]

    def add(
        self, number: int, reader: str, outcome: Outcome, text: str, *, unchecked: bool
    ) -> None:
        """Count what a reader made of a file."""
        if reader != OURS:
            self.naive.setdefault(reader, Counter())[outcome] += 1
            return
        self.files += 1
        self.unchecked += unchecked
        self.outcomes[outcome] += 1
        if outcome not in (Outcome.TRUE, Outcome.FAILED):
            self.findings.append(Finding(number, outcome, unchecked, text))


def run_format(
    format_: str,
    files: int,
    seed: int,
    *,
    first: int = 0,
    naive: bool = True,
    serve: Serve | None = None,
    limit: float = HANG_SECONDS,
) -> Tally:
    """Damage files of a format and count them.

    Args:
        format_: A key of `clean.FORMATS`.
        files: How many.
        seed: What all of them follow from.
        first: The number of the first.
        naive: Whether naive readers read them too.
        serve: What the child does; tests give one that dies or hangs.
        limit: Seconds without a result that are a hang.
    """
    tally = Tally(format_, seed=seed)
    place, end = (first, 0), first + files
    steps = 1 + (len(naive_readers(format_)) if naive else 0)
    while place[0] < end:
        job = (serve or _serve, tally.format, tally.seed, place, end, steps)
        place = _run_child(tally, job, limit)
    return tally


def _run_child(tally: Tally, job: Job, limit: float) -> tuple[int, int]:
    """Read with one child until all is done, or it dies or hangs; where to go on."""
    *_, (number, step), end, steps = job
    readers = [OURS, *naive_readers(tally.format)]
    child, pipe = _start(job)
    try:
        if _answer(pipe, START_SECONDS) != READY:
            raise RuntimeError("the child did not start")
        while number < end:
            answer = _answer(pipe, limit)
            outcome, text, unchecked = answer
            tally.add(number, readers[step], outcome, text, unchecked=unchecked)
            number, step = (number, step + 1) if step + 1 < steps else (number + 1, 0)
            if answer in (HANG, CRASH):
                break
    finally:
        child.kill()
        child.join()
        pipe.close()
    return number, step


def _answer(pipe: Connection, seconds: float) -> Answer:
    if not pipe.poll(seconds):
        return HANG
    try:
        answer: Answer = pipe.recv()
    except EOFError:
        return CRASH
    return answer


def _start(job: Job) -> tuple[SpawnProcess, Connection]:
    serve, *arguments = job
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=serve, args=(theirs, *arguments), daemon=True)
    child.start()
    theirs.close()
    return child, ours


def _serve(
    pipe: Connection,
    format_: str,
    seed: int,
    place: tuple[int, int],
    end: int,
    steps: int,
) -> None:
    """Damage, count and tell, file by file: what the child does."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        screen = Screen(folder / "screen")
        counts, naive = learn(format_, folder)
        screen.taken()
        pipe.send(READY)
        first, step = place
        for number in range(first, end):
            broken = damaged_file(format_, seed, number)
            path = folder / f"{number}{broken.suffix}"
            broken.source.write(path, broken.data)
            if step == 0:
                outcome, text, unchecked = judged(broken, path, counts)
                noise = screen.taken()
                if noise and outcome in (Outcome.TRUE, Outcome.FAILED):
                    outcome, text = Outcome.NOISY, noise
                pipe.send((outcome, text, unchecked))
            for reader in list(naive)[max(step - 1, 0) : steps - 1]:
                expected = naive[reader][broken.source.name]
                outcome = judge_naive(format_, reader, path, expected)
                pipe.send((outcome, "", broken.unchecked))
            step = 0
            screen.taken()
            remove(path)


def judged(broken: Damaged, path: Path, counts: dict[str, list[Counted]]) -> Answer:
    """What becomes of a broken file, written to a path."""
    expected = counts[broken.source.name]
    # A spliced file may be the other one but for a byte without meaning.
    others = counts.values() if broken.kind.startswith("spliced") else ()
    outcome, text = judge(path, expected, *others)
    unchecked = broken.unchecked
    if outcome is Outcome.WRONG and not unchecked:
        unchecked = _is_harmless(broken, path, expected)
    return outcome, text, unchecked


def _is_harmless(broken: Damaged, path: Path, expected: list[Counted]) -> bool:
    """Whether the damage to checked bytes alone does not change a count."""
    mended = without_unchecked(broken.source, broken.data)
    if mended is None:
        return False
    whole = path.with_name(f"whole-{path.name}")
    broken.source.write(whole, mended)
    try:
        return judge(whole, expected)[0] is not Outcome.WRONG
    finally:
        remove(whole)
