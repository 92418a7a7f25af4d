"""Save a prediction for a sample mask that misses some of the change."""

import numpy as np
import rasterio

with rasterio.open("sample_masks/BCDD/change label/change_label.tif") as file:
    mask = file.read(1)  # 1 is changed
p = np.where(mask == 1, 0.8, 0.03).astype("float32")
p[:, :600] = 0.03
np.save("p.npy", p)
