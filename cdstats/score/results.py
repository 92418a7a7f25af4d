"""What `cdstats.loss` gives: the scores of each model and the rows of each image."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdstats.core.catalogue import (
    FILE_EPS,
    Reads,
    all_losses,
    constant_prediction,
    evaluate,
    parse_loss,
)
from cdstats.core.errors import UsageError
from cdstats.core.material import ModelScore, Trivial
from cdstats.core.messages import Level, Message
from cdstats.core.score_records import DatasetScore, ScoreRecord, basic_losses
from cdstats.render.table import Displayed, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from cdstats.core.catalogue import Loss
    from cdstats.core.sums import SumsTable
    from cdstats.score.curves import Curves


@dataclass(frozen=True, repr=False)
class LossRun(Displayed):
    """What `loss` found.

    Attributes:
        device: The device that computed.
        images: A row for each prediction, failed ones included.
        models: The scores of each model, in the order given.
        messages: Notes, warnings and errors.
        curves: The curves of its models; None unless they were asked for.
    """

    device: str
    images: tuple[ScoreRecord, ...]
    models: tuple[ModelScore, ...]
    messages: tuple[Message, ...] = ()
    curves: Curves | None = None

    @property
    def any_hard(self) -> bool:
        """Whether the predictions of a model are labels."""
        return any(model.hard for model in self.models)

    @property
    def failed(self) -> int:
        """Pairs that could not be scored."""
        return sum(row.status == "failed" for row in self.images)

    @property
    def unread(self) -> int:
        """Inputs that could not be read at all, such as a folder."""
        return sum(one.level is Level.ERROR for one in self.messages)

    @property
    def has_valid(self) -> bool:
        """Whether any image has a valid pixel."""
        return any(row.changed or row.unchanged for row in self.images)

    def table(self) -> Table:
        """The rows of the models, as the command shows them."""
        from cdstats.render.scores import model_columns

        rows = [model.dataset for model in self.models]
        return Table.of(DatasetScore, rows, model_columns(rows))

    def frame(self) -> pd.DataFrame:
        """The rows of the models as a data frame, with columns for each loss."""
        from cdstats.render.writers import frame

        return frame([model.dataset for model in self.models], DatasetScore)

    def image_frame(self) -> pd.DataFrame:
        """The rows of the images as a data frame, with a column for each loss."""
        from cdstats.render.writers import frame

        return frame(self.images, ScoreRecord)


def choose_losses(
    texts: Sequence[str], beta: str | float, *, logits: bool = False
) -> tuple[Loss, ...]:
    """BCE, balanced and class-mean BCE, then those of ``--loss``, each once."""
    basic = basic_losses(_beta(beta))
    further: list[Loss] = []
    for text in texts:
        if text == "all":
            every = [
                one for one in all_losses() if logits or one.reads is not Reads.LOGITS
            ]
            further += every
        else:
            further.append(parse_loss(text))
    return tuple(dict.fromkeys((*basic, *further)))


def _beta(beta: str | float) -> str | float:
    if isinstance(beta, str) and beta not in ("image", "dataset"):
        try:
            number: float = json.loads(beta)
        except ValueError:
            number = float("nan")
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            number = float("nan")
        if not 0 <= number <= 1:
            raise UsageError(
                f"--beta {beta}: expected image, dataset or a number from 0 to 1"
            )
        return number
    return beta


def inverted_notes(models: Iterable[ModelScore]) -> list[Message]:
    """Which models seem to have swapped the classes, or predict one alone."""
    rows = [one.dataset for one in models]
    found = [
        (one.model, text) for one in rows for text in (one.inverted, one.one_sided)
    ]
    texts = [f"{name}: {text}" if name else text for name, text in found if text]
    return [Message(Level.WARNING, text) for text in texts]


def trivial_scores(
    table: SumsTable, basic: Sequence[Loss], types: set[str] | None
) -> tuple[Trivial, ...]:
    """The losses of predictors that know nothing of the images."""
    if table.soft or not table.valid.any():
        return ()
    guesses = {"p = prior everywhere": table.prior}
    if table.hard:
        guesses["no change, p = 0"] = 0.0
    elif types is not None:
        known = [name for name in sorted(types) if name in FILE_EPS]
        eps_of = min(known, key=lambda name: FILE_EPS[name], default="uint8")
        guesses[f"no change, p = eps of {eps_of}"] = FILE_EPS[eps_of]
    found = []
    for name, prob in guesses.items():
        constant = constant_prediction(table, prob)
        bce, balanced, class_mean = (evaluate(one, constant) for one in basic)
        found.append(Trivial(name, prob, bce.mean, balanced.mean, class_mean.pooled))
    return tuple(found)


def one_class_bce(table: SumsTable) -> float | None:
    """Mean BCE of the images of one class."""
    one = (table.valid > 0) & ((table.changed == 0) | (table.unchanged == 0))
    pixels = int(table.valid[one].sum())
    total = (table.ce_changed_sum + table.ce_unchanged_sum)[one].sum()
    return float(total) / pixels if pixels else None
