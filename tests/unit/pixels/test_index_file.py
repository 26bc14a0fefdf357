"""An index is saved to a file and loaded from it; a damaged file is refused."""

import zipfile
from pathlib import Path

import pytest
from shapely import Polygon

from cbmctl.pixels import PixelIndex
from tests.support.pixel_images import GRID, built, field


def test_saved_and_loaded(tmp_path: Path) -> None:
    shapes = [
        field(0, 0, 3, 1),
        field(-2, 2, 4, 9),
        field(1.2, 1.2, 1.3, 1.3),
        field(50, 50, 60, 60),
        Polygon(),
    ]
    index = built(shapes, GRID).touching(range(100, 105), shapes)
    path = tmp_path / "index.npz"
    for _ in range(2):  # also over one that is there
        index.save(path)
    assert list(tmp_path.iterdir()) == [path]
    loaded = PixelIndex.load(path, GRID)
    assert loaded.grid == GRID
    for name in ("pids", "offsets", "starts", "lengths", "beyond", "empty", "outside"):
        before, after = getattr(index, name), getattr(loaded, name)
        assert (before.dtype, before.tolist()) == (after.dtype, after.tolist())


@pytest.mark.parametrize("keep", [0, 1, 3, 100, 0.5, 0.99])
def test_a_file_that_is_not_whole_is_refused(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "index.npz"
    built([field(0, 0, 3, 1)], GRID).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if 0 < keep < 1 else int(keep)])
    with pytest.raises((OSError, ValueError, KeyError, zipfile.BadZipFile)):
        PixelIndex.load(path, GRID)


def test_a_file_with_a_wrong_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index.npz"
    index = built([field(0, 0, 3, 7)], GRID)
    index.save(path)
    whole = bytearray(path.read_bytes())
    where = bytes(whole).index(index.starts.tobytes())
    whole[where] ^= 1
    path.write_bytes(bytes(whole))
    with pytest.raises(zipfile.BadZipFile):
        PixelIndex.load(path, GRID)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        built([field(0, 0, 3, 1)], GRID).save(tmp_path / "nowhere" / "index.npz")
    with pytest.raises(OSError, match="No such file"):
        PixelIndex.load(tmp_path / "index.npz", GRID)
