"""Small images in files, and a parcel that covers them."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from cbmctl.pixels import Grid, PixelIndex
from cbmctl.scenes import Band, Scene
from tests.support.pixel_images import NORTH_UP, field

HEIGHT, WIDTH, BLOCK = 300, 330, 64  # the last blocks are not whole
GRID = Grid(32632, NORTH_UP, HEIGHT, WIDTH)
JP2 = {"driver": "JP2OpenJPEG", "REVERSIBLE": "YES", "QUALITY": "100"}


def numbers(seed: int = 1) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(1, 7000, (HEIGHT, WIDTH), dtype=np.uint16)


def write(path: Path, *bands: NDArray[Any], **options: Any) -> Path:
    profile = {"BLOCKXSIZE": BLOCK, "BLOCKYSIZE": BLOCK, "tiled": True} | (options or JP2)
    with rasterio.open(
        path,
        "w",
        height=HEIGHT,
        width=WIDTH,
        count=len(bands),
        dtype=bands[0].dtype,
        crs="EPSG:32632",
        transform=GRID.transform,
        **profile,
    ) as dataset:
        dataset.write(np.stack(bands))
    return path


def scene_of(*paths: Path, number: int = 1) -> Scene:
    bands = tuple(Band(f"B{place:02}", path, number) for place, path in enumerate(paths, 2))
    return Scene("S2A.SAFE", GRID, bands)


def covering() -> tuple[PixelIndex, NDArray[np.bool_]]:
    index = PixelIndex.build([1], [field(0, 0, WIDTH, HEIGHT)], GRID)
    return index, np.ones(1, bool)
