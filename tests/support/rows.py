"""Rows of sigs and hists as numpy has them, and as they are found."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from cbmctl.database import connect
from cbmctl.queue.planning import plan
from cbmctl.worker.pipeline import work
from cbmctl.worker.stop_signal import Stop
from tests.support.products_s2 import LEFT, TOP, image_file, write_image
from tests.support.season import BANDS_10, BANDS_20, OFFSET, PARCELS, Season, pixels

Image = NDArray[Any]
Rows = dict[tuple[int, str], list[float]]
FIGURES = ("count", "mean", "std", "min", "max", "p25", "p50", "p75")
NEAR = {pid: PARCELS[pid] for pid in (1, 7)}
BANDS: dict[str, Any] = {"10": list(BANDS_10), "20": list(BANDS_20)}


def extract(season: Season, **extraction: Any) -> list[str]:
    config = season.database.configured(extraction=extraction)
    lines: list[str] = []
    with connect(config, autocommit=True) as conn:
        plan(conn, config)
    work(config, stop=Stop(), note=lines.append)
    return lines


def insert(season: Season, shapes: Mapping[int, BaseGeometry]) -> None:
    with season.database.connect() as conn:
        for pid, shape in shapes.items():
            conn.execute(
                "INSERT INTO parcels_2021 VALUES (%s, ST_Multi(ST_GeomFromText(%s, 32632)))", [pid, shape.wkt]
            )


def folder(season: Season, obsid: int) -> str:
    return str(season.rows("SELECT path FROM dias_catalogue WHERE id = %s", obsid)[0][0])


def replace(season: Season, obsid: int, **images: Image) -> None:
    """Put other pixels into a scene's files, as in `B02_10m=…`."""
    for name, image in images.items():
        file = image_file(season.config.eodata, folder(season, obsid), name)
        write_image(file, image, float(name.split("_")[1][:-1]))


def found(season: Season, obsid: int) -> Rows:
    figures = ", ".join(f'"{figure}"::float8' for figure in FIGURES)
    rows = season.rows(f"SELECT pid, band, {figures} FROM sigs WHERE obsid = %s", obsid)
    return {(pid, band): list(values) for pid, band, *values in rows}


def keys(season: Season, obsid: int) -> set[tuple[int, str]]:
    return set(found(season, obsid))


def hists(season: Season, obsid: int) -> dict[int, dict[str, int]]:
    return dict(season.rows("SELECT pid, hist FROM hists WHERE obsid = %s", obsid))


def mask(shape: BaseGeometry, image: Image, transform: Affine) -> NDArray[np.bool_]:
    burnt = rasterize([(shape, 1)], out_shape=image.shape, transform=transform, all_touched=False)
    return np.asarray(burnt, bool)


def numpys(values: Image) -> list[float]:
    wide = values.astype(np.float64)
    figures = (wide.size, wide.mean(), wide.std(), wide.min(), wide.max(), *np.percentile(wide, (25, 50, 75)))
    return [float(np.float32(figure)) for figure in figures]


def expected(
    shapes: Mapping[int, BaseGeometry],
    bands: Mapping[str, Image],
    resolution: float,
    *,
    origin: tuple[float, float] = (LEFT, TOP),
    offset: int = 0,
    positive: bool = False,
) -> Rows:
    """Compute with numpy what a group of bands says of parcels, of their pixels in the image."""
    transform = Affine(resolution, 0, origin[0], 0, -resolution, origin[1])
    rows: Rows = {}
    for pid, shape in shapes.items():
        held = {
            band: image[mask(shape, image, transform)].astype(np.float64) for band, image in bands.items()
        }
        if all(
            values.size and (np.isfinite(values) & (values != 0) & ((values > 0) | (not positive))).all()
            for values in held.values()
        ):
            for band, values in held.items():
                rows[pid, band] = numpys(np.maximum(values + offset, 1) if offset else values)
    return rows


def assert_rows(rows: Rows, wanted: Rows) -> None:
    assert rows.keys() == wanted.keys()
    for key, figures in wanted.items():
        np.testing.assert_array_max_ulp(np.array(rows[key], "f4"), np.array(figures, "f4"), maxulp=1)
        for exact in (0, 3, 4):
            assert rows[key][exact] == figures[exact], key


def sentinel2(day: int, shapes: Mapping[int, BaseGeometry], *, offset: int = OFFSET) -> Rows:
    images = pixels(day)
    fine = expected(shapes, {band: images[f"{band}_10m"] for band in BANDS_10}, 10, offset=offset)
    return fine | expected(shapes, {band: images[f"{band}_20m"] for band in BANDS_20}, 20, offset=offset)


def cut(share: float) -> Callable[[Path], None]:
    return lambda file: os.truncate(file, int(share * file.stat().st_size))
