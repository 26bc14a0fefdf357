"""Statistics from strips of a file equal those of the whole image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from cbmctl.pixels import Grid
from cbmctl.pixels.index import STRIP_ROWS
from cbmctl.pixels.statistics import band_statistics, strip_statistics
from cbmctl.scenes import Band, RawLayout, Scene
from cbmctl.scenes.reading import Reader
from tests.support.pixel_values import GRID, assert_floats, built, everyone, field


def raw_scene(tmp_path: Path, image: NDArray[Any], start: int) -> tuple[Scene, Band]:
    """Write an image as it lies in memory, after some other bytes."""
    path = tmp_path / "raw.img"
    path.write_bytes(bytes(range(1, 1 + start)) + image.tobytes())
    band = Band("VVb", path, raw=RawLayout(image.dtype.str, start))
    grid = Grid(GRID.epsg, GRID.transform, *image.shape)
    return Scene("S1", grid, (band,)), band


def strewn(height: int, width: int, number: int) -> list[BaseGeometry]:
    """Parcels all over an image and beyond; every fortieth is tall, one reaches from top to bottom."""
    random = np.random.default_rng(height)
    left, top = random.uniform(-9, width, number), random.uniform(-9, height, number)
    high = np.where(
        np.arange(number) % 40, random.uniform(0.3, 90, number), random.uniform(0, height, number)
    )
    boxes = [
        field(x, y, x + w, y + h)
        for x, y, w, h in zip(left, top, random.uniform(0.3, 30, number), high, strict=True)
    ]
    return [*boxes, field(3, -5, 20, height + 5).difference(field(5, 9, 11, height - 9))]


@pytest.mark.parametrize("order", ["<f4", ">f4"])
@pytest.mark.parametrize("start", [0, 129])
@pytest.mark.parametrize("positive", [True, False])
def test_strips_of_a_file_give_what_the_image_gives(
    tmp_path: Path, order: str, start: int, positive: bool
) -> None:
    height, width = 3 * STRIP_ROWS + 77, 61
    random = np.random.default_rng(7)
    image = random.gamma(4, 0.03, (height, width)).astype(np.float32)
    image[random.integers(height, size=40), random.integers(width, size=40)] = 0
    image[random.integers(height, size=40), random.integers(width, size=40)] = np.nan
    image[random.integers(height, size=40), random.integers(width, size=40)] *= -1
    scene, band = raw_scene(tmp_path, image.astype(order), start)
    index = built(strewn(height, width, 400), scene.grid)
    whole, stripwise = everyone(index), everyone(index)
    whole[::7] = stripwise[::7] = False
    expected = band_statistics(index, image, whole, positive=positive)
    with Reader(2) as reader:
        found = strip_statistics(index, reader.strips(scene, band, index), stripwise, positive=positive)
    assert len(list(index.strips())) > 6
    assert (stripwise == whole).all()
    assert 20 < whole.sum() < len(index) - 20
    assert np.array_equal(found[whole], expected[whole])
    for row in np.flatnonzero(whole):
        assert_floats(found[row], image.reshape(-1)[index.of(index.pids[row])])
