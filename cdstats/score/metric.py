"""`ChangeMetric`: the columns of `cdstats loss` in a training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from cdstats.core.catalogue import Reads, all_losses, evaluate, parse_loss
from cdstats.core.errors import UsageError, counted
from cdstats.core.score_records import (
    Place,
    Stated,
    basic_losses,
    dataset_score,
    scored_records,
)
from cdstats.core.sums import SumsTable
from cdstats.io.resident import one_channel
from cdstats.render.table import scalars
from cdstats.score.batching import Accumulated, TileBatches, term_functions
from cdstats.score.choices import Kind
from cdstats.score.kernel import CHANGED, COUNTS, IGNORED, SUMS, TILE, UNCHANGED
from cdstats.score.kernel.tensors import tensor_sums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cdstats.core.catalogue import Loss
    from cdstats.core.sums import Floats

    Integers: TypeAlias = NDArray[np.int64]

_KINDS: Final = tuple(kind.value for kind in Kind)
_OWN_COUNTS: Final = ("ignored", "wrong_target", "wrong_pair", "not_hard")
"""Counts of each image in addition to those of the kernel."""
_COLUMNS: Final = (*COUNTS, *_OWN_COUNTS)
_INVALID: Final = {
    "wrong_target": "target has other values than 0, 1 and ignore_index={ignore}",
    "not_hard": "preds has other values than 0 and 1; for probabilities use "
    "kind='prob'",
    "not_finite": "preds is NaN or infinite",
    "wrong_pair": "the two channels of preds do not add up to 1, as probabilities do; "
    "for scores before the softmax use kind='logit'",
    "outside": "preds is outside [0, 1]; for scores before the sigmoid use "
    "kind='logit'",
}
"""The error for each count of invalid pixels; the first that applies is raised."""
_REFUSED: Final = {
    Reads.POSITIONS: "it is computed from distance maps of whole images",
    Reads.LEVELS: "it needs the sorted probabilities of each image",
    Reads.LOGITS: "it needs the sorted logits of each image",
}
_255_IGNORED: Final = (
    "target has 0 and 255 but no 1, and ignore_index=255 ignores every 255. If 255 "
    "means changed, pass target == 255. If it means ignored and no image has change, "
    "use another value for ignored pixels and pass it as ignore_index"
)


class _Plain(nn.Module):
    """The parts of `torchmetrics.Metric` that are needed if it is not installed."""

    device = torch.device("cpu")
    _update_count = 0
    _computed: Any = None

    def add_state(self, name: str, default: Any, dist_reduce_fx: str) -> None:  # noqa: ANN401, ARG002
        """Add an attribute; `ChangeMetric` gathers states from processes itself."""
        setattr(self, name, default)

    def reset(self) -> None:
        """Remove all images."""
        self._update_count, self._computed = 0, None


if TYPE_CHECKING:
    _Base = _Plain
else:
    try:
        from torchmetrics import Metric as _Base
    except ImportError:
        _Base = _Plain


class ChangeMetric(_Base):
    """The columns of ``cdstats loss``, computed batch by batch in a training loop.

    Each item of a batch is an image. The sums of an image (about 40 numbers) are kept
    on the device of the predictions until `reset`, and all columns are computed from
    them, as for saved predictions. `update` does not wait for a GPU: invalid values are
    counted, and `compute` raises for them. With ``torch.distributed``, `compute`
    returns the values of all images to every process. If torchmetrics is installed,
    this is a ``torchmetrics.Metric``.

    Args:
        kind: Kind of the predictions: probabilities (``"prob"``), scores before the
            sigmoid (``"logit"``) or labels 0 and 1 (``"hard"``).
        threshold: A pixel is predicted changed when its probability is at least this.
        ignore_index: The value of ignored target pixels, or None.
        losses: Further losses as for ``--loss``: ``"dice"``, ``"focal:gamma=3"``;
            ``"all"`` for all losses that are computed from sums.

    Raises:
        UsageError: If an argument is invalid, or a loss cannot be computed from sums
            over the pixels.

    Example:
        >>> metric = ChangeMetric()
        >>> metric.update(torch.tensor([[[0.9, 0.2]]]), torch.tensor([[[1, 0]]]))
        >>> values = metric.compute()
        >>> values["f1_pooled"], values["bce_mean"]
        (1.0, 0.164...)
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    sums: list[Tensor]
    counts: list[Tensor]
    options: Tensor

    def __init__(
        self,
        kind: str = "prob",
        threshold: float = 0.5,
        ignore_index: int | None = 255,
        losses: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if kind not in _KINDS:
            raise UsageError(f"kind={kind!r}: expected {', '.join(_KINDS)}")
        if not 0 <= threshold <= 1:
            raise UsageError(f"threshold={threshold!r}: expected a number from 0 to 1")
        if ignore_index in (CHANGED, UNCHANGED):
            raise UsageError(
                f"ignore_index={ignore_index}: 0 and 1 are the two classes"
            )
        self.kind, self.threshold = kind, float(threshold)
        self.ignore_index = ignore_index
        self.losses = _choose((losses,) if isinstance(losses, str) else losses)
        self._terms = tuple(
            dict.fromkeys(term for loss in self.losses for term in loss.terms())
        )
        # torchmetrics shares states between metrics whose states are equal after one
        # batch, which may happen for two thresholds. The options are a state to prevent
        # this, and the first state because torchmetrics 1.5 compares only that.
        options = repr((kind, self.threshold, ignore_index, self.losses)).encode()
        self.add_state("options", torch.tensor(list(options)), "max")
        self.add_state("sums", [], "cat")
        self.add_state("counts", [], "cat")
        self._clear()

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            preds: Predictions of this ``kind``; ``(N, H, W)``, ``(N, 1, H, W)`` or
                ``(N, 2, H, W)`` with the channel of change second. Labels may have any
                type, other predictions must be floating.
            target: 1 changed, 0 unchanged, or ``ignore_index``; any type,
                ``(N, H, W)`` or ``(N, 1, H, W)``, on the device of ``preds``.

        Raises:
            TypeError: If an argument is not a tensor, or ``preds`` is not floating and
                ``kind`` is not ``"hard"``.
            ValueError: If shapes or devices differ.
        """
        with torch.no_grad():
            sums, counts = self._summed(preds, target)
        self.sums, self.counts = (
            [one.to(sums.device) for one in held if len(one)] + [new]
            for held, new in ((self.sums, sums), (self.counts, counts))
        )

    def compute(self) -> dict[str, float]:
        """The values of all images since `reset`, by column of ``cdstats loss``.

        Returns:
            All numeric columns of the dataset row; NaN where undefined.

        Raises:
            ValueError: If predictions or targets had invalid values, or targets have 0
                and 255 but no 1 with ``ignore_index=255``.
        """
        sums, counts = _joined(self.sums), _joined(self.counts)
        if isinstance(self, _Plain):
            sums, counts = _of_all_processes(sums, counts)
        found = dict(zip(_COLUMNS, counts.sum(0).tolist(), strict=True))
        no_change = found["valid"] and not found["tp"] + found["fn"]
        if self.ignore_index == IGNORED and found["ignored"] and no_change:
            raise ValueError(_255_IGNORED)
        return self._values(sums, counts)

    def forward(self, preds: Tensor, target: Tensor) -> dict[str, float]:
        """Add a batch and return the values of only this batch; waits for a GPU."""
        self.update(preds, target)
        found = self._values(_joined(self.sums[-1:]), _joined(self.counts[-1:]))
        self._forward_cache = found
        return found

    def reset(self) -> None:
        """Remove all images."""
        super().reset()
        self._clear()

    def merge(self, other: ChangeMetric) -> None:
        """Add the images of another metric with the same options.

        Raises:
            ValueError: If the options differ.
        """
        if not torch.equal(self.options.cpu(), other.options.cpu()):
            raise ValueError("the two metrics differ in their options")
        sums, counts = list(other.sums), list(other.counts)
        device = sums[0].device if sums else torch.device("cpu")
        self.sums = [*(one.to(device) for one in self.sums if len(one)), *sums]
        self.counts = [*(one.to(device) for one in self.counts if len(one)), *counts]
        self._computed = None
        self._update_count += 1

    def _clear(self) -> None:
        """Set states without rows; an empty list would differ between processes."""
        width = len(SUMS) + 2 * len(self._terms)
        double = torch.float32 if self.device.type == "mps" else torch.float64
        self.sums = [torch.zeros((0, width), dtype=double, device=self.device)]
        shape = (0, len(_COLUMNS))
        self.counts = [torch.zeros(shape, dtype=torch.int64, device=self.device)]

    def _summed(self, preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The sums and counts of each image, on the device of the predictions."""
        preds, target = _checked(preds, target, self.kind)
        labels, wrong_target = _labels(target, self.ignore_index)
        left_out = labels == IGNORED
        scores, wrong_pair = _scores(preds, self.kind)
        not_hard = (scores != 0) & (scores != 1) & (self.kind == "hard")
        own = (
            *(left_out & ~wrong_target, wrong_target),
            *(wrong_pair & ~left_out, not_hard & ~left_out),
        )
        options = {
            "threshold": self.threshold,
            "logits": self.kind == "logit",
            "terms": term_functions(
                self._terms, np if scores.device.type == "cpu" else torch
            ),
        }
        sums, counts = _image_sums(scores.flatten(1), labels.flatten(1), options)
        return sums, torch.cat(
            [counts, torch.stack([x.flatten(1).sum(1) for x in own], 1)], 1
        )

    def _values(self, sums: Floats, counts: Integers) -> dict[str, float]:
        """The columns of the images with these sums and counts."""
        self._refuse_invalid(counts)
        width, images = len(SUMS) + 2 * len(self._terms), []
        for one, number in zip(sums, counts, strict=True):
            # A device without float64 has a second row with corrections of the sums.
            whole = one.reshape(-1, width).sum(0)
            terms = whole[len(SUMS) :].reshape(-1, 2)
            held = Accumulated(whole[: len(SUMS)], number[: len(COUNTS)], terms)
            ignored = int(number[len(COUNTS)])
            images.append(held.image_sums(self._terms, ignored=ignored))
        table = SumsTable.of(images)
        results = [evaluate(loss, table) for loss in self.losses]
        further, stated = self.losses[3:], Stated(threshold=self.threshold)
        known = [(Place("", ""), (0, 0), one, stated) for one in images]
        rows = scored_records(known, results, [loss.column for loss in further])
        return scalars(dataset_score("", rows, results, table, further))

    def _refuse_invalid(self, counts: Integers) -> None:
        for name, text in _INVALID.items():
            pixels = counts[:, _COLUMNS.index(name)]
            if pixels.any() and (name != "outside" or self.kind == "prob"):
                where = f"{counted(int(pixels.sum()), 'pixel')} of "
                where += counted(int((pixels > 0).sum()), "image")
                raise ValueError(
                    f"{where}: {text.format(ignore=self.ignore_index)}. Call reset() "
                    "before the next update"
                )


def _choose(texts: Sequence[str]) -> tuple[Loss, ...]:
    """BCE, balanced and class-mean BCE, then the further losses."""
    further: list[Loss] = []
    for text in texts:
        if text == "all":
            further += [loss for loss in all_losses() if not _refusal(loss)]
            continue
        loss = parse_loss(text)
        if reason := _refusal(loss):
            raise UsageError(
                f"{loss.label} cannot be computed from sums over the pixels: {reason}. "
                "`cdstats loss` computes it from saved predictions"
            )
        further.append(loss)
    return tuple(dict.fromkeys((*basic_losses("image"), *further)))


def _refusal(loss: Loss) -> str:
    """Why a loss cannot be computed from sums; empty if it can."""
    if loss.needs_prior:
        return (
            "it needs the share of changed pixels before the first batch; give it as "
            f"{loss.name}:prior=NUMBER"
        )
    return _REFUSED.get(loss.reads, "")


def _checked(preds: Tensor, target: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Predictions as ``(N, C, H, W)`` and targets as ``(N, H, W)``."""
    for name, one in (("preds", preds), ("target", target)):
        if not isinstance(one, Tensor):
            raise TypeError(f"{name} is {type(one).__name__}; expected a tensor")
    preds, target = preds.detach(), target.detach()
    shapes = f"preds is {tuple(preds.shape)} and target {tuple(target.shape)}"
    if kind != "hard" and not preds.is_floating_point():
        raise TypeError(
            f"preds is {preds.dtype}; expected a floating type for kind={kind!r}. "
            "Labels need kind='hard'; integer levels must be divided by the highest one"
        )
    planes = preds if preds.ndim == 4 else preds.unsqueeze(1)
    mask = target.squeeze(1) if target.ndim == 4 else target
    fits = planes.ndim == 4 and planes.shape[1] in (1, 2) and mask.ndim == 3
    if not fits or planes[:, 0].shape != mask.shape:
        raise ValueError(
            f"{shapes}; expected (N, H, W), (N, 1, H, W) or (N, 2, H, W), and a target "
            "(N, H, W) or (N, 1, H, W) of the same size. For one image pass x[None]"
        )
    if preds.device != target.device:
        raise ValueError(f"preds is on {preds.device}, target on {target.device}")
    return planes, mask


def _labels(target: Tensor, ignore: int | None) -> tuple[Tensor, Tensor]:
    """Labels for the kernel, and where the target has an invalid value."""
    values = target.byte() if target.dtype is torch.bool else target
    changed, unchanged = values == 1, values == 0
    wrong = ~(changed | unchanged)
    if ignore is not None and _can_hold(values.dtype, ignore):
        wrong &= values != ignore
    labels = torch.where(unchanged, UNCHANGED, IGNORED)
    return torch.where(changed, CHANGED, labels).to(torch.uint8), wrong


def _can_hold(dtype: torch.dtype, number: int) -> bool:
    """Whether a type can represent a number; torch would wrap it around."""
    if dtype.is_floating_point:
        return True
    known = torch.iinfo(dtype)
    return known.min <= number <= known.max


def _scores(planes: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Floating scores of change ``(N, H, W)``, and where two channels do not fit."""
    # The command computes stored levels, those of labels and float16, in float64.
    plain = planes.dtype in (torch.float32, torch.bfloat16)
    levels = not plain and kind != "logit" and planes.device.type == "cpu"
    wide = planes.double() if levels else planes
    if wide.dtype is not torch.float64:
        wide = wide.float()
    scores, off = one_channel(wide, logits=kind == "logit")
    return scores, torch.zeros_like(scores, dtype=torch.bool) if off is None else off


def _image_sums(
    scores: Tensor, labels: Tensor, options: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """The sums, including terms, and the counts of each row."""
    if scores.device.type == "cpu":
        batches = TileBatches(**options)
        for number, (row, own) in enumerate(
            zip(scores.numpy(), labels.numpy(), strict=True)
        ):
            batches.add(number, row, own)
        batches.flush()
        width = len(SUMS) + 2 * len(options["terms"])
        sums = np.zeros((len(scores), width))
        counts = np.zeros((len(scores), len(COUNTS)), dtype=np.int64)
        for number, one in batches.images.items():
            sums[number, : len(SUMS)], counts[number] = one.sums, one.counts
            if one.terms is not None:
                sums[number, len(SUMS) :] = one.terms.reshape(-1)
        return torch.from_numpy(sums), torch.from_numpy(counts)
    if scores.device.type == "mps":
        return _paired(scores, labels, options)
    found = tensor_sums(scores, labels, **options)
    return torch.cat([found.sums, found.terms.flatten(1)], 1), found.counts


def _paired(
    scores: Tensor, labels: Tensor, options: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """The float32 sums of a device without float64, followed by their corrections."""
    parts = [slice(at, at + TILE) for at in range(0, max(scores.shape[1], 1), TILE)]
    found = [tensor_sums(scores[:, p], labels[:, p], **options) for p in parts]
    tiles = [torch.cat([one.sums, one.terms.flatten(1)], 1) for one in found]
    total = tiles[0]
    rest = torch.zeros_like(total)
    for tile in tiles[1:]:
        added = total + tile
        own = added - total
        # The exact rounding error of the sum, by Knuth's two-sum.
        rest += (total - (added - own)) + (tile - own)
        total = added
    counts = torch.stack([one.counts for one in found]).sum(0)
    return torch.cat([total, rest], 1), counts


def _joined(parts: list[Tensor] | Tensor) -> NDArray[Any]:
    """The rows of all batches on the CPU."""
    whole = parts if isinstance(parts, Tensor) else torch.cat(parts)
    return whole.cpu().numpy()


def _of_all_processes(*parts: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """The rows of all processes, in order of rank."""
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return parts
    found: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(found, parts)
    return tuple(np.concatenate(columns) for columns in zip(*found, strict=True))
