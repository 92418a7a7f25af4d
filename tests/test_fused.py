"""The fused pass: its arithmetic by Triton's interpreter, and on a card by itself."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_kernel import in_numpy, random_tiles

from cdstats.core.sums import BINS
from cdstats.score.kernel import SUMS, TILE, TileSums
from cdstats.score.kernel.tensors import _FUSED_TYPES, _compiled, tensor_sums
from cdstats.score.kernel.tile import Options

ROOT = Path(__file__).parents[1]
PATHS = os.pathsep.join([str(ROOT), str(ROOT / "tests"), *sys.path])
HALF = Options(0.5, logits=False, terms=())
NEEDS_TRITON = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="Triton is not installed; it comes with PyTorch's CUDA builds",
)
NEEDS_CARD = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no CUDA device"
)
INTERPRETED = """
import torch
from cdstats.core.sums import BINS
from cdstats.score.kernel.fused import fused_sums
from test_fused import HALF, ODD_LABELS, ODD_SCORES, assert_alike
from test_kernel import in_numpy, random_tiles

for width in (1, 1000, 1 << 16, 40_000):
    scores, target = random_tiles(3, width, torch.float32)
    assert_alike(fused_sums(scores, target, HALF), in_numpy(scores, target))
odd = torch.tensor([ODD_SCORES]), torch.tensor([ODD_LABELS], dtype=torch.uint8)
assert fused_sums(*odd, HALF).counts.equal(in_numpy(*odd).counts)
print("interpreted")
"""
ODD_SCORES = [float("nan"), 0.5, float("inf"), 2, -1, float("nan"), 0, 1e-20]
ODD_LABELS = [1, 0, 0, 1, 0, 255, 1, 1]


def assert_alike(found: TileSums, expected: TileSums) -> None:
    """The same counts; sums of float32 within its rounding."""
    assert found.counts.cpu().equal(expected.counts)
    assert found.sums.shape == (len(expected.sums), len(SUMS))
    # What bins hold above and below the labels nearly cancels.
    for part, atol in ((slice(-BINS), 1e-6), (slice(-BINS, None), TILE * 1e-8)):
        torch.testing.assert_close(
            found.sums[:, part].cpu(), expected.sums[:, part], rtol=1e-6, atol=atol
        )


@NEEDS_TRITON
def test_the_interpreted_pass_gives_what_the_processor_gives() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", INTERPRETED],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": PATHS},
        check=False,
    )
    assert done.stdout.strip() == "interpreted", done.stderr


@NEEDS_CARD
@pytest.mark.parametrize("dtype", _FUSED_TYPES, ids=str)
@pytest.mark.parametrize("width", [1, 1000, TILE])
def test_a_card_gives_what_the_processor_gives(dtype: torch.dtype, width: int) -> None:
    scores, target = random_tiles(5, width, dtype)
    assert_alike(tensor_sums(scores.cuda(), target.cuda()), in_numpy(scores, target))


@NEEDS_CARD
def test_a_card_keeps_the_loss_of_very_small_probabilities() -> None:
    scores = torch.full((1, TILE), 1e-12)
    target = torch.zeros((1, TILE), dtype=torch.uint8)
    found = tensor_sums(scores.cuda(), target.cuda()).sums[0, 1].item()
    assert found == pytest.approx(TILE * 1e-12, rel=1e-5)


@NEEDS_CARD
@NEEDS_TRITON
def test_a_card_with_triton_takes_the_fused_pass() -> None:
    assert _compiled(torch.device("cuda", torch.cuda.current_device())) is not None
