"""What the losses of a run need beside the plain sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdstats.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdstats.core.catalogue import Loss
    from cdstats.core.pixel_terms import Term


@dataclass(frozen=True)
class Needs:
    """What the losses of a run need beside the plain sums."""

    terms: tuple[Term, ...]
    positions: tuple[Term, ...]
    levels: tuple[Loss, ...]
    bins: bool = False

    @classmethod
    def of(
        cls, losses: Iterable[Loss], prior: float | None, *, bins: bool = False
    ) -> Needs:
        """What some losses need."""
        chosen = list(losses)
        terms = dict.fromkeys(t for loss in chosen for t in loss.terms(prior))
        return cls(
            tuple(term for term in terms if not term.needs_positions),
            tuple(term for term in terms if term.needs_positions),
            tuple(loss for loss in chosen if loss.entry.from_levels),
            bins,
        )

    def refuse_without_logits(self, *, all_logits: bool) -> None:
        """Refuse losses that are defined on logits, where there are none."""
        names = ", ".join(one.name for one in self.levels if one.entry.needs_logits)
        if names and not all_logits:
            raise UsageError(f"{names} is defined on logits: say --kind logit")

    @property
    def whole(self) -> bool:
        """Whether the scores of an image must be held until it is complete."""
        return bool(self.positions or self.levels)
