"""An SQL condition on attributes in Arrow: the same as GDAL's on every other format, by a copy in memory."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import count, islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyogrio

from cbmctl.parcels.files import gdal
from cbmctl.parcels.files.exact_numbers import EXACT_BELOW
from cbmctl.parcels.files.sqlite_names import quoted
from cbmctl.parcels.files.values import simple

INT64 = 2**63  # whole numbers below this are exact
LITERAL = re.compile(r"(?<![\w.'\"])[0-9]{19,}(?![\w.'\"])")
MEMORY = "/vsimem/cbm_where.gpkg"
AS_TEXT = (pa.types.is_null, pa.types.is_time, pa.types.is_duration, pa.types.is_interval)
KNOWN = (  # what a GeoPackage has instead
    (pa.types.is_decimal, pa.float64()),
    (pa.types.is_date64, pa.date32()),
    (pa.types.is_timestamp, pa.timestamp("ms")),
)


def matching(table: pa.Table, where: str) -> pa.Array:
    """The numbers of the rows that meet a condition, in order.

    Lists and records cannot be named in it. No digit of a long number is lost in a comparison.
    """
    plain = [field.name for field in table.schema if not pa.types.is_nested(field.type)]
    columns = {name: simple(table[name]) for name in plain}
    long = [name for name, column in columns.items() if _is_long(column)]
    number, geometry, fid, *free = _unused(3 + 2 * len(long), plain)
    parts = dict(zip(long, zip(free[::2], free[1::2], strict=True), strict=True))
    copied = {name: _comparable(column) for name, column in columns.items() if name not in long}
    for name, (whole, fraction) in parts.items():
        copied[whole], copied[fraction], copied[name] = _split(columns[name])
    copied[number] = pa.chunked_array([pa.array(range(len(table)), pa.int64())])
    try:
        # attributes called fid and geom are attributes like others
        options = {"FID": fid, "GEOMETRY_NAME": geometry}
        gdal.write_arrow(pa.table(copied), MEMORY, layer="parcels", driver="GPKG", layer_options=options)
        if long:
            _, kept = gdal.read_arrow(MEMORY, sql=_statement(plain, parts, number, where))
        else:
            _, kept = gdal.read_arrow(MEMORY, layer="parcels", columns=[number], where=where)
    finally:
        pyogrio.vsi_unlink(MEMORY)
    return kept[number].combine_chunks()


def _is_long(column: pa.ChunkedArray) -> bool:
    """Whether some number in it is neither a whole number of 64 bits nor within the digits of a double."""
    if column.type != pa.uint64() and not pa.types.is_decimal(column.type):
        return False
    limit = INT64 if column.type == pa.uint64() or column.type.scale <= 0 else EXACT_BELOW
    return any(value is not None and abs(value) >= limit for value in column.to_pylist())


def _split(column: pa.ChunkedArray) -> tuple[pa.Array, pa.Array, pa.Array]:
    """A number as a whole number, else a double, else text, which SQLite takes for larger than any number."""
    values = [None if value is None else Decimal(value) for value in column.to_pylist()]
    whole: list[int | None] = []
    fraction: list[float | None] = []
    text: list[str | None] = []
    for value in values:
        integral = value is not None and value == value.to_integral_value() and abs(value) < INT64
        small = value is not None and not integral and abs(value) < EXACT_BELOW
        whole.append(int(value) if integral and value is not None else None)
        fraction.append(float(value) if small and value is not None else None)
        text.append(None if value is None or integral or small else f"{value:f}")
    return pa.array(whole, pa.int64()), pa.array(fraction, pa.float64()), pa.array(text, pa.string())


def _statement(plain: Sequence[str], parts: Mapping[str, tuple[str, str]], number: str, where: str) -> str:
    columns = ", ".join(
        f"coalesce({quoted(parts[name][0])}, {quoted(parts[name][1])}, {quoted(name)}) AS {quoted(name)}"
        if name in parts
        else quoted(name)
        for name in plain
    )
    # SQLite would take a literal beyond 64 bits for a double
    exact = LITERAL.sub(lambda m: f"'{m[0]}'" if int(m[0]) >= INT64 else m[0], where)
    return f"SELECT {quoted(number)} FROM (SELECT {columns}, {quoted(number)} FROM parcels) WHERE {exact}"  # noqa: S608


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
        return column.cast(pa.int64())
    if any(belongs(kind) for belongs in AS_TEXT):
        return pa.chunked_array([[None if v is None else str(v) for v in column.to_pylist()]], pa.string())
    for belongs, known in KNOWN:
        if belongs(kind):
            return column.cast(known, safe=False)
    if pa.types.is_string(kind):
        return pc.replace_substring(column, "\0", "")  # as it is loaded
    return column


def _unused(n: int, taken: Sequence[str]) -> list[str]:
    """Column names that no attribute has, in whatever case."""
    lower = {name.lower() for name in taken}
    free = (name for i in count() if (name := f"cbm_{i}") not in lower)
    return list(islice(free, n))
