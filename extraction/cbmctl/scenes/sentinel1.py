"""What the images of all Sentinel-1 products must be: one checked way to open them."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import RasterioError

from cbmctl.pixels.grid import Grid
from cbmctl.reasons import PRODUCT_MISSING, UNREADABLE
from cbmctl.scenes import SceneError
from cbmctl.scenes.folders import glob, is_folder

_NAMED = re.compile(r"_1S(SV|DV|SH|DH|VV|VH|HH|HV)_")
_POLARISATIONS = {"SV": ("VV",), "DV": ("VV", "VH"), "SH": ("HH",), "DH": ("HH", "HV")}
_STEP_TOLERANCE = 1e-6  # of the pixel size: what a header's decimals may lose


class FlawError(ValueError):
    """An image that opens and still cannot be used; its text goes on after the image's name."""


def polarisations(name: str) -> tuple[str, ...] | None:
    """Return the polarisations that a product's name promises; None: it does not say, as those of pairs."""
    match = _NAMED.search(name)
    return _POLARISATIONS.get(match[1], (match[1],)) if match else None


def find(folder: Path, pattern: str) -> list[Path]:
    """List the files of a product that match a glob pattern, sorted.

    Raises:
        SceneError: the product is not in the archive (`!S3 subdir`) or cannot be listed (`Rio error`).
    """
    try:
        if not is_folder(folder):
            raise SceneError(PRODUCT_MISSING, f"{folder.name} is not in the archive")
        return glob(folder, pattern)
    except OSError as error:
        raise SceneError(UNREADABLE, f"{folder.name} cannot be listed: {error}") from error


@contextmanager
def opened(path: Path, product: str, resolution: int) -> Iterator[tuple[Grid, Any]]:
    """Open an image and check that it is measurements on a map grid.

    Args:
        path: the image.
        product: name of the product it belongs to, for messages.
        resolution: metres that its pixels must measure.

    Yields:
        Its grid and the rasterio dataset.

    Raises:
        SceneError: it cannot be read or used (`Rio error`), here or in the body of the `with` statement.
    """
    try:
        if path.stat().st_size == 0:
            raise FlawError("is empty: 0 bytes")
        with rasterio.open(path) as dataset:
            grid = _grid(dataset, resolution)
            _check_values(dataset)
            yield grid, dataset
    except FlawError as flaw:
        raise SceneError(UNREADABLE, f"{path.name} of {product} {flaw}") from flaw
    except (RasterioError, OSError, ValueError) as error:
        raise SceneError(UNREADABLE, f"{path.name} of {product} cannot be read: {error}") from error


def _grid(dataset: Any, resolution: int) -> Grid:
    """Return the grid of an image in a metric CRS of the EPSG registry."""
    if dataset.crs is None:
        if dataset.gcps[0]:
            raise FlawError("has ground control points instead of a map grid: it is not terrain-corrected")
        raise FlawError("has no CRS: it is not in a map projection")
    epsg = dataset.crs.to_epsg()
    if epsg is None:
        raise FlawError(f"is in {dataset.crs.wkt.split('[')[1].split(',')[0]}, which EPSG does not list")
    if not dataset.crs.is_projected or dataset.crs.linear_units_factor[1] != 1:
        raise FlawError(f"is in EPSG:{epsg}, which is not a map projection in metres")
    if dataset.transform.is_identity:
        raise FlawError(f"is in EPSG:{epsg}, but its position is missing")
    try:
        grid = Grid(epsg, dataset.transform, dataset.height, dataset.width)
    except ValueError as error:
        raise FlawError(f"cannot be used: {error}") from error
    across, down = grid.transform.a, -grid.transform.e
    if not all(math.isclose(step, resolution, rel_tol=_STEP_TOLERANCE) for step in (across, down)):
        raise FlawError(f"has pixels of {across:g} x {down:g} m, not {resolution} m")
    return grid


def _check_values(dataset: Any) -> None:
    if strange := sorted(set(dataset.dtypes) - {"float32"}):
        raise FlawError(f"holds {', '.join(strange)}, not float32")
    if set(dataset.scales) != {1} or set(dataset.offsets) != {0}:
        raise FlawError(f"holds values to be scaled by {dataset.scales} and {dataset.offsets}")
    for nodata in dataset.nodatavals:
        if nodata is not None and nodata != 0 and not math.isnan(nodata):
            raise FlawError(f"marks nodata with {nodata:g}, not with 0 or NaN")
