"""Contributions of a pixel to sums, as functions of its probability and label.

Losses with an exponent or a margin inside the logarithm need additional sums, one pair
for each setting of their parameters. A `Term` identifies such a pair, so that a loss
can request it, and computes it with NumPy or torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType

Array: TypeAlias = Any
"""A NumPy array or a torch tensor."""

_HALF: Final = 0.5
LOG_FLOOR: Final = -100.0
"""Lower bound for logarithms, as in torch's ``binary_cross_entropy``."""
ASL_LOG_FLOOR: Final = math.log(1e-8)
"""Lower bound for logarithms in the reference code of the asymmetric loss."""


def sigmoid_and_logs(logits: Array) -> tuple[Array, Array, Array, Array]:
    """p, 1 - p, ln p and ln(1 - p) of logits, without loss of precision."""
    power = np.exp(-np.abs(logits))
    sure, log = 1 / (1 + power), np.log1p(power)
    above = logits >= 0
    return (
        np.where(above, sure, power * sure),
        np.where(above, power * sure, sure),
        np.minimum(logits, 0) - log,
        -np.maximum(logits, 0) - log,
    )


@lru_cache(maxsize=64)
def least_changed(threshold: float, dtype: str, *, logits: bool = False) -> float:
    """The smallest score of a dtype with a probability of at least the threshold.

    With a rounded threshold, scores below the exact threshold might count as changed.
    Finite logits have probabilities strictly between 0 and 1, even if their sigmoid
    rounds to 0 or 1: with a threshold of 1 none is changed, with 0 all are.

    Example:
        >>> least_changed(0.1, "float32"), least_changed(0.5, "float32", logits=True)
        (0.10000000149011612, 0.0)
        >>> least_changed(1.0, "float32", logits=True)
        inf
    """
    exact = Decimal(float(threshold))
    if logits:
        with localcontext(prec=60):
            exact = exact.ln() - (1 - exact).ln()
    rounded = np.dtype(dtype).type(float(exact))
    if Decimal(float(rounded)) < exact:
        rounded = np.nextafter(rounded, rounded.dtype.type(np.inf))
    return float(rounded)


def cross_entropy(
    probs: Array,
    *,
    changed: bool,
    xp: ModuleType = np,
    floor: float = LOG_FLOOR,
    rest: Array = None,
) -> Array:
    """Cross-entropy of each pixel in nats: ``-max(ln p_t, floor)``; never -0.

    ``p_t`` is p for changed and 1 - p for unchanged pixels; ``xp`` is ``numpy``, or
    ``torch`` for tensors. ``rest`` is 1 - p if known more precisely than from p; for
    logits it is the sigmoid of the negative logit.
    """
    # Clamp the logarithm of 0.
    with np.errstate(divide="ignore"):
        if rest is not None:
            right, wrong = (probs, rest) if changed else (rest, probs)
            logs = xp.where(wrong < _HALF, xp.log1p(-wrong), xp.log(right))
        else:
            logs = xp.log(probs) if changed else xp.log1p(-probs)
    return abs(xp.clip(logs, floor, None))


def _focal(
    probs: Array, rest: Array, changed: bool, xp: ModuleType, gamma: float
) -> Array:
    miss = (1 - probs if rest is None else rest) if changed else probs
    return miss**gamma * cross_entropy(probs, changed=changed, xp=xp, rest=rest)


def _opposite_ce(probs: Array, rest: Array, changed: bool, xp: ModuleType) -> Array:
    return cross_entropy(probs, changed=not changed, xp=xp, rest=rest)


def _ce_power(
    probs: Array, rest: Array, changed: bool, xp: ModuleType, exponent: float
) -> Array:
    return cross_entropy(probs, changed=changed, xp=xp, rest=rest) ** exponent


