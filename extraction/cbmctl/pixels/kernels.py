"""The kernels over pixels: one call computes every parcel of an index.

Parcels come as runs of pixels [cbmctl.pixels.index]; `active` says which of them count, and a kernel takes
out those that turn out not to be valid.
"""

from typing import Any

import numpy as np
from numba import boolean, float32, float64, int32, int64, uint8, uint16, uint32
from numpy.typing import NDArray

from cbmctl.pixels.compiled import array, compiled, helper, readonly

CLASSES = 12  # of SCL
BINS = 256
# Where a parcel's values begin to be sorted by numpy instead of being selected from: never in practice.
_MOST_ROUNDS = 64
_RUNS = (readonly(int64), readonly(int32), readonly(int64))


@helper
def _select(values: Any, first: int, last: int, rank: int) -> None:
    """Bring the value of that rank to its place in [first, last]: smaller ones before, larger ones after."""
    rounds = 0
    while last > first:
        rounds += 1
        if rounds > _MOST_ROUNDS:
            values[first : last + 1] = np.sort(values[first : last + 1])
            return
        middle = (first + last) >> 1
        if values[middle] < values[first]:
            values[middle], values[first] = values[first], values[middle]
        if values[last] < values[first]:
            values[last], values[first] = values[first], values[last]
        if values[last] < values[middle]:
            values[last], values[middle] = values[middle], values[last]
        pivot = values[middle]
        low, high = first, last
        while low <= high:
            while values[low] < pivot:
                low += 1
            while pivot < values[high]:
                high -= 1
            if low <= high:
                values[low], values[high] = values[high], values[low]
                low += 1
                high -= 1
        if rank <= high:
            last = high
        elif rank >= low:
            first = low
        else:
            return


@helper
def _quantile(values: Any, ends: Any, bin_: int, rank: int, part: float) -> Any:
    """Return a linear percentile of values that are grouped into ascending bins.

    Args:
        values: grouped by bin; within its bin the rank's value is brought to its place.
        ends: where each bin ends.
        bin_: the bin of the rank.
        rank: of the value below the percentile.
        part: of the way to the following value, in [0, 1).
    """
    _select(values, ends[bin_ - 1] if bin_ else 0, ends[bin_] - 1, rank)
    low = float64(values[rank])
    if part == 0.0:
        return low
    last = ends[bin_]
    while last == rank + 1:  # the following value is in the next bin that is not empty
        bin_ += 1
        last = ends[bin_]
    following = values[rank + 1]
    for k in range(rank + 2, last):
        following = min(following, values[k])
    high = float64(following)
    # numpy's way to interpolate: from the nearer end
    if part < 0.5:
        return low + (high - low) * part
    return high - (high - low) * (1 - part)


@helper
def _summarise(values: Any, count: int, spare: Any, ends: Any, row: NDArray[np.float32]) -> None:
    """Fill count, mean, std, min, max, p25, p50, p75.

    Args:
        values: at least `count` long.
        count: how many they are.
        spare: as long; overwritten.
        ends: (BINS,); overwritten.
        row: (8,) out.
    """
    total = 0.0
    low, high = values[0], values[0]
    for k in range(count):
        value = values[k]
        total += float64(value)
        low, high = min(low, value), max(high, value)
    mean = total / count
    row[0], row[1], row[3], row[4] = count, mean, low, high
    if low == high:
        row[2] = 0
        row[5], row[6], row[7] = low, low, low
        return
    # Values go into bins by size, as letters into pigeonholes: that leaves a handful to select from.
    bins = BINS if count > BINS else 16
    least = float64(low)
    scale = (bins - 1) / (float64(high) - least)
    ends[:bins] = 0
    squares = 0.0
    for k in range(count):
        value = float64(values[k])
        squares += (value - mean) * (value - mean)
        ends[int64((value - least) * scale)] += 1
    row[2] = np.sqrt(squares / count)
    before = 0
    for k in range(bins):
        before, ends[k] = before + ends[k], before
    for k in range(count):
        here = int64((float64(values[k]) - least) * scale)
        spare[ends[here]] = values[k]
        ends[here] += 1
    at = 0
    for quarter in range(1, 4):
        rank = quarter * (count - 1) // 4
        while ends[at] <= rank:
            at += 1
        row[4 + quarter] = _quantile(spare, ends, at, rank, (quarter * (count - 1)) % 4 / 4)


