"""The attributes of a GeoPackage as SQLite has them: any column may hold a value of any type there.

GDAL makes 0 of a text in a column of numbers, 1970-01-01 of what is not a date, wraps numbers that are too
large for the declared type, and leaves out columns whose type is not one of the standard.
"""

import math
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from cbmctl.errors import UserError
from cbmctl.parcels.files.exact_numbers import EXACT_BELOW
from cbmctl.parcels.files.raw.corrections import Corrections, Rows
from cbmctl.parcels.files.raw.written import date_of, decimals, instant_of, tell_times
from cbmctl.parcels.files.sqlite_names import quoted

INFINITE = (math.inf, -math.inf)
Value = int | float | str | bytes | None
NUMBERS_ONLY = {"fid", "ogc_fid"}  # primary keys that GDAL makes up; by any other name it is the agency's own
GEOMETRIES = ("GEOMETRY", "POINT", "LINESTRING", "POLYGON", "CURVE", "SURFACE", "TIN", "TRIANGLE")
# what is not a value of the type as the standard writes it; {} is the column
NOT_WHOLE = "typeof({}) NOT IN ('integer', 'null') OR {} NOT BETWEEN %d AND %d"
NOT_TRUTH = "{} IS NOT NULL AND ({} NOT IN (0, 1) OR typeof({}) <> 'integer')"
NOT_DOUBLE = "typeof({}) NOT IN ('real', 'integer', 'null') OR typeof({}) = 'integer' AND abs({}) > %d"
NOT_TEXT = "typeof({}) = 'blob' OR instr({}, char(0)) > 0"  # GDAL ends a text at a NUL character
NOT_DATE = "{} IS NOT NULL AND (typeof({}) <> 'text' OR date({}, '+0 days') IS NOT {} OR {} < '0001')"
NOT_INSTANT = (
    "{} IS NOT NULL AND (typeof({}) <> 'text' OR {} < '0001'"
    " OR strftime('%Y-%m-%dT%H:%M:%S', {}, '+0 days') IS NOT substr({}, 1, 19)"
    " OR NOT ({} GLOB '????-??-??T??:??:??Z' OR {} GLOB '????-??-??T??:??:??.???Z'))"
)


class Table:
    """A layer's table or view in the file.

    Args:
        path: the file, which nobody changes meanwhile.
        layer: its name.
        fid: the column of feature numbers; "" without one, as in some views.
        fids: that number of each row; without such a column its position among the rows that meet `where`.
        where: the condition that the rows meet.
    """

    def __init__(self, path: Path, layer: str, fid: str, fids: Rows, where: str | None) -> None:
        uri = f"file:{quote(str(path))}?mode=ro&immutable=1"
        self.db = sqlite3.connect(uri, uri=True)
        self.db.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        self.layer = layer
        self.columns = {
            str(name): str(kind).upper()
            for _, name, kind, *_ in self.db.execute(f"PRAGMA table_info({quoted(layer)})")
        }
        self.fid = fid if fid in self.columns else ""
        self.rows = {int(number): row for row, number in enumerate(fids)}
        self.count = len(fids)
        self.source = f"{quoted(layer)} WHERE {where}" if where and not self.fid else quoted(layer)

    def select(self, column: str, condition: str = "1") -> dict[int, Value]:
        """The column's values by row, where a condition on it is met ({} is the column)."""
        name = quoted(column)
        key = quoted(self.fid) if self.fid else "row_number() OVER () - 1"
        statement = f"SELECT k, c FROM (SELECT {key} AS k, {name} AS c FROM {self.source}) WHERE "  # noqa: S608
        found = self.db.execute(statement + condition.replace("{}", "c"))
        return {self.rows[key]: value for key, value in found if key in self.rows}

    def having(self, columns: Sequence[str], condition: str) -> list[str]:
        """Those columns in which some value meets a condition, in one pass over the table."""
        if not columns:
            return []
        found = ", ".join(f"max({condition.replace('{}', quoted(name))})" for name in columns)
        (met,) = self.db.execute(f"SELECT {found} FROM {self.source}")  # noqa: S608
        return [name for name, value in zip(columns, met, strict=True) if value]

    def whole_column(self, column: str) -> list[Value]:
        """All values of a column in the order of the rows."""
        found = self.select(column)
        return [found.get(row) for row in range(self.count)]


def correct(
    fix: Corrections,
    path: Path,
    layer: str,
    *,
    fields: Sequence[str],
    fid: str,
    fids: Rows,
    where: str | None,
    shown: str,
) -> None:
    """Put the attributes of a layer right, and add those that GDAL left out: the primary key, other types.

    Args:
        fix: the attributes as GDAL read them.
        path: the file.
        layer: its name.
        fields: all attributes that GDAL knows.
        fid: the column of feature numbers, or "".
        fids: the number of each row.
        where: the condition that the rows meet.
        shown: what messages call the file.

    Raises:
        UserError: SQLite cannot read it.
    """
    try:
        table = Table(path, layer, fid, fids, where)
        with closing(table.db):
            known = [name for name in fields if name in fix]
            texts = [name for name in known if pa.types.is_string(fix.table[name].type)]
            for name in table.having(texts, NOT_TEXT):
                _texts(fix, table, name)
            for name in known:
                _column(fix, table, name)
            _left_out(fix, table, fields)
    except sqlite3.Error as error:
        raise UserError(
            "parcels.damaged", f"{shown} cannot be read by SQLite ({error})", "Deliver it again", about=shown
        ) from error


