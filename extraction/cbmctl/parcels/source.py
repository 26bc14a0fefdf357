"""Parcels files as Paying Agencies publish them, read into Arrow.

Shapefile, GeoPackage and GML go through GDAL, GeoParquet through pyarrow; each may lie in a zip archive.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyogrio
import pyogrio.raw
import shapely

from cbmctl.errors import UserError
from cbmctl.parcels import crs as crs_codes
from cbmctl.parcels import geoparquet
from cbmctl.parcels.layers import Layer, choose, explained, layers, read_only, wkb_type

CURVES = {8, 9, 10, 11, 12, 13, 14}  # WKB codes of ISO SQL/MM, without their Z and M
SAMPLE = 1000  # parcels to look at to see whether their coordinates can be right


@dataclass(frozen=True)
class ParcelTable:
    """The parcels of one layer, in file order; feature number n (from 1) becomes ogc_fid n.

    `geometry` holds WKB as the file has it (linear, maybe with Z, null where missing), `attributes` all the
    rest.
    """

    path: Path
    layer: Layer
    srid: int
    crs: str
    attributes: pa.Table
    geometry: pa.ChunkedArray

    def __len__(self) -> int:
        return len(self.geometry)

    def batches(self, size: int = 20_000) -> Iterator[tuple[int, pa.Table, npt.NDArray[np.object_]]]:
        """Pieces that fit in memory as Python objects: first ogc_fid, attributes, (n,) WKB bytes or None."""
        for start in range(0, len(self), size):
            wkb = np.array(self.geometry.slice(start, size).to_pylist(), dtype=object)
            yield start + 1, self.attributes.slice(start, size), wkb


def read(
    path: Path,
    *,
    layer: str | None = None,
    encoding: str | None = None,
    crs: str | None = None,
    where: str | None = None,
    attributes: Sequence[str] | None = None,
) -> ParcelTable:
    """Read one polygon layer.

    Args:
        path: the file.
        layer: its name; None takes the only layer with polygons in it.
        encoding: character set of a shapefile; None trusts .cpg and .dbf, else finds out.
        crs: the coordinate system, instead of what the file says.
        where: an SQL condition on the attributes (OGR SQL); None reads every feature.
        attributes: the columns to keep; None keeps all.

    Raises:
        UserError: file, layer, character set, coordinate system, condition or column is missing or wrong.
    """
    chosen = choose(layers(path, encoding), path, layer)
    srid, name = crs_codes.resolve(chosen.crs, path, crs)
    with explained(path, where, [name for name, _ in chosen.fields]):
        table, geometry = (
            _read_parquet(path, chosen, where) if chosen.driver == "Parquet" else _read_gdal(chosen, where)
        )
    parcels = ParcelTable(
        path, chosen, srid, name, _selected(_repaired_text(table), attributes, path), geometry
    )
    crs_codes.expect_inside(sample_points(parcels), srid, path)
    return parcels


def sample_points(table: ParcelTable) -> npt.NDArray[np.float64]:
    """(n, 2) one point each of some parcels, spread over the file."""
    step = max(1, len(table) // SAMPLE)
    some = table.geometry.take(pa.array(range(0, len(table), step), pa.int64())).to_pylist()
    corners = [shapely.get_coordinates(geometry)[:1] for geometry in parse(some)]
    points = np.concatenate([np.empty((0, 2)), *corners])
    return points[np.isfinite(points).all(axis=1)]


def parse(wkb: Iterable[bytes | None]) -> npt.NDArray[np.object_]:
    """(n,) shapely geometries in two dimensions; None for what is missing, broken, or no simple feature."""
    simple = [geometry if 1 <= wkb_type(geometry) <= 7 else None for geometry in wkb]
    with np.errstate(invalid="ignore"):  # coordinates that are not numbers are for `check` to find
        parsed: npt.NDArray[np.object_] = shapely.force_2d(
            shapely.from_wkb(np.array(simple, dtype=object), on_invalid="ignore")
        )
    return parsed


def _read_gdal(layer: Layer, where: str | None) -> tuple[pa.Table, pa.ChunkedArray]:
    dataset = read_only(layer.dataset)
    meta, table = pyogrio.read_arrow(dataset, layer=layer.name, encoding=layer.recode, where=where)
    name = meta["geometry_name"] or "wkb_geometry"
    geometry = table[name].cast(pa.binary())
    if any(wkb_type(wkb) in CURVES for chunk in geometry.chunks for wkb in chunk.to_pylist()):
        # the Arrow interface hands over curves as they are; this one strokes them as GDAL does elsewhere
        _, _, wkb, _ = pyogrio.raw.read(dataset, layer=layer.name, columns=[], where=where)
        geometry = pa.chunked_array([pa.array(wkb, pa.binary())])
    fields = {name for name, _ in layer.fields}
    return table.select([n for n in table.column_names if n in fields]).replace_schema_metadata(), geometry


def _read_parquet(path: Path, layer: Layer, where: str | None) -> tuple[pa.Table, pa.ChunkedArray]:
    table, geometry = geoparquet.read(path, layer.member, geoparquet.describe(path, layer.member))
    if where is None:
        return table, geometry
    # the same OGR SQL as for every other format: a copy of the plain attributes goes through GDAL
    plain = table.select([f.name for f in table.schema if not pa.types.is_nested(f.type)])
    numbered = plain.append_column("cbm_row", pa.array(range(len(plain)), pa.int64()))
    memory = "/vsimem/cbm_where.gpkg"
    pyogrio.write_arrow(numbered, memory, layer="parcels", driver="GPKG")
    try:
        _, kept = pyogrio.read_arrow(memory, columns=["cbm_row"], where=where)
    finally:
        pyogrio.vsi_unlink(memory)
    return table.take(kept["cbm_row"]), geometry.take(kept["cbm_row"])


def _repaired_text(table: pa.Table) -> pa.Table:
    """Text that PostgreSQL takes: valid UTF-8 without NUL.

    A .dbf may cut a character in two at the end of a field.
    """
    for i, field in enumerate(table.schema):
        if not (pa.types.is_string(field.type) or pa.types.is_large_string(field.type)):
            continue
        column = table.column(i)
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            raw = column.cast(pa.binary()).to_pylist()
            column = pa.chunked_array(
                [[v if v is None else v.decode("utf-8", "ignore") for v in raw]], pa.string()
            )
        if pc.any(pc.match_substring(column, "\0")).as_py():
            column = pc.replace_substring(column, "\0", "")
        table = table.set_column(i, field.name, column)
    return table


def _selected(table: pa.Table, attributes: Sequence[str] | None, path: Path) -> pa.Table:
    if attributes is None:
        return table
    if unknown := [name for name in attributes if name not in table.column_names]:
        raise UserError(
            f"{path} has no attribute {', '.join(unknown)}: use some of {', '.join(table.column_names)}"
        )
    return table.select(list(attributes))
