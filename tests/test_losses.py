"""The training losses: their values, their gradients and what they refuse."""

from __future__ import annotations

import copy
import json
import math
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cdstats import losses

Loss: TypeAlias = Callable[..., Tensor]
Form: TypeAlias = tuple[Loss, Callable[..., nn.Module]]

ROOT = Path(__file__).parent.parent
GOLDEN = json.loads((ROOT / "tests/golden/losses.json").read_text())
CASES = {case["id"]: case for case in GOLDEN["cases"] if not case.get("stress")}
OF_GOLDEN: dict[str, Loss] = {
    "balanced_ce": losses.balanced_cross_entropy,
    "class_mean_bce": losses.class_mean_bce,
    "focal": losses.focal_loss,
    "dice": losses.dice_loss,
    "log_cosh_dice": losses.log_cosh_dice_loss,
    "tversky": losses.tversky_loss,
    "focal_tversky": losses.focal_tversky_loss,
    "lovasz_softmax": losses.lovasz_softmax_loss,
    "lovasz_hinge": losses.lovasz_hinge_loss,
}
FORMS: dict[str, Form] = {
    "balanced": (losses.balanced_cross_entropy, losses.BalancedCrossEntropyLoss),
    "class_mean": (losses.class_mean_bce, losses.ClassMeanBCELoss),
    "focal": (losses.focal_loss, losses.FocalLoss),
    "dice": (losses.dice_loss, losses.DiceLoss),
    "log_cosh_dice": (losses.log_cosh_dice_loss, losses.LogCoshDiceLoss),
    "tversky": (losses.tversky_loss, losses.TverskyLoss),
    "focal_tversky": (losses.focal_tversky_loss, losses.FocalTverskyLoss),
    "combo": (losses.combo_loss, losses.ComboLoss),
    "lovasz": (losses.lovasz_softmax_loss, losses.LovaszSoftmaxLoss),
}


def _of_logits(loss: Loss) -> Loss:
    return partial(loss, from_logits=True)


ON_PROBS = [pytest.param(form[0], id=name) for name, form in FORMS.items()]
ON_LOGITS = [
    *(pytest.param(_of_logits(form[0]), id=name) for name, form in FORMS.items()),
    pytest.param(losses.lovasz_hinge_loss, id="lovasz_hinge"),
]
on_both = pytest.mark.parametrize("loss", [*ON_PROBS, *ON_LOGITS])
HALF = [torch.float16, torch.bfloat16]
# torch's own tracer does what the warning forbids.
tracing = pytest.mark.filterwarnings(
    "ignore:.*should not be instantiated:DeprecationWarning"
)
needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device"
)


