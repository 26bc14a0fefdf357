"""Several layers of one schema become one table: a country's districts or regions, one layer or file each."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import pyarrow as pa

from cbmctl.errors import UserError
from cbmctl.invocation import option
from cbmctl.parcels.files.parcel_table import SOURCE_COLUMN, ParcelTable


def together(path: str, pieces: Sequence[ParcelTable]) -> ParcelTable:
    """Layers of one schema as one table, in their order, with the layer of each parcel as last attribute.

    Columns are matched by name, without regard to their order; numbers take the type that holds all of them.

    Args:
        path: what messages call the delivery.
        pieces: the layers, one each.

    Raises:
        UserError: columns, their types or the coordinate systems differ.
    """
    first = pieces[0]
    for piece in pieces[1:]:
        if piece.srid != first.srid:
            raise UserError(
                "parcels.mixed_crs",
                f"{path}: {_label(first)} is in EPSG:{first.srid}, {_label(piece)} in EPSG:{piece.srid}",
                "Load layers of one coordinate system",
                about=path,
            )
    _expect_same_names(path, pieces)
    schema = pa.schema([_common(path, name, pieces) for name in first.attributes.column_names])
    tables = []
    for piece in pieces:
        label = pa.array([_label(piece)] * len(piece), pa.string())
        columns = [piece.attributes[field.name].cast(field.type) for field in schema]
        tables.append(pa.table([*columns, label], names=[*schema.names, _free(SOURCE_COLUMN, schema.names)]))
    return ParcelTable(
        path,
        tuple(layer for piece in pieces for layer in piece.layers),
        first.srid,
        first.crs,
        pa.concat_tables(tables),
        pa.chunked_array([chunk for piece in pieces for chunk in piece.geometry.chunks], pa.binary()),
        tuple(dict.fromkeys(note for piece in pieces for note in piece.notes)),
        tuple(
            replace(found, feature=found.feature + start)
            for start, piece in zip(_starts(pieces), pieces, strict=True)
            for found in piece.found
        ),
    )


def _starts(pieces: Sequence[ParcelTable]) -> list[int]:
    """The row at which each layer begins."""
    return [0, *accumulate(len(piece) for piece in pieces)][: len(pieces)]


def _label(piece: ParcelTable) -> str:
    return piece.layers[0].label


def _expect_same_names(path: str, pieces: Sequence[ParcelTable]) -> None:
    first = pieces[0]
    for piece in pieces[1:]:
        here, there = set(first.attributes.column_names), set(piece.attributes.column_names)
        if here != there:
            only = [
                f"only {_label(owner)} has {', '.join(sorted(names))}"
                for owner, names in ((first, here - there), (piece, there - here))
                if names
            ]
            raise UserError(
                "parcels.mixed_columns",
                f"{path}: the columns of {_label(first)} and {_label(piece)} differ ({'; '.join(only)})",
                f"Load them one by one, or keep the columns that all have with {option('--attribute')}",
                about=option("--attribute"),
            )


def _common(path: str, name: str, pieces: Sequence[ParcelTable]) -> pa.Field:
    """The type that holds the values of all layers without loss."""
    kinds = [piece.attributes.schema.field(name).type for piece in pieces]
    widest = kinds[0]
    for piece, kind in zip(pieces, kinds, strict=True):
        wider = _wider(widest, kind)
        if wider is None:
            raise UserError(
                "parcels.mixed_columns",
                f"{path}: column {name} is {widest} in {_label(pieces[0])}, but {kind} in {_label(piece)}",
                f"Load layers of one schema, or leave the column out with {option('--attribute')}",
                about=option("--attribute"),
            )
        widest = wider
    return pa.field(name, widest)


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """A type that holds every value of both exactly; None if there is none, or they mean different things."""
    kinds = (one, other)
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if all(map(_is_text, kinds)):
        return pa.large_string()
    return _wider_number(kinds)


def _wider_number(kinds: tuple[pa.DataType, ...]) -> pa.DataType | None:
    if all(map(pa.types.is_signed_integer, kinds)) or all(map(pa.types.is_unsigned_integer, kinds)):
        return max(kinds, key=lambda kind: kind.bit_width)
    if all(pa.types.is_integer(k) or pa.types.is_decimal(k) for k in kinds):
        scale = max(_digits(kind)[1] for kind in kinds)
        precision = max(_digits(kind)[0] for kind in kinds) + scale
        if precision <= 38:
            return pa.decimal128(precision, scale)
        return pa.decimal256(precision, scale) if precision <= 76 else None
    if all(pa.types.is_floating(k) or (pa.types.is_signed_integer(k) and k.bit_width <= 32) for k in kinds):
        return pa.float64()
    return None


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _digits(kind: pa.DataType) -> tuple[int, int]:
    """Digits before and after the point."""
    if pa.types.is_decimal(kind):
        return kind.precision - kind.scale, kind.scale
    return (20 if kind == pa.uint64() else 19), 0


def _free(name: str, taken: Sequence[str]) -> str:
    lower = {other.lower() for other in taken}
    return name if name not in lower else _free(f"{name}_", taken)
