"""Attributes in Arrow as the values that PostgreSQL gets, and which of them had to be changed for that.

`inspect`, `load --check` and `load` all convert every value here, so what passes the first passes the last.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from math import isfinite
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cbmctl.parcels.files.columns import stored_as
from cbmctl.parcels.files.findings import Finding, Findings

FIRST, END = "0001-01-01", "10000-01-01"  # what Python's clients of the table can read, of PostgreSQL's years
DAY_US = 86_400_000_000
SIMPLER = (
    (pa.types.is_string_view, pa.large_string()),
    (pa.types.is_binary_view, pa.large_binary()),
    (pa.types.is_float16, pa.float32()),
)
NO_DATE = f"is outside the years {int(FIRST[:4])} to {int(END[:5]) - 1}"


@dataclass(frozen=True)
class Changed:
    """A value that cannot be stored as it is: what is stored instead, and the finding."""

    instead: Any
    kind: str
    raw: str
    reason: str


def values(
    table: pa.Table, rows: Sequence[int], feature: Sequence[int], findings: Findings
) -> Iterator[tuple[Any, ...]]:
    """The rows as Python values that psycopg can copy.

    Args:
        table: attributes of a piece of the file.
        rows: which of its rows.
        feature: the feature of each of them.
        findings: gets those values that are changed or become NULL.
    """
    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        everything = _python(simple(column).combine_chunks())
        found = [everything[row] for row in rows]
        for i, value in enumerate(found):
            if isinstance(value, Changed):
                findings.value(Finding(feature[i], value.kind, value.reason, name, value.raw))
                found[i] = value.instead
        if stored_as(column.type) == "jsonb":
            found = _json_column(found, name, feature, findings)
        columns.append(found)
    return zip(*columns, strict=True) if columns else iter([()] * len(rows))


def simple(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column without what only some of Arrow's functions know: extensions, dictionaries, views."""
    kind = column.type
    if isinstance(kind, pa.UuidType):
        texts = [None if one is None else str(one) for one in column.to_pylist()]
        return pa.chunked_array([texts], pa.string())
    if isinstance(kind, pa.BaseExtensionType):
        return simple(pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type))
    if pa.types.is_run_end_encoded(kind):
        column = pa.chunked_array([pc.run_end_decode(chunk) for chunk in column.chunks], kind.value_type)
    elif pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    for belongs, known in SIMPLER:
        if belongs(column.type):
            return column.cast(known)
    return column


def _python(array: pa.Array) -> list[Any]:
    """The values in Python; `Changed` in place of what PostgreSQL or JSON cannot hold."""
    kind = array.type
    for belongs, convert in (
        (pa.types.is_string, _texts),
        (pa.types.is_large_string, _texts),
        (pa.types.is_timestamp, _instants),
        (pa.types.is_date, _days),
        (pa.types.is_time, _times),
        (pa.types.is_map, _maps),
        (pa.types.is_struct, _records),
        (pa.types.is_union, pa.Array.to_pylist),
        (pa.types.is_nested, _lists),
    ):
        if belongs(kind):
            return convert(array)
    if pa.types.is_duration(kind):
        return [f"{n} {kind.unit}" if n is not None else None for n in array.cast(pa.int64()).to_pylist()]
    found: list[Any] = array.to_pylist()
    if kind == pa.uint64():
        return [value if value is None else Decimal(value) for value in found]
    if stored_as(kind) == "text":
        return [value if value is None else str(value) for value in found]
    return found


