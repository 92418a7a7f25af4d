"""The training losses as modules: parameters, printing, compilation, documentation."""

from __future__ import annotations

import copy
import inspect
import io
import itertools
import logging
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cdstats import losses
from cdstats.core.catalogue import CATALOGUE

MODULES: list[Any] = [
    getattr(losses, name) for name in losses.__all__ if name.endswith("Loss")
]
FUNCTIONS: list[Any] = [
    getattr(losses, name)
    for name in losses.__all__
    if name.islower() and not name.endswith("_with_logits")
]


def _of_logits(module: Any) -> dict[str, bool]:
    return {} if module is losses.LovaszHingeLoss else {"from_logits": True}


def _images(shape: tuple[int, ...] = (3, 1, 6, 5)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(shape, generator=generator)
    target = torch.rand(shape, generator=generator) < 0.3
    target[..., 0, 0], target[..., 0, 1] = False, True
    return logits, target


# Arguments


@pytest.mark.parametrize("way", ["constructor", "attribute"])
@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (losses.BalancedCrossEntropyLoss, "beta", "Image"),
        (losses.BalancedCrossEntropyLoss, "beta", 20.0),
        (losses.BalancedCrossEntropyLoss, "beta", float("nan")),
        (losses.BalancedCrossEntropyLoss, "beta", None),
        (losses.BalancedCrossEntropyLoss, "reduction", "pooled"),
        (losses.ClassMeanBCELoss, "reduction", "sum"),
        (losses.FocalLoss, "alpha", 3),
        (losses.FocalLoss, "alpha", "image"),
        (losses.FocalLoss, "gamma", -1),
        (losses.FocalLoss, "gamma", float("inf")),
        (losses.DiceLoss, "smooth", -1e-9),
        (losses.DiceLoss, "smooth", "1"),
        (losses.DiceLoss, "smooth", None),
        (losses.DiceLoss, "undefined", "none"),
        (losses.DiceLoss, "from_logits", "yes"),
        (losses.DiceLoss, "validate", 2),
        (losses.DiceLoss, "ignore_index", "255"),
        (losses.DiceLoss, "ignore_index", 255.0),
        (losses.TverskyLoss, "fp_weight", -1),
        (losses.FocalTverskyLoss, "exponent", 0),
        (losses.ComboLoss, "alpha", 4),
        (losses.LovaszSoftmaxLoss, "classes", "fg"),
    ],
)
def test_arguments_are_refused_by_name_when_given_and_when_set(
    module: Any, name: str, value: object, way: str
) -> None:
    def use() -> None:
        if way == "constructor":
            module(**{name: value})
        else:
            setattr(module(), name, value)

    with pytest.raises((ValueError, TypeError), match=f"^{name} is .*expected"):
        use()


@pytest.mark.parametrize("module", MODULES)
def test_an_unknown_argument_is_refused(module: Any) -> None:
    with pytest.raises(TypeError, match="smoothing"):
        module(smoothing=1)


def test_the_hinge_loss_takes_logits_alone() -> None:
    with pytest.raises(TypeError, match="from_logits"):
        losses.LovaszHingeLoss(from_logits=False)  # type: ignore[call-arg]
    assert losses.LovaszHingeLoss().from_logits


OTHER = {
    "alpha": 0.6,
    "beta": 0.9,
    "classes": "all",
    "exponent": 2.0,
    "fn_weight": 0.2,
    "fp_weight": 0.9,
    "from_logits": True,
    "gamma": 0.5,
    "ignore_index": 1,
    "reduction": "none",
    "smooth": 50.0,
    "undefined": "nan",
    "validate": False,
}


@pytest.mark.parametrize("module", MODULES)
def test_a_parameter_takes_effect_when_set_and_stands_in_repr(module: Any) -> None:
    logits, target = _images()
    for name in inspect.signature(module).parameters:
        changed, fresh = module(), module(**{name: OTHER[name]})
        setattr(changed, name, OTHER[name])
        assert repr(changed) == repr(fresh)
        assert f"{name}={OTHER[name]!r}" in repr(fresh)
        assert "from_logits=" in repr(fresh)
        probs = logits.sigmoid()
        torch.testing.assert_close(
            changed(probs, target), fresh(probs, target), equal_nan=True
        )
        if name not in ("undefined", "validate"):
            before = module()(probs, target)
            after = fresh(probs, target)
            assert before.shape != after.shape or not torch.equal(before, after)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_can_be_copied_pickled_and_saved(module: Any) -> None:
    scores, target = _images()[0].sigmoid(), _images()[1]
    loss = module(**({"smooth": 3.0} if hasattr(module, "smooth") else {}))
    loss.reduction = "none"
    saved = io.BytesIO()
    torch.save(loss, saved)
    saved.seek(0)
    for other in (
        copy.deepcopy(loss),
        pickle.loads(pickle.dumps(loss)),  # noqa: S301
        torch.load(saved, weights_only=False),
    ):
        assert repr(other) == repr(loss)
        assert torch.equal(other(scores, target), loss(scores, target))
    model = nn.Sequential(loss)
    assert not list(model.parameters())
    assert "reduction='none'" in repr(model)


# Shapes


@pytest.mark.parametrize("module", MODULES)
def test_a_channel_of_one_may_be_there_or_not(module: Any) -> None:
    logits, target = _images()
    loss = module(**_of_logits(module))
    expected = loss(logits, target)
    for channel in itertools.product([True, False], repeat=2):
        pair = (x if with_ else x[:, 0] for x, with_ in zip((logits, target), channel))  # noqa: B905
        assert torch.equal(loss(*pair), expected)


# Numbers


