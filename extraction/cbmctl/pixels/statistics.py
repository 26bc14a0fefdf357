"""What an image says about each parcel: statistics of bands, histograms of classes.

Definitions (the columns of `sigs`): pixel count, mean, population standard deviation, minimum, maximum and
the linear percentiles 25, 50 and 75, all as numpy defines them; sums in float64, rounded once, to float32.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbmctl.pixels.index import PixelIndex

STATISTICS = np.dtype(
    [("pid", "i4"), ("band", "U3")]
    + [(name, "f4") for name in ("count", "mean", "std", "min", "max", "p25", "p50", "p75")]
)
_PERCENTILES = (("p25", 0.25), ("p50", 0.5), ("p75", 0.75))
_CHUNK = 2_000_000  # pixels worked on together: some 100 MB of temporaries


def band_statistics(
    index: PixelIndex,
    bands: Mapping[str, NDArray[Any]],
    nodata: float | None = 0,
    *,
    keep_beyond: bool = False,
) -> NDArray[np.void]:
    """Summarise every band in every valid parcel.

    A parcel is valid when none of its pixels is nodata (or NaN) in any of the bands: they are one group, so
    that what is made of several bands (NDVI) always rests on the same pixels.

    Args:
        index: the parcels on the grid of the bands.
        bands: band name to an array of shape (height, width); integers of up to 32 bits or float32.
        nodata: the value that means "not observed".
        keep_beyond: keep parcels that reach beyond the image, with pixels inside. Sentinel-2 tiles overlap
            by 10 km, so the neighbour has such a parcel whole; Sentinel-1 slices do not overlap.

    Returns:
        Structured array of dtype STATISTICS, one row for each valid parcel and band.
    """
    flat = {name: _flat(array, index) for name, array in bands.items()}
    counts = np.diff(index.offsets)
    tables = [np.empty(0, STATISTICS)]
    for parcels in index.chunks(_CHUNK):
        count = counts[parcels]
        pixels = index.pixels[index.offsets[parcels.start] : index.offsets[parcels.stop]]
        values = {name: array[pixels] for name, array in flat.items()}
        valid = np.full(len(count), keep_beyond) | ~index.beyond[parcels]
        starts = np.cumsum(count) - count
        for array in values.values():
            valid &= ~np.logical_or.reduceat(_missing(array, nodata), starts)
        if not valid.any():
            continue
        kept = np.repeat(valid, count)
        for name, array in values.items():
            table = _summary(array[kept], count[valid])
            table["pid"], table["band"] = index.pids[parcels][valid], name
            tables.append(table)
    return np.concatenate(tables)


def histograms(index: PixelIndex, classes: NDArray[Any]) -> dict[int, dict[str, int]]:
    """Count the pixels of each class in every parcel that the image touches.

    Args:
        index: the parcels on the grid of `classes`.
        classes: shape (height, width), dtype uint8, as Sentinel-2's SCL.

    Returns:
        pid to {class as a string: pixels}, with only the classes that occur: clients test the keys.
    """
    flat = _flat(classes, index)
    counts = np.diff(index.offsets)
    result: dict[int, dict[str, int]] = {pid: {} for pid in index.pids.tolist()}
    for parcels in index.chunks(_CHUNK):
        pixels = index.pixels[index.offsets[parcels.start] : index.offsets[parcels.stop]]
        owner = np.repeat(np.arange(parcels.start, parcels.stop), counts[parcels])
        pairs, count = np.unique(owner * 256 + flat[pixels], return_counts=True)
        pids, found = index.pids[pairs // 256], pairs % 256
        for pid, scl, pixel_count in zip(pids.tolist(), found.tolist(), count.tolist(), strict=True):
            result[pid][str(scl)] = pixel_count
    return result


def _flat(array: NDArray[Any], index: PixelIndex) -> NDArray[Any]:
    """Return the array as pixels in the order of the index; ValueError when it is of another grid."""
    if array.shape != (index.grid.height, index.grid.width):
        raise ValueError(f"an image of {array.shape} does not fit an index of {index.grid}")
    return array.reshape(-1)


def _missing(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    missing: NDArray[np.bool_] = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)
    return missing if nodata is None else missing | (values == nodata)


def _summary(values: NDArray[Any], count: NDArray[np.int64]) -> NDArray[np.void]:
    """Summarise consecutive groups of `count` values; pid and band are left to the caller."""
    table = np.zeros(len(count), STATISTICS)
    start = np.cumsum(count) - count
    group = np.repeat(np.arange(len(count)), count)
    exact = values.astype(np.float64)
    mean = np.add.reduceat(exact, start) / count
    exact -= mean[group]
    table["count"], table["mean"] = count, mean
    table["std"] = np.sqrt(np.add.reduceat(exact * exact, start) / count)

    # One sort sorts all groups: the group is the upper half of the key, the value the lower half.
    keys = np.sort(group.astype(np.uint64) << np.uint64(32) | _as_ordered_bits(values))

    def at(rank: NDArray[np.int64]) -> NDArray[np.float64]:
        return _from_ordered_bits(keys[start + rank], values.dtype).astype(np.float64)

    table["min"], table["max"] = at(np.zeros_like(count)), at(count - 1)
    for name, share in _PERCENTILES:
        rank = (count - 1) * share
        below = np.floor(rank).astype(np.int64)
        low, high, t = at(below), at(np.minimum(below + 1, count - 1)), rank - below
        # numpy's way to interpolate: from the nearer end
        table[name] = np.where(t < 0.5, low + (high - low) * t, high - (high - low) * (1 - t))
    return table


_SIGN = np.uint32(1 << 31)


def _as_ordered_bits(values: NDArray[Any]) -> NDArray[np.uint32]:
    """Map values to 32 bits that sort as the values do."""
    if (
        values.dtype == np.float32
    ):  # IEEE 754: positive numbers sort by their bits, negative ones the other way round
        bits = values.view(np.uint32)
        return np.where(bits & _SIGN, ~bits, bits | _SIGN)
    if values.dtype.kind == "u" and values.dtype.itemsize <= 4:
        return values.astype(np.uint32)
    if values.dtype.kind == "i" and values.dtype.itemsize <= 4:
        return values.astype(np.int32).view(np.uint32) ^ _SIGN
    raise TypeError(f"a band of {values.dtype}: only integers of up to 32 bits and float32")


def _from_ordered_bits(keys: NDArray[np.uint64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Reverse `_as_ordered_bits`; the upper half of the key is dropped."""
    bits = keys.astype(np.uint32)
    if dtype.kind == "f":
        return np.where(bits & _SIGN, bits ^ _SIGN, ~bits).view(np.float32)
    return bits if dtype.kind == "u" else (bits ^ _SIGN).view(np.int32)
