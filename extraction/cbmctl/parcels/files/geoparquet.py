"""GeoParquet through pyarrow, because GDAL's wheels come without their Parquet driver."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cbmctl.errors import UserError
from cbmctl.parcels.files.duplicate_columns import distinct

POLYGONS = {"Polygon", "MultiPolygon", "Polygon Z", "MultiPolygon Z", "GeometryCollection"}


@dataclass(frozen=True)
class GeoParquet:
    """What a file's `geo` metadata say (geoparquet.org, 1.x)."""

    geometry: str
    types: tuple[str, ...]
    crs: str | None
    features: int
    fields: tuple[tuple[str, str], ...]
    bounding_boxes: frozenset[str]

    @property
    def polygons(self) -> bool:
        """Whether it may hold polygons: an empty list of types means that the writer did not look."""
        return not self.types or bool(POLYGONS.intersection(self.types))


def describe(file: Path, path: str) -> GeoParquet:
    """Read the metadata of a file, which messages call `path`.

    Raises:
        UserError: not Parquet, not GeoParquet, or its geometry is not stored as WKB.
    """
    try:
        with pq.ParquetFile(file) as parquet:
            schema, features = parquet.schema_arrow, parquet.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            "parcels.wrong_format",
            f"{path} is not a readable Parquet file ({error})",
            "Deliver it again",
            about=path,
        ) from error
    geo = _geo(schema, path)
    name = geo["primary_column"]
    column = geo["columns"][name]
    if column.get("encoding") != "WKB":
        raise UserError(
            "parcels.unsupported_encoding",
            f"{path} stores its geometries as '{column.get('encoding')}', which is not supported",
            "Write it with WKB geometries, or as GeoPackage",
            about=path,
        )
    # only an absent crs means longitude and latitude; a null says that it is not known
    crs = column.get("crs", "OGC:CRS84")
    others = {key for key in geo["columns"] if key != name}
    boxes = {
        paths["xmin"][0] for c in geo["columns"].values() if (paths := c.get("covering", {}).get("bbox"))
    }
    return GeoParquet(
        geometry=name,
        types=tuple(column.get("geometry_types", ())),
        crs=json.dumps(crs) if isinstance(crs, dict) else crs,
        features=features,
        fields=tuple((f.name, str(f.type)) for f in schema if f.name not in {name} | others | boxes),
        bounding_boxes=frozenset(boxes | others),
    )


def read(file: Path, path: str, described: GeoParquet) -> tuple[pa.Table, pa.ChunkedArray]:
    """The attributes and the WKB geometries, both in file order."""
    columns = [name for name, _ in described.fields]
    try:
        with pq.ParquetFile(file) as parquet:
            table = parquet.read(columns=list(dict.fromkeys([*columns, described.geometry])))
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            "parcels.truncated", f"{path} is truncated or damaged ({error})", "Deliver it again", about=path
        ) from error
    wanted = [i for i, name in enumerate(table.column_names) if name in columns]
    attributes = table.select(wanted).rename_columns(distinct(columns)).replace_schema_metadata()
    return attributes, table[described.geometry].cast(pa.binary())


def _geo(schema: pa.Schema, path: str) -> dict[str, Any]:
    try:
        geo: dict[str, Any] = json.loads((schema.metadata or {})[b"geo"])
        geo["columns"][geo["primary_column"]]
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(
            "parcels.no_geo_metadata",
            f"{path} is Parquet without valid 'geo' metadata",
            "Write it as GeoParquet, or as GeoPackage",
            about=path,
        ) from error
    return geo
