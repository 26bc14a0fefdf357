"""Reading in threads: only what is needed, each block where it belongs, and nothing left running."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window
from shapely import Polygon

from cbmctl.pixels import Grid, PixelIndex
from cbmctl.pixels.index import STRIP_ROWS
from cbmctl.pixels.statistics import needed_blocks
from cbmctl.scenes import Band, RawLayout, Scene, SceneError
from cbmctl.scenes.reading import Reader, _unit, read_whole

HEIGHT, WIDTH, BLOCK = 300, 330, 64  # the last blocks are not whole
GRID = Grid(32632, Affine(10, 0, 500000, 0, -10, 6000000), HEIGHT, WIDTH)
UNTOUCHED = 7777
JP2 = {"driver": "JP2OpenJPEG", "REVERSIBLE": "YES", "QUALITY": "100"}

Eventually = Callable[[Callable[[], bool]], None]


def field(left: float, top: float, right: float, bottom: float) -> Polygon:
    return shapely.box(500000 + left * 10, 6000000 - bottom * 10, 500000 + right * 10, 6000000 - top * 10)


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


def blockwise(needed: NDArray[np.bool_], block: int = BLOCK) -> NDArray[np.bool_]:
    """Return which pixels lie in needed blocks."""
    return needed.repeat(block, 0).repeat(block, 1)[:HEIGHT, :WIDTH]


@pytest.fixture(autouse=True)
def block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of these small images are read one at a time, as the large ones of real images are."""
    monkeypatch.setattr("cbmctl.scenes.reading.UNIT_PIXELS", 1)


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
                assert np.array_equal(read_whole(scene, reading.band), image)


def test_bands_of_one_file(tmp_path: Path) -> None:
    stored = [numbers(seed).astype(np.float32) / 7000 for seed in range(2)]
    path = write(tmp_path / "coherence.tif", *stored, driver="GTiff", interleave="band", tiled=False)
    index, active = covering()
    with Reader(2) as reader:
        for number, image in enumerate(stored, 1):
            scene = scene_of(path, number=number)
            assert np.array_equal(reader.start(scene, scene.bands[0], index, active).result(), image)
            assert np.array_equal(read_whole(scene, scene.bands[0]), image)


def test_a_file_in_other_hands_meanwhile_is_read_anew(tmp_path: Path) -> None:
    """A task is tried again when its file was torn: the second time it may be whole."""
    path = write(tmp_path / "B02.jp2", numbers())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    scene = scene_of(path)
    index, active = covering()
    with Reader(1) as reader:
        torn = reader.start(scene, scene.bands[0], index, active)
        with pytest.raises(SceneError):
            torn.result()
        torn.cancel()
        path.write_bytes(whole)
        assert np.array_equal(reader.start(scene, scene.bands[0], index, active).result(), numbers())
        write(path, numbers(2))
        assert np.array_equal(reader.start(scene, scene.bands[0], index, active).result(), numbers(2))


def status_of(error: pytest.ExceptionInfo[SceneError]) -> str:
    assert "\n" not in error.value.reason
    assert error.value.reason.startswith("B02.jp2 of S2A.SAFE cannot be read: ")
    return error.value.status


@pytest.mark.parametrize("keep", [0, 60, 200, 0.3, 0.6, 0.95, None])
def test_a_file_that_is_torn_or_gone_is_a_rio_error(tmp_path: Path, keep: float | None) -> None:
    path = write(tmp_path / "B02.jp2", numbers())
    if keep is None:
        path.unlink()
    else:
        os.truncate(path, int(keep * path.stat().st_size) if 0 < keep < 1 else int(keep))
    scene = scene_of(path)
    index, active = covering()
    with Reader(2) as reader:
        with pytest.raises(SceneError) as error:
            reader.start(scene, scene.bands[0], index, active).result()
        assert status_of(error) == "Rio error"
        with pytest.raises(SceneError) as error:
            read_whole(scene, scene.bands[0])
        assert status_of(error) == "Rio error"
        if keep in (0, None):
            with pytest.raises(SceneError):  # at once, before anything else is begun
                reader.start(scene, scene.bands[0], index, active)


