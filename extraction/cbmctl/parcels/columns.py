"""From a file's attributes to a table's columns: names an analyst can type, and PostgreSQL's types."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

# Names that the clients of the tables use without saying whose they are (sigs and the catalogue have them),
# our own two columns, and what PostgreSQL keeps for itself.
CLIENTS = {"band", "obstime", "count", "mean", "std"}
OURS = {"ogc_fid", "wkb_geometry"}
SYSTEM = {"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}
MAX_BYTES = 63

EXACT = {
    pa.bool_(): "bool",
    pa.int8(): "int2",
    pa.int16(): "int2",
    pa.uint8(): "int2",
    pa.int32(): "int4",
    pa.uint16(): "int4",
    pa.int64(): "int8",
    pa.uint32(): "int8",
    pa.uint64(): "numeric",
    pa.float16(): "float4",
    pa.float32(): "float4",
    pa.float64(): "float8",
}
FAMILIES = (
    (pa.types.is_decimal, "numeric"),
    (pa.types.is_date, "date"),
    (pa.types.is_time, "time"),
    (pa.types.is_nested, "jsonb"),
    (pa.types.is_binary, "bytea"),
    (pa.types.is_large_binary, "bytea"),
    (pa.types.is_fixed_size_binary, "bytea"),
)


@dataclass(frozen=True)
class Column:
    """An attribute of the file and its column."""

    attribute: str
    name: str
    type: str

    @property
    def renamed(self) -> bool:
        """Whether the name says something else than the attribute's own, in lower case."""
        return self.name != self.attribute.lower()


def plan(schema: pa.Schema) -> list[Column]:
    """A column for each attribute, in order.

    Names become lower case as with ogr2ogr; whatever is neither letter nor digit becomes an underscore, so
    that no name needs quotes. Taken and reserved ones get an underscore at the end, or a number.
    """
    columns: list[Column] = []
    for i, field in enumerate(schema):
        taken = {column.name for column in columns}
        columns.append(Column(field.name, _name(field.name, i + 1, taken), postgres_type(field.type)))
    return columns


def postgres_type(kind: pa.DataType) -> str:
    """The PostgreSQL type that holds every value of an Arrow type."""
    if pa.types.is_dictionary(kind):
        return postgres_type(kind.value_type)
    if pa.types.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    if kind in EXACT:
        return EXACT[kind]
    return next((name for belongs, name in FAMILIES if belongs(kind)), "text")


def values(table: pa.Table, rows: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    """The rows as Python values that psycopg can copy."""
    picked = table.take(pa.array(rows, pa.int64()))
    columns = [_values(picked.column(i), field.type) for i, field in enumerate(table.schema)]
    return zip(*columns, strict=True) if columns else iter([()] * len(rows))


def _values(column: pa.ChunkedArray, kind: pa.DataType) -> list[Any]:
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        # PostgreSQL counts microseconds; Python would refuse nanoseconds
        column = column.cast(
            pa.timestamp("us", kind.tz) if pa.types.is_timestamp(kind) else pa.time64("us"), safe=False
        )
    found: list[Any] = column.to_pylist()
    if pa.types.is_nested(kind):
        return [_plain(value) for value in found]
    if kind == pa.uint64():
        return [value if value is None else Decimal(value) for value in found]
    if postgres_type(kind) == "text":
        return [value if value is None else str(value) for value in found]
    return found


def _plain(value: Any) -> Any:
    """Only what JSON knows: dates and the like inside lists and records become text."""
    return json.loads(json.dumps(value, default=str))


def _name(attribute: str, number: int, taken: set[str]) -> str:
    name = re.sub(r"\W", "_", attribute.lower())
    if not re.search(r"[^\W_]", name):
        name = f"field_{number}"
    if name[0].isdigit():
        name = f"_{name}"
    if name in CLIENTS | OURS | SYSTEM:
        name += "_"
    name = _cut(name, MAX_BYTES)
    unique, n = name, 1
    while unique in taken:
        n += 1
        unique = f"{_cut(name, MAX_BYTES - len(str(n)) - 1)}_{n}"
    return unique


def _cut(name: str, size: int) -> str:
    return name.encode()[:size].decode("utf-8", "ignore")
