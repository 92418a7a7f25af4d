"""Tensors of a device give the numbers of files, and their pixels stay there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytest
import torch
from torch.utils import _pytree as pytree

import cdstats
from cdstats.core import label_hash
from cdstats.core.values import count_values
from cdstats.io import held, npy, resident
from cdstats.score.device_batches import ON_DEVICE, levels_on_device
from cdstats.score.levels import IN_ARRAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RANDOM = np.random.default_rng(0)
SHAPE = (3, 90, 80)
LARGE = (270, 260)
"""More than a tile, and more than the values that are counted."""
MASKS = (RANDOM.random(SHAPE) < 0.3).astype(np.uint8)
PREDS = RANDOM.random(SHAPE).astype(np.float32)
TWO = np.stack([1 - PREDS, PREDS], 1)
IGNORING = np.where(RANDOM.random(SHAPE) < 0.1, 255, MASKS)
GAPS = np.where(IGNORING == 255, np.nan, PREDS)
RULE = {"changed": 1, "unchanged": 0}
FEW = 2000
"""Numbers that may come to the host at once: values and their counts."""
there = torch.from_numpy


def of_files(value: Any) -> Any:
    """What a function is given when tensors do not stay: arrays."""
    return pytree.tree_map_only(torch.Tensor, held._array, value)


class OnDevice(torch.Tensor):
    """A tensor that says that it lies on a device, and keeps its pixels there."""

    pixels: torch.Tensor
    moved = 0

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Self:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device("meta"),
        )
        made.pixels = inner
        return made

    def __init__(self, inner: torch.Tensor) -> None:
        pass

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device("cuda", 0)

    def to(self, *args: Any, **kwargs: Any) -> Any:
        return self if args[:1] == (self.device,) else super().to(*args, **kwargs)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is torch.where:
            # It would make a tensor of the device of each number.
            args = [one if hasattr(one, "shape") else torch.tensor(one) for one in args]
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        def inner(one: OnDevice) -> torch.Tensor:
            return one.pixels

        kwargs = dict(kwargs or {})
        leaves = str(kwargs.get("device")) == "cpu"
        if leaves or func is torch.ops.aten._local_scalar_dense.default:
            OnDevice.moved = max(OnDevice.moved, args[0].numel())
            assert args[0].numel() <= FEW, f"{args[0].numel()} numbers left the device"
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        found = func(
            *pytree.tree_map_only(OnDevice, inner, args),
            **pytree.tree_map_only(OnDevice, inner, kwargs),
        )
        return found if leaves else pytree.tree_map_only(torch.Tensor, cls, found)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Has tensors of the class treated as those of a device."""
    monkeypatch.setattr(held, "is_on_device", lambda one: isinstance(one, OnDevice))
    monkeypatch.setattr(resident, "sent", lambda array, _: OnDevice(there(array)))
    monkeypatch.setattr("cdstats.score.kernel.tensors._fused_pass", lambda *_: None)
    monkeypatch.setattr(OnDevice, "moved", 0)
    yield
    assert not npy.RESIDENT


@pytest.fixture
def stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has tensors of the processor treated as those of a device."""
    monkeypatch.setattr(held, "is_on_device", lambda _: True)


def assert_same(found: Any, expected: Any) -> None:
    """All numbers within the rounding of float32; texts and counts are equal."""
    numbers, others = found.to_dict(), expected.to_dict()
    assert numbers.keys() == others.keys()
    for name, number in numbers.items():
        assert number == pytest.approx(others[name], rel=1e-6, abs=1e-7, nan_ok=True)
    assert found.messages == expected.messages
    for one, other in zip(found.images, expected.images, strict=True):
        for name in ("place", "status", "reason", "width", "height", "kind", "device"):
            assert getattr(one, name, "") == getattr(other, name, ""), name
        for name in ("valid", "tp", "fp", "fn", "tn", "changed", "ignored", "labels"):
            assert getattr(one, name, "") == getattr(other, name, ""), name


def outcome(call: Callable[..., Any], *images: Any, **options: Any) -> Any:
    """The result of a function, or why there is none."""
    try:
        return call(*images, **options)
    except cdstats.CdstatsError as error:
        return str(error)


def as_labels(dtype: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Predicted labels and masks of a type."""
    return there(PREDS > 0.6).to(dtype), there(MASKS).to(dtype)


