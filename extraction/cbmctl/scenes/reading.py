"""Pixels from files, in threads of their own: decoding goes on while the last band is being summarised.

A JPEG 2000 band is decoded block by block, and only the blocks that somebody asks for: a tile of Sentinel-2
has 121. GDAL's own threads would decode all of them, and keep both the blocks and the band in memory.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from cbmctl.pixels.index import PixelIndex, Strip
from cbmctl.pixels.statistics import needed_blocks
from cbmctl.reasons import UNREADABLE
from cbmctl.scenes import Band, Scene, SceneError

Array = NDArray[Any]

# A block goes from the decoder through GDAL's cache into the band, and is not asked for again.
GDAL_OPTIONS: Mapping[str, Any] = {"GDAL_CACHEMAX": 16 * 2**20, "GDAL_NUM_THREADS": "1"}
# As many as a JPEG 2000 tile of Sentinel-2 has: a GeoTIFF may have thousands of strips of a row each.
UNIT_PIXELS = 1024**2

Check = Callable[[Path, threading.Event], None]


def _unchecked(_path: Path, _cancelled: threading.Event) -> None:
    """Take a file as it is."""


@dataclass(frozen=True)
class Reading:
    """A band that is being read.

    Attributes:
        scene: the scene.
        band: the band.
    """

    scene: Scene
    band: Band
    _image: Array
    _jobs: tuple[Future[None], ...]
    _checked: Future[None]
    _cancelled: threading.Event

    def result(self) -> Array:
        """Wait for the band: (height, width); blocks that no parcel needed hold anything.

        Raises:
            SceneError: the file cannot be read (`Rio error`); or what the check of the file raises.
        """
        try:
            for job in self._jobs:
                job.result()
        except BaseException as error:
            self.cancel()  # the rest would be decoded for nobody
            if isinstance(error, RasterioError | OSError | ValueError):
                raise _unreadable(self.scene, self.band, error) from error
            raise
        return self._image

    def cancel(self) -> None:
        """Leave out what has not begun, and wait for the rest."""
        self._cancelled.set()
        for job in (self._checked, *self._jobs):
            job.cancel()
        for job in self._jobs:
            with suppress(Exception):  # nobody wants the band any more, nor to know what was wrong with it
                if not job.cancelled():
                    job.result()


class Reader:
    """Reads bands in the order in which they are asked for."""

    def __init__(self, threads: int | None = None) -> None:
        """Start the threads; as many as there are processors unless `threads` says otherwise."""
        self._pool = ThreadPoolExecutor(threads or len(os.sched_getaffinity(0)), "decoder")
        # of its own: the next band is checked while this one is decoded, and no decoder waits for it
        self._checker = ThreadPoolExecutor(1, "checker")
        self._spare: Array | None = None
        self._opened = threading.local()
        self._numbers = count()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._checker.shutdown(cancel_futures=True)
        self._pool.shutdown(cancel_futures=True)

    def start(
        self,
        scene: Scene,
        band: Band,
        index: PixelIndex,
        active: NDArray[np.bool_],
        check: Check = _unchecked,
    ) -> Reading:
        """Begin to read what active parcels need of a band.

        Args:
            scene: the scene.
            band: the band.
            index: the parcels.
            active: (n,) those that get rows.
            check: called with the band's file before it is decoded; raises if the file must not be used, and
                ends early when the event is set.

        Raises:
            SceneError: the file cannot be opened.
        """
        try:
            with rasterio.Env(**GDAL_OPTIONS), rasterio.open(band.path) as dataset:
                dtype = np.dtype(dataset.dtypes[band.number - 1])
                block = _unit(dataset.block_shapes[band.number - 1], dataset.width)
        except (RasterioError, OSError) as error:
            raise _unreadable(scene, band, error) from error
        image = self._image((scene.grid.height, scene.grid.width), dtype)
        windows = _windows(needed_blocks(index, active, block), block, image.shape)
        number, cancelled = next(self._numbers), threading.Event()
        checked = self._checker.submit(check if windows else _unchecked, band.path, cancelled)
        jobs = tuple(
            self._pool.submit(self._read, number, band, image, checked, window) for window in windows
        )
        return Reading(scene, band, image, jobs, checked, cancelled)

    def release(self, image: Array) -> None:
        """Give an image back: the next one of its size need not be cleared by the system again."""
        self._spare = image

    def strips(self, scene: Scene, band: Band, index: PixelIndex) -> Iterator[tuple[Strip, Array]]:
        """Read a band that lies raw in its file, strip by strip, the next one while the last is worked on.

        Sentinel-1 images measure gigabytes, so they are never in memory as a whole. They are not mapped into
        memory either: storage that fails would kill the process.

        Yields:
            Parcels of the index, and the pixels that hold them.

        Raises:
            SceneError: the file cannot be read (`Rio error`).
        """
        coming: deque[tuple[Strip, Future[Array]]] = deque()
        try:
            with band.path.open("rb", buffering=0) as file:
                try:
                    for strip in index.strips():
                        coming.append((strip, self._pool.submit(_raw, file.fileno(), band, strip)))
                        if len(coming) > 1:
                            yield _came(coming)
                    while coming:
                        yield _came(coming)
                finally:
                    wait(job for _, job in coming)
        except OSError as error:
            raise _unreadable(scene, band, error) from error

    def _image(self, shape: tuple[int, int], dtype: np.dtype[Any]) -> Array:
        spare, self._spare = self._spare, None
        if spare is not None and (spare.shape, spare.dtype) == (shape, dtype):
            return spare
        return np.empty(shape, dtype)  # one of another size, of the task before, would only take up memory

    def _read(self, reading: int, band: Band, image: Array, checked: Future[None], window: Window) -> None:
        checked.result()
        rows, columns = window.toslices()
        with rasterio.Env(**GDAL_OPTIONS):  # of this thread only, and the driver asks for them late
            dataset = self._dataset(reading, band.path)
            dataset.read(band.number, window=window, out=image[rows, columns])

    def _dataset(self, reading: int, path: Path) -> Any:
        """Return this thread's own handle; GDAL's are not to be shared.

        Each reading gets new ones: when a task is tried again, the file may be another by then.
        """
        opened = self._opened
        if getattr(opened, "reading", None) != reading:
            if hasattr(opened, "dataset"):
                opened.dataset.close()
            opened.dataset, opened.reading = rasterio.open(path), reading
        return opened.dataset


def read_needed(scene: Scene, band: Band, index: PixelIndex) -> Array:
    """Read what parcels need of a band, in this thread: (height, width); other blocks hold anything.

    Raises:
        SceneError: the file cannot be read (`Rio error`).
    """
    try:
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(band.path) as dataset:
            block = _unit(dataset.block_shapes[band.number - 1], dataset.width)
            shape = scene.grid.height, scene.grid.width
            image: Array = np.empty(shape, dataset.dtypes[band.number - 1])
            for window in _windows(needed_blocks(index, np.ones(len(index), bool), block), block, shape):
                rows, columns = window.toslices()
                dataset.read(band.number, window=window, out=image[rows, columns])
    except (RasterioError, OSError) as error:
        raise _unreadable(scene, band, error) from error
    return image


def _unit(block: tuple[int, int], width: int) -> tuple[int, int]:
    """Return height and width of what is read at a time: blocks of an image, or several that are small."""
    rows, columns = block
    times = UNIT_PIXELS / (rows * columns)
    if columns >= width:
        return rows * max(1, round(times)), columns
    return rows * max(1, round(times**0.5)), columns * max(1, round(times**0.5))


def _windows(needed: NDArray[np.bool_], block: tuple[int, int], shape: tuple[int, ...]) -> list[Window]:
    (height, width), (rows, columns) = block, shape
    return [
        Window(
            column * width,
            row * height,
            min(width, columns - column * width),
            min(height, rows - row * height),
        )
        for row, column in np.argwhere(needed).tolist()
    ]


def _came(coming: "deque[tuple[Strip, Future[Array]]]") -> tuple[Strip, Array]:
    strip, job = coming.popleft()
    return strip, job.result()


def _raw(file: int, band: Band, strip: Strip) -> Array:
    """Read the pieces of a strip, one after the other."""
    if band.raw is None:
        raise ValueError(f"{band.path.name} has no raw layout")
    pixels = np.empty(sum(length for _, length in strip.pieces), band.raw.dtype)
    size, place = pixels.itemsize, memoryview(pixels.view(np.uint8))
    for first, length in strip.pieces:
        target, position = place[: length * size], band.raw.start + first * size
        place = place[length * size :]
        while target:
            read = os.preadv(file, [target], position)
            if read == 0:
                raise OSError(f"it ends {len(target)} bytes too early")
            target, position = target[read:], position + read
    return pixels


def _unreadable(scene: Scene, band: Band, error: Exception) -> SceneError:
    return SceneError(UNREADABLE, f"{band.path.name} of {scene.name} cannot be read: {error}")
