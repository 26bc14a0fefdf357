"""Parcels files as Paying Agencies publish them, read into Arrow.

GeoParquet goes through pyarrow, every other format through GDAL (`formats`); each may lie in a zip archive or
a folder (`delivery`). Several layers of one schema become one table (`together`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cbmctl.errors import UserError, counted
from cbmctl.invocation import option
from cbmctl.parcels.files import crs as crs_codes
from cbmctl.parcels.files import formats, gdal, geoparquet
from cbmctl.parcels.files.count_records import deleted_records
from cbmctl.parcels.files.curves import straightened
from cbmctl.parcels.files.delivery import Paths, opened, shown
from cbmctl.parcels.files.duplicate_columns import distinct
from cbmctl.parcels.files.findings import Finding
from cbmctl.parcels.files.join_layers import together
from cbmctl.parcels.files.layers import Layer, choose, explained, layers
from cbmctl.parcels.files.parcel_table import ParcelTable, sample_boxes, sample_points, with_axes_swapped
from cbmctl.parcels.files.raw import corrected
from cbmctl.parcels.files.read_completely import expect_whole, expected_features
from cbmctl.parcels.files.shapefile_encoding import UTF8, CharacterSet
from cbmctl.parcels.files.sql_condition import chosen, matching

NO_COLUMN = "OGC_FID"  # GDAL's name for the column of feature numbers if the file has none
SLASHES = re.compile(r"'([0-9]{4})/([0-9]{2})/([0-9]{2})(?=')")  # GDAL's dates, which SQLite takes for texts
Read = tuple[pa.Table, pa.ChunkedArray, tuple[Finding, ...]]  # attributes, geometries, what was found


def read(
    paths: Paths,
    *,
    layer: str | None = None,
    encoding: str | None = None,
    crs: str | None = None,
    axes: str | None = None,
    where: str | None = None,
    attributes: Sequence[str] | None = None,
) -> ParcelTable:
    """Read the polygon layers of a delivery as one table.

    Args:
        paths: files, archives and folders.
        layer: the layer's name, or a pattern for several (`layers.choose`); None takes the only layer with
            polygons in it of each file that was named.
        encoding: character set of shapefiles and MapInfo files; None trusts what they say, else finds out.
        crs: the coordinate system, instead of what the file says.
        axes: `crs.SWAPPED` exchanges x and y, `crs.AS_IS` says that they are right; None checks them.
        where: an SQL condition on the attributes (OGR SQL); None reads every feature.
        attributes: the columns to keep; None keeps all.

    Raises:
        UserError: a file, layer, character set, coordinate system, condition or column is missing or wrong,
            or layers differ in their columns or coordinate systems.
    """
    with opened(paths) as datasets:
        found = layers(datasets, encoding)
        return read_layers(
            shown(paths),
            choose(found, shown(paths), layer),
            crs=crs,
            axes=axes,
            where=where,
            attributes=attributes,
        )


def read_layers(
    path: str,
    chosen: Sequence[Layer],
    *,
    crs: str | None = None,
    axes: str | None = None,
    where: str | None = None,
    attributes: Sequence[str] | None = None,
) -> ParcelTable:
    """Read the chosen layers of an opened delivery; see `read`."""
    pieces = [_read_layer(layer, crs, where, attributes) for layer in chosen]
    table = pieces[0] if len(pieces) == 1 else together(path, pieces)
    if axes == crs_codes.SWAPPED:
        table = with_axes_swapped(table)
    points = sample_points(table)
    crs_codes.expect_inside(points, table.srid, path, axes=axes)
    crs_codes.expect_sizes(sample_boxes(table), table.srid, path)
    doubt = None if axes else crs_codes.doubtful_axes(points, table.srid, path)
    return replace(table, notes=(*table.notes, doubt)) if doubt else table


def _read_layer(
    layer: Layer, crs: str | None, where: str | None, attributes: Sequence[str] | None
) -> ParcelTable:
    srid, name = crs_codes.resolve(layer.crs, layer.shown, crs)
    with explained(layer.shown):
        expected = expected_features(layer)
    with explained(layer.shown, where, [name for name, _ in layer.fields]):
        reader = _read_parquet if layer.dataset.format is formats.GEOPARQUET else _read_gdal
        table, geometry, found = reader(layer, where, attributes)
        read = len(geometry) if where is None else _readable(layer)
    expect_whole(layer, expected, read)
    if attributes is not None:
        table = table.select(list(attributes))
    return ParcelTable(layer.shown, (layer,), srid, name, table, geometry, _notes(layer), found)


def _readable(layer: Layer) -> int:
    """How many features can be read of a layer, whatever --where takes of them."""
    if layer.dataset.format is formats.GEOPARQUET:
        return layer.features  # --where goes through the whole table
    options = dict(layer.dataset.format.options)
    return sum(len(batch) for _, batch in gdal.batches(layer.dataset.file, layer=layer.name, **options))


def _notes(layer: Layer) -> tuple[str, ...]:
    notes = list(layer.dataset.notes)
    fields = [field for field, _ in layer.fields]
    if doubled := sorted({field for field in fields if fields.count(field) > 1}):
        renamed = [name for name in distinct(fields) if name not in fields]
        notes.append(
            f"{layer.shown} has several columns with the same name ({', '.join(doubled)});"
            f" the others are renamed to {', '.join(renamed)}"
        )
    if layer.dataset.format is formats.SHAPEFILE and (deleted := deleted_records(layer.dataset)):
        notes.append(f"{layer.shown}: {counted(deleted, 'record')} marked as deleted, not loaded")
    return tuple(notes)


def _read_gdal(layer: Layer, where: str | None, attributes: Sequence[str] | None) -> Read:
    if where is not None and _unknown_to_gdal(layer, where):
        read = _without_gdal(layer, where)
    else:
        read = _as_gdal_reads(layer, where)
        read = read if where is None else _exactly(layer, where, read)
    names = read.table.column_names
    fix = corrected(
        layer, read.table, names, fid=read.fid, fids=read.fids, where=read.where, wanted=attributes
    )
    if unknown := [name for name in attributes or () if name not in fix]:
        raise _no_attribute(layer.shown, unknown, names)
    return fix.table, read.geometry, tuple(fix.found)


@dataclass(frozen=True)
class _Gdal:
    """What GDAL reads: attributes, geometries, feature numbers, and the name of their column, or "".

    Without such a column, the numbers of a GeoPackage are positions among the features that meet `where`.
    """

    table: pa.Table
    geometry: pa.ChunkedArray
    fids: npt.NDArray[np.int64]
    fid: str
    where: str | None


def _as_gdal_reads(layer: Layer, where: str | None) -> _Gdal:
    file, options = layer.dataset.file, dict(layer.dataset.format.options)
    meta, table = gdal.read_arrow(
        file, layer=layer.name, encoding=layer.recode, where=where, return_fids=True, **options
    )
    fids = table.column(0).to_numpy()
    table = table.remove_column(0)
    # a field may have the name of the geometry, which comes last
    last = max(i for i, n in enumerate(table.column_names) if n == (meta["geometry_name"] or "wkb_geometry"))
    geometry, table = table.column(last).cast(pa.binary()), table.remove_column(last)
    fields = {name for name, _ in layer.fields}
    read = [CharacterSet(layer.codec).name(name) for name in table.column_names]
    wanted = [i for i, name in enumerate(read) if name in fields]
    names = distinct([read[i] for i in wanted])
    table = pa.table([_codes(table.column(i)) for i in wanted], names=names)
    fid = meta["fid_column"]
    # a view without a primary key: all numbers are 0
    if layer.dataset.format is formats.GEOPACKAGE and fid == NO_COLUMN and len(fids) and not fids.any():
        fid, fids = "", np.arange(len(table))
    return _Gdal(table, straightened(geometry), fids, fid, where)


def _exactly(layer: Layer, where: str, read: _Gdal) -> _Gdal:
    """The features that meet a condition by the values that are loaded, where GDAL compares others.

    GDAL rounds numbers of more than 16 digits, and takes '12a' for 12. It decides about all features whose
    values it reads as they are loaded, so that its SQL is that of the condition wherever possible.

    Args:
        layer: where the features are from.
        where: the condition.
        read: the features that meet it by GDAL's own values.
    """
    named = [name for name in _may_differ(layer, read) if _names(where, name)]
    if not named:
        return read
    whole = _as_gdal_reads(layer, None)
    names = whole.table.column_names
    geopackage = layer.dataset.format is formats.GEOPACKAGE
    wanted = None if geopackage else named  # a condition may also name columns that GDAL leaves out
    fix = corrected(layer, whole.table, names, fid=whole.fid, fids=whole.fids, where=None, wanted=wanted)
    table, changed = whole.table, np.zeros(len(whole.fids), dtype=bool)
    for name in named:
        before, after = whole.table[name], fix.table[name]
        changed |= _compared_otherwise(layer, before.type, after.type) or fix.changed(name, before)
        table = table.set_column(names.index(name), name, after)
    if not changed.any():
        return read
    changed |= geopackage and not whole.fid  # nobody knows which features of a view GDAL took
    met = np.isin(whole.fids, read.fids) & ~changed
    rows = np.flatnonzero(changed)
    table = fix.table if geopackage else table
    number = (whole.fid if geopackage else "") or "FID"
    if number.lower() not in (name.lower() for name in table.column_names):
        table = table.append_column(number, pa.array(whole.fids))
    met[rows[matching(table.take(pa.array(rows)), SLASHES.sub(r"'\1-\2-\3", where)).to_numpy()]] = True
    return _taken(whole, np.flatnonzero(met))


def _unknown_to_gdal(layer: Layer, where: str) -> bool:
    """Whether a condition names a column that GDAL knows by other letters."""
    foreign = [name for name, _ in layer.fields if not name.isascii() and _names(where, name)]
    return bool(foreign) and not CharacterSet(layer.codec).gdal_decodes


def _without_gdal(layer: Layer, where: str) -> _Gdal:
    """The features that meet a condition on columns whose names GDAL reads with other letters."""
    whole = _as_gdal_reads(layer, None)
    names = whole.table.column_names
    named = [name for name in names if _names(where, name)]
    fix = corrected(layer, whole.table, names, fid=whole.fid, fids=whole.fids, where=None, wanted=named)
    return _taken(whole, matching(fix.table, where).to_numpy())


def _taken(read: _Gdal, rows: npt.NDArray[np.int64]) -> _Gdal:
    taken = pa.array(rows)
    return _Gdal(read.table.take(taken), read.geometry.take(taken), read.fids[rows], read.fid, read.where)


def _may_differ(layer: Layer, read: _Gdal) -> list[str]:
    """The columns that GDAL may read as other values than are loaded: of some formats all but texts."""
    exact_texts = layer.dataset.format in (formats.FLATGEOBUF, formats.FILE_GDB) or (
        layer.dataset.format is formats.SHAPEFILE and layer.codec == UTF8
    )
    return [field.name for field in read.table.schema if not (exact_texts and pa.types.is_string(field.type))]


def _names(where: str, column: str) -> bool:
    return bool(re.search(rf"(?<!\w){re.escape(column)}(?!\w)", where, re.IGNORECASE))


def _compared_otherwise(layer: Layer, before: pa.DataType, after: pa.DataType) -> bool:
    """Whether GDAL's comparison may be wrong for every feature, because the column has another type."""
    if before == after or layer.dataset.format is formats.GEOPACKAGE:
        return False  # SQLite compares numbers as they are
    if pa.types.is_nested(after) != pa.types.is_nested(before):
        return True
    rounded = {"double"} | ({"int64"} if layer.dataset.format in (formats.GML, formats.GEOJSON) else set())
    return str(before) in rounded and after != pa.float64()


def _codes(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of a coded-value domain comes as a dictionary, whose indices are the codes of the file."""
    if not pa.types.is_dictionary(column.type):
        return column
    # a code that the domain does not list is null in the dictionary, or beyond its end
    return pa.chunked_array([chunk.indices for chunk in column.chunks], column.type.index_type)


def _read_parquet(layer: Layer, where: str | None, attributes: Sequence[str] | None) -> Read:
    file, name = layer.dataset.file, layer.shown
    table, geometry = geoparquet.read(file, name, geoparquet.describe(file, name))
    if unknown := [name for name in attributes or () if name not in table.column_names]:
        raise _no_attribute(name, unknown, table.column_names)
    if where is None:
        return table, geometry, ()
    rows = matching(table, where)
    return chosen(table, rows), geometry.take(rows), ()


def _no_attribute(path: str, unknown: Sequence[str], known: Sequence[str]) -> UserError:
    return UserError(
        "parcels.unknown_attribute",
        f"{path} has no attribute {', '.join(unknown)}",
        f"Use any of {', '.join(known)}",
        about=option("--attribute"),
    )