def _column(fix: Corrections, table: Table, name: str) -> None:
    kind = fix.table[name].type
    if pa.types.is_boolean(kind):
        _parsed(fix, name, table.select(name, NOT_TRUTH), _truth, "is neither true nor false")
    elif pa.types.is_integer(kind):
        largest = 2 ** (kind.bit_width - 1) - 1
        if table.select(name, NOT_WHOLE % (-largest - 1, largest)):
            _numbers(fix, name, table.whole_column(name), "is not a whole number")
    elif pa.types.is_float32(kind):
        # SQLite keeps 64 bits whatever the declaration says
        _numbers(fix, name, table.whole_column(name), "is not a number")
    elif pa.types.is_float64(kind):
        if table.select(name, NOT_DOUBLE % EXACT_BELOW):
            _numbers(fix, name, table.whole_column(name), "is not a number")
    elif pa.types.is_date(kind):
        _dates(fix, table, name)
    elif pa.types.is_timestamp(kind) and (odd := table.select(name, NOT_INSTANT)):
        fix.replace(name, fix.table[name].cast(pa.timestamp("us", "UTC")))
        _parsed(fix, name, odd, _utc, "is not a valid date and time")


def _texts(fix: Corrections, table: Table, name: str) -> None:
    raw = fix.table[name].cast(pa.binary()).to_pylist()
    for row, value in table.select(name, NOT_TEXT).items():
        raw[row] = _bytes(value)
    fix.replace(name, _strings(raw))


def _bytes(value: Value) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")


def _strings(raw: Sequence[bytes | None]) -> pa.Array:
    """Texts that may not be valid UTF-8, which `values` reports."""
    return pa.array(raw, pa.binary()).view(pa.string())


def _shown(value: Value) -> str:
    return value.hex() if isinstance(value, bytes) else _bytes(value).decode("utf-8", "backslashreplace")


def _dates(fix: Corrections, table: Table, name: str) -> None:
    odd = table.select(name, NOT_DATE)
    _parsed(fix, name, odd, date_of, "is not a valid date")
    text = pa.array([_shown(odd[row]) if row in odd else None for row in range(table.count)], pa.string())
    dated = [row for row, value in odd.items() if date_of(str(value))]
    tell_times(fix, name, np.array(dated, np.int64), text)


def _numbers(fix: Corrections, name: str, values: list[Value], reason: str) -> None:
    """The column in the type that holds all its numbers; NULL and a finding for invalid ones."""
    declared = fix.table[name].type
    bad = {
        row: value
        for row, value in enumerate(values)
        if isinstance(value, str | bytes) or (pa.types.is_integer(declared) and value in INFINITE)
    }
    kept = [None if row in bad else value for row, value in enumerate(values)]
    column = numeric([v for v in kept if not isinstance(v, str | bytes)])
    if pa.types.is_integer(column.type) and pa.types.is_integer(declared):
        largest = 2 ** (declared.bit_width - 1)
        narrow = all(-largest <= value < largest for value in column.drop_null().to_pylist())
        column = column.cast(declared) if narrow else column
    fix.replace(name, column)
    _invalid(fix, name, bad, reason)


def numeric(values: Sequence[int | float | None]) -> pa.Array:
    """Numbers as integers of 64 bits, doubles, or exact decimals if doubles would lose a digit."""
    if all(value is None or isinstance(value, int) for value in values):
        if all(value is None or abs(value) < 2**63 for value in values):
            return pa.array(values, pa.int64())
        return decimals([None if value is None else Decimal(value) for value in values])
    if any(isinstance(value, int) and abs(value) > EXACT_BELOW for value in values) and all(
        value is None or math.isfinite(value) for value in values
    ):
        return decimals([None if value is None else Decimal(repr(value)) for value in values])
    return pa.array([None if value is None else float(value) for value in values], pa.float64())


def _parsed(fix: Corrections, name: str, odd: dict[int, Value], parse: Any, reason: str) -> None:
    found = {row: parse(str(value)) for row, value in odd.items()}
    rows = [row for row, value in found.items() if value is not None]
    fix.values(name, np.array(rows, np.int64), [found[row] for row in rows])
    _invalid(fix, name, {row: odd[row] for row, value in found.items() if value is None}, reason)


def _truth(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


def _utc(text: str) -> Any:
    """The standard says UTC where no zone is written."""
    found = instant_of(text)
    return found.replace(tzinfo=UTC) if found and not found.tzinfo else found


def _invalid(fix: Corrections, name: str, bad: Mapping[int, Value], reason: str) -> None:
    fix.invalid(name, np.array(list(bad), np.int64), [_shown(value) for value in bad.values()], reason)


def _left_out(fix: Corrections, table: Table, fields: Sequence[str]) -> None:
    known = {*fields}
    if table.fid.lower() in NUMBERS_ONLY:
        known.add(table.fid)
    statement = "SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?"
    known |= {name for (name,) in table.db.execute(statement, [table.layer])}
    for name, kind in table.columns.items():
        if name not in known and not kind.endswith(GEOMETRIES) and (fix.wanted is None or name in fix.wanted):
            before = [
                other for other in list(table.columns)[: list(table.columns).index(name)] if other in fix
            ]
            fix.insert(len(before), name, _any(table.whole_column(name)))


def _any(values: list[Value]) -> pa.Array:
    """A column without a declared type that GDAL knows: numbers, bytes, or else text."""
    if all(value is None or isinstance(value, int | float) for value in values):
        return numeric([value for value in values if not isinstance(value, str | bytes)])
    if all(value is None or isinstance(value, bytes) for value in values):
        return pa.array(values, pa.binary())
    texts = [v.hex() if isinstance(v, bytes) else v for v in values]
    return _strings([None if text is None else _bytes(text) for text in texts])
