"""Write ``docs/figures``: the figures of the pages, drawn from the sample masks.

Run ``python docs/generate_figures.py`` after a change of the figures. The predictions
are artificial: blurred masks with smooth noise, which decreases with the epoch.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from scipy.ndimage import gaussian_filter

import cdstats

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
MASKS = ROOT / "sample_masks/CDD"
FOLDER = ROOT / "docs/figures"
SHOWN = ("binarisation", "loss-beta", "thresholds", "epochs", "errors")
EPOCHS = {5: 1.2, 10: 0.95, 20: 0.75, 40: 0.65}
"""Noise of the predictions of each epoch."""
UNUSED = ("errors-epoch10", "errors-epoch20", "errors-epoch40")


def save_predictions(folder: Path) -> list[Path]:
    """Save predictions of every sample mask, scaled to bytes, for each epoch."""
    generator = np.random.default_rng(2)
    for epoch, noise in EPOCHS.items():
        for file in sorted(MASKS.rglob("*.jpg")):
            mask = read_mask(file)
            rough = gaussian_filter(generator.normal(size=mask.shape), 6)
            score = 5 * gaussian_filter(mask.astype(float), 2) - 2.5
            probs = 1 / (1 + np.exp(-score - 2 * noise * rough / rough.std()))
            path = folder / f"epoch{epoch}" / file.relative_to(MASKS)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path.with_suffix(".npy"), np.round(255 * probs).astype(np.uint8))
    return [folder / f"epoch{epoch}" for epoch in EPOCHS]


def read_mask(file: Path) -> NDArray[np.bool_]:
    """The changed pixels of a sample mask."""
    with warnings.catch_warnings():
        # Masks have no place on the map, and need none.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(file) as image:
            changed: NDArray[np.bool_] = image.read(1) >= 128
            return changed


def draw(folder: Path) -> None:
    """Draw the figures of the pages and write them to a folder."""
    with tempfile.TemporaryDirectory() as saved:
        models = save_predictions(Path(saved))
        cdstats.plot(
            folder,
            only=SHOWN,
            formats=["svg"],
            masks=[MASKS],
            pred=models,
            target=MASKS,
        )
    for path in folder.iterdir():
        if path.suffix == ".csv" or path.stem in UNUSED:
            path.unlink()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    draw(FOLDER)
