"""Formats that only GDAL can read: it can be asked what a date was; lost digits can only be refused."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cbmctl.errors import UserError
from cbmctl.invocation import option
from cbmctl.parcels.files import gdal
from cbmctl.parcels.files.exact_numbers import EXACT_BELOW
from cbmctl.parcels.files.raw.corrections import Corrections, Rows
from cbmctl.parcels.files.raw.written import dates


def correct(
    fix: Corrections,
    file: Path,
    layer: str,
    *,
    fids: Rows,
    exact: bool,
    options: Mapping[str, str],
    names: Sequence[str] | None = None,
) -> None:
    """Put dates right that no calendar has, and refuse numbers that may have lost digits.

    Args:
        fix: the attributes as GDAL read them.
        file: the file.
        layer: the layer.
        fids: the feature number of each row.
        exact: whether the format itself stores numbers as doubles.
        options: GDAL's open options.
        names: the columns to look at; None: all.

    Raises:
        UserError: a number has more digits than GDAL reads.
    """
    looked_at = fix.table.column_names if names is None else names
    typed = [name for name in looked_at if pa.types.is_date(fix.table[name].type)]
    if typed:
        texts = ", ".join(f"CAST({_quoted(name)} AS character(40))" for name in typed)
        statement = f"SELECT {texts} FROM {_quoted(layer)}"  # noqa: S608 - a name cannot be a parameter
        _, text = gdal.read_arrow(
            file, sql=statement, sql_dialect="OGRSQL", read_geometry=False, return_fids=True, **options
        )
        rows = {int(fid): row for row, fid in enumerate(text.column(0).to_pylist())}
        taken = pa.array([rows[int(fid)] for fid in fids], pa.int64())
        for i, name in enumerate(typed, 1):
            dates(fix, name, text.column(i).take(taken).combine_chunks())
    if not exact:
        for name in looked_at:
            refuse_rounded(fix, name, file)


def _quoted(name: str) -> str:
    """A name in OGR SQL."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def refuse_rounded(fix: Corrections, name: str, file: Path) -> None:
    """Raise UserError if a number of a column has more digits than GDAL reads: it may be an identifier."""
    column, parents = fix.table[name], None
    if pa.types.is_list(column.type):
        lists = column.combine_chunks()
        column, parents = pa.chunked_array([lists.flatten()]), np.asarray(pc.list_parent_indices(lists))
    items = rounded(column)
    if not len(items):
        return
    row = int(items[0] if parents is None else parents[items[0]])
    raise UserError(
        "parcels.too_many_digits",
        (
            f"{file.name}: column {name} has numbers with more digits than can be read, such as"
            f" {column[int(items[0])].as_py():.0f} of feature {row + 1}"
        ),
        (
            "Export the file again with this column as text, or name the columns to keep with"
            f" {option('--attribute')}"
        ),
        about=option("--attribute"),
    )


def rounded(column: pa.ChunkedArray) -> Rows:
    """The rows of numbers at the limits of what GDAL reads: it rounds doubles, and cuts whole numbers."""
    kind = column.type
    if pa.types.is_floating(kind):
        large = pc.greater_equal(pc.abs(column), float(EXACT_BELOW))
    elif pa.types.is_signed_integer(kind) and kind.bit_width >= 32:
        limit = 2 ** (kind.bit_width - 1)
        large = pc.is_in(column, value_set=pa.array([-limit, limit - 1], kind))
    else:
        return np.empty(0, np.int64)
    return np.flatnonzero(np.asarray(pc.fill_null(large, False)))
