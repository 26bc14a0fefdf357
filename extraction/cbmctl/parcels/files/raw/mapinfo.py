"""MapInfo files: long numbers as they are written, and texts in a character set that GDAL does not know."""

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from cbmctl.invocation import option
from cbmctl.parcels.files import formats
from cbmctl.parcels.files.delivery import Dataset
from cbmctl.parcels.files.mapinfo import HEADER
from cbmctl.parcels.files.raw.corrections import Corrections, Rows
from cbmctl.parcels.files.raw.dbf import Dbf
from cbmctl.parcels.files.raw.others import refuse_rounded, rounded
from cbmctl.parcels.files.raw.written import NUMBER, numbers

DELIMITER = re.compile(rb'(?im)^[ \t]*delimiter[ \t]+"(.)"')
EXACT = re.compile(NUMBER)


def correct_numbers(fix: Corrections, dataset: Dataset, names: Sequence[str], fids: Rows) -> None:
    """Read the numbers again that GDAL may have rounded or cut, from the file's own digits.

    Args:
        fix: the attributes as GDAL read them, maybe only some of them.
        dataset: the files.
        names: all columns of the file, as GDAL names them.
        fids: the feature number of each row, from 1.

    Raises:
        UserError: the digits that were found are not those of the features.
    """
    long = [name for name in fix.table.column_names if len(rounded(fix.table[name]))]
    if not long:
        return
    written = _text if dataset.format is formats.MAPINFO_TEXT else _table
    for name, text in written(dataset, {name: names.index(name) for name in long}, fids):
        if not _belongs(fix.table[name], text):
            refuse_rounded(fix, name, dataset.file)
        numbers(fix, name, text)


def _table(dataset: Dataset, columns: Mapping[str, int], fids: Rows) -> Iterator[tuple[str, pa.Array]]:
    """The records are like those of dBASE; binary numbers among them are exact as GDAL reads them."""
    of_dbase = ".dat" not in dataset.parts
    dbf = Dbf(dataset.parts[".dbf" if of_dbase else ".dat"])
    for name, number in columns.items():
        field = dbf.fields[number]
        if field.kind == "N" or (of_dbase and field.kind == "F"):
            yield name, dbf.text(field, fids - 1)


def _text(dataset: Dataset, columns: Mapping[str, int], fids: Rows) -> Iterator[tuple[str, pa.Array]]:
    """A line of the .mid is a feature; the .mif names the delimiter."""
    with dataset.file.open("rb") as file:
        found = DELIMITER.search(file.read(HEADER))
    delimiter = (found[1] if found else b"\t").decode("latin-1")
    # digits are the same in every character set
    with dataset.parts[".mid"].open(encoding="latin-1", newline="") as file:
        records = list(csv.reader(file, delimiter=delimiter))
    for name, number in columns.items():
        taken = [records[fid - 1] if fid <= len(records) else [] for fid in fids.tolist()]
        texts = [record[number].strip() or None if number < len(record) else None for record in taken]
        yield name, pa.array(texts, pa.string())


def _belongs(column: pa.ChunkedArray, text: pa.Array) -> bool:
    """Whether GDAL reads the same numbers of these digits, but for whole numbers that it cuts."""
    cut = set(rounded(column).tolist()) if pa.types.is_integer(column.type) else set()
    return all(
        row in cut
        or raw is None
        or not EXACT.search(raw)
        or math.isclose(float(raw), value or 0, rel_tol=1e-12)
        for row, (raw, value) in enumerate(zip(text.to_pylist(), column.to_pylist(), strict=True))
    ) and all(text[row].is_valid for row in rounded(column).tolist())


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
            f" Name the right one with {option('--encoding')}"
        )
        fix.tell(name, "changed_text", rows, shown, reason)


def _is_valid(column: pa.ChunkedArray) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
