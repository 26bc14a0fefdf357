"""An SQL condition on attributes in Arrow: the same as GDAL's on every other format, by a copy in memory."""

from collections.abc import Sequence
from itertools import count, islice

import numpy as np
import pyarrow as pa
import pyogrio

from cbmctl.parcels.values import simple

MEMORY = "/vsimem/cbm_where.gpkg"
AS_TEXT = (pa.types.is_null, pa.types.is_time, pa.types.is_duration, pa.types.is_interval)
KNOWN = (  # what a GeoPackage has instead
    (pa.types.is_decimal, pa.float64()),
    (pa.types.is_date64, pa.date32()),
    (pa.types.is_timestamp, pa.timestamp("ms")),
)


def matching(table: pa.Table, where: str) -> pa.Array:
    """The numbers of the rows that meet a condition, in order.

    Lists and records cannot be named in it. A number of more than 64 bits is compared as text, because no
    digit of it may be lost: `id = '12345678901234567890'`.
    """
    plain = [field.name for field in table.schema if not pa.types.is_nested(field.type)]
    number, geometry, fid = _unused(3, plain)
    columns = {name: _comparable(simple(table[name])) for name in plain}
    numbered = pa.table({**columns, number: pa.array(range(len(table)), pa.int64())})
    try:
        # attributes called fid and geom are attributes like others
        options = {"FID": fid, "GEOMETRY_NAME": geometry}
        pyogrio.write_arrow(numbered, MEMORY, layer="parcels", driver="GPKG", layer_options=options)
        _, kept = pyogrio.read_arrow(MEMORY, layer="parcels", columns=[number], where=where)
    finally:
        pyogrio.vsi_unlink(MEMORY)
    return kept[number].combine_chunks()


def chosen(table: pa.Table, rows: pa.Array) -> pa.Table:
    """The rows of these numbers; `Table.take` does not know every type that Parquet has."""
    try:
        return table.take(rows)
    except pa.ArrowNotImplementedError:
        numbers = np.asarray(rows)
        runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
        pieces = [table.slice(int(run[0]), len(run)) for run in runs if len(run)]
        return pa.concat_tables([table.slice(0, 0), *pieces])


def _comparable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if kind == pa.uint64() or (pa.types.is_decimal(kind) and kind.scale <= 0):
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid:
            return column.cast(pa.string())
    if any(belongs(kind) for belongs in AS_TEXT):
        return pa.chunked_array([[None if v is None else str(v) for v in column.to_pylist()]], pa.string())
    for belongs, known in KNOWN:
        if belongs(kind):
            return column.cast(known, safe=False)
    return column


def _unused(n: int, taken: Sequence[str]) -> list[str]:
    """Column names that no attribute has, in whatever case."""
    lower = {name.lower() for name in taken}
    free = (name for i in count() if (name := f"cbm_{i}") not in lower)
    return list(islice(free, n))
