"""Raw files are read in strips of rows."""

import os
from pathlib import Path

import numpy as np
import pytest

from cbmctl.pixels import Grid, PixelIndex
from cbmctl.pixels.index import STRIP_ROWS
from cbmctl.scenes import Band, RawLayout, Scene, SceneError
from cbmctl.scenes.reading import Reader
from tests.support.image_files import field
from tests.support.pixel_images import NORTH_UP

RAW = Grid(32632, NORTH_UP, 3 * STRIP_ROWS, 20)


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
