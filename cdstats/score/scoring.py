"""Scoring of pairs of files, here or in shares on the workers of an engine."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from cdstats.core.counts import FirstFailure
from cdstats.core.errors import DataError
from cdstats.engine.work import prefetch
from cdstats.score.devices import choose_device, device_text, has_numba
from cdstats.score.grid import Ground
from cdstats.score.reading import PairReader, by_target, place_of
from cdstats.score.scorer import Outcome, PredictionState, Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from cdstats.engine.work import Engine
    from cdstats.io.blocks import Keeping
    from cdstats.io.pairing import FilePair
    from cdstats.score.choices import Needs, PredictionChoice
    from cdstats.score.reading import RankedPair, Reading
    from cdstats.score.scenes import Loaded
    from cdstats.score.scorer import Collect
    from cdstats.score.targets import Seen, Targets

_MOST_PAIRS = 64
"""Largest number of pairs of a share, unless they have the same mask."""


@dataclass(frozen=True, slots=True)
class Share:
    """Pairs that one process reads, with the labelling of their masks."""

    pairs: tuple[RankedPair, ...]
    targets: Targets
    kept: Keeping[Loaded] | None = None

    def decided(self, seen: Iterable[tuple[int, Seen]]) -> tuple[Share, set[int]]:
        """The share with decided rules, and the ranks of pairs to read again."""
        ones = [one for _, one in sorted(seen, key=lambda ranked: ranked[0])]
        targets = self.targets.decided(ones)
        wrong = {
            one.key[:2]
            for one in ones
            if one.key in targets.decisions
            and not one.is_labelled_by(targets.decisions[one.key])
        }
        ranks = {
            rank
            for rank, pair in self.pairs
            if pair.prediction and (t := pair.target) and (t.path, t.member) in wrong
        }
        return replace(self, targets=targets, kept=None if ranks else self.kept), ranks

    def only(self, ranks: Collection[int]) -> Share:
        """The pairs of these ranks, with all crops of their masks."""
        crops = {_mask_of(p) for rank, p in self.pairs if p.crop and rank in ranks}
        return self._part(
            [
                one
                for one in self.pairs
                if one[0] in ranks or (one[1].crop and _mask_of(one[1]) in crops)
            ]
        )

    def cut(self) -> Iterator[Share]:
        """Split into smaller shares; pairs of the same mask stay together.

        A mask is then decoded once, and overlaps of its crops are detected.
        """
        held: list[RankedPair] = []
        for group in by_target(self.pairs):
            if held and len(held) + len(group) > _MOST_PAIRS:
                yield self._part(held)
                held = []
            held += group
        if held:
            yield self._part(held)

    def _part(self, pairs: Sequence[RankedPair]) -> Share:
        files = {pair.target for _, pair in pairs if pair.target is not None}
        return Share(tuple(pairs), self.targets.of(files))


def _mask_of(pair: FilePair) -> tuple[str, str, str]:
    target = pair.target
    return pair.model, target.path if target else "", target.member if target else ""


@dataclass(frozen=True, slots=True)
class Scoring:
    """The options of scoring pairs."""

    needs: Needs
    choice: PredictionChoice
    device: str
    batch: int | None
    compiled: bool = False
    ground: Ground = field(default_factory=Ground)

    def run(
        self,
        share: Share,
        *,
        strict: bool = False,
        collect: Collect | None = None,
        reading: Reading = PairReader.read,
        progress: Callable[[int, int], None] | None = None,
    ) -> Outcome:
        """Score the pairs of a share; a thread reads the next block in advance."""
        device = choose_device(self.device)
        scorer = Scorer(
            *(self.needs, device, self.choice, self.batch),
            compiled=self.compiled and has_numba(),
            collect=collect,
        )
        reader = PairReader(share.targets, self.choice, self.ground)
        read = partial(reading, reader, share.pairs)
        blocks = share.kept.of(read) if share.kept else read()
        pixels = 0
        for _, scene in groupby(prefetch(blocks), key=lambda loaded: loaded.scene):
            numbers: dict[int, None] = {}
            for loaded in scene:
                numbers[loaded.number] = None
                scorer.add(loaded)
                if loaded.scores is not None:
                    pixels += math.prod(loaded.scores.shape)
                if progress:
                    progress(loaded.number, pixels)
            # At the end of a scene its rows are complete.
            for number in numbers:
                scorer.finish(number)
                if strict and (reason := scorer.failure(number)):
                    raise DataError(reason)
        outcome = scorer.outcome()
        outcome.devices.append(device_text(device))
        outcome.seen, outcome.versions = reader.seen, share.targets.versions
        return outcome


def run_on(
    engine: Engine,
    how: Scoring,
    whole: Share,
    *,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Score the pairs of a run on the workers of an engine, and join the outcomes."""
    parts = list(whole.cut())
    outcome, pixels = Outcome(), 0
    first = FirstFailure(len(parts)) if strict else None
    for number, found in engine(how.run, parts, lost=lost):
        bad = next((one for one in found.states if one.reason), None)
        text = (bad and f"{bad.place.pred or bad.place.target}: {bad.reason}") or None
        if first is not None and (told := first.see(number, text)) is not None:
            raise DataError(told)
        outcome.extend(found)
        pixels += sum(math.prod(one.size) for one in found.states if one.size)
        if progress:
            progress(len(outcome.states) - 1, pixels)
    return outcome


def score_all(
    score: Callable[..., Outcome],
    how: Scoring,
    whole: Share,
    *,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Outcome, Share]:
    """Score the pairs of a run, with each mask labelled by the rule of its split.

    Masks that were first labelled by a different rule are read again.
    """
    given = whole.targets.choice.rule is not None
    outcome = score(how, whole, strict=strict and given, progress=progress)
    whole.targets.versions.update(outcome.versions)
    share, ranks = whole.decided(outcome.seen)
    if ranks:
        # Pooled levels cannot be separated, so all pairs are scored again.
        again = share if outcome.pools else share.only(ranks)
        ranks = {rank for rank, _ in again.pairs}
        outcome.states = [one for one in outcome.states if one.rank not in ranks]
        outcome.pools.clear()
        outcome.extend(score(how, again, strict=strict))
    return outcome, share


def lost(share: Share, reason: str) -> Outcome:
    """The outcome of a share whose worker failed."""
    found = Outcome()
    for rank, pair in share.pairs:
        found.states.append(PredictionState(place_of(pair), None, reason, rank=rank))
    return found
