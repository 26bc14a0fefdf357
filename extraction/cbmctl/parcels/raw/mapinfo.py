"""Texts of MapInfo files that name no character set, or one that GDAL does not know."""

import numpy as np
import pyarrow as pa

from cbmctl.parcels.raw.corrections import Corrections


def correct(fix: Corrections, charset: str) -> None:
    """Leave out invalid bytes, with a finding that names the way out.

    Args:
        fix: the attributes as GDAL read them.
        charset: what the file says of its character set.
    """
    for name, column in zip(fix.table.column_names, fix.table.columns, strict=True):
        if not pa.types.is_string(column.type) or _is_valid(column):
            continue
        raw = [b"" if value is None else value for value in column.cast(pa.binary()).to_pylist()]
        texts = [value.decode("utf-8", "ignore") for value in raw]
        bad = [
            row for row, (text, value) in enumerate(zip(texts, raw, strict=True)) if text.encode() != value
        ]
        rows = np.array(bad, np.int64)
        fix.values(name, rows, [texts[row] for row in bad])
        shown = [raw[row].decode("utf-8", "backslashreplace") for row in bad]
        reason = (
            f"has bytes that are not valid characters: the file says that its character set is '{charset}'."
            " Name the right one with --encoding"
        )
        fix.tell(name, "changed_text", rows, shown, reason)


def _is_valid(column: pa.ChunkedArray) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