def test_tiny_errors_are_not_rounded_away() -> None:
    target = torch.tensor([[[1.0, 0.0]]])
    for probs, expected in [([1.0, 1e-9], 1e-9), ([1e-30, 0.0], 69.07755278982137)]:
        loss = losses.BalancedCrossEntropyLoss(beta=0.5)(
            torch.tensor([[probs]]), target
        )
        assert 2 * loss.item() == pytest.approx(expected, rel=1e-6)
    loss = losses.BalancedCrossEntropyLoss(beta=0.5, from_logits=True)(
        torch.tensor([[[20.0, -30.0]]]), target
    )
    expected = np.log1p(np.exp(-20)) + np.log1p(np.exp(-30))
    assert 2 * loss.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("module", MODULES)
def test_many_blocks_give_what_float64_gives(module: Any, from_logits: bool) -> None:
    if module is losses.LovaszHingeLoss and not from_logits:
        pytest.skip("has no form for probabilities")
    logits, changed = _images((2, 400, 301))
    target = changed.float()
    target[:, 3:70] = 255
    scores = logits if from_logits else logits.sigmoid()
    loss = module(**(_of_logits(module) if from_logits else {}))
    results = []
    for dtype in (torch.float32, torch.float64):
        leaf = scores.to(dtype).requires_grad_()
        value = loss(leaf, target)
        (gradient,) = torch.autograd.grad(value, leaf)
        assert not gradient[:, 3:70].any()
        results.append((value.double(), gradient.double()))
    single, double = results
    torch.testing.assert_close(single[0], double[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(
        single[1], double[1], rtol=1e-4, atol=2e-6 * double[1].abs().max().item()
    )


def test_sums_count_more_pixels_than_float32_can() -> None:
    probs = torch.full((1, 4200, 4000), 0.5)  # more than 2**24 pixels
    loss = losses.BalancedCrossEntropyLoss(beta=0.5, from_logits=False)
    value = loss(probs, torch.ones(1, 4200, 4000, dtype=torch.uint8))
    assert value.item() == pytest.approx(0.5 * np.log(2) * 4200 * 4000, rel=1e-6)


@pytest.mark.parametrize("module", MODULES)
def test_a_nan_at_a_valid_pixel_is_not_hidden(module: Any) -> None:
    logits, target = _images()
    logits[0, 0, 2, 2] = torch.nan
    labels = target.long()
    for masked in (False, True):
        if masked:
            labels[1, 0, 3] = 255
        assert module(**_of_logits(module))(logits, labels).isnan()


# Compilation


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize(
    "form",
    [pytest.param(one, marks=pytest.mark.full) for one in ("module", "function")],
)
def test_all_losses_compile_in_one_program(
    form: str, caplog: pytest.LogCaptureFixture
) -> None:
    logits, target = _images()
    torch.compiler.reset()
    with caplog.at_level(logging.WARNING, logger="torch._dynamo"):
        for module, function in zip(MODULES, FUNCTIONS, strict=True):
            options = _of_logits(module)
            loss = module(**options) if form == "module" else function
            compiled: Any = torch.compile(loss, backend="eager", fullgraph=True)
            arguments = {} if form == "module" else options
            torch.testing.assert_close(
                compiled(logits, target, **arguments),
                loss(logits, target, **arguments),
            )
    assert "recompile_limit" not in caplog.text


# Documentation


@pytest.mark.parametrize("module", MODULES)
def test_the_docstring_describes_every_parameter_and_names_the_columns(
    module: Any,
) -> None:
    text = inspect.getdoc(module) or ""
    for name in inspect.signature(module).parameters:
        assert f"    {name}: " in text
    assert max(map(len, text.splitlines())) <= 88
    assert f"``{module.name}" in text
    for section in ("Args:", "Call:", "Returns:", "Raises:", "Example:", "References:"):
        assert text.count(section) == 1


def test_names_in_docstrings_are_those_of_the_catalogue() -> None:
    names = {module.name for module in MODULES}
    assert names <= {entry.name for entry in CATALOGUE.values()}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_shows_the_parameters_of_its_module(function: Any) -> None:
    signature = inspect.signature(function)
    assert [*signature.parameters][:2] == ["prediction", "target"]
    assert "reduction" in signature.parameters
    assert "References:" in (function.__doc__ or "")
    logits, target = _images()
    assert function(prediction=logits.sigmoid(), target=target).shape == ()


@pytest.mark.parametrize("argument", ["from_logits", "validate"])
@pytest.mark.parametrize(
    "value", [torch.tensor([1.0, 2.0]), np.zeros(2), torch.nn.Sigmoid(), [True]]
)
def test_a_switch_that_is_no_switch_is_named(argument: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"^{argument} is .*expected one of True, Fals"):
        losses.DiceLoss(**{argument: value})
    loss = losses.DiceLoss()
    with pytest.raises(TypeError, match=f"^{argument} is"):
        setattr(loss, argument, value)


@pytest.mark.parametrize("other", [None, np.zeros((1, 2, 2)), [[0.0]], 0.5])
def test_an_argument_that_is_no_tensor_is_named(other: Any) -> None:
    maps = torch.zeros(1, 2, 2)
    name = type(other).__name__
    with pytest.raises(TypeError, match=f"^prediction is {name}; expected a torch"):
        losses.DiceLoss()(other, maps)
    with pytest.raises(TypeError, match=f"^target is {name}; expected a torch.Tensor"):
        losses.DiceLoss()(maps, other)


def test_one_channel_of_several_is_asked_for() -> None:
    with pytest.raises(ValueError, match=r"not 7 channels\. Pass one channel"):
        losses.DiceLoss()(torch.zeros(2, 7, 4, 6), torch.zeros(2, 4, 6))
