"""Full-size products made on the spot, in the archive's layout: tile 32VNH twice, a CARD-BS and a CARD-COH6.

The content is noise over invented fields; what counts is size, form, and that a band takes as many bytes as a
real one does, for that is what decoding costs. No image is ever in memory as a whole.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.windows import Window
from shapely import Polygon

from cbmctl.archive.checksums import digest_of
from cbmctl.demo.safe_metadata import manifest_xml
from cbmctl.demo.safe_writer import Product, Tile
from cbmctl.scenes.manifest import MANIFEST_FILE

Array = NDArray[Any]

TILE = Tile("32VNH", 32632, 499_980, 6_300_000, 109_800)
BLOCK = 1024  # pixels along a JPEG 2000 tile, as in real products
CLOUDY_BLOCKS = 60  # of 121 at 10 m, counted row by row
CLOUD_MARGIN = 1_500  # m; the cloud reaches that much further, so that no clear parcel touches those blocks
HIGH_CLOUD, FIELD_CLASSES = 9, (4, 4, 4, 5, 5, 7)
# metres, level of the digital numbers, and deviation of their noise, which makes the size of the file
BANDS = {
    "B02": (10, 1450, 12.0), "B03": (10, 1700, 15.0), "B04": (10, 1650, 18.0), "B08": (10, 3900, 58.0),
    "B05": (20, 2300, 15.0), "B11": (20, 3100, 26.0),
}  # fmt: skip
SCL = "SCL"
SENSED = datetime(2021, 6, 1, 10, 36, 21, tzinfo=UTC)
RADAR_CORNER = (487_653.4, 6_307_126.8)  # not on the grid of Sentinel-2
BS_NAME = "S1A_IW_GRDH_1SDV_20210602T053211_20210602T053236_038152_0480A5_0000_CARD_BS"
BS_SHAPE = (12_000, 14_000)  # rows, columns
COH_NAME = "S1A_20210603T054012__1B_20210528T053929_20210528T053956_CARD_COH6"
COH_SHAPE = (6_000, 7_000)
STRIP = 512  # rows
ENVI_HEADER = """ENVI
description = {{invented by the benchmarks}}
samples = {columns}
lines = {rows}
bands = 1
header offset = 0
file type = ENVI Standard
data type = 4
interleave = bsq
byte order = 1
band names = {{ Gamma0_{polarisation} }}
map info = {{UTM, 1.0, 1.0, {x}, {y}, 10.0, 10.0, 32, North, WGS-84, units=Meters}}
data gain values = {{1.0}}
data offset values = {{0.0}}
"""


@dataclass(frozen=True)
class Archive:
    """Products by their folders below `root`.

    Attributes:
        root: what `eodata` is in the configuration.
        clear: a tile without clouds.
        cloudy: the same bands ten days later; half of the blocks at 10 m are cloud of high probability.
        plain: the clear tile in files that need no decoding: tiled GeoTIFF by the name of .jp2.
        backscatter: VV and VH.
        coherence: VV and VH.
    """

    root: Path
    clear: Path
    cloudy: Path
    plain: Path
    backscatter: Path
    coherence: Path

    def images(self, product: Path, *bands: str) -> list[Path]:
        """The files of a product's bands, in that order; all of its images unless bands are named."""
        found = [path for kind in ("jp2", "img", "tif") for path in (self.root / product).rglob(f"*.{kind}")]
        if not bands:
            return sorted(found)
        return [next(path for path in found if f"_{band}" in path.name) for band in bands]


