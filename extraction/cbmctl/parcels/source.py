"""Parcels files as Paying Agencies publish them, read into Arrow.

GeoParquet goes through pyarrow, every other format through GDAL (`formats`); each may lie in a zip archive or
a folder (`delivery`). Several layers of one schema become one table (`together`).
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyogrio
import pyogrio.raw

from cbmctl.errors import UserError
from cbmctl.parcels import crs as crs_codes
from cbmctl.parcels import formats, geoparquet
from cbmctl.parcels.delivery import Paths, opened, shown
from cbmctl.parcels.layers import Layer, choose, explained, layers, wkb_type
from cbmctl.parcels.table import ParcelTable, sample_points
from cbmctl.parcels.together import together

CURVES = {8, 9, 10, 11, 12, 13, 14}  # WKB codes of ISO SQL/MM, without their Z and M


def read(
    paths: Paths,
    *,
    layer: str | None = None,
    encoding: str | None = None,
    crs: str | None = None,
    where: str | None = None,
    attributes: Sequence[str] | None = None,
) -> ParcelTable:
    """Read the polygon layers of a delivery as one table.

    Args:
        paths: files, archives and folders.
        layer: the layer's name, or a pattern for several (`layers.choose`); None takes the only layer with
            polygons in it of each file that was named.
        encoding: character set of a shapefile; None trusts .cpg and .dbf, else finds out.
        crs: the coordinate system, instead of what the file says.
        where: an SQL condition on the attributes (OGR SQL); None reads every feature.
        attributes: the columns to keep; None keeps all.

    Raises:
        UserError: a file, layer, character set, coordinate system, condition or column is missing or wrong,
            or layers differ in their columns or coordinate systems.
    """
    with opened(paths) as datasets:
        found = layers(datasets, encoding)
        return read_layers(
            shown(paths), choose(found, shown(paths), layer), crs=crs, where=where, attributes=attributes
        )


def read_layers(
    path: str,
    chosen: Sequence[Layer],
    *,
    crs: str | None = None,
    where: str | None = None,
    attributes: Sequence[str] | None = None,
) -> ParcelTable:
    """Read the chosen layers of an opened delivery; see `read`."""
    pieces = [_read_layer(layer, crs, where, attributes) for layer in chosen]
    table = pieces[0] if len(pieces) == 1 else together(path, pieces)
    crs_codes.expect_inside(sample_points(table), table.srid, path)
    return table


def _read_layer(
    layer: Layer, crs: str | None, where: str | None, attributes: Sequence[str] | None
) -> ParcelTable:
    srid, name = crs_codes.resolve(layer.crs, layer.shown, crs)
    with explained(layer.shown, where, [name for name, _ in layer.fields]):
        reader = _read_parquet if layer.dataset.format is formats.GEOPARQUET else _read_gdal
        table, geometry = reader(layer, where)
    table = _selected(_repaired_text(table), attributes, layer.shown)
    return ParcelTable(layer.shown, (layer,), srid, name, table, geometry, layer.dataset.notes)


def _read_gdal(layer: Layer, where: str | None) -> tuple[pa.Table, pa.ChunkedArray]:
    file, options = layer.dataset.file, dict(layer.dataset.format.options)
    meta, table = pyogrio.read_arrow(file, layer=layer.name, encoding=layer.recode, where=where, **options)
    name = meta["geometry_name"] or "wkb_geometry"
    geometry = table[name].cast(pa.binary())
    if any(wkb_type(wkb) in CURVES for chunk in geometry.chunks for wkb in chunk.to_pylist()):
        # the Arrow interface hands over curves as they are; this one strokes them as GDAL does elsewhere
        _, _, wkb, _ = pyogrio.raw.read(file, layer=layer.name, columns=[], where=where, **options)
        geometry = pa.chunked_array([pa.array(wkb, pa.binary())])
    fields = {name for name, _ in layer.fields}
    return table.select([n for n in table.column_names if n in fields]).replace_schema_metadata(), geometry


def _read_parquet(layer: Layer, where: str | None) -> tuple[pa.Table, pa.ChunkedArray]:
    file, name = layer.dataset.file, layer.shown
    table, geometry = geoparquet.read(file, name, geoparquet.describe(file, name))
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


def _selected(table: pa.Table, attributes: Sequence[str] | None, path: str) -> pa.Table:
    if attributes is None:
        return table
    if unknown := [name for name in attributes if name not in table.column_names]:
        raise UserError(
            f"{path} has no attribute {', '.join(unknown)}: use some of {', '.join(table.column_names)}"
        )
    return table.select(list(attributes))