PAIRS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "float32": (there(PREDS), there(MASKS), {}),
    "float64": (there(PREDS).double(), there(MASKS * 255), {}),
    "float16": (there(PREDS).half(), there(MASKS).half(), RULE),
    "bfloat16": (there(PREDS).bfloat16(), there(MASKS).bool(), {}),
    "uint8": (there((PREDS * 255).astype(np.uint8)), there(MASKS), {}),
    "bool": (*as_labels(torch.bool), {}),
    "int64": (*as_labels(torch.int64), {}),
    "int16": (*as_labels(torch.int16), {"kind": "hard"}),
    "hard floats": (*as_labels(torch.float32), {"kind": "hard", **RULE}),
    "one channel": (there(PREDS)[:, None], there(MASKS)[:, None], {}),
    "two channels": (there(TWO), there(MASKS), {}),
    "channels last": ([there(TWO[0]).permute(1, 2, 0)], [there(MASKS[0])], {}),
    "a view": (there(PREDS)[:, ::2, 3:], there(MASKS)[:, ::2, 3:], {}),
    "logits": (there(PREDS * 9 - 5), there(MASKS), {"kind": "logit", "losses": "all"}),
    "float16 logits": (there(PREDS * 9 - 5).half(), there(MASKS), {"kind": "logit"}),
    "two logits": (there(TWO * 9).half(), there(MASKS), {"kind": "logit"}),
    "losses": (there(PREDS), there(IGNORING), {"losses": "all", "ignore": 255}),
    "ignored NaN": (there(GAPS), there(IGNORING), {"ignore": 255}),
    "NaN": (there(np.where(PREDS > 0.9, np.nan, PREDS)), there(MASKS), {}),
    "NaN in masks": (
        there(PREDS),
        there(np.where(IGNORING == 255, np.nan, MASKS)),
        {**RULE, "ignore": "nan"},
    ),
    "soft": (there(PREDS), there(PREDS[::-1].copy()), {}),
    "soft logits": (there(PREDS), there(PREDS.astype(float)), {"kind": "logit"}),
    "soft labels": (there(MASKS), there(PREDS), {}),
    "wrong soft": (there(PREDS), there(PREDS + 0.5), {}),
    "ignored soft": (there(PREDS), there(np.abs(GAPS)), {"ignore": "nan"}),
    "scale": (there(PREDS * 100), there(MASKS), {"scale": 100}),
    "prior": (there(PREDS), there(MASKS), {"losses": "logit_adjusted_ce"}),
    "codes": (as_labels(torch.uint8)[0] * 3, there(MASKS), {"pred_changed": 3}),
    "one class": (there(PREDS), there(MASKS * 0), {}),
    "all ignored": (there(PREDS), there(MASKS * 0 + 9), {**RULE, "ignore": 9}),
    "unknown value": (there(PREDS), there(MASKS + 1), RULE),
    "sizes differ": (there(PREDS)[:, 1:], there(MASKS), {}),
    "large": (
        [there(RANDOM.random(LARGE, np.float32))],
        [there((RANDOM.random(LARGE) < 0.3).astype(np.uint8))],
        {},
    ),
    "many values": (
        [there(RANDOM.random(LARGE))],
        [there(RANDOM.normal(size=LARGE))],
        {"changed": ">0.5", "unchanged": "rest"},
    ),
    "no channels": (there(TWO * 2), there(MASKS), {"kind": "prob"}),
    "usual rules": (there(PREDS), there(MASKS * 255), {"rule_sensitivity": True}),
    "narrow": (there(PREDS / 9 + 0.6), there(MASKS), {}),
    "a mask of files": (there(PREDS), MASKS, {}),
    "predictions of files": (PREDS, there(MASKS), {}),
}


@pytest.mark.usefixtures("stay")
@pytest.mark.parametrize("name", PAIRS)
def test_tensors_that_stay_give_the_numbers_of_files(name: str) -> None:
    preds, masks, options = PAIRS[name]
    if isinstance(options.get("losses"), str):
        options = options | {"losses": [options["losses"]]}
    found = outcome(cdstats.loss, preds, masks, **options)
    expected = outcome(cdstats.loss, of_files(preds), of_files(masks), **options)
    if isinstance(expected, str):
        assert found == expected
    else:
        assert_same(found, expected)
    assert not npy.RESIDENT


def on_device(value: Any) -> Any:
    """The tensors of a value on the device."""
    return pytree.tree_map_only(
        torch.Tensor, lambda one: OnDevice(one.contiguous()), value
    )