def _asl(
    probs: Array, rest: Array, changed: bool, xp: ModuleType, *parameters: float
) -> Array:
    gamma_plus, gamma_minus, margin = parameters
    if changed:
        factor = (1 - probs if rest is None else rest) ** gamma_plus
    else:
        probs = xp.clip(probs - margin, 0, None)
        rest = None if rest is None else xp.clip(rest + margin, None, 1)
        factor = probs**gamma_minus
    floor = ASL_LOG_FLOOR
    return factor * cross_entropy(probs, changed=changed, xp=xp, floor=floor, rest=rest)


def _logit_adjusted(
    probs: Array, rest: Array, changed: bool, xp: ModuleType, tau: float, prior: float
) -> Array:
    shift = tau * (math.log(prior) - math.log1p(-prior))
    with np.errstate(divide="ignore"):
        against = xp.log1p(-probs) if rest is None else xp.log(rest)
        adjusted = xp.log(probs) - against + shift
    against = -adjusted if changed else adjusted
    # ln(1 + e^x), which stays precise for correct predictions.
    return xp.clip(xp.logaddexp(xp.zeros_like(against), against), None, -LOG_FLOOR)


_PER_PIXEL: Final[Mapping[str, Callable[..., Array]]] = {
    "focal": _focal,
    "opposite_ce": _opposite_ce,
    "ce_power": _ce_power,
    "asl": _asl,
    "logit_adjusted": _logit_adjusted,
}


@dataclass(frozen=True, slots=True)
class Term:
    """A pair of additional sums: over changed and over unchanged pixels.

    The contribution of a pixel, with ``CE = -ln p_t`` clamped at 100:

    - ``focal(gamma)``: ``(1 - p_t)^gamma CE``
    - ``opposite_ce()``: CE with the labels swapped
    - ``ce_power(exponent)``: ``CE^exponent``
    - ``asl(gamma_plus, gamma_minus, margin)`` and ``logit_adjusted(tau, prior)``: as in
      the losses of these names

    Three terms need pixel positions, hence whole images, and the Euclidean distance
    ``d`` to the nearest pixel of the other label:

    - ``boundary()`` and ``hausdorff_dt(alpha)``: as in the losses of these names
    - ``distance_map_penalised_ce()``: ``phi CE`` with ``phi = (m - d) / m``, ``m`` the
      largest ``d`` among the pixels of the same label; 0 if there is only one label

    A pixel with a soft target ``y`` adds ``y`` times its value as a changed pixel to
    the first sum and ``1 - y`` times its value as an unchanged pixel to the second.
    """

    name: str
    params: tuple[float, ...] = ()

    @property
    def needs_positions(self) -> bool:
        """Whether the contribution depends on more than probability and label."""
        return self.name not in _PER_PIXEL

    def per_pixel(
        self, probs: Array, *, changed: bool, xp: ModuleType = np, rest: Array = None
    ) -> Array:
        """Contribution of each pixel to the sum of its class; see `cross_entropy`."""
        if self.needs_positions:
            raise ValueError(f"{self} needs the positions of the pixels")
        return _PER_PIXEL[self.name](probs, rest, changed, xp, *self.params)


def class_sums(
    probs: Array, changed: Array, unchanged: Array, terms: Iterable[Term] = ()
) -> tuple[dict[str, Array], dict[Term, tuple[Array, Array]]]:
    """Contributions of pixels of each class and probability to the sums of an image.

    These are the fields that are sums over pixels, and terms without positions.
    """
    miss = 1 - probs
    plain = {
        "ce_changed_sum": changed * cross_entropy(probs, changed=True),
        "ce_unchanged_sum": unchanged * cross_entropy(probs, changed=False),
        "missed_sum": changed * miss,
        "missed_sq_sum": changed * (miss * miss),
        "prob_changed_sum": changed * probs,
        "prob_sq_changed_sum": changed * (probs * probs),
        "false_sum": unchanged * probs,
        "false_sq_sum": unchanged * (probs * probs),
    }
    return plain, {
        term: (
            changed * term.per_pixel(probs, changed=True),
            unchanged * term.per_pixel(probs, changed=False),
        )
        for term in terms
    }
