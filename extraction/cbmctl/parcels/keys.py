"""The column that identifies parcels: every parcel has a value, and no two have the same."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cbmctl.errors import UserError, counted
from cbmctl.invocation import option
from cbmctl.parcels.files.columns import plan
from cbmctl.parcels.files.parcel_table import ParcelTable
from cbmctl.parcels.files.values import simple


def expect_key(table: ParcelTable, key: str) -> str:
    """The name in the parcel table of the column that identifies parcels.

    Args:
        table: the file; features without a geometry do not count.
        key: the name of the attribute or of its column.

    Raises:
        UserError: there is no such attribute, or it does not identify parcels.
    """
    columns = plan(table.attributes.schema)
    found = [column for column in columns if key in {column.attribute, column.name}]
    if not found:
        raise UserError(
            "parcels.unknown_key",
            (
                f"{table.shown}: the column '{key}', which should identify parcels, is missing. The"
                f" columns are: {', '.join(column.attribute for column in columns)}"
            ),
            about=option("--key"),
        )
    place = columns.index(found[0])
    column = simple(table.attributes.column(place)).combine_chunks()
    drawn = table.geometry.is_valid().combine_chunks()
    features = pa.array(range(1, len(table) + 1), pa.int64()).filter(drawn)
    values = column.filter(drawn)
    about = f"{table.shown}: the column '{key}', which should identify parcels,"
    if values.null_count:
        first = features.filter(values.is_null())[0]
        raise UserError(
            "parcels.key_missing",
            f"{about} has no value in {counted(values.null_count, 'parcel')}, first in feature {first}",
            "Name another column",
            about=option("--key"),
        )
    encoded = pc.dictionary_encode(values)
    number = len(values) - len(encoded.dictionary)
    if number:
        value, first, second = _first_twice(encoded, features)
        raise UserError(
            "parcels.key_repeated",
            (
                f"{about} repeats a value in {counted(number, 'parcel')}: for example, '{value}' is in the"
                f" features {first} and {second}"
            ),
            "Name another column",
            about=option("--key"),
        )
    return found[0].name


def _first_twice(encoded: Any, features: Any) -> tuple[Any, int, int]:
    """A value that two features have, and their numbers."""
    seen: dict[int, int] = {}
    for code, feature in zip(encoded.indices.to_pylist(), features.to_pylist(), strict=True):
        if code in seen:
            return encoded.dictionary[code].as_py(), seen[code], feature
        seen[code] = feature
    raise LookupError("no value is in two features")