STAYING = (
    *(
        "float32",
        "large",
        "float64",
        "bfloat16",
        "uint8",
        "bool",
        "int64",
        "one channel",
    ),
    *("two channels", "logits", "float16 logits", "two logits", "soft"),
    *("NaN in masks", "ignored NaN", "soft logits", "scale", "prior", "one class"),
    *("NaN", "sizes differ", "no channels", "narrow"),
    "a mask of files",
)


def assert_as_files(found: Any, preds: Any, masks: Any, options: Any) -> None:
    """Compare a run of the loss "focal" with that of files."""
    expected = outcome(
        *(cdstats.loss, of_files(preds), of_files(masks)), losses=["focal"], **options
    )
    if isinstance(expected, str):
        assert found == expected
    else:
        assert_same(found, expected)


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("name", STAYING)
def test_pixels_do_not_leave_their_device(name: str) -> None:
    preds, masks, options = PAIRS[name]
    options = {key: one for key, one in options.items() if key != "losses"}
    held_there = [on_device(one) for one in (preds, masks)]
    found = outcome(cdstats.loss, *held_there, losses=["focal"], **options)
    assert_as_files(found, preds, masks, options)
    assert OnDevice.moved <= FEW


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("as_logits", [False, True])
def test_a_comparison_brings_no_more_than_levels_to_the_host(
    as_logits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("test_resident.FEW", PREDS[0].size // 2)
    read_again: list[str] = []

    def levels(scores: Any, *args: Any, **options: Any) -> Any:
        read_again.append(type(scores).__name__)
        return levels_on_device(scores, *args, **options)

    monkeypatch.setattr("cdstats.score.device_batches.levels_on_device", levels)
    # Half the pixels hold one of few values.
    coarse = np.round(PREDS, 2)
    one, two = (np.where(PREDS < 0.5, coarse, p) for p in (PREDS, 1 - PREDS))
    options: dict[str, Any] = {"resamples": 20}
    if as_logits:
        one, two = one * 9 - 5, two * 9 - 5
        options["kind"] = "logit"
    models = {"one": one, "two": two, "labels": (PREDS > 0.4).astype(np.float32)}
    there_too = {name: on_device(there(model)) for name, model in models.items()}
    found = cdstats.compare(there_too, on_device(there(MASKS)), **options)
    expected = cdstats.compare(models, MASKS, **options)
    numbers, others = found.to_dict(), expected.to_dict()
    assert numbers.keys() == others.keys()
    for name, number in numbers.items():
        assert number == pytest.approx(others[name], rel=1e-5, abs=1e-7, nan_ok=True)
    assert numbers["one/average_precision"]
    assert len(read_again) > len(MASKS)


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("dtype", ["uint8", "bool", "int32", "float16", "float64"])
def test_masks_are_counted_where_they_lie(dtype: str) -> None:
    masks = (IGNORING * (dtype != "bool")).astype(dtype)
    options: dict[str, Any] = {"ignore": 255} if dtype != "bool" else {}
    for source in (on_device(there(masks)), [on_device(there(m)) for m in masks]):
        found, expected = (
            cdstats.ratio(source, **options),
            cdstats.ratio(masks, **options),
        )
        assert found.datasets == expected.datasets
        assert list(found.images) == list(expected.images)
        assert found.messages == expected.messages
    weights = cdstats.weights(on_device(there(masks)), jobs=2, **options)
    assert weights.datasets == cdstats.weights(masks, **options).datasets


@pytest.mark.usefixtures("stay")
def test_masks_that_the_host_has_to_look_at() -> None:
    many = RANDOM.normal(size=(1, *LARGE)) + 2
    colours = np.zeros((5, 7, 3), np.uint8)
    colours[1, :3] = (200, 10, 30)
    cases: list[tuple[Any, dict[str, Any]]] = [
        (there(many), {}),
        (there(many), {"changed": ">2", "unchanged": "rest"}),
        (there(colours), {"changed": "#c80a1e", "unchanged": "rest"}),
        ([there(MASKS[:, :9]).int()], {}),
    ]
    for masks, options in cases:
        found = cdstats.ratio(masks, **options)
        expected = cdstats.ratio(of_files(masks), **options)
        assert list(found.images) == list(expected.images)
        assert found.datasets == expected.datasets


@pytest.mark.usefixtures("stay")
def test_a_generator_may_use_its_memory_again() -> None:
    def reused(images: np.ndarray[Any, Any]) -> Iterator[torch.Tensor]:
        room = torch.empty(SHAPE[1:])
        for image in images:
            yield room.copy_(there(image))

    found = cdstats.loss(reused(PREDS), reused(MASKS), changed=1, unchanged=0)
    expected = cdstats.loss(PREDS, MASKS)
    assert [one.tp for one in found.images] == [one.tp for one in expected.images]
    scores = there(PREDS).bfloat16().requires_grad_()
    items = ({"pred": p, "target": m} for p, m in zip(scores, MASKS, strict=True))
    assert cdstats.loss(items).images[2].tp


@pytest.mark.parametrize("options", [{"device": "cpu"}, {"engine": "dask"}])
def test_tensors_do_not_stay_where_something_else_computes(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "is_on_device", lambda _: True)
    given = {"pred": there(PREDS), "target": there(MASKS)}
    with held.as_files(given | options):
        assert not npy.RESIDENT
    with held.as_files(given, stay=False):
        assert not npy.RESIDENT
    with held.as_files(given) as known:
        assert len(npy.RESIDENT) == 2 * len(PREDS)
        assert "jobs" not in known
    with held.as_files({"paths": there(MASKS)}) as known:
        assert known["jobs"] == 1
    assert not npy.RESIDENT


def test_only_tensors_of_cuda_devices_stay() -> None:
    assert not held.is_on_device(there(PREDS))
    assert not held.is_on_device(torch.empty(2, 2, device="meta"))


@pytest.mark.parametrize(
    ("free", "pixels", "stays"), [(40, 1, True), (20, 1, False), (40, 1 << 20, False)]
)
def test_a_tensor_stays_if_there_is_memory_to_count_it(
    free: int, pixels: int, stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free << 20, 100 << 20))
    for name in ("memory_reserved", "memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda _: 0)
    assert held.is_on_device(OnDevice(torch.zeros(pixels))) is stays


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("size", [(1, 1), (7, 300), (300, 7)])
def test_hashes_and_counts_on_a_device(size: tuple[int, int]) -> None:
    soft = RANDOM.random(size)
    soft[0, 0] = -1
    for labels in (RANDOM.choice([0, 1, 255], size).astype(np.uint8), soft):
        expected = label_hash.label_hash(labels, size[::-1])
        assert resident.label_hash(on_device(there(labels)), size[::-1]) == expected
    special = np.array([[np.nan, -np.nan, np.inf, -np.inf, -0.0, 0.0, 0.5, np.nan]])
    for dtype in (np.float16, np.float32, np.float64):
        found = resident.value_counts(on_device(there(special.astype(dtype))), None)
        assert found is not None
        assert found.values == count_values(special.astype(dtype))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_levels_and_ranks_on_a_device(dtype: type[np.floating[Any]]) -> None:
    scores = np.concatenate([RANDOM.random(5000), 10.0 ** -np.arange(40), [0, 1, 0.5]])
    scores = scores.astype(dtype)
    labels = RANDOM.choice([0, 1, 255], scores.size).astype(np.uint8)
    args = there(scores), there(labels)
    found = ON_DEVICE.stored(*args, False)
    expected = IN_ARRAYS.stored(scores, labels, False)
    for name in ("values", "changed", "unchanged"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    codes = IN_ARRAYS.codes(scores, False)
    np.testing.assert_array_equal(ON_DEVICE.codes(args[0], False), codes)
    near = ON_DEVICE.codes(args[0] * 9 - 5, True).numpy().astype(int)
    near -= IN_ARRAYS.codes(scores * 9 - 5, True)
    assert np.abs(near).max() <= 1
    divided = ON_DEVICE.divided(args[0], 3.0)
    np.testing.assert_array_equal(divided, IN_ARRAYS.divided(scores, 3.0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("name", STAYING)
def test_a_cuda_device_gives_the_numbers_of_files(name: str) -> None:
    preds, masks, options = PAIRS[name]
    options = {key: one for key, one in options.items() if key != "losses"}
    both = pytree.tree_map_only(torch.Tensor, torch.Tensor.cuda, (preds, masks))
    found = outcome(cdstats.loss, *both, losses=["focal"], **options)
    assert_as_files(found, preds, masks, options)
    assert not npy.RESIDENT
