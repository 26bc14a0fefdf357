"""Only the blocks that are needed are read, and each lands in its place."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rasterio.windows import Window

from cbmctl.pixels import PixelIndex
from cbmctl.pixels.statistics import needed_blocks
from cbmctl.reasons import UNREADABLE
from cbmctl.scenes import SceneError
from cbmctl.scenes.reading import Reader, _unit, read_needed
from tests.support.image_files import (
    BLOCK,
    GRID,
    HEIGHT,
    JP2,
    WIDTH,
    covering,
    field,
    numbers,
    scene_of,
    write,
)

pytestmark = pytest.mark.usefixtures("block_by_block")

UNTOUCHED = 7777


def blockwise(needed: NDArray[np.bool_], block: int = BLOCK) -> NDArray[np.bool_]:
    """Return which pixels lie in needed blocks."""
    return needed.repeat(block, 0).repeat(block, 1)[:HEIGHT, :WIDTH]


@pytest.mark.parametrize(
    ("block", "width", "unit"),
    [
        ((1024, 1024), 10980, (1024, 1024)),
        ((1, 7000), 7000, (150, 7000)),
        ((256, 256), 10980, (1024, 1024)),
        ((6000, 7000), 7000, (6000, 7000)),
        ((1, 40), 40, (26214, 40)),
    ],
)
def test_small_blocks_are_read_several_at_a_time(
    monkeypatch: pytest.MonkeyPatch, block: tuple[int, int], width: int, unit: tuple[int, int]
) -> None:
    monkeypatch.setattr("cbmctl.scenes.reading.UNIT_PIXELS", 1024**2)
    assert _unit(block, width) == unit


@pytest.mark.parametrize("threads", [1, 3, None])
@pytest.mark.parametrize("options", [JP2, {"driver": "GTiff", "compress": "deflate"}], ids=["jp2", "tif"])
def test_only_needed_blocks_are_read(tmp_path: Path, threads: int | None, options: dict[str, Any]) -> None:
    stored = numbers()
    scene = scene_of(write(tmp_path / "B02", stored, **options))
    fields = [
        field(3, 5, 20, 30),
        field(60, 60, 70, 70),
        field(325, 290, 400, 310),
        field(100, 200, 110, 210),
    ]
    index = PixelIndex.build([1, 2, 3, 4], fields, GRID)
    active = index.pids != 4
    with Reader(threads) as reader:
        reader.release(np.full((HEIGHT, WIDTH), UNTOUCHED, np.uint16))
        image = reader.start(scene, scene.bands[0], index, active).result()
    needed = np.zeros((5, 6), bool)
    needed[0, 0] = needed[0, 1] = needed[1, 0] = needed[1, 1] = needed[4, 5] = True
    assert (needed_blocks(index, active, (BLOCK, BLOCK)) == needed).all()
    assert np.array_equal(image, np.where(blockwise(needed), stored, UNTOUCHED))


def test_without_active_parcels_nothing_is_read(tmp_path: Path) -> None:
    scene = scene_of(write(tmp_path / "B02", numbers()))
    index, active = covering()
    with Reader(2) as reader:
        reader.release(np.full((HEIGHT, WIDTH), UNTOUCHED, np.uint16))
        assert (reader.start(scene, scene.bands[0], index, ~active).result() == UNTOUCHED).all()


def test_bands_that_are_read_at_once_do_not_mix(tmp_path: Path) -> None:
    stored = [numbers(seed) for seed in range(5)]
    scene = scene_of(*(write(tmp_path / f"{place}", image) for place, image in enumerate(stored)))
    index, active = covering()
    with Reader(3) as reader:
        for _ in range(2):
            readings = [reader.start(scene, band, index, active) for band in scene.bands]
            for reading, image in zip(reversed(readings), reversed(stored), strict=True):
                assert np.array_equal(reading.result(), image)
                assert np.array_equal(read_needed(scene, reading.band, index), image)


def test_bands_of_one_file(tmp_path: Path) -> None:
    stored = [numbers(seed).astype(np.float32) / 7000 for seed in range(2)]
    path = write(tmp_path / "coherence.tif", *stored, driver="GTiff", interleave="band", tiled=False)
    index, active = covering()
    with Reader(2) as reader:
        for number, image in enumerate(stored, 1):
            scene = scene_of(path, number=number)
            assert np.array_equal(reader.start(scene, scene.bands[0], index, active).result(), image)
            assert np.array_equal(read_needed(scene, scene.bands[0], index), image)


def test_an_image_is_used_again_where_it_fits() -> None:
    shape, dtype = (HEIGHT, WIDTH), np.dtype("u2")
    with Reader(1) as reader:
        image = np.empty(shape, dtype)
        reader.release(image)
        assert reader._image(shape, dtype) is image
        assert reader._image(shape, dtype) is not image  # it has been given away
        for other in ((shape, np.dtype("u1")), ((HEIGHT, WIDTH + 1), dtype)):
            reader.release(image)
            found = reader._image(*other)
            assert (found.shape, found.dtype) == other
            assert reader._image(shape, dtype) is not image  # it was let go of


def test_windows_at_the_border_are_not_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scene_of(write(tmp_path / "B02.jp2", numbers()))
    windows: list[Window] = []
    with Reader(1) as reader:
        monkeypatch.setattr(reader, "_read", lambda *arguments: windows.append(arguments[-1]))
        reader.start(scene, scene.bands[0], *covering()).result()
    assert len(windows) == 30
    assert sum(window.width * window.height for window in windows) == HEIGHT * WIDTH
    last = windows[-1]
    assert (last.col_off + last.width, last.row_off + last.height) == (WIDTH, HEIGHT)


def test_nothing_is_decoded_before_its_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scene_of(write(tmp_path / "B02.jp2", numbers()))
    order: list[str] = []
    with Reader(2) as reader:
        dataset = reader._dataset

        def opened(reading: int, path: Path) -> object:
            order.append("decoded")
            return dataset(reading, path)

        def check(path: Path, _cancelled: threading.Event) -> None:
            order.append(path.name)

        def refuse(_path: Path, _cancelled: threading.Event) -> None:
            raise SceneError(UNREADABLE, "it is damaged")

        monkeypatch.setattr(reader, "_dataset", opened)
        reader.start(scene, scene.bands[0], *covering(), check).result()
        assert order == ["B02.jp2", *["decoded"] * 30]
        with pytest.raises(SceneError, match="it is damaged"):
            reader.start(scene, scene.bands[0], *covering(), refuse).result()
    assert len(order) == 31
