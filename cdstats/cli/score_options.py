"""Options of the commands that score predictions."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cdstats.core.errors import UsageError

_SCORE = "Scoring"


class KindName(StrEnum):
    """What stored numbers mean."""

    PROB = "prob"
    LOGIT = "logit"
    HARD = "hard"


Pred = Annotated[
    list[str] | None,
    typer.Option(
        help="Predictions: a file, folder, glob, pattern or address; NAME= names a "
        "model.",
        metavar="[NAME=]PATH",
    ),
]
TargetPath = Annotated[
    str | None,
    typer.Option(
        help="Masks: a file, folder, glob, pattern or address, or .npy.",
        metavar="PATH",
    ),
]
KindOption = Annotated[
    KindName | None,
    typer.Option(
        help="What the predictions are; found out if not given, logits never.",
        rich_help_panel=_SCORE,
    ),
]
Beta = Annotated[
    str,
    typer.Option(
        help="Beta of balanced cross-entropy: image, dataset or a number.",
        metavar="image|dataset|FLOAT",
        rich_help_panel=_SCORE,
    ),
]
FurtherLosses = Annotated[
    list[str] | None,
    typer.Option(
        "--loss",
        help="A further loss, or all; `cdstats explain` lists them. Repeatable.",
        metavar="NAME[:param=value,...]",
        rich_help_panel=_SCORE,
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        help="A pixel is predicted changed when p is at least this.",
        min=0,
        max=1,
        metavar="P",
        show_default="0.5",
        rich_help_panel=_SCORE,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="auto, cpu, cuda, cuda:N or mps.",
        metavar="NAME",
        show_default="auto",
        rich_help_panel="Run",
    ),
]
BatchSize = Annotated[
    str | None,
    typer.Option(
        help="Tiles of 65,536 pixels computed together on a device.",
        metavar="auto|N",
        show_default="auto",
        rich_help_panel="Run",
    ),
]


def refuse_with_from(*of_pixels: object) -> None:
    """Refuse options that decide about pixels beside ``--from``.

    Raises:
        UsageError: If one is given.
    """
    if any(option is not None for option in of_pixels):
        raise UsageError(
            "--from reads sums and counts that an earlier run made, at its threshold "
            "and by its rule; leave out --pred, --target, --kind, --threshold, "
            "--device, --batch-size, --engine, --max-pixels, --band, --split and "
            "rules"
        )


def batch_tiles(text: str | None) -> int | None:
    """The tiles of a batch that ``--batch-size`` asks for; None for what fits.

    Raises:
        UsageError: If it is no number.
    """
    if text is None or text == "auto":
        return None
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise UsageError(f"--batch-size {text}: expected auto or a number from 1")
    return int(text)