def _texts(array: pa.Array) -> list[Any]:
    """PostgreSQL's text is valid UTF-8 without NUL; a .dbf may cut a character in two at a field's end."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        binary = pa.large_binary() if pa.types.is_large_string(array.type) else pa.binary()
        return [value if value is None else _text(value) for value in array.cast(binary).to_pylist()]
    found: list[Any] = array.to_pylist()
    if pc.any(pc.match_substring(array, "\0")).as_py():
        return [_without_nul(value) if value and "\0" in value else value for value in found]
    return found


def _text(raw: bytes) -> Any:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return Changed(
            raw.decode("utf-8", "ignore").replace("\0", ""),
            "changed_text",
            raw.decode("utf-8", "backslashreplace"),
            "has bytes that are not valid text",
        )
    return _without_nul(text) if "\0" in text else text


def _without_nul(text: str) -> Changed:
    raw = text.replace("\0", "\\0")
    return Changed(text.replace("\0", ""), "changed_text", raw, "has a NUL character (\\0)")


def _instants(array: pa.Array) -> list[Any]:
    """Timestamps, in UTC where the type has a zone; PostgreSQL counts microseconds."""
    kind = array.type
    micro = pa.timestamp("us", "UTC" if kind.tz else None)
    if kind.unit == "ns":  # some 292 years around 1970
        return array.cast(pa.timestamp("ns", micro.tz)).cast(micro, safe=False).to_pylist()  # type: ignore[no-any-return]
    return _within(
        array.cast(pa.timestamp(kind.unit, micro.tz)), pa.int64(), kind.unit, lambda good: good.cast(micro)
    )


def _days(array: pa.Array) -> list[Any]:
    wide = pa.types.is_date64(array.type)
    numbers, unit = (pa.int64(), "ms") if wide else (pa.int32(), "D")
    return _within(array, numbers, unit, lambda good: good.cast(pa.date32(), safe=False))


def _within(array: pa.Array, numbers: pa.DataType, unit: str, convert: Any) -> list[Any]:
    """Convert what lies in years that Python knows; the rest is no value."""
    counts = array.cast(numbers)
    first, end = (int(np.array(limit, f"datetime64[{unit}]").astype(np.int64)) for limit in (FIRST, END))
    inside = pc.and_(pc.greater_equal(counts, first), pc.less(counts, end))
    found: list[Any] = convert(pc.if_else(inside, array, pa.scalar(None, array.type))).to_pylist()
    for row in np.flatnonzero(np.asarray(pc.fill_null(pc.invert(inside), False))):
        raw = str(np.array(counts[int(row)].as_py()).astype(f"datetime64[{unit}]"))
        found[row] = Changed(None, "invalid_value", raw, NO_DATE)
    return found


def _times(array: pa.Array) -> list[Any]:
    micro = array.cast(pa.time64("us"), safe=False)
    counts = micro.cast(pa.int64())
    inside = pc.and_(pc.greater_equal(counts, 0), pc.less(counts, DAY_US))
    found: list[Any] = pc.if_else(inside, micro, pa.scalar(None, micro.type)).to_pylist()
    for row in np.flatnonzero(np.asarray(pc.fill_null(pc.invert(inside), False))):
        raw = f"{counts[int(row)].as_py() / 1e6:.0f} seconds"
        found[row] = Changed(None, "invalid_value", raw, "is not a time of day")
    return found


def _children(array: pa.Array) -> list[Any]:
    return _python(simple(pa.chunked_array([array])).combine_chunks())


def _lists(array: pa.Array) -> list[Any]:
    if pa.types.is_fixed_size_list(array.type):
        array = array.cast(pa.large_list(array.type.value_field))
    items, valid = _children(array.values), array.is_valid().to_pylist()
    starts = array.offsets.to_pylist()
    if pa.types.is_list_view(array.type) or pa.types.is_large_list_view(array.type):
        ends = [start + size for start, size in zip(starts, array.sizes.to_pylist(), strict=True)]
    else:
        starts, ends = starts[:-1], starts[1:]
    return [items[a:b] if there else None for a, b, there in zip(starts, ends, valid, strict=True)]


def _maps(array: pa.Array) -> list[Any]:
    """Pairs, because a key may be anything and occur twice."""
    pairs = list(zip(_children(array.keys), _children(array.items), strict=True))
    ends = array.offsets.to_pylist()
    spans = zip(ends[:-1], ends[1:], array.is_valid().to_pylist(), strict=True)
    return [[list(pair) for pair in pairs[start:end]] if valid else None for start, end, valid in spans]


def _records(array: pa.Array) -> list[Any]:
    names = [field.name for field in array.type]
    fields = [_children(child) for child in array.flatten()]
    rows = zip(*fields, strict=True) if fields else iter([()] * len(array))
    valid = array.is_valid().to_pylist()
    return [
        dict(zip(names, row, strict=True)) if there else None for row, there in zip(rows, valid, strict=True)
    ]


def _json_column(found: list[Any], name: str, feature: Sequence[int], findings: Findings) -> list[Any]:
    stored = []
    for i, value in enumerate(found):
        wrong: list[Changed] = []
        stored.append(_json(value, wrong))
        for one in wrong:
            findings.value(Finding(feature[i], one.kind, one.reason, name, one.raw))
    return stored


def _json(value: Any, wrong: list[Changed]) -> Any:  # noqa: PLR0911  (a case for each type)
    """Only what JSON knows.

    Dates become text, bytes their hexadecimal digits; a decimal stays a number if no digit is lost.
    """
    match value:
        case Changed():
            wrong.append(value)
            return value.instead
        case dict():
            return {_key(key, wrong): _json(one, wrong) for key, one in value.items()}
        case list() | tuple():
            return [_json(one, wrong) for one in value]
        case float() if not isfinite(value):
            wrong.append(Changed(None, "invalid_value", str(value), "is not a number that JSON can hold"))
            return None
        case Decimal():
            return _json_number(value)
        case bytes():
            return value.hex()
        case date() | datetime() | time():
            return value.isoformat()
        case _:
            return value


def _key(key: str, wrong: list[Changed]) -> str:
    if "\0" in key:
        wrong.append(_without_nul(key))
    return key.replace("\0", "")


def _json_number(value: Decimal) -> int | float | str:
    if value == value.to_integral_value():
        return int(value)
    return float(value) if Decimal(json.dumps(float(value))) == value else str(value)