@pytest.mark.parametrize("text", [b"no image at all", bytes(5000)])
def test_a_file_that_is_no_image_is_a_rio_error(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "B02.jp2"
    path.write_bytes(text)
    scene = scene_of(path)
    with Reader(1) as reader, pytest.raises(SceneError) as error:
        reader.start(scene, scene.bands[0], *covering())
    assert status_of(error) == "Rio error"


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


class Slow:
    """Stands in for reading a block: takes a while, and knows how many are at it."""

    def __init__(self) -> None:
        self.begun = self.ended = 0
        self._lock = threading.Lock()

    def __call__(self, *_: Any) -> None:
        with self._lock:
            self.begun += 1
        time.sleep(0.05)
        with self._lock:
            self.ended += 1


def test_cancelling_leaves_nothing_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    scene = scene_of(write(tmp_path / "B02.jp2", numbers()))
    slow = Slow()
    with Reader(2) as reader:
        monkeypatch.setattr(reader, "_read", slow)
        reading = reader.start(scene, scene.bands[0], *covering())
        eventually(lambda: slow.begun > 0)
        reading.cancel()
        assert slow.begun == slow.ended < 10, "of thirty blocks"
        time.sleep(0.1)
        assert slow.begun == slow.ended < 10
        reading.cancel()  # once more is no harm
        monkeypatch.undo()
        assert np.array_equal(reader.start(scene, scene.bands[0], *covering()).result(), numbers())


def test_cancelling_what_has_failed_says_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "B02.jp2", numbers())
    os.truncate(path, path.stat().st_size // 2)
    scene = scene_of(path)
    with Reader(2) as reader:
        reading = reader.start(scene, scene.bands[0], *covering())
        reading.cancel()
        other = reader.start(scene, scene.bands[0], *covering())
        with pytest.raises(SceneError):
            other.result()
        other.cancel()


def test_after_one_bad_block_the_others_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scene_of(write(tmp_path / "B02.jp2", numbers()))
    slow = Slow()

    def torn(*arguments: Any) -> None:
        slow(*arguments)
        raise OSError(5, "Input/output error")

    with Reader(2) as reader:
        monkeypatch.setattr(reader, "_read", torn)
        with pytest.raises(SceneError, match="Input/output error"):
            reader.start(scene, scene.bands[0], *covering()).result()
        assert slow.begun == slow.ended < 10, "of thirty blocks"


def test_leaving_ends_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scene_of(write(tmp_path / "B02.jp2", numbers()))
    slow = Slow()
    before = threading.active_count()
    with Reader(2) as reader:
        monkeypatch.setattr(reader, "_read", slow)
        reader.start(scene, scene.bands[0], *covering())
    assert slow.begun == slow.ended < 10
    assert threading.active_count() == before


def test_other_faults_are_not_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    scene = scene_of(write(tmp_path / "B02.jp2", numbers()))
    with Reader(1) as reader:
        monkeypatch.setattr(reader, "_read", broken)
        with pytest.raises(ZeroDivisionError):
            reader.start(scene, scene.bands[0], *covering()).result()


RAW = Grid(32632, Affine(10, 0, 500000, 0, -10, 6000000), 3 * STRIP_ROWS, 20)


def raw_scene(path: Path, *, short: int = 0) -> tuple[Scene, PixelIndex]:
    pixels = np.arange(1, RAW.height * RAW.width + 1, dtype=">f4").tobytes()
    path.write_bytes(pixels[: len(pixels) - short])
    fields = [field(2, row, 9, row + 3) for row in range(0, RAW.height, 9)]
    scene = Scene("S1A", RAW, (Band("VVb", path, raw=RawLayout(">f4")),))
    return scene, PixelIndex.build(range(len(fields)), fields, RAW)


def test_strips_hold_the_files_pixels(tmp_path: Path) -> None:
    scene, index = raw_scene(tmp_path / "VV.img")
    with Reader(2) as reader:
        strips = list(reader.strips(scene, scene.bands[0], index))
    assert len(strips) == 3
    for strip, pixels in strips:
        ((first, length),) = strip.pieces
        assert pixels.tolist() == list(range(first + 1, first + length + 1))


def test_a_raw_file_that_is_short_or_gone_is_a_rio_error(tmp_path: Path) -> None:
    scene, index = raw_scene(tmp_path / "VV.img", short=4 * 20 * 100)
    with Reader(2) as reader:
        strips = reader.strips(scene, scene.bands[0], index)
        next(strips)
        with pytest.raises(
            SceneError, match=r"VV\.img of S1A cannot be read: it ends \d+ bytes too early"
        ) as error:
            list(strips)
        assert error.value.status == "Rio error"
        scene.bands[0].path.unlink()
        with pytest.raises(SceneError, match="No such file") as error:
            list(reader.strips(scene, scene.bands[0], index))
        assert error.value.status == "Rio error"


def test_strips_that_nobody_takes_leave_no_file_open(tmp_path: Path) -> None:
    scene, index = raw_scene(tmp_path / "VV.img")

    def is_open() -> bool:
        links = Path("/proc/self/fd").iterdir()
        return any(link.is_symlink() and os.path.realpath(link).endswith("VV.img") for link in links)

    with Reader(2) as reader:
        strips = reader.strips(scene, scene.bands[0], index)
        next(strips)
        assert is_open()
        strips.close()  # type: ignore[attr-defined]
        assert not is_open()


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
            raise SceneError("Rio error", "it is damaged")

        monkeypatch.setattr(reader, "_dataset", opened)
        reader.start(scene, scene.bands[0], *covering(), check).result()
        assert order == ["B02.jp2", *["decoded"] * 30]
        with pytest.raises(SceneError, match="it is damaged"):
            reader.start(scene, scene.bands[0], *covering(), refuse).result()
    assert len(order) == 31


def test_a_reading_is_cancelled_during_its_check(tmp_path: Path) -> None:
    scene = scene_of(write(tmp_path / "B02.jp2", numbers()))
    begun = threading.Event()

    def check(_path: Path, cancelled: threading.Event) -> None:
        begun.set()
        assert cancelled.wait(60)
        raise TimeoutError

    with Reader(2) as reader:
        reading = reader.start(scene, scene.bands[0], *covering(), check)
        assert begun.wait(60)
        reading.cancel()