@compiled(
    *(int64(readonly(dtype), *_RUNS, int64, array(boolean), array(float32, 2)) for dtype in (uint8, uint16))
)
def summarise_integers(
    pixels: NDArray[Any],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int32],
    offsets: NDArray[np.int64],
    offset: int,
    active: NDArray[np.bool_],
    out: NDArray[np.float32],
) -> int:
    """Summarise a band of digital numbers, of which 0 means "not observed".

    Args:
        pixels: (height * width,) the image.
        starts, lengths, offsets: the index.
        offset: added to each digital number; sums below 1 become 1.
        active: (n,) in and out; a parcel with a pixel that is not observed is taken out.
        out: (n, 8) the statistics of active parcels; rows of others are left as they are.

    Returns:
        How many parcels are active.
    """
    values, spare, ends = np.empty(1024, np.int32), np.empty(1024, np.int32), np.empty(BINS, np.int64)
    valid = 0
    for parcel in range(len(offsets) - 1):
        if not active[parcel]:
            continue
        count = 0
        for run in range(offsets[parcel], offsets[parcel + 1]):
            length = lengths[run]
            if count + length > len(values):
                larger = np.empty(2 * (count + length), np.int32)
                larger[:count] = values[:count]
                values, spare = larger, np.empty_like(larger)
            start = starts[run]
            observed = True
            for k in range(length):
                number = np.int32(pixels[start + k])
                observed &= number != 0
                values[count + k] = max(number + np.int32(offset), np.int32(1)) if offset else number
            if not observed:
                active[parcel] = False
                break
            count += length
        if active[parcel]:
            _summarise(values, count, spare, ends, out[parcel])
            valid += 1
    return valid


@compiled(int64(readonly(uint32), *_RUNS, boolean, boolean, array(boolean), array(float32, 2)))
def summarise_floats(
    pixels: NDArray[np.uint32],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int32],
    offsets: NDArray[np.int64],
    swapped: bool,
    positive: bool,
    active: NDArray[np.bool_],
    out: NDArray[np.float32],
) -> int:
    """Summarise a band of 32-bit floats, of which 0 and what is not finite means "not observed".

    Args (others as in `summarise_integers`):
        pixels: (height * width,) the image, seen as integers: a file need not be in our byte order.
        swapped: whether they are in the other byte order.
        positive: whether negative values are not valid either.
    """
    bits, spare, ends = np.empty(1024, np.uint32), np.empty(1024, np.float32), np.empty(BINS, np.int64)
    valid = 0
    for parcel in range(len(offsets) - 1):
        if not active[parcel]:
            continue
        count = 0
        for run in range(offsets[parcel], offsets[parcel + 1]):
            length = lengths[run]
            if count + length > len(bits):
                larger = np.empty(2 * (count + length), np.uint32)
                larger[:count] = bits[:count]
                bits, spare = larger, np.empty(len(larger), np.float32)
            start = starts[run]
            if swapped:
                for k in range(length):
                    b = pixels[start + k]
                    bits[count + k] = (
                        (b >> uint32(24))
                        | ((b >> uint32(8)) & uint32(0xFF00))
                        | ((b << uint32(8)) & uint32(0xFF0000))
                        | (b << uint32(24))
                    )
            else:
                for k in range(length):
                    bits[count + k] = pixels[start + k]
            values = bits.view(np.float32)
            good = True
            for k in range(count, count + length):
                value = values[k]
                good &= np.isfinite(value) and value != 0 and not (positive and value < 0)
            if not good:
                active[parcel] = False
                break
            count += length
        if active[parcel]:
            _summarise(bits.view(np.float32), count, spare, ends, out[parcel])
            valid += 1
    return valid


@compiled(int64(readonly(uint8), *_RUNS, array(int32, 2)))
def count_classes(
    pixels: NDArray[np.uint8],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int32],
    offsets: NDArray[np.int64],
    out: NDArray[np.int32],
) -> Any:
    """Count the pixels of each class in every parcel.

    Args (others as in `summarise_integers`):
        pixels: (height * width,) the classes.
        out: (n, CLASSES) zeros; the counts.

    Returns:
        -1, or the first value that is no class.
    """
    for parcel in range(len(offsets) - 1):
        for run in range(offsets[parcel], offsets[parcel + 1]):
            for k in range(starts[run], starts[run] + lengths[run]):
                if pixels[k] >= CLASSES:
                    return int64(pixels[k])
                out[parcel, pixels[k]] += 1
    return -1


@compiled(int64(*_RUNS, readonly(boolean), int64, int64, int64, array(boolean, 2)))
def mark_blocks(
    starts: NDArray[np.int64],
    lengths: NDArray[np.int32],
    offsets: NDArray[np.int64],
    active: NDArray[np.bool_],
    width: int,
    block_height: int,
    block_width: int,
    out: NDArray[np.bool_],
) -> Any:
    """Mark the blocks of the image (its JPEG 2000 tiles) that active parcels have pixels in.

    Args (others as in `summarise_integers`):
        width: of the image.
        block_height, block_width: pixels of a block.
        out: (rows of blocks, columns of blocks) False; what is needed.

    Returns:
        How many blocks are needed.
    """
    for parcel in range(len(offsets) - 1):
        if active[parcel]:
            for run in range(offsets[parcel], offsets[parcel + 1]):
                row, first = starts[run] // width, starts[run] % width
                for column in range(first // block_width, (first + lengths[run] - 1) // block_width + 1):
                    out[row // block_height, column] = True
    return np.sum(out)