def _images(
    seed: int = 0,
    shape: tuple[int, ...] = (3, 5, 4),
    dtype: torch.dtype = torch.float64,
    ignored: bool = False,
) -> tuple[Tensor, Tensor]:
    """Logits and hard targets of images that hold both classes."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape, generator=generator, dtype=dtype)
    target = torch.rand(shape, generator=generator) < 0.3
    target = target.long()
    target[:, ..., 0, 0], target[:, ..., 0, 1] = 0, 1
    if ignored:
        target[:, ..., 1, 1:3] = 255
    return logits, target


def _value_and_gradient(
    loss: Loss, scores: Tensor, target: Tensor, **arguments: Any
) -> tuple[Tensor, Tensor]:
    scores = scores.detach().clone().requires_grad_()
    value = loss(scores, target, **arguments)
    (gradient,) = torch.autograd.grad(value.sum(), scores)
    return value.detach(), gradient


def same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> bool:
    return all(map(torch.equal, found, expected))


# Values


def _generated(generator: dict[str, int], shape: list[int]) -> tuple[Tensor, Tensor]:
    t = torch.arange(math.prod(shape)).reshape(shape)
    probs = (2 * ((generator["a"] * t + generator["b"]) % 128) + 1) / 256
    target = (generator["c"] * t + generator["d"]) % generator["m"] < generator["q"]
    return probs.double(), target


def _golden_inputs(case: dict[str, Any], name: str) -> tuple[Tensor, Tensor]:
    if "generator" in case:
        return _generated(case["generator"], case["shape"])
    field = "logits" if name == "lovasz_hinge" else "p"
    scores = torch.tensor(case[field], dtype=torch.float64)
    return scores, torch.tensor(case["y"], dtype=torch.float64)


GOLDEN_LOSSES = [
    pytest.param(case, name, id=f"{case['id']}-{name}")
    for case in CASES.values()
    for name in sorted({entry["loss"] for entry in case["expected"]} & {*OF_GOLDEN})
]


def _reductions(
    loss: Loss, scores: Tensor, target: Tensor, **arguments: Any
) -> dict[str, Any]:
    """Our values under the names of the golden file."""

    def reduced(reduction: str) -> Tensor:
        options = {"reduction": reduction, "undefined": "nan", **arguments}
        return loss(scores, target, **options).double()

    if loss in (losses.balanced_cross_entropy, losses.focal_loss):
        return {
            "sum": reduced("sum").item(),
            "mean": reduced("mean").item(),
            "per_image_sum": reduced("none").sum((1, 2)).tolist(),
        }
    return {
        "per_image": reduced("none").tolist(),
        "image_mean": reduced("mean").item(),
        "pooled": reduced("pooled").item(),
    }


@pytest.mark.parametrize(("case", "name"), GOLDEN_LOSSES)
def test_losses_have_the_golden_values(
    case: dict[str, Any], name: str, request: pytest.FixtureRequest
) -> None:
    """In float64 and float32, in half types too if the long tests are asked for."""
    scores, target = _golden_inputs(case, name)
    types = case["p_exact_in"][: 2 if "generator" in case else None]
    if not request.config.getoption("--full"):
        types = [dtype for dtype in types if dtype in ("float64", "float32")]
    for dtype in types:
        narrow = scores.to(getattr(torch, dtype))
        if torch.equal(narrow.double(), scores):
            _assert_golden(case, name, narrow, target)


def _assert_golden(
    case: dict[str, Any], name: str, scores: Tensor, target: Tensor
) -> None:
    for entry in case["expected"]:
        if entry["loss"] != name:
            continue
        params = dict(entry["params"])
        if params.get("beta") == "dataset":
            params["beta"] = "batch"
        rough = "generator" in case or params.get("gamma", 2) % 1
        exact = 1e-9 if rough else 1e-12
        tolerance = exact if scores.dtype == torch.float64 else 1e-6
        measured = _reductions(
            OF_GOLDEN[name], scores, target, ignore_index=case["ignore_value"], **params
        )
        for key in measured.keys() & entry.keys():
            # Pixels of an image that is ignored as a whole add 0 to a sum.
            empty = 0.0 if key == "per_image_sum" else math.nan
            expected = _filled(entry[key], empty)
            assert measured[key] == pytest.approx(
                expected, rel=tolerance, abs=1e-15, nan_ok=True
            ), (params, key, scores.dtype)


def _filled(value: Any, empty: float) -> Any:
    if isinstance(value, list):
        return [empty if item is None else item for item in value]
    return empty if value is None else value


def _seed_per_image(probs: Tensor, target: Tensor) -> Tensor:
    """The published snippet: whole images, logs clamped at −100."""
    floor = torch.tensor([-100.0], dtype=probs.dtype)
    total = probs.new_zeros(())
    for image, labels in zip(
        probs.view(len(probs), -1), target.view(len(target), -1), strict=True
    ):
        beta = 1 - labels.sum() / labels.numel()
        changed = beta * labels * torch.max(torch.log(image), floor)
        unchanged = (1 - beta) * (1 - labels) * torch.max(torch.log(1 - image), floor)
        total = total - (changed + unchanged).sum()
    return total


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)]
)
def test_the_default_module_is_a_drop_in_for_the_published_snippet(
    dtype: torch.dtype, tolerance: float
) -> None:
    logits, target = _images(shape=(3, 1, 12, 12), dtype=dtype)
    probs, target = logits.sigmoid(), target.to(dtype)
    value = losses.BalancedCrossEntropyLoss()(probs, target)
    assert value.dtype == dtype
    torch.testing.assert_close(
        value, _seed_per_image(probs, target), rtol=tolerance, atol=0, check_dtype=False
    )


def test_gradients_are_those_of_torch_also_at_zero_and_one() -> None:
    probs = torch.tensor([[[0.0, 1.0, 0.0, 1.0, 0.3, 1e-30, 1 - 2**-24]]])
    target = torch.tensor([[[0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0]]])
    _, ours = _value_and_gradient(
        losses.balanced_cross_entropy, probs, target, beta=0.5
    )
    _, plain = _value_and_gradient(
        F.binary_cross_entropy, probs, target, reduction="sum"
    )
    torch.testing.assert_close(2 * ours, plain)


def test_balanced_cross_entropy_agrees_with_pos_weight() -> None:
    logits, target = _images()
    beta = 1 - target.double().mean()
    plain = F.binary_cross_entropy_with_logits(
        logits, target.double(), pos_weight=beta / (1 - beta)
    )
    ours = losses.balanced_cross_entropy_with_logits(
        logits, target, beta="batch", reduction="mean"
    )
    torch.testing.assert_close(ours, (1 - beta) * plain, rtol=1e-12, atol=0)


@pytest.mark.parametrize("beta", [0.5, 0.8, "batch"])
def test_combo_is_the_sum_of_its_parts(beta: losses.Beta) -> None:
    probs, target = _images()[0].sigmoid(), _images()[1]
    combo = losses.combo_loss(probs, target, alpha=0.3, beta=beta, reduction="pooled")
    entropy = losses.balanced_cross_entropy(probs, target, beta=beta, reduction="mean")
    dice = losses.dice_loss(probs, target, reduction="pooled")
    torch.testing.assert_close(combo, 0.3 * entropy + 0.7 * dice, rtol=1e-12, atol=0)


@pytest.mark.parametrize("loss", ON_PROBS)
def test_logits_give_what_their_sigmoid_gives(loss: Loss) -> None:
    logits, target = _images(ignored=True)
    expected = loss(logits.sigmoid(), target)
    value = loss(logits, target, from_logits=True)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("from_logits", [False, True])
def test_a_module_gives_what_its_function_gives(name: str, from_logits: bool) -> None:
    logits, target = _images(ignored=True)
    scores = logits if from_logits else logits.sigmoid()
    module = FORMS[name][1](from_logits=from_logits, reduction="none")
    function = partial(FORMS[name][0], from_logits=from_logits)
    expected = function(scores, target, reduction="none")
    assert torch.equal(copy.deepcopy(module)(scores, target), expected)
    assert "reduction='none'" in repr(module)


# Gradients


@pytest.mark.parametrize("loss", ON_PROBS)
def test_gradients_of_probabilities_pass_gradcheck(loss: Loss) -> None:
    logits, target = _images(shape=(2, 3, 4), ignored=True)
    probs = logits.sigmoid().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: loss(p, target), probs)


@pytest.mark.parametrize("loss", ON_LOGITS)
def test_gradients_of_logits_pass_gradcheck(loss: Loss) -> None:
    logits, target = _images(shape=(2, 3, 4), ignored=True)
    assert torch.autograd.gradcheck(
        lambda z: loss(z, target), logits.clone().requires_grad_()
    )


@pytest.mark.parametrize("loss", ON_PROBS)
def test_gradients_are_finite_where_probabilities_are_zero_or_one(loss: Loss) -> None:
    probs = torch.tensor([[[0, 1, 0, 1]], [[0, 0, 1, 1]], [[1, 1, 1, 1]]])
    target = torch.tensor([[[0, 0, 1, 1]], [[0, 0, 1, 1]], [[0, 0, 0, 0]]])
    for dtype in (torch.float64, torch.float32, *HALF):
        value, gradient = _value_and_gradient(loss, probs.to(dtype), target)
        assert value.isfinite(), dtype
        assert gradient.isfinite().all(), dtype


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 1.0, 2.0])
def test_focal_gradients_are_finite_for_every_exponent(gamma: float) -> None:
    probs = torch.tensor([[[0.0, 1.0, 0.0, 1.0]]])
    target = torch.tensor([[[0, 0, 1, 1]]])
    value, gradient = _value_and_gradient(losses.focal_loss, probs, target, gamma=gamma)
    assert value.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("loss", ON_LOGITS)
def test_gradients_of_extreme_logits_are_finite(loss: Loss) -> None:
    logits = torch.tensor([[[1e4, -1e4, 1e4, -1e4]], [[1e4, -1e4, 30.0, -30.0]]])
    target = torch.tensor([[[0, 0, 1, 1]], [[1, 0, 1, 0]]])
    value, gradient = _value_and_gradient(loss, logits, target)
    assert value.isfinite()
    assert gradient.isfinite().all()


@on_both
def test_what_lies_under_ignored_pixels_does_not_matter(loss: Loss) -> None:
    logits, target = _images(ignored=True)
    scores, is_ignored = logits.sigmoid(), target == 255
    expected = _value_and_gradient(loss, scores, target)
    assert not expected[1][is_ignored].any()
    for hidden in (math.nan, math.inf, -7.0):
        other = scores.masked_fill(is_ignored, hidden)
        assert same(_value_and_gradient(loss, other, target), expected), hidden


# Types, layouts, devices


@on_both
def test_targets_of_every_type_give_the_same_loss(loss: Loss) -> None:
    logits, target = _images()
    scores = logits.sigmoid()
    expected = loss(scores, target)
    for dtype in ("bool", "uint8", "int16", "float16", "float64"):
        typed = target.to(getattr(torch, dtype))
        assert torch.equal(loss(scores, typed), expected), dtype


@on_both
def test_half_types_are_computed_in_float32_under_autocast_too(loss: Loss) -> None:
    logits, target = _images()
    for dtype in HALF:
        scores = logits.sigmoid().to(dtype)
        value, gradient = expected = _value_and_gradient(loss, scores, target)
        assert value.dtype == torch.float32
        assert gradient.dtype == dtype
        torch.testing.assert_close(value, loss(scores.float(), target))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert same(_value_and_gradient(loss, scores, target), expected)


def test_sums_of_half_types_do_not_overflow() -> None:
    probs = torch.zeros(1, 64, 64, dtype=torch.float16)
    value = losses.balanced_cross_entropy(probs, torch.ones(1, 64, 64), beta=0.5)
    assert value == 64 * 64 * 50


@on_both
def test_the_layout_in_memory_does_not_matter(loss: Loss) -> None:
    logits, target = _images(shape=(2, 1, 4, 6), dtype=torch.float32)
    scores = logits.sigmoid()
    turned = scores.permute(3, 1, 2, 0).contiguous().permute(3, 1, 2, 0)
    last = scores.to(memory_format=torch.channels_last)
    assert not turned.is_contiguous()
    assert torch.equal(loss(turned, target), loss(scores, target))
    assert torch.equal(loss(last, target), loss(scores, target))
    assert torch.equal(loss(scores[:, 0], target[:, 0]), loss(scores, target))


def _two_losses(scores: Tensor, target: Tensor) -> Tensor:
    entropy = losses.balanced_cross_entropy(scores, target)
    return entropy + losses.lovasz_softmax_loss(scores, target, from_logits=True)


@tracing
@pytest.mark.parametrize(
    "loss",
    [
        _two_losses,
        *(
            pytest.param(_of_logits(loss), marks=pytest.mark.full)
            for loss in (
                *(losses.class_mean_bce, losses.focal_loss, losses.combo_loss),
                losses.focal_tversky_loss,
            )
        ),
    ],
)
def test_losses_compile_to_one_graph(loss: Loss) -> None:
    logits, target = _images(dtype=torch.float32, ignored=True)
    scores = logits.sigmoid()
    torch.compiler.reset()
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    measured = _value_and_gradient(compiled, scores, target)
    expected = _value_and_gradient(loss, scores, target)
    torch.testing.assert_close(measured, expected)


@needs_cuda
@on_both
def test_the_device_gives_what_the_cpu_gives_without_waiting_for_it(loss: Loss) -> None:
    logits, target = _images(dtype=torch.float32, ignored=True)
    scores = logits.sigmoid()
    expected = _value_and_gradient(loss, scores, target)
    on_device = scores.cuda(), target.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        measured = _value_and_gradient(loss, *on_device)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(measured[0].cpu(), expected[0])
    torch.testing.assert_close(measured[1].cpu(), expected[1])


@needs_cuda
@on_both
def test_losses_run_under_autocast_on_the_device(loss: Loss) -> None:
    scores, target = _images()[0].sigmoid().half(), _images()[1]
    with torch.autocast("cuda", dtype=torch.float16):
        value, gradient = _value_and_gradient(loss, scores.cuda(), target.cuda())
    torch.testing.assert_close(value.cpu(), loss(scores, target))
    assert gradient.isfinite().all()


# Edges


UNDEFINED = [("zero", 0.0), ("nan", math.nan)]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_batch_without_a_defined_value_gives_zero_or_nan_without_a_gradient(
    form: Form,
) -> None:
    probs, target = torch.tensor([[[0.2, math.nan]]]), torch.full((1, 1, 2), 255)
    for validate, (undefined, expected) in product([False, None], UNDEFINED):
        module = form[1](reduction="mean", undefined=undefined, validate=validate)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            value, gradient = _value_and_gradient(module, probs, target)
        assert value.item() == pytest.approx(expected, nan_ok=True)
        assert not gradient.any()


@pytest.mark.parametrize(
    "loss",
    [
        losses.ClassMeanBCELoss(),
        losses.ClassMeanBCELoss(reduction="pooled"),
        losses.DiceLoss(smooth=0),
        losses.FocalTverskyLoss(smooth=0, reduction="pooled"),
    ],
)
def test_a_batch_of_undefined_images_gives_zero_or_nan_without_a_gradient(
    loss: Any,
) -> None:
    probs = torch.zeros(2, 3, 4)
    for loss.undefined, expected in UNDEFINED:
        value, gradient = _value_and_gradient(loss, probs, torch.zeros(2, 3, 4))
        assert value.item() == pytest.approx(expected, nan_ok=True)
        assert not gradient.any()


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_empty_batch_is_undefined(form: Form) -> None:
    for shape in ((0, 4, 4), (2, 0, 4), (2, 4, 0)):
        empty = torch.zeros(shape), torch.zeros(shape)
        assert form[1](reduction="mean")(*empty) == 0
        assert form[1](reduction="mean", undefined="nan")(*empty).isnan()


def test_no_gradient_flows_to_the_target() -> None:
    logits, target = _images()
    soft = target.double().requires_grad_()
    probs = logits.sigmoid().requires_grad_()
    torch.autograd.backward(losses.dice_loss(probs, soft))
    assert soft.grad is None


# Refusals


@on_both
def test_targets_of_255_are_refused_unless_they_are_ignored(loss: Loss) -> None:
    scores = torch.full((1, 2, 2), 0.5)
    target = torch.tensor([[[0, 255], [255, 0]]], dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"holds 255; expected 0 .*target == 255"):
        loss(scores, target, ignore_index=None)


@on_both
def test_refused_targets_give_nan_where_nothing_is_raised(loss: Loss) -> None:
    scores, target = torch.full((2, 2, 2), 0.5), torch.zeros(2, 2, 2)
    target[1, 0, 1] = 255
    arguments = {"ignore_index": None, "validate": False}
    assert loss(scores, target, **arguments).isnan()


@tracing
def test_a_compiled_loss_gives_nan_for_refused_targets() -> None:
    loss = losses.BalancedCrossEntropyLoss(ignore_index=None)
    torch.compiler.reset()
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    assert compiled(torch.full((1, 1, 2), 0.5), torch.full((1, 1, 2), 255)).isnan()


def test_uint8_255_is_not_taken_for_an_ignore_index_of_minus_one() -> None:
    target = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    with pytest.raises(ValueError, match="holds 255"):
        losses.dice_loss(torch.full((1, 1, 2), 0.5), target, ignore_index=-1)


def test_a_warning_tells_that_all_change_may_be_ignored() -> None:
    probs, target = torch.full((1, 1, 2), 0.5), torch.tensor([[[0, 255]]])
    with pytest.warns(UserWarning, match="pass target == 255"):
        losses.dice_loss(probs, target)
    losses.dice_loss(probs, target, validate=False)
    losses.dice_loss(probs, target == 255)


@pytest.mark.parametrize("loss", ON_PROBS)
def test_probabilities_outside_their_range_are_refused(loss: Loss) -> None:
    for bad in (1.5, -0.1, math.nan, math.inf):
        probs, target = torch.tensor([[[0.5, bad]]]), torch.tensor([[[1, 0]]])
        with pytest.raises(ValueError, match=r"expected 0 to 1.*from_logits"):
            loss(probs, target)
        assert loss(probs, target, validate=False).isnan()


@pytest.mark.parametrize("loss", ON_PROBS)
def test_rounding_just_outside_of_the_range_is_clipped(loss: Loss) -> None:
    target = torch.tensor([[[1, 0, 1]]])
    for dtype in (torch.float32, torch.bfloat16):
        eps = torch.finfo(dtype).eps
        noisy = torch.tensor([[[1 + eps, -eps, 0.5]]], dtype=dtype)
        clipped = torch.tensor([[[1, 0, 0.5]]], dtype=dtype)
        assert torch.equal(loss(noisy, target), loss(clipped, target))


@pytest.mark.parametrize(
    "loss",
    [losses.focal_loss, losses.lovasz_softmax_loss, losses.lovasz_hinge_loss],
)
def test_soft_targets_are_refused_where_they_are_not_defined(loss: Loss) -> None:
    with pytest.raises(ValueError, match="soft targets are not defined"):
        loss(torch.full((1, 1, 2), 0.5), torch.full((1, 1, 2), 0.5))


@on_both
def test_shapes_that_could_be_misread_are_refused(loss: Loss) -> None:
    for shape, target_shape, message in [
        ((2, 4, 4), (1, 4, 4), "the same images"),
        ((2, 1, 4, 4), (1, 2, 4, 4), r"target\[:, 1\]"),
        ((4, 4), (4, 4), r"x\[None\]"),
        ((2, 2, 4, 4), (2, 4, 4), r"2 channels. Pass .*\[:, 1\]"),
        ((1, 1, 2, 4, 4), (1, 1, 2, 4, 4), r"expected \(N, H, W\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            loss(torch.zeros(shape), torch.zeros(target_shape))


def test_integer_predictions_are_refused() -> None:
    with pytest.raises(TypeError, match=r"probs are torch.uint8"):
        losses.dice_loss(torch.zeros(1, 2, 2, dtype=torch.uint8), torch.zeros(1, 2, 2))


# Laws

seeds = st.integers(0, 2**16)
few = settings(max_examples=15, deadline=None)


@few
@given(seed=seeds, cut=st.integers(1, 3), beta=st.sampled_from(["image", 0.5, 0.9]))
def test_sums_of_parts_of_a_batch_add_up_to_the_whole(
    seed: int, cut: int, beta: losses.Beta
) -> None:
    logits, target = _images(seed, shape=(4, 3, 3), ignored=True)
    loss = losses.BalancedCrossEntropyLoss(beta, from_logits=True)
    parts = loss(logits[:cut], target[:cut]) + loss(logits[cut:], target[cut:])
    torch.testing.assert_close(parts, loss(logits, target), rtol=1e-12, atol=0)


@few
@given(seed=seeds)
@pytest.mark.parametrize("loss", ON_LOGITS)
def test_ignored_pixels_are_as_if_they_were_cut_off(loss: Loss, seed: int) -> None:
    logits, target = _images(seed)
    padded = F.pad(target, (0, 2, 0, 1), value=255)
    wide = F.pad(logits, (0, 2, 0, 1), value=3.0)
    torch.testing.assert_close(loss(wide, padded), loss(logits, target))


# The package and its page


def test_importing_the_losses_loads_torch_and_nothing_else_heavy() -> None:
    others = "pandas", "scipy", "rasterio", "kornia_rs", "matplotlib", "rich", "typer"
    code = (
        f"import sys, cdstats.losses; print(sorted(set({others}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("page", ["docs/training.md"])
def test_the_training_example_of_a_page_learns_to_find_change(page: str) -> None:
    text = (ROOT / page).read_text()
    codes = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (code,) = [code for code in codes if "cdstats.losses" in code]
    names: dict[str, Any] = {}
    exec(compile(code, "training.md", "exec"), names)  # noqa: S102
    assert names["f1"] > 0.9
    assert names["loss"] < names["first_loss"] / 4


def test_the_training_page_names_every_loss() -> None:
    page = (ROOT / "docs/training.md").read_text()
    public = [name for name in losses.__all__ if name.endswith(("Loss", "_loss"))]
    assert [name for name in public if f"`{name}`" not in page] == []
