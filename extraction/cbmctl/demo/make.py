"""Make the demo's data in a folder: parcels.gpkg and eodata/, complete, and the same every time."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import shapely
from pyproj import Transformer
from shapely.geometry.base import BaseGeometry

from cbmctl.demo import DEFAULT_SEED, SYNTHETIC_DISCRIMINATOR
from cbmctl.demo.landscape import SIDE, Landscape, Parcel, make_landscape
from cbmctl.demo.safe_writer import Product, Tile, write_product
from cbmctl.demo.season import Ground, Pass, look, passes
from cbmctl.errors import UserError

# A piece of the grid of tile T33TWM (upper left corner 499980 5200020), in the far east of Slovenia.
TILE = Tile("33TWM", 32633, 587000, 5170020, int(SIDE))
PARCELS_EPSG = 3794  # Slovenia 1996 / Slovene National Grid
LAYER = "parcels"
STAMP = "cbmctl-demo.json"
README = """SYNTHETIC DATA, made by `cbmctl demo make`.

No satellite saw these images and nobody farms these fields: the place is real (a piece of Sentinel-2 tile
T33TWM), its content is invented. Any likeness of the holders' names to real ones is chance. Every product's
name ends in _19700101T000000, when no product was ever made, so that the data cannot be taken for real ones.

parcels.gpkg   declared parcels, EPSG:3794, layer `parcels`
eodata/        Sentinel-2 L2A products in SAFE layout, EPSG:32633, 400 x 400 pixels of 10 m
"""


@dataclass(frozen=True)
class Made:
    """What there is after making (or what there would be), and what of it was missing."""

    parcels: int
    products: int
    missing: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether anything had to be made."""
        return bool(self.missing)


def make_demo(
    directory: Path,
    seed: int = DEFAULT_SEED,
    *,
    check: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Made:
    """Make what is missing in `directory`; what is there and made by this version is left alone.

    Args:
        directory: made if absent. Data of another version or seed in it is replaced.
        seed: the same seed gives the same pixels, byte for byte.
        check: change nothing, only say what is missing.
        progress: called with 1 after each product.

    Raises:
        UserError: the folder holds something else, or cannot be written.
    """
    landscape = make_landscape(seed)
    season = [(index, overpass, _product(overpass)) for index, overpass in enumerate(passes())]
    stamp = {"made_by": "cbmctl demo make", "version": _version(), "seed": seed}
    found = _read_stamp(directory)
    fresh = found == stamp
    eodata, parcels = directory / "eodata", directory / "parcels.gpkg"
    to_make = [entry for entry in season if not (fresh and (eodata / entry[2].folder).is_dir())]
    missing = [entry[2].name for entry in to_make]
    if not (fresh and parcels.is_file()):
        missing.insert(0, parcels.name)
    made = Made(len(landscape.parcels), len(season), tuple(missing))
    if check or not missing:
        return made
    try:
        _prepare(directory, stamp, fresh=fresh)
        if parcels.name in missing:
            _write_parcels(parcels, landscape)
        ground = Ground(landscape, seed)
        for index, overpass, product in to_make:
            image = look(ground, overpass, seed, index)
            part = directory / ".part" / product.name
            shutil.rmtree(part, ignore_errors=True)
            write_product(part, product, image.bands, image.classes)
            target = eodata / product.folder
            target.parent.mkdir(parents=True, exist_ok=True)
            part.rename(target)
            progress(1)
        shutil.rmtree(directory / ".part", ignore_errors=True)
    except OSError as error:
        raise UserError(
            "demo.unwritable",
            f"{directory} cannot be written ({error.strerror or error})",
            "Free some space or choose another folder",
            about=directory,
        ) from error
    return made


def _product(overpass: Pass) -> Product:
    footprint = shapely.transform(overpass.swath, lambda xy: np.add(xy, (TILE.ulx, TILE.uly - SIDE)))
    return Product(overpass.spacecraft, overpass.sensed, overpass.orbit, TILE, footprint)


def _version() -> str:
    """Changes when, and only when, the code that makes the data does."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _read_stamp(directory: Path) -> dict[str, object] | None:
    try:
        if not directory.exists() or {entry.name for entry in directory.iterdir()} <= {f".{STAMP}"}:
            return None
    except OSError as error:
        raise UserError(
            "demo.unreadable",
            f"{directory} cannot be read ({error.strerror})",
            "Choose another folder",
            about=directory,
        ) from error
    try:
        stamp: dict[str, object] = json.loads((directory / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            "demo.not_empty",
            f"{directory} has files that `demo make` did not create ({STAMP} is missing or unreadable)",
            "Choose an empty or a new folder",
            about=directory,
        ) from error
    return stamp


def _prepare(directory: Path, stamp: dict[str, object], *, fresh: bool) -> None:
    """Clear away what another version made, then stamp: the next run completes an interrupted one."""
    directory.mkdir(parents=True, exist_ok=True)
    if not fresh:
        for product in (directory / "eodata").glob(
            f"Sentinel-2/MSI/L2A/*/*/*/*_{SYNTHETIC_DISCRIMINATOR}.SAFE"
        ):
            shutil.rmtree(product)
        (directory / "parcels.gpkg").unlink(missing_ok=True)
        part = directory / f".{STAMP}"
        part.write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")
        part.rename(directory / STAMP)
    (directory / "README.txt").write_text(README, encoding="utf-8")


def _write_parcels(path: Path, landscape: Landscape) -> None:
    rows = landscape.parcels
    # one for all: PROJ searches its database for each, which takes far longer than to transform a parcel
    to_national = Transformer.from_crs(TILE.epsg, PARCELS_EPSG, always_xy=True)
    part = path.with_name(".part.gpkg")
    part.unlink(missing_ok=True)
    # GeoPackage keeps the time of its last change; a fixed one makes the file the same, byte for byte
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2025-05-15T00:00:00.000Z"})
    try:
        pyogrio.raw.write(
            part,
            shapely.to_wkb([_to_national(parcel, to_national) for parcel in rows]),
            [
                np.array([p.parcel_id for p in rows], object),
                np.array([p.crop.code for p in rows], np.int32),
                np.array([p.crop.name for p in rows], object),
                np.array([p.holder for p in rows], object),
                np.array([round(p.drawn.area / 1e4, 2) for p in rows], float),
            ],
            ["parcel_id", "crop_code", "crop_name", "holder", "area_ha"],
            layer=LAYER,
            driver="GPKG",
            geometry_type="Unknown",
            crs=f"EPSG:{PARCELS_EPSG}",
            promote_to_multi=False,
        )
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
    part.rename(path)


def _to_national(parcel: Parcel, transformer: Transformer) -> BaseGeometry:
    """The drawn geometry in the national grid, to the centimetre as digitised parcels are."""

    def convert(xy: np.ndarray) -> np.ndarray:
        east, north = transformer.transform(xy[:, 0] + TILE.ulx, xy[:, 1] + TILE.uly - SIDE)
        return np.round(np.column_stack([east, north]), 2)

    return shapely.transform(parcel.drawn, convert)
