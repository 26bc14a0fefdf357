"""A layer's attributes as GDAL read them, put right where the file says something else."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cbmctl.parcels.files.findings import Finding

Rows = npt.NDArray[np.int64]


class Corrections:
    """The table so far, and what was found. Rows are numbered from 0.

    Args:
        table: the attributes that are wanted.
        wanted: the names of all that are, also of those that GDAL left out; None: every one.
    """

    def __init__(self, table: pa.Table, wanted: Sequence[str] | None = None) -> None:
        self.table = table
        self.wanted = wanted
        self.found: list[Finding] = []
        self._set: dict[str, set[int]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.table.column_names

    def replace(self, name: str, column: pa.Array | pa.ChunkedArray) -> None:
        """Take another column in the place of one."""
        self.table = self.table.set_column(self.table.column_names.index(name), name, column)

    def insert(self, position: int, name: str, column: pa.Array | pa.ChunkedArray) -> None:
        """Add a column that GDAL left out."""
        self.table = self.table.add_column(position, name, column)

    def values(self, name: str, rows: Rows, new: Sequence[Any]) -> None:
        """Set single values; the column's type must hold them."""
        if not len(rows):
            return
        self._set.setdefault(name, set()).update(rows.tolist())
        column = self.table[name]
        mask = np.zeros(len(column), dtype=bool)
        mask[rows] = True
        order = np.argsort(rows, kind="stable")
        values = pa.array([new[i] for i in order], column.type)
        self.replace(name, pc.replace_with_mask(column.combine_chunks(), pa.array(mask), values))

    def changed(self, name: str, before: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """(n,) whether a row's value is another than in the column `before`, as GDAL read it."""
        after = self.table[name]
        if _is_number(before.type) and _is_number(after.type):
            before, after = before.cast(pa.float64()), after.cast(pa.float64())
        changed = np.zeros(len(after), dtype=bool)
        opaque = pa.types.is_nested(after.type) or isinstance(after.type, pa.BaseExtensionType)
        if before.type == after.type and not opaque:
            equal = pc.fill_null(pc.equal(before, after), False)
            changed = ~np.asarray(pc.or_(equal, pc.and_(pc.is_null(before), pc.is_null(after))))
        changed[list(self._set.get(name, ()))] = True
        return changed

    def invalid(self, name: str, rows: Rows, raw: Sequence[str], reason: str) -> None:
        """NULL in these rows, and a finding for each different value."""
        if len(rows):
            self.values(name, rows, [None] * len(rows))
            self.tell(name, "invalid_value", rows, raw, reason)

    def tell(self, name: str, kind: str, rows: Rows, raw: Sequence[str], reason: str) -> None:
        """A finding for each different value of these rows."""
        first: dict[str, int] = {}
        counts: dict[str, int] = {}
        for row, text in zip(rows.tolist(), raw, strict=True):
            first[text] = min(row, first.get(text, row))
            counts[text] = counts.get(text, 0) + 1
        self.found += [
            Finding(row + 1, kind, reason, name, text, counts[text]) for text, row in first.items()
        ]


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
