"""Pixels of parcels: of an index, and as rasterio burns them."""

import numpy as np
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from cbmctl.pixels import Grid, PixelIndex


def pixels(index: PixelIndex) -> dict[int, list[int]]:
    return {pid: index.of(pid).tolist() for pid in sorted(index.pids.tolist())}


def burnt(shapes: dict[int, BaseGeometry], grid: Grid) -> dict[int, list[int]]:
    """Return each parcel's pixels, where it has some."""
    found = {}
    for pid, shape in shapes.items():
        image = rasterize([(shape, 1)], out_shape=(grid.height, grid.width), transform=grid.transform)
        if image.any():
            found[pid] = np.flatnonzero(image).tolist()
    return found
