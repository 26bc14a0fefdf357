"""Sentinel-2 L2A products (SAFE folders)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import rasterio
from rasterio.errors import RasterioError

from cbmctl.pixels.grid import Grid
from cbmctl.reasons import PRODUCT_MISSING, UNREADABLE, file_missing
from cbmctl.scenes import Band, Scene, SceneError
from cbmctl.scenes.folders import glob, is_folder
from cbmctl.scenes.sentinel2_metadata import METADATA_FILE, SafeMetadata, read_safe_metadata

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
            raise SceneError(PRODUCT_MISSING, f"{self.name} has no images in IMG_DATA/R{resolution}m")
        return self._grid(path, resolution)

    def scene(self, bands: Sequence[str], resolution: int, *, harmonise: bool = True) -> Scene:
        """Open bands.

        Args:
            bands: names as in the files ("B02", "SCL").
            resolution: metres; the folder R10m, R20m or R60m.
            harmonise: have the product's own BOA_ADD_OFFSET added, so that values of all baselines compare.
                SCL never gets one.

        Raises:
            SceneError: a band is missing (`!S3 B02.jp2`), unreadable or on another grid (`Rio error`).
        """
        files = self._listing(resolution)
        if missing := [band for band in bands if band not in files]:
            raise SceneError(
                file_missing(f"{missing[0]}.jp2"), f"{self.name} lacks {', '.join(missing)} at {resolution} m"
            )
        grids = [self._grid(files[band], resolution) for band in bands]
        for band, grid in zip(bands, grids, strict=True):
            if grid != grids[0]:
                raise SceneError(
                    UNREADABLE, f"{files[band].name} of {self.name} is not on the grid of {bands[0]}"
                )
        offsets = self.metadata.boa_offsets if harmonise else {}
        return Scene(
            name=self.name,
            grid=grids[0],
            bands=tuple(Band(band, files[band], offset=offsets.get(band, 0)) for band in bands),
            applied_offset=self.metadata.boa_offset if harmonise else 0,
        )

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
                UNREADABLE, f"R{resolution}m of {self.name} cannot be listed: {error}"
            ) from error
        return {match["band"]: path for path, match in names if match}

    def _grid(self, path: Path, resolution: int) -> Grid:
        """Check that an image is what its name says; any failure to open it is a SceneError."""
        try:
            with rasterio.open(path) as dataset:
                epsg = dataset.crs.to_epsg() if dataset.crs else None
                if epsg != self.epsg:
                    raise ValueError(f"its CRS is {epsg or 'unknown'}, but its tile is in EPSG:{self.epsg}")
                if dataset.res != (resolution, resolution):
                    raise ValueError(f"its pixels measure {dataset.res}, not {resolution} m")
                return Grid(epsg, dataset.transform, dataset.height, dataset.width)
        except (RasterioError, OSError, ValueError) as error:
            raise SceneError(UNREADABLE, f"{path.name} of {self.name} cannot be read: {error}") from error


def files(bands: Sequence[str], resolution: int) -> str:
    """Return which files of a product open_product and its scene read, as a regular expression."""
    images = rf"[^/]+_({'|'.join(bands)})_{resolution}m\.jp2(\.aux\.xml)?"
    return rf"{re.escape(METADATA_FILE)}|GRANULE/[^/]+/IMG_DATA/R{resolution}m/{images}"


def open_product(root: Path, path: str) -> Product:
    """Open the product at `path` (the catalogue's `path`) below the archive's `root`.

    Raises:
        SceneError: the folder or its IMG_DATA is missing (`!S3 subdir`), or its metadata cannot be used.
    """
    folder = root / path
    tile = _TILE.search(folder.name)
    if tile is None:
        raise SceneError(PRODUCT_MISSING, f"{folder.name} names no Sentinel-2 tile")
    try:
        if not is_folder(folder):
            raise SceneError(PRODUCT_MISSING, f"{path} is not in the archive")
        granules = glob(folder, "GRANULE/*/IMG_DATA")
    except OSError as error:
        raise SceneError(UNREADABLE, f"{folder.name} cannot be listed: {error}") from error
    if len(granules) != 1:
        raise SceneError(
            PRODUCT_MISSING, f"{folder.name} has {len(granules)} IMG_DATA folders instead of one"
        )
    epsg = (32600 if tile["latitude"] >= "N" else 32700) + int(tile["zone"])
    return Product(folder, granules[0], read_safe_metadata(folder), epsg)
