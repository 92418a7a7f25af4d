"""One pass over pairs of files: what a process does with its share of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from cdstats.core.errors import DataError
from cdstats.core.score_records import Place
from cdstats.engine.prefetch import prefetch
from cdstats.score.devices import choose_device, device_text
from cdstats.score.kinds import Kind
from cdstats.score.reading import PairReader
from cdstats.score.scorer import Scorer
from cdstats.score.states import Outcome, PredictionState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cdstats.io.pairing import FilePair
    from cdstats.score.needs import Needs
    from cdstats.score.targets import Targets

_MOST_PAIRS = 64
"""Pairs of a share at most, unless they share one mask."""


@dataclass(frozen=True, slots=True)
class Share:
    """Pairs that one process reads, with how their masks are labelled."""

    pairs: tuple[FilePair, ...]
    targets: Targets


def shares(pairs: Sequence[FilePair], targets: Targets) -> Iterator[Share]:
    """Cut the pairs of a run into shares, in their order.

    Crops of one mask stay together, so that those that overlap are seen.
    """
    held: list[FilePair] = []
    for _, crops in groupby(pairs, lambda pair: (pair.model, pair.target)):
        together = list(crops)
        if held and len(held) + len(together) > _MOST_PAIRS:
            yield _share(held, targets)
            held = []
        held += together
    if held:
        yield _share(held, targets)


def _share(pairs: Sequence[FilePair], targets: Targets) -> Share:
    files = {pair.target for pair in pairs if pair.target is not None}
    return Share(tuple(pairs), targets.of(files))


@dataclass(frozen=True, slots=True)
class Scoring:
    """How pairs are scored; called with a share, it gives the outcome of its pairs.

    Attributes:
        needs: What the losses of the run need.
        kind: What the user says that the predictions are; None to find out.
        threshold: A pixel is predicted changed when p is at least this.
        device: The name of the device, chosen where the work is done.
        batch: Tiles of a batch on a device; None for what its memory takes.
    """

    needs: Needs
    kind: Kind | None
    threshold: float
    device: str
    batch: int | None

    def __call__(self, share: Share) -> Outcome:
        """Score the pairs of a share."""
        return self.run(share)

    def run(
        self,
        share: Share,
        *,
        strict: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Outcome:
        """Score pairs, the next block read ahead in a thread.

        Args:
            share: The pairs.
            strict: Whether to stop at the first that fails.
            progress: Called with the number of the image and pixels so far.

        Raises:
            DataError: If ``strict`` and a pair fails.
        """
        device = choose_device(self.device)
        scorer = Scorer(self.needs, device, self.kind, self.threshold, self.batch)
        reader = PairReader(
            share.targets, "logit" if self.kind is Kind.LOGIT else "prob"
        )
        current, pixels = -1, 0
        for loaded in prefetch(reader.read(share.pairs)):
            if loaded.number != current and current >= 0:
                _finish(scorer, current, strict)
            current = loaded.number
            scorer.add(loaded)
            pixels += loaded.scores.size if loaded.scores is not None else 0
            if progress:
                progress(current, pixels)
        if current >= 0:
            _finish(scorer, current, strict)
        outcome = scorer.outcome()
        outcome.devices.append(device_text(device))
        return outcome


def _finish(scorer: Scorer, number: int, strict: bool) -> None:
    scorer.finish(number)
    if strict and (reason := scorer.failure(number)):
        raise DataError(reason)


def lost(share: Share) -> Outcome:
    """The outcome of a share whose process died of it."""
    reason = "the process that read it died (out of memory?)"
    found = Outcome()
    for pair in share.pairs:
        one, two = pair.prediction, pair.target
        place = Place(
            one.name if one else "",
            two.name if two else "",
            pair.model,
            two.split if two else "",
        )
        found.states.append(PredictionState(place, None, reason))
    return found
