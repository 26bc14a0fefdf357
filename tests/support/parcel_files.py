"""Parcels files as programs of agencies write and damage them, made on the spot."""

import sqlite3
import zipfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyogrio
import shapely

DRIVERS = {
    "shp": "ESRI Shapefile",
    "gpkg": "GPKG",
    "gml": "GML",
    "geojson": "GeoJSON",
    "geojsonl": "GeoJSONSeq",
    "fgb": "FlatGeobuf",
    "gdb": "OpenFileGDB",
    "tab": "MapInfo File",
    "mif": "MapInfo File",
}


def squares(n: int, first: int = 0) -> list[Any]:
    return [
        shapely.box(500000 + 200 * i, 6000000, 500150 + 200 * i, 6000150) for i in range(first, first + n)
    ]


def write(path: Path, n: int = 3, *, first: int = 0, layer: str | None = None, **columns: Any) -> Path:
    """A file of n squares with the columns given, else `number` and `crop`; its suffix says the format."""
    numbers = range(first, first + n)
    columns = columns or {"number": pa.array(numbers, pa.int32()), "crop": [f"crop {i}" for i in numbers]}
    crs = columns.pop("crs", "EPSG:25832")
    shapes = squares(n, first)
    if path.suffix == ".geojsonl":  # always in longitude and latitude
        shapes, crs = (
            [shapely.box(9 + i / 1000, 55, 9.0005 + i / 1000, 55.0005) for i in numbers],
            "EPSG:4326",
        )
    wkb = pa.array(shapely.to_wkb(shapes), pa.binary())
    pyogrio.write_arrow(
        pa.table({**columns, "geom": wkb}),
        path,
        layer=layer or path.stem,
        driver=DRIVERS[path.suffix[1:].lower()],
        geometry_name="geom",
        geometry_type="Polygon",
        crs=crs,
    )
    return path


def add_view(geopackage: Path, columns: str) -> None:
    """Add the view `v` of the layer `parcels` to a GeoPackage, as another layer."""
    with closing(sqlite3.connect(geopackage)) as db, db:
        db.executescript(
            f"""CREATE VIEW v AS SELECT {columns} FROM parcels;
               INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id)
                   SELECT 'v', data_type, 'v', srs_id FROM gpkg_contents;
               INSERT INTO gpkg_geometry_columns SELECT 'v', column_name, geometry_type_name, srs_id, z, m
                   FROM gpkg_geometry_columns"""
        )


def parts(shapefile: Path) -> dict[str, Path]:
    """The files of a shapefile by suffix."""
    return {p.suffix: p for p in sorted(shapefile.parent.iterdir()) if p.stem == shapefile.stem}


def zipped(path: Path, members: Mapping[str, Path | bytes]) -> Path:
    """An archive of files, or of their content, under the names given, as they are written."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo("x")
            info.filename = name  # as it is: the constructor would turn backslashes
            archive.writestr(info, content if isinstance(content, bytes) else content.read_bytes())
    return path


def content(folder: Path) -> dict[str, bytes]:
    """Everything in a folder, to see that nothing was changed."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
