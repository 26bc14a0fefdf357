"""Rows of the small season as rasterio and numpy have them, and as they are found."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.transform import from_origin

from tests.support.products_s2 import LEFT, TOP
from tests.support.season import BANDS_10, BANDS_20, OFFSET, PARCELS, Season, pixels

Row = tuple[Any, ...]


def members(pid: int, resolution: int) -> NDArray[np.bool_]:
    """The parcel's pixels, by GDAL on the whole image."""
    size = 400 // resolution
    mask = rasterize(
        [PARCELS[pid]],
        (size, size),
        transform=from_origin(LEFT, TOP, resolution, resolution),
        all_touched=False,
    )
    return mask.astype(bool)


def expected_sigs(obsid: int, day: int) -> list[Row]:
    """Compute every statistic with numpy, one parcel and band at a time."""
    rows = []
    for pid in (1, 7):
        for bands, resolution in ((BANDS_10, 10), (BANDS_20, 20)):
            for band in bands:
                stored = pixels(day)[f"{band}_{resolution}m"].astype(np.float64)
                values = np.maximum(stored + OFFSET, 1)[members(pid, resolution)]
                figures = (
                    len(values),
                    values.mean(),
                    values.std(),
                    values.min(),
                    values.max(),
                    *np.percentile(values, (25, 50, 75)),
                )
                rows.append((pid, obsid, band, *(float(np.float32(figure)) for figure in figures)))
    return sorted(rows)


def expected_hists(obsid: int, day: int) -> list[Row]:
    rows = []
    for pid in (1, 7):
        classes, counts = np.unique(pixels(day)["SCL_20m"][members(pid, 20)], return_counts=True)
        rows.append((pid, obsid, dict(zip(map(str, classes.tolist()), counts.tolist(), strict=True))))
    return rows


def found_sigs(season: Season) -> list[Row]:
    # float8 shows every digit of a real
    figures = ", ".join(
        f'"{name}"::float8' for name in ("count", "mean", "std", "min", "max", "p25", "p50", "p75")
    )
    return season.rows(f"SELECT pid, obsid, band, {figures} FROM sigs ORDER BY obsid, pid, band")
