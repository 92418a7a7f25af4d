"""Training losses against the plain expressions of the same losses, in turns.

Forward and backward, eager and compiled, float32; with ignored pixels too, where the
plain expression runs without them. On a processor, times are those of the processor
for this process, on one thread, so that other programs hardly disturb them.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

import cdstats
from cdstats import losses

if TYPE_CHECKING:
    from collections.abc import Callable

    Loss = Callable[[Tensor, Tensor], Tensor]


class Contest(NamedTuple):
    """A loss of this package, the plain expression of it, and what both read."""

    ours: Loss
    plain: Loss
    logits: bool


def balanced(logits: Tensor, target: Tensor) -> Tensor:
    beta = 1 - target.mean((1, 2, 3), keepdim=True)
    weight = beta * target + (1 - beta) * (1 - target)
    return functional.binary_cross_entropy_with_logits(
        logits, target, weight=weight, reduction="sum"
    )


def snippet(probs: Tensor, target: Tensor) -> Tensor:
    """The published snippet, version 2: one expression for each image."""
    floor, total = probs.new_tensor([-100.0]), probs.new_zeros(())
    for image, labels in zip(probs, target, strict=True):
        p, y = image.reshape(-1), labels.reshape(-1)
        beta = 1 - y.sum() / y.numel()
        changed = beta * y * torch.max(p.log(), floor)
        unchanged = (1 - beta) * (1 - y) * torch.max((1 - p).log(), floor)
        total = total - (changed + unchanged).sum()
    return total


def class_mean(logits: Tensor, target: Tensor) -> Tensor:
    entropy = functional.binary_cross_entropy_with_logits(
        logits, target, reduction="none"
    )
    changed = (entropy * target).sum((1, 2, 3)) / target.sum((1, 2, 3))
    rest = 1 - target
    return (
        (changed + (entropy * rest).sum((1, 2, 3)) / rest.sum((1, 2, 3))) / 2
    ).mean()


def focal(logits: Tensor, target: Tensor) -> Tensor:
    entropy = functional.binary_cross_entropy_with_logits(
        logits, target, reduction="none"
    )
    probs = logits.sigmoid()
    right = probs * target + (1 - probs) * (1 - target)
    weight = 0.25 * target + 0.75 * (1 - target)
    return (weight * (1 - right) ** 2 * entropy).mean()


def dice(logits: Tensor, target: Tensor) -> Tensor:
    return dice_of_probs(logits.sigmoid(), target)


def dice_of_probs(probs: Tensor, target: Tensor) -> Tensor:
    p, y = probs.flatten(1), target.flatten(1)
    return (1 - (2 * (p * y).sum(1) + 1) / (p.sum(1) + y.sum(1) + 1)).mean()


def tversky(logits: Tensor, target: Tensor) -> Tensor:
    p, y = logits.sigmoid().flatten(1), target.flatten(1)
    hits = (p * y).sum(1)
    wrong = 0.3 * (p * (1 - y)).sum(1) + 0.7 * ((1 - p) * y).sum(1)
    return (1 - (hits + 1) / (hits + wrong + 1)).mean()


def combo(logits: Tensor, target: Tensor) -> Tensor:
    entropy = functional.binary_cross_entropy_with_logits(logits, target)
    return 0.25 * entropy + 0.5 * dice(logits, target)


def lovasz(logits: Tensor, target: Tensor) -> Tensor:
    errors, order = (logits.sigmoid() - target).abs().flatten(1).sort(descending=True)
    y = target.flatten(1).gather(1, order)
    size = y.sum(1, keepdim=True)
    jaccard = 1 - (size - y.cumsum(1)) / (size + (1 - y).cumsum(1))
    steps = jaccard.diff(dim=1, prepend=torch.zeros_like(size))
    return (errors * steps).sum(1).mean()


CONTESTS = {
    "balanced": Contest(
        losses.BalancedCrossEntropyLoss(from_logits=True), balanced, True
    ),
    "balanced, probabilities": Contest(
        losses.BalancedCrossEntropyLoss(), snippet, False
    ),
    "class mean": Contest(losses.ClassMeanBCELoss(from_logits=True), class_mean, True),
    "focal": Contest(losses.FocalLoss(from_logits=True), focal, True),
    "dice": Contest(losses.DiceLoss(from_logits=True), dice, True),
    "dice, probabilities": Contest(losses.DiceLoss(), dice_of_probs, False),
    "tversky": Contest(losses.TverskyLoss(from_logits=True), tversky, True),
    "combo": Contest(losses.ComboLoss(from_logits=True), combo, True),
    "lovasz softmax": Contest(losses.LovaszSoftmaxLoss(from_logits=True), lovasz, True),
}


def seconds(loss: Loss, scores: Tensor, target: Tensor, *, backward: bool) -> float:
    leaf = scores.detach().requires_grad_(backward)
    clock = time.perf_counter if scores.is_cuda else time.process_time
    start = clock()
    value = loss(leaf, target)
    if backward:
        torch.autograd.backward(value)
    if scores.is_cuda:
        torch.cuda.synchronize()
    return clock() - start


def in_turns(
    contenders: dict[str, tuple[Loss, Tensor, Tensor]], turns: int, *, backward: bool
) -> dict[str, float]:
    """Medians in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(turns + 2):
        for name, (loss, scores, target) in contenders.items():
            taken = seconds(loss, scores, target, backward=backward)
            if turn >= 2:
                times[name].append(1000 * taken)
    return {name: statistics.median(each) for name, each in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    shape = options.images, 1, options.size, options.size
    logits = (2 * torch.randn(shape)).to(options.device)
    target = (torch.rand(shape) < 0.1).float().to(options.device)
    ignored = target.clone()
    ignored[..., : options.size // 8] = 255
    print(f"{shape}, float32, {options.device}, {options.threads} threads, ms")
    print(
        f"cdstats {cdstats.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {platform.machine()}"
    )
    for name, (ours, plain, of_logits) in CONTESTS.items():
        scores = logits if of_logits else logits.sigmoid()
        torch.testing.assert_close(
            ours(scores, target), plain(scores, target), rtol=1e-5, atol=1e-6
        )
        contenders = {
            "plain": (plain, scores, target),
            "ours": (ours, scores, target),
            "ignored": (ours, scores, ignored),
        }
        if not options.no_compile:
            contenders["compiled plain"] = torch.compile(plain), scores, target
            contenders["compiled ours"] = torch.compile(ours), scores, target
        for backward in (False, True):
            medians = in_turns(contenders, options.turns, backward=backward)
            line = f"{name}, {'forward and backward' if backward else 'forward'}: "
            line += ", ".join(f"{key} {value:.2f}" for key, value in medians.items())
            line += f"; ours {medians['ours'] / medians['plain']:.2f} x plain"
            line += f", ignored {medians['ignored'] / medians['plain']:.2f} x"
            if not options.no_compile:
                ratio = medians["compiled ours"] / medians["compiled plain"]
                line += f", compiled {ratio:.2f} x"
            print(line, flush=True)


if __name__ == "__main__":
    main()
