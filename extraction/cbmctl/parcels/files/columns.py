"""From a file's attributes to a table's columns: names an analyst can type, and PostgreSQL's types."""

import re
from dataclasses import dataclass

import pyarrow as pa

from cbmctl.errors import UserError
from cbmctl.invocation import option

# Names that the clients of the tables use without saying whose they are (sigs and the catalogue have them),
# our own two columns, and what PostgreSQL keeps for itself.
CLIENTS = {"band", "obstime", "count", "mean", "std"}
OURS = {"ogc_fid", "wkb_geometry"}
SYSTEM = {"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}
MAX_BYTES = 63
MAX_COLUMNS = 1600 - len(OURS)

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
    (pa.types.is_binary_view, "bytea"),
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

    Raises:
        UserError: there are more than a table of PostgreSQL can have.
    """
    if len(schema) > MAX_COLUMNS:
        raise UserError(
            "parcels.too_many_columns",
            f"The file has {len(schema)} attributes; a table can have {MAX_COLUMNS}",
            f"Choose those that you need with {option('--attribute')}",
            about=option("--attribute"),
        )
    columns: list[Column] = []
    for i, field in enumerate(schema):
        taken = {column.name for column in columns}
        columns.append(Column(field.name, _name(field.name, i + 1, taken), stored_as(field.type)))
    return columns


def stored_as(kind: pa.DataType) -> str:
    """The PostgreSQL type that holds every value of an Arrow type."""
    if isinstance(kind, pa.UuidType):
        return "text"
    if isinstance(kind, pa.BaseExtensionType):
        return stored_as(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return stored_as(kind.value_type)
    if pa.types.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    if kind in EXACT:
        return EXACT[kind]
    return next((name for belongs, name in FAMILIES if belongs(kind)), "text")


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
