"""Parcels to pixels: which pixels of an image belong to which parcel.

The rule is GDAL's for polygons: a pixel belongs to a parcel when its centre lies inside. The sets equal those
of `rasterio.features.rasterize(..., all_touched=False)` on the whole image, pixel by pixel, because the same
scanline arithmetic is done in the same order of operations. It is done for each parcel on its own: no parcel
takes a pixel from another.
"""

import tempfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from cbmctl.pixels.edges import Ints, edges_of
from cbmctl.pixels.grid import Grid
from cbmctl.pixels.scanline import capacities, scan

THREADS = 2  # the kernels are short; more would take processors from the decoder
# Of an image that is worked on strip by strip; with 25,000 columns of float32 a strip takes 100 MB at most.
STRIP_ROWS = 512


@dataclass(frozen=True, eq=False)
class Strip:
    """Some parcels of an index, and the part of an image that holds them.

    Attributes:
        parcels: which of the index.
        pieces: first pixel (flat index) and length of what is to be read of the image, one after the other.
        starts: of the parcels' runs in what was read, as in the index.
        lengths: likewise.
        offsets: likewise.
    """

    parcels: slice
    pieces: list[tuple[int, int]]
    starts: Ints
    lengths: NDArray[np.int32]
    offsets: Ints


@dataclass(frozen=True, eq=False)
class PixelIndex:
    """Runs of pixels by parcel, in compressed rows: parcel i has the runs `offsets[i]` to `offsets[i + 1]`.

    Parcels follow each other as their first pixels do, from north to south, so that neighbours are worked on
    one after the other; those that are taller than a strip come last.

    Attributes:
        pids: (n,) parcels with at least one pixel in the image.
        offsets: (n + 1,) where each parcel's runs begin.
        starts: (runs,) flat index (row * width + column) of a run's first pixel, ascending within a parcel.
        lengths: (runs,) pixels in a run.
        beyond: (n,) the parcel also has pixel centres outside the image.
        cut: (n,) the parcel's outline reaches beyond the image's; the same at every resolution of it.
        empty: parcels that hold no pixel centre at all, in the image or outside: slivers.
        outside: parcels whose pixel centres all lie outside the image.
        grid: the image's grid.
    """

    pids: NDArray[np.int32]
    offsets: Ints
    starts: Ints
    lengths: NDArray[np.int32]
    beyond: NDArray[np.bool_]
    cut: NDArray[np.bool_]
    empty: NDArray[np.int32]
    outside: NDArray[np.int32]
    grid: Grid

    @classmethod
    def build(cls, pids: Any, parcels: Any, grid: Grid) -> "PixelIndex":
        """Index parcels.

        Args:
            pids: (parcels,) their ids, integers of 32 bits.
            parcels: (parcels,) shapely polygons or multi-polygons in the CRS of the grid; they may overlap.
            grid: the image's own grid.
        """
        pids = np.asarray(pids, np.int32)
        edges = edges_of(parcels, grid)
        places = np.concatenate(([0], np.cumsum(capacities(*edges[:-1]))))
        starts, lengths = np.empty(places[-1], np.int64), np.empty(places[-1], np.int32)
        kept, total = np.zeros(len(pids), np.int64), np.zeros(len(pids), np.int64)

        def share(begin: int, end: int) -> None:
            scan(*edges, places, begin, end, grid.height, grid.width, starts, lengths, kept, total)

        # in equal shares of the work, as far as the number of runs tells
        shares = np.linspace(0, places[-1], THREADS + 1)
        cuts = np.searchsorted(places, shares).clip(0, len(pids)).tolist()
        cuts[0], cuts[-1] = 0, len(pids)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(share, cuts[:-1], cuts[1:]))
        inside = np.flatnonzero(kept)
        first = starts[places[inside]]
        tall = starts[places[inside] + kept[inside] - 1] // grid.width - first // grid.width >= STRIP_ROWS
        order = inside[np.lexsort((first, tall))]
        runs = _pixels(places[order], kept[order])
        west, south, east, north = shapely.bounds(np.asarray(parcels, object)[order]).T
        left, bottom, right, top = grid.bounds
        index = cls(
            pids=pids[order],
            offsets=np.concatenate(([0], np.cumsum(kept[order]))),
            starts=starts[runs],
            lengths=lengths[runs],
            beyond=np.empty(0, bool),
            cut=~((west >= left) & (south >= bottom) & (east <= right) & (north <= top)),
            empty=pids[total == 0],
            outside=pids[(kept == 0) & (total > 0)],
            grid=grid,
        )
        return replace(index, beyond=total[order] > index.counts())

    def touching(self, pids: Any, parcels: Any) -> "PixelIndex":
        """Add slivers: parcels that hold no centre of a pixel, but centres of its quarters.

        They get the pixels that those quarters belong to, so that what the finer bands show has its classes.

        Args:
            pids: as in `build`; those that have pixels here are left as they are.
            parcels: likewise.
        """
        pids = np.asarray(pids, np.int32)
        g, missing = self.grid, ~np.isin(pids, self.pids)
        finer = Grid(g.epsg, g.transform @ Affine.scale(0.5), 2 * g.height, 2 * g.width)
        quarters = PixelIndex.build(pids[missing], np.asarray(parcels, object)[missing], finer)
        row, column = np.divmod(_pixels(quarters.starts, quarters.lengths), finer.width)
        owner = np.repeat(np.arange(len(quarters)), quarters.counts())
        whole = np.unique(np.column_stack((owner, row // 2 * g.width + column // 2)), axis=0)
        runs = np.bincount(whole[:, 0], minlength=len(quarters))
        return replace(
            self,
            pids=np.concatenate((self.pids, quarters.pids)),
            offsets=np.concatenate((self.offsets, self.offsets[-1] + np.cumsum(runs))),
            starts=np.concatenate((self.starts, whole[:, 1])),
            lengths=np.concatenate((self.lengths, np.ones(len(whole), np.int32))),
            beyond=np.concatenate((self.beyond, quarters.beyond)),
            cut=np.concatenate((self.cut, quarters.cut)),
            empty=np.intersect1d(self.empty, quarters.empty),
            outside=np.setdiff1d(np.concatenate((self.outside, quarters.outside)), quarters.pids),
        )

    def __len__(self) -> int:
        return len(self.pids)

    def counts(self) -> Ints:
        """Return (n,) the pixels of each parcel."""
        ends = np.concatenate(([0], np.cumsum(self.lengths, dtype=np.int64)))
        return np.diff(ends[self.offsets])

    def of(self, pid: int) -> Ints:
        """Return the flat indices of a parcel's pixels, ascending; KeyError when it has none in the image."""
        (found,) = np.nonzero(self.pids == pid)
        if not len(found):
            raise KeyError(pid)
        runs = slice(self.offsets[found[0]], self.offsets[found[0] + 1])
        return _pixels(self.starts[runs], self.lengths[runs])

    def strips(self) -> Iterator[Strip]:
        """Cut the parcels into groups that lie in a few rows of the image; a tall parcel is one by itself.

        Not for an index that `touching` has added to: there parcels are out of order.
        """
        width, height = self.grid.width, self.grid.height
        first = self.starts[self.offsets[:-1]] // width
        last = self.starts[self.offsets[1:] - 1] // width
        tall = last - first >= STRIP_ROWS
        low = int(np.count_nonzero(~tall))
        cuts = np.searchsorted(first[:low], np.arange(0, height + STRIP_ROWS, STRIP_ROWS)).tolist()
        for begin, end in pairwise(cuts):
            if begin < end:
                start = int(first[begin]) * width
                piece = start, (int(last[begin:end].max()) + 1) * width - start
                yield self._strip(slice(begin, end), [piece])
        for parcel in range(low, len(self)):
            runs = slice(self.offsets[parcel], self.offsets[parcel + 1])
            pieces = zip(self.starts[runs].tolist(), self.lengths[runs].tolist(), strict=True)
            yield self._strip(slice(parcel, parcel + 1), list(pieces))

    def _strip(self, parcels: slice, pieces: list[tuple[int, int]]) -> Strip:
        runs = slice(self.offsets[parcels.start], self.offsets[parcels.stop])
        starts, lengths = self.starts[runs], self.lengths[runs]
        starts = starts - pieces[0][0] if len(pieces) == 1 else np.cumsum(lengths, dtype=np.int64) - lengths
        offsets = self.offsets[parcels.start : parcels.stop + 1] - runs.start
        return Strip(parcels, pieces, starts, lengths, offsets)

    def save(self, path: Path) -> None:
        """Write the index to a file, which is there as a whole or not at all."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            try:
                np.savez(file, **arrays)
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise

    @classmethod
    def load(cls, path: Path, grid: Grid) -> "PixelIndex":
        """Read an index that was made on this grid.

        Raises:
            OSError, ValueError, KeyError, zipfile.BadZipFile: it is not there or not whole.
        """
        try:
            with np.load(path) as arrays:
                return cls(**{name: arrays[name] for name in _ARRAYS}, grid=grid)
        except EOFError as error:  # numpy's word for a file of no bytes
            raise zipfile.BadZipFile(str(error)) from error


_ARRAYS = ("pids", "offsets", "starts", "lengths", "beyond", "cut", "empty", "outside")


def _pixels(starts: NDArray[Any], lengths: NDArray[Any]) -> Ints:
    """Return the numbers from each start on, one run after the other."""
    before = np.cumsum(lengths, dtype=np.int64) - lengths
    pixels: Ints = np.arange(lengths.sum(dtype=np.int64)) + np.repeat(starts - before, lengths)
    return pixels
