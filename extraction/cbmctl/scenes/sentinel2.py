"""Sentinel-2 L2A products (SAFE folders) as arrays."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from cbmctl.pixels.grid import Grid
from cbmctl.scenes import Raster, SceneError
from cbmctl.scenes.safe import SafeMetadata, read_safe_metadata

NODATA = 0  # of reflectance and of SCL alike [Sentinel-2 Products Specification]
_TILE = re.compile(r"_T(?P<zone>\d{2})(?P<latitude>[C-HJ-NP-X])[A-Z]{2}[_.]")


@dataclass(frozen=True)
class Product:
    """An opened product: its folders are there and its metadata is read; images are opened on demand.

    Attributes:
        folder: the `.SAFE` folder.
        images: its `GRANULE/<granule>/IMG_DATA`.
        metadata: what MTD_MSIL2A.xml says.
        epsg: the UTM zone that the tile in the name stands for.
    """

    folder: Path
    images: Path
    metadata: SafeMetadata
    epsg: int

    @property
    def name(self) -> str:
        """The product name with `.SAFE`, the catalogue's `reference`."""
        return self.folder.name

    def grid(self, resolution: int) -> Grid:
        """Return the grid of the product's first image at `resolution` metres, read from the image itself.

        Raises:
            SceneError: there is no image at this resolution, or it cannot be read.
        """
        path = next(iter(sorted(self._listing(resolution).values())), None)
        if path is None:
            raise SceneError("!S3 subdir", f"{self.name} has no images in IMG_DATA/R{resolution}m")
        with self._open(path, resolution) as (grid, _):
            return grid

    def read(self, bands: Sequence[str], resolution: int, *, harmonise: bool = True) -> Raster:
        """Read whole bands.

        Args:
            bands: names as in the files ("B02", "SCL").
            resolution: metres; the folder R10m, R20m or R60m.
            harmonise: add the product's own BOA_ADD_OFFSET, so that values of all baselines compare. Sums
                below 1 become 1, so that 0 keeps meaning nodata. SCL is never touched, the dtype stays.

        Raises:
            SceneError: a band is missing (`!S3 B02.jp2`), unreadable or on another grid (`Rio error`).
        """
        files = self._listing(resolution)
        if missing := [band for band in bands if band not in files]:
            raise SceneError(
                f"!S3 {missing[0]}.jp2", f"{self.name} lacks {', '.join(missing)} at {resolution} m"
            )
        arrays: dict[str, NDArray[Any]] = {}
        common: Grid | None = None
        for band in bands:
            with self._open(files[band], resolution) as (grid, dataset):
                if common not in (None, grid):
                    raise SceneError(
                        "Rio error", f"{files[band].name} of {self.name} is not on the grid of {bands[0]}"
                    )
                common = grid
                arrays[band] = dataset.read(1)
            if harmonise:
                add_offset(arrays[band], self.metadata.boa_offsets.get(band, 0))
        if common is None:
            raise ValueError("no bands asked for")
        return Raster(arrays, common.transform, common.epsg, NODATA)

    def _listing(self, resolution: int) -> dict[str, Path]:
        """Return the image files at a resolution, by band name."""
        pattern = re.compile(rf".*_(?P<band>[A-Z0-9]{{3}})_{resolution}m\.jp2")
        folder = self.images / f"R{resolution}m"
        try:
            names = [(path, pattern.fullmatch(path.name)) for path in folder.iterdir()]
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SceneError(
                "Rio error", f"R{resolution}m of {self.name} cannot be listed: {error}"
            ) from error
        return {match["band"]: path for path, match in names if match}

    @contextmanager
    def _open(self, path: Path, resolution: int) -> Iterator[tuple[Grid, Any]]:
        """Open an image and check that it is what its name says; any failure to read it is a SceneError."""
        try:
            with rasterio.open(path) as dataset:
                epsg = dataset.crs.to_epsg() if dataset.crs else None
                if epsg != self.epsg:
                    raise ValueError(f"its CRS is {epsg or 'unknown'} where the tile says EPSG:{self.epsg}")
                if dataset.res != (resolution, resolution):
                    raise ValueError(f"its pixels measure {dataset.res}, not {resolution} m")
                yield Grid(epsg, dataset.transform, dataset.height, dataset.width), dataset
        except (RasterioError, OSError, ValueError) as error:
            raise SceneError("Rio error", f"{path.name} of {self.name} cannot be read: {error}") from error


def open_product(root: Path, path: str) -> Product:
    """Open the product at `path` (the catalogue's `path`) below the archive's `root`.

    Raises:
        SceneError: the folder or its IMG_DATA is missing (`!S3 subdir`), or its metadata cannot be used.
    """
    folder = root / path
    tile = _TILE.search(folder.name)
    if tile is None:
        raise SceneError("!S3 subdir", f"{folder.name} names no Sentinel-2 tile")
    if not folder.is_dir():
        raise SceneError("!S3 subdir", f"{path} is not in the archive")
    granules = sorted(folder.glob("GRANULE/*/IMG_DATA"))
    if len(granules) != 1:
        raise SceneError("!S3 subdir", f"{folder.name} has {len(granules)} IMG_DATA folders instead of one")
    epsg = (32600 if tile["latitude"] >= "N" else 32700) + int(tile["zone"])
    return Product(folder, granules[0], read_safe_metadata(folder), epsg)


def add_offset(values: NDArray[Any], offset: int) -> None:
    """Add a BOA_ADD_OFFSET in place: 0 stays 0 (nodata), a sum below 1 becomes 1, the dtype stays."""
    if offset == 0:
        return
    nodata = values == NODATA
    if offset < 0:
        np.maximum(values, 1 - offset, out=values)
        values -= values.dtype.type(-offset)
    else:
        np.minimum(values, np.iinfo(values.dtype).max - offset, out=values)
        values += values.dtype.type(offset)
    values[nodata] = NODATA