def make(root: Path, note: Callable[[str], None], *, only_clear: bool = False) -> Archive:
    """Make what is not there yet; a product gets its name when it is whole.

    Args:
        root: of the archive.
        note: told of each product.
        only_clear: no other product than the clear tile is needed.
    """
    clear, cloudy, plain = (_product(SENSED + timedelta(days=days)) for days in (0, 10, 20))
    products: dict[Path, Callable[[Path], None]] = {
        clear.folder: partial(_clear, product=clear),
        cloudy.folder: partial(_cloudy, product=cloudy, source=root / clear.folder, model=clear),
        plain.folder: partial(_plain, product=plain, source=root / clear.folder, model=clear),
        Path("Sentinel-1/SAR/CARD-BS/2021/06/02") / BS_NAME: _backscatter,
        Path("Sentinel-1/SAR/CARD-COH6/2021/06/03") / COH_NAME: _coherence,
    }
    for path, write in products.items():
        if not (root / path).exists() and not (only_clear and path != clear.folder):
            start = time.monotonic()
            part = (root / path).with_name(f"{path.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            with rasterio.Env(GDAL_CACHEMAX=256 * 2**20):
                write(part)
            part.rename(root / path)
            note(f"made {path.name}: {time.monotonic() - start:.0f} s")
    # those that are read as they are in an archive bring their checksums along
    for product in (clear, cloudy):
        folder = root / product.folder
        if folder.exists() and not (folder / MANIFEST_FILE).exists():
            _write_manifest(folder, product.name)
    return Archive(root, *products)


def _write_manifest(folder: Path, name: str) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listed = [
        (path.relative_to(folder), path.stat().st_size, digest_of(path, "SHA3-256", Event()))
        for path in files
    ]
    part = folder.with_name(f"{folder.name}.{MANIFEST_FILE}")
    part.write_text(manifest_xml(name, listed), encoding="utf-8")
    part.rename(folder / MANIFEST_FILE)


def _product(sensed: datetime) -> Product:
    x, y, side = TILE.ulx, TILE.uly, TILE.side
    swath = Polygon([(x + _edge(0), y), (x + side, y), (x + side, y - side), (x, y - side)])
    return Product("S2A", sensed, 8, TILE, swath)


def _edge[South: (float, Array)](south: South) -> South:
    """How many metres east of the tile's corner the swath begins, so many metres south of it."""
    return 14_000 - 0.13 * south


def _clear(folder: Path, product: Product) -> None:
    jobs = [(folder / product.image(band, metres), band) for band, (metres, *_) in BANDS.items()]
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        list(pool.map(_write_band, *zip(*jobs, strict=True)))
    _write_classes(folder, product, cloudy=False)


def _cloudy(folder: Path, *, product: Product, source: Path, model: Product) -> None:
    """The bands of another product, without taking their space once more, under other clouds."""
    for band, (metres, *_) in BANDS.items():
        target = folder / product.image(band, metres)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(source / model.image(band, metres))
    _write_classes(folder, product, cloudy=True)


def _plain(folder: Path, *, product: Product, source: Path, model: Product) -> None:
    """The same pixels, to be read without decoding: what the worker takes for them is all but decoding."""
    for band, metres in ((SCL, 20), *((band, metres) for band, (metres, *_) in BANDS.items())):
        target = folder / product.image(band, metres)
        target.parent.mkdir(parents=True, exist_ok=True)
        rasterio.shutil.copy(
            source / model.image(band, metres),
            target,
            driver="GTiff",
            TILED="YES",
            BLOCKXSIZE=str(BLOCK),
            BLOCKYSIZE=str(BLOCK),
        )
    shutil.copy(source / "MTD_MSIL2A.xml", folder)


def _write_band(path: Path, band: str) -> None:
    """Write one band: fields of different brightness, and noise."""
    metres, level, deviation = BANDS[band]
    rng = np.random.default_rng([list(BANDS).index(band), 11])
    brightness = rng.uniform(0.82, 1.18, 4096).astype(np.float32)

    def strips() -> Iterator[Array]:
        for fields, seen in _ground(metres):
            values = level * brightness[fields]
            values += np.float32(deviation) * rng.standard_normal(values.shape, np.float32)
            yield np.where(seen, np.maximum(values, 1), 0).astype(np.uint16)

    _write_jp2(path, metres, "uint16", strips())


def _write_classes(folder: Path, product: Product, *, cloudy: bool) -> None:
    """Write SCL and the product's metadata."""
    rng = np.random.default_rng([99, cloudy])
    classes = np.array(FIELD_CLASSES, np.uint8)[rng.integers(0, len(FIELD_CLASSES), 4096)]
    side = TILE.side // 20
    counts, rows = np.zeros(256, np.int64), 0

    def strips() -> Iterator[Array]:
        nonlocal rows
        for fields, seen in _ground(20):
            values = classes[fields]
            speckle = rng.random(values.shape, np.float32) < 0.015
            values[speckle] = rng.choice(classes, np.count_nonzero(speckle))
            if cloudy:
                values[_clouds(rows, len(values))] = HIGH_CLOUD
            values = np.where(seen, values, 0).astype(np.uint8)
            rows += len(values)
            counts[:] += np.bincount(values.ravel(), minlength=256)
            yield values

    path = folder / product.image(SCL, 20)
    _write_jp2(path, 20, "uint8", strips())
    to_degrees = Transformer.from_crs(TILE.epsg, 4326, always_xy=True)
    corners = [to_degrees.transform(x, y) for x, y in product.footprint.exterior.coords]
    text = product.metadata(
        sorted(image.relative_to(folder) for image in folder.rglob("*.jp2")),
        {number: 100 * float(counts[number]) / side**2 for number in range(12)},
        " ".join(f"{lat:.9f} {lon:.9f}" for lon, lat in corners),
    )
    (folder / "MTD_MSIL2A.xml").write_text(text, encoding="utf-8")


def _clouds(first: int, rows: int) -> NDArray[np.bool_]:
    """Where it is cloudy in so many rows of the 20 m image, from the first: the blocks and a margin."""
    side = TILE.side // 20
    block = BLOCK * 10 // 20
    across = -(-side // block)
    row, column = np.arange(first, first + rows)[:, None], np.arange(side)
    # what lies a margin further north or west belongs to a cloudy block
    margin = CLOUD_MARGIN // 20
    row, column = np.maximum(row - margin, 0), np.maximum(column - margin, 0)
    cloudy: NDArray[np.bool_] = row // block * across + column // block < CLOUDY_BLOCKS
    return cloudy


def _ground(metres: int) -> Iterator[tuple[Array, NDArray[np.bool_]]]:
    """Strips of the tile from north to south: the field's number (0 to 4095), and what the swath holds."""
    side = TILE.side // metres
    east = np.arange(side) * float(metres)
    for first in range(0, side, STRIP):
        south = (np.arange(first, min(first + STRIP, side)) * float(metres))[:, None]
        # a lattice of fields of some 3 ha, bent and broken like real ones
        along = np.floor((east + 160 * np.sin(south / 900)) / 190).astype(np.int64)
        across = np.floor((south + 150 * np.sin(east / 800) + 70 * (along % 3)) / 170).astype(np.int64)
        yield (along * 7919 + across * 104_729) % 4096, east >= _edge(south)


def _write_jp2(path: Path, metres: int, dtype: str, strips: Iterator[Array]) -> None:
    """Write lossless JPEG 2000 as ESA cuts it, by way of a plain file: its writer wants the whole image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    side, plain = TILE.side // metres, path.with_suffix(".tif")
    profile = {"width": side, "height": side, "count": 1, "dtype": dtype, "crs": f"EPSG:{TILE.epsg}"}
    with rasterio.open(plain, "w", driver="GTiff", transform=TILE.transform(metres), **profile) as file:
        row = 0
        for strip in strips:
            file.write(strip, 1, window=Window(0, row, side, len(strip)))
            row += len(strip)
    rasterio.shutil.copy(
        plain,
        path,
        driver="JP2OpenJPEG",
        QUALITY="100",
        REVERSIBLE="YES",
        BLOCKXSIZE=str(BLOCK),
        BLOCKYSIZE=str(BLOCK),
        RESOLUTIONS="5",
        GEOJP2="NO",
    )
    plain.unlink()
    path.with_suffix(".jp2.aux.xml").unlink(missing_ok=True)


def _backscatter(folder: Path) -> None:
    images = folder / f"{BS_NAME}.data"
    images.mkdir()
    rows, columns = BS_SHAPE
    for number, (polarisation, level) in enumerate((("VV", 0.11), ("VH", 0.022))):
        header = ENVI_HEADER.format(
            rows=rows, columns=columns, polarisation=polarisation, x=RADAR_CORNER[0], y=RADAR_CORNER[1]
        )
        (images / f"Gamma0_{polarisation}.hdr").write_text(header, encoding="ascii")
        with (images / f"Gamma0_{polarisation}.img").open("wb") as file:
            for strip in _radar(BS_SHAPE, np.random.default_rng([number, 12])):
                file.write((strip * np.float32(level)).astype(">f4").tobytes())


def _coherence(folder: Path) -> None:
    rows, columns = COH_SHAPE
    profile = {"width": columns, "height": rows, "count": 2, "dtype": "float32", "nodata": 0}
    transform = Affine(20, 0, RADAR_CORNER[0], 0, -20, RADAR_CORNER[1])
    path = folder / f"{COH_NAME}.tif"
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32632", transform=transform, **profile) as file:
        names = [f"coh_{polarisation}_03Jun2021_28May2021" for polarisation in ("VV", "VH")]
        for number, (name, level) in enumerate(zip(names, (0.5, 0.35), strict=True), start=1):
            file.set_band_description(number, name)
            row = 0
            for strip in _radar(COH_SHAPE, np.random.default_rng([number, 13])):
                values = np.minimum(strip * np.float32(level), np.float32(0.999))
                file.write(values, number, window=Window(0, row, columns, len(strip)))
                row += len(strip)


def _radar(shape: tuple[int, int], rng: np.random.Generator) -> Iterator[Array]:
    """Strips of speckle around 1, float32; 0 outside a swath whose edges are slanted."""
    rows, columns = shape
    column = np.arange(columns)
    for first in range(0, rows, STRIP):
        row = np.arange(first, min(first + STRIP, rows))[:, None]
        left, right = 0.06 * columns - 0.05 * row, columns - 0.05 * row
        speckle = sum(rng.standard_exponential((len(row), columns), np.float32) for _ in range(3))
        values = speckle / np.float32(3) + np.float32(1e-3)
        yield np.where((column >= left) & (column < right), values, np.float32(0))
