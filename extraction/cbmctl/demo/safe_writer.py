"""A Sentinel-2 L2A product in SAFE layout: names, folders, lossless JPEG 2000 bands, metadata.

The form follows real products of baseline 05.11 (Sentinel-2 Products Specification Document, issue 15). Left
out is what no reader of parcels needs: 60 m bands, quality masks, data strip, preview; `manifest.safe` lists
exactly the files there are.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from shapely import Polygon

from cbmctl.demo import SYNTHETIC_DISCRIMINATOR
from cbmctl.demo.safe_metadata import manifest_xml, product_xml, tile_xml

BASELINE = "05.11"
BOA_ADD_OFFSET = -1000  # of every product since baseline 04.00: DN = reflectance × 10000 − offset
QUANTIFICATION = 10000


@dataclass(frozen=True)
class Tile:
    """The piece of a tile's grid that the products cover: upper left corner in metres, side in metres."""

    name: str
    epsg: int
    ulx: int
    uly: int
    side: int

    def transform(self, pixel: int) -> Affine:
        """Pixel (column, row) to metres, for pixels of `pixel` metres."""
        return Affine(pixel, 0, self.ulx, 0, -pixel, self.uly)


@dataclass(frozen=True)
class Product:
    """What a product's name and metadata are made of."""

    spacecraft: str
    sensed: datetime
    orbit: int
    tile: Tile
    footprint: Polygon  # in the tile's CRS

    @property
    def name(self) -> str:
        """The product's name: MMM_MSIXXX_YYYYMMDDHHMMSS_Nxxyy_ROOO_Txxxxx_<Product Discriminator>.SAFE."""
        return (
            f"{self.spacecraft}_MSIL2A_{self.stamp}_N{BASELINE.replace('.', '')}_R{self.orbit:03d}"
            f"_T{self.tile.name}_{SYNTHETIC_DISCRIMINATOR}.SAFE"
        )

    @property
    def stamp(self) -> str:
        """The sensing start as names write it."""
        return f"{self.sensed:%Y%m%dT%H%M%S}"

    @property
    def granule(self) -> str:
        """Name of the only granule; the absolute orbit is left at zero, as nothing flew."""
        return f"L2A_T{self.tile.name}_A000000_{self.sensed + timedelta(seconds=9):%Y%m%dT%H%M%S}"

    @property
    def folder(self) -> Path:
        """Where the product lies, relative to the archive's root."""
        return Path("Sentinel-2/MSI/L2A") / f"{self.sensed:%Y/%m/%d}" / self.name

    def image(self, band: str, pixel: int) -> Path:
        """A band's file, relative to the product."""
        file = f"T{self.tile.name}_{self.stamp}_{band}_{pixel}m.jp2"
        return Path("GRANULE") / self.granule / "IMG_DATA" / f"R{pixel}m" / file

    def metadata(self, images: Sequence[Path], shares: Mapping[int, float], footprint: str) -> str:
        """Content of MTD_MSIL2A.xml.

        Args:
            images: the bands' files, relative to the product.
            shares: percentage of all pixels by class.
            footprint: an EXT_POS_LIST.
        """
        return product_xml(
            name=self.name,
            spacecraft=self.spacecraft,
            sensed=self.sensed,
            orbit=self.orbit,
            baseline=BASELINE,
            quantification=QUANTIFICATION,
            offset=BOA_ADD_OFFSET,
            images=images,
            footprint=footprint,
            shares=shares,
        )


def write_product(
    folder: Path, product: Product, bands: Mapping[str, NDArray[np.float32]], classes: NDArray[np.uint8]
) -> None:
    """Write a product into `folder`, which must not exist.

    Args:
        folder: the product's own folder (its last part need not be the product's name).
        product: names and metadata.
        bands: surface reflectance 0..1 by band, square, 10 m or 20 m as their size says; 0 is no data.
        classes: the scene classification at 20 m; 0 is no data.
    """
    folder.mkdir(parents=True)
    images = {band: _digital_numbers(values) for band, values in bands.items()} | {"SCL": classes}
    written = []
    for band, values in images.items():
        pixel = product.tile.side // values.shape[0]
        written.append(product.image(band, pixel))
        _write_jp2(folder / written[-1], values, product.tile, pixel)
    shares = {number: 100 * float(np.mean(classes == number)) for number in range(12)}
    metadata = {
        Path("MTD_MSIL2A.xml"): product.metadata(written, shares, _position_list(product)),
        Path("GRANULE") / product.granule / "MTD_TL.xml": tile_xml(
            tile=product.tile.name,
            sensed=product.sensed,
            epsg=product.tile.epsg,
            corner=(product.tile.ulx, product.tile.uly),
            side=product.tile.side,
            shares=shares,
        ),
    }
    for path, text in metadata.items():
        (folder / path).write_text(text, encoding="utf-8")
    files = {path: (folder / path).read_bytes() for path in (*metadata, *written)}
    listed = [(path, len(data), hashlib.sha3_256(data).hexdigest()) for path, data in files.items()]
    (folder / "manifest.safe").write_text(manifest_xml(product.name, listed), encoding="utf-8")


def _digital_numbers(reflectance: NDArray[np.float32]) -> NDArray[np.uint16]:
    numbers = np.rint(reflectance * QUANTIFICATION) - BOA_ADD_OFFSET
    return np.where(reflectance > 0, numbers, 0).astype(np.uint16)


def _write_jp2(path: Path, values: NDArray[np.generic], tile: Tile, pixel: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="JP2OpenJPEG",
        width=values.shape[1],
        height=values.shape[0],
        count=1,
        dtype=values.dtype,
        crs=f"EPSG:{tile.epsg}",
        transform=tile.transform(pixel),
        QUALITY="100",
        REVERSIBLE="YES",  # the 5-3 wavelet: lossless
        GEOJP2="NO",  # real products carry the GML form alone
    ) as file:
        file.write(values, 1)


def _position_list(product: Product) -> str:
    """The footprint as real metadata writes it: latitude longitude …, clockwise and closed."""
    to_degrees = Transformer.from_crs(product.tile.epsg, 4326, always_xy=True)
    ring = shapely.orient_polygons(product.footprint, exterior_cw=True).exterior.coords
    corners = [to_degrees.transform(x, y) for x, y in ring]
    return " ".join(f"{lat:.12f} {lon:.12f}" for lon, lat in corners)
