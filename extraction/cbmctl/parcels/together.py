"""Several layers of one schema become one table: a country's districts or regions, one layer or file each."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import pyarrow as pa

from cbmctl.errors import UserError
from cbmctl.parcels.table import SOURCE_COLUMN, ParcelTable


def together(path: str, pieces: Sequence[ParcelTable]) -> ParcelTable:
    """Layers of one schema as one table, in their order, with the layer of each parcel as last attribute.

    Columns are matched by name; integers of different width become the widest.

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
                f"{path}: {_label(first)} is in EPSG:{first.srid}, {_label(piece)} in EPSG:{piece.srid}."
                " Load layers of one coordinate system."
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
            replace(found, ogc_fid=found.ogc_fid + start)
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
                f"{path}: the columns of {_label(first)} and {_label(piece)} differ ({'; '.join(only)})."
                " Load them one by one, or keep the columns that all have with --attribute."
            )


def _common(path: str, name: str, pieces: Sequence[ParcelTable]) -> pa.Field:
    """The type that holds the values of all layers without loss."""
    kinds = [piece.attributes.schema.field(name).type for piece in pieces]
    widest = kinds[0]
    for piece, kind in zip(pieces, kinds, strict=True):
        if kind == widest or pa.types.is_null(kind):
            continue
        if pa.types.is_null(widest):
            widest = kind
        elif pa.types.is_signed_integer(kind) and pa.types.is_signed_integer(widest):
            widest = max(kind, widest, key=lambda k: k.bit_width)
        elif all(pa.types.is_decimal(k) or pa.types.is_integer(k) for k in (kind, widest)):
            widest = _decimal(kind, widest)  # long numbers in one layer only
        else:
            raise UserError(
                f"{path}: column {name} is {widest} in {_label(pieces[0])}, but {kind} in {_label(piece)}."
                " Load layers of one schema, or leave the column out with --attribute."
            )
    return pa.field(name, widest)


def _decimal(*kinds: pa.DataType) -> pa.DataType:
    scale = max((kind.scale for kind in kinds if pa.types.is_decimal(kind)), default=0)
    whole = max(kind.precision - kind.scale if pa.types.is_decimal(kind) else 20 for kind in kinds)
    return pa.decimal256(min(whole + scale, 76), scale)


def _free(name: str, taken: Sequence[str]) -> str:
    lower = {other.lower() for other in taken}
    return name if name not in lower else _free(f"{name}_", taken)
