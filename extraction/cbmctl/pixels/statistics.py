"""What an image says about each parcel: statistics of bands, histograms of classes.

Definitions (the columns of `sigs`): pixel count, mean, population standard deviation, minimum, maximum and
the linear percentiles 25, 50 and 75, all as numpy defines them; sums in float64, rounded once, to float32.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbmctl.pixels.index import PixelIndex, Strip
from cbmctl.pixels.kernels import (
    CLASSES,
    count_classes,
    mark_blocks,
    summarise_floats,
    summarise_integers,
)

STATISTICS = ("count", "mean", "std", "min", "max", "p25", "p50", "p75")


def band_statistics(
    index: PixelIndex,
    image: NDArray[Any],
    active: NDArray[np.bool_],
    *,
    offset: int = 0,
    positive: bool = False,
) -> NDArray[np.float32]:
    """Summarise a band in every active parcel.

    A parcel with a pixel that is 0, NaN or infinite was not observed there, and is taken out of `active`.
    Bands of one group share `active`, so that what is made of several of them (NDVI) rests on the same
    pixels.

    Args:
        index: the parcels on the grid of the band.
        image: (height, width) uint8, uint16, or float32 in either byte order.
        active: (n,) which parcels of the index count; changed in place.
        offset: added to each digital number of an integer band; sums below 1 become 1.
        positive: whether negative values count as not observed too (backscatter).

    Returns:
        (n, 8) the STATISTICS in their order; rows of parcels that are not active mean nothing.

    Raises:
        ValueError: the image is of another grid, or of another type.
    """
    out = np.empty((len(index), len(STATISTICS)), np.float32)
    _summarise(_flat(image, index), index, active, out, offset=offset, positive=positive)
    return out


def strip_statistics(
    index: PixelIndex,
    strips: Iterable[tuple[Strip, NDArray[Any]]],
    active: NDArray[np.bool_],
    *,
    positive: bool = False,
) -> NDArray[np.float32]:
    """Do the same for a band that comes strip by strip: the strips of the index, each with its pixels."""
    out = np.empty((len(index), len(STATISTICS)), np.float32)
    for strip, pixels in strips:
        _summarise(pixels, strip, active[strip.parcels], out[strip.parcels], positive=positive)
    return out


def _summarise(
    pixels: NDArray[Any],
    runs: PixelIndex | Strip,
    active: NDArray[np.bool_],
    out: NDArray[np.float32],
    *,
    offset: int = 0,
    positive: bool,
) -> None:
    dtype, native = pixels.dtype, pixels.dtype.newbyteorder("=")
    where = runs.starts, runs.lengths, runs.offsets
    if dtype in (np.uint8, np.uint16):
        summarise_integers(pixels, *where, offset, active, out)
    elif native == np.float32:
        summarise_floats(pixels.view(np.uint32), *where, dtype != native, positive, active, out)
    else:
        raise ValueError(f"a band of {dtype}: only uint8, uint16 and float32 can be summarised")


def class_counts(index: PixelIndex, classes: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Count the pixels of each class of Sentinel-2's SCL in every parcel.

    Args:
        index: the parcels on the grid of `classes`.
        classes: (height, width) uint8.

    Returns:
        (n, 12) pixels.

    Raises:
        ValueError: the image is of another grid or type, or a value is no class of SCL.
    """
    pixels = _flat(classes, index)
    if pixels.dtype != np.uint8:
        raise ValueError(f"SCL of {pixels.dtype}: it is uint8")
    out = np.zeros((len(index), CLASSES), np.int32)
    stray = count_classes(pixels, index.starts, index.lengths, index.offsets, out)
    if stray >= 0:
        raise ValueError(f"its value {stray} is not a class of SCL, which are 0 to {CLASSES - 1}")
    return out


def needed_blocks(index: PixelIndex, active: NDArray[np.bool_], block: tuple[int, int]) -> NDArray[np.bool_]:
    """Find the blocks of an image that active parcels have pixels in.

    Args:
        index: the parcels on the image's grid.
        active: (n,) which parcels count.
        block: height and width of a block in pixels.

    Returns:
        (rows of blocks, columns of blocks), the last ones of which may be incomplete.
    """
    height, width = block
    out = np.zeros((-(-index.grid.height // height), -(-index.grid.width // width)), bool)
    mark_blocks(index.starts, index.lengths, index.offsets, active, index.grid.width, height, width, out)
    return out


def _flat(image: NDArray[Any], index: PixelIndex) -> NDArray[Any]:
    """Return the pixels in the order of the index."""
    if image.shape != (index.grid.height, index.grid.width):
        raise ValueError(f"an image of {image.shape} does not fit an index of {index.grid}")
    return np.ascontiguousarray(image).reshape(-1)
