"""Gates: comparison of scores with limits and with the scores of an earlier run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from cdstats.core.catalogue import BY_PIXEL, Reads
from cdstats.core.columns import columns_of, further_columns, values
from cdstats.core.errors import UsageError
from cdstats.core.metrics import metrics_of
from cdstats.core.reference import Difference
from cdstats.core.score_records import DatasetScore, ScoreRecord
from cdstats.render.table import columns_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cdstats.core.catalogue import Loss

TOLERANCE: Final = 1e-6
"""Default largest difference of a score from an earlier run."""
_MASK_COUNTS: Final = ("width", "height", "changed", "unchanged", "ignored")
_ERRORS: Final = ("fp", "fn")
"""The counts behind metrics; tp and tn follow from them and the counts of the mask."""
_BASIC: Final = ("bce_mean", "balanced_ce_mean", "class_mean_bce")


def read_limits(
    texts: Iterable[str], flag: str, further: Sequence[str]
) -> dict[str, float]:
    """The limits of ``NAME=NUMBER`` texts by column.

    Raises:
        UsageError: If a text is not such a pair, or its name is not a numeric column.
    """
    found: dict[str, float] = {}
    for text in texts:
        name, _, number = map(str.strip, text.rpartition("="))
        try:
            limit = float(number)
        except ValueError:
            limit = math.nan
        if not name or not math.isfinite(limit):
            raise UsageError(
                f"{flag} {text}: expected NAME=NUMBER, such as f1_pooled=0.9"
            )
        if name in found:
            raise UsageError(f"{flag} {text}: {name} already has a limit")
        refuse_unknown(name, f"{flag} {text}", further)
        found[name] = limit
    return found


def refuse_unknown(name: str, where: str, further: Sequence[str]) -> None:
    """Check that a name is a numeric column.

    Raises:
        UsageError: If it is not; the message suggests similar names.
    """
    types = {n: str(f.type) for n, f in DatasetScore.__dataclass_fields__.items()}
    own = (n for n in columns_of(DatasetScore) if types[n].startswith(("int", "float")))
    known = (*own, *further)
    if name not in known:
        raise UsageError(f"{where}: no number {name!r}; {columns_text(name, known)}")


def beyond_limits(
    rows: Sequence[DatasetScore],
    under: Mapping[str, float],
    over: Mapping[str, float],
) -> list[str]:
    """A message for each value that is beyond its limit or undefined.

    Raises:
        UsageError: If the name of a limit is not a numeric column of the models.
    """
    further = further_columns(rows)
    for name in (*under, *over):
        refuse_unknown(name, f"limit of {name}", further)
    found = []
    for row in rows:
        where = f"{row.model}: " if row.model else ""
        for limits, word in ((under, "least"), (over, "most")):
            for name, limit in limits.items():
                value = values(row, [name])[0]
                if value is None:
                    found.append(f"{where}{name} is undefined; limit {limit:.12g}")
                elif value < limit if word == "least" else value > limit:
                    found.append(
                        f"{where}{name} is {value!r}; expected at {word} {limit:.12g}"
                    )
    return found


def differences(
    was: tuple[Sequence[DatasetScore], Sequence[ScoreRecord]],
    now: tuple[Sequence[DatasetScore], Sequence[ScoreRecord]],
    losses: Sequence[Loss],
    tolerance: float = TOLERANCE,
) -> list[Difference]:
    """The differences between the models and then the images of two runs.

    Counts of masks are compared exactly, metrics and mean losses within the tolerance.
    If the scores of a model differ, its images with different scores are listed by
    descending difference.
    """
    check_tolerance(tolerance)
    columns = _columns(losses)
    before, after = ({row.model: row for row in rows} for rows, _ in (was, now))
    models, images = [], []
    for model in dict.fromkeys((*before, *after)):
        one, two = before.get(model), after.get(model)
        name = model or "all images"
        if one is None or two is None:
            models.append(_gone_or_new(name, one, two, is_image=False))
            continue
        found = [*_differing(name, one, two, tuple(columns), tolerance)]
        if found and one.threshold != two.threshold:
            both = (one.threshold, two.threshold)
            models.append(Difference(name, "threshold", *both, is_image=False))
        models += found
        reasons = dict.fromkeys(n for gap in found for n in columns[gap.column])
        sides = [
            {
                _key(row): row
                for row in rows
                if row.model == model and row.status == "ok"
            }
            for _, rows in (was, now)
        ]
        images += _images(sides[0], sides[1], tuple(reasons), tolerance)
    return [*models, *images]


def check_tolerance(tolerance: float) -> float:
    """The tolerance; `UsageError` if it is negative or infinite."""
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise UsageError(f"--tolerance {tolerance}: expected a number of at least 0")
    return tolerance


def _columns(losses: Sequence[Loss]) -> dict[str, tuple[str, ...]]:
    """The compared scores of a model, each with the image columns behind it.

    Pooled values of losses that are not sums over pixels cannot be compared, because
    image rows do not contain them.
    """
    found: dict[str, tuple[str, ...]] = dict.fromkeys(metrics_of(DatasetScore), _ERRORS)
    found |= {name: (name,) for name in _BASIC}
    for loss in losses[3:]:
        first, second = loss.dataset_columns
        found[second] = (loss.column,)
        if loss.entry.reduction not in BY_PIXEL and loss.reads is Reads.SUMS:
            found[first] = (loss.column,)
    return found


def _images(
    was: Mapping[tuple[str, ...], ScoreRecord],
    now: Mapping[tuple[str, ...], ScoreRecord],
    reasons: Sequence[str],
    tolerance: float,
) -> list[Difference]:
    """The differences between the images of a model: first masks, then scores."""
    masks: list[Difference] = []
    scores: list[list[Difference]] = []
    for key in dict.fromkeys((*was, *now)):
        one, two = was.get(key), now.get(key)
        name = "/".join(part for part in key if part)
        if one is None or two is None:
            masks.append(_gone_or_new(name, one, two, is_image=True))
            continue
        masks += _differing(name, one, two, _MASK_COUNTS, tolerance, is_image=True)
        own = [*_differing(name, one, two, reasons, tolerance, is_image=True)]
        scores += [own] if own else []
    scores.sort(key=lambda own: -max(map(_size, own)))
    return [*masks, *(gap for own in scores for gap in own)]


def _key(row: ScoreRecord) -> tuple[str, ...]:
    return row.model, row.split, row.pred or row.target


def _size(gap: Difference) -> float:
    if gap.was is None or gap.now is None:
        return math.inf
    return abs(gap.now - gap.was)


def _gone_or_new(
    name: str, was: object | None, now: object | None, *, is_image: bool
) -> Difference:
    before, after = (None if one is None else 1 for one in (was, now))
    return Difference(name, "", before, after, is_image)


def _differing(
    name: str,
    was: Any,  # noqa: ANN401 - a record of either kind
    now: Any,  # noqa: ANN401 - a record of the same kind
    names: Sequence[str],
    tolerance: float,
    *,
    is_image: bool = False,
) -> Iterator[Difference]:
    """The columns in which two rows differ; floating values by more than tolerance."""
    pairs = zip(names, values(was, names), values(now, names), strict=True)
    for column, one, two in pairs:
        gap = Difference(name, column, one, two, is_image)
        exact = isinstance(one, int) and isinstance(two, int)
        if one != two and _size(gap) > (0 if exact else tolerance):
            yield gap
