"""The attributes of a shapefile, byte by byte: GDAL makes numbers and dates of any text in a .dbf."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cbmctl.errors import UserError
from cbmctl.invocation import option
from cbmctl.parcels.files.dbf_header import SIZE, DbfHeader, dbf_header
from cbmctl.parcels.files.raw.corrections import Corrections, Rows
from cbmctl.parcels.files.raw.written import compact_date_of, dates, numbers
from cbmctl.parcels.files.shapefile_encoding import UTF8, CharacterSet

DESCRIPTOR, END_OF_FIELDS = 32, 0x0D
BLANK, NUL, ASCII_END, QUESTION = 0x20, 0x00, 0x80, 0x3F
TRUTH = r"^[TtYyFfNn]$"
KNOWN = "CNFDL"
NO_RECORDS = DbfHeader(0, 0, 0, 0)  # of a file that is shorter than a header
UNREADABLE = {"M": "a memo, whose text is in another file", "I": "a binary integer", "B": "a binary number"}


@dataclass(frozen=True)
class Field:
    """A field of a .dbf: its type (C, N, F, D or L), and where it is in a record."""

    kind: str
    start: int
    width: int
    decimals: int


class Dbf:
    """The records of a .dbf as bytes, (n, length); record number n is feature n of the shapefile.

    A truncated file has fewer records than its header says.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            header = dbf_header(file.read(SIZE)) or NO_RECORDS
            descriptors = file.read(max(0, header.start - SIZE))
        whole = max(0, path.stat().st_size - header.start) // max(header.length, 1)
        count, length = min(header.records, whole), header.length
        self.fields = list(_fields(descriptors))
        self.records: npt.NDArray[np.uint8] = (
            np.memmap(path, np.uint8, "r", header.start, (count, length))
            if count
            else np.empty((0, length), np.uint8)
        )

    def bytes(self, field: Field, rows: Rows) -> npt.NDArray[np.uint8]:
        """(n, width) the bytes of a field."""
        return np.ascontiguousarray(self.records[rows, field.start : field.start + field.width])

    def text(self, field: Field, rows: Rows) -> pa.Array:
        """The field without blanks around; null where it is blank, or filled with asterisks."""
        raw = self.bytes(field, rows)
        raw[raw == NUL] = BLANK
        raw[raw >= ASCII_END] = QUESTION
        fixed = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(field.width), len(raw), [None, pa.py_buffer(raw.tobytes())]
        )
        text = pc.ascii_trim_whitespace(fixed.cast(pa.binary()).cast(pa.string()))
        return pc.if_else(pc.match_substring_regex(text, r"^\**$"), pa.scalar(None, pa.string()), text)


def _fields(descriptors: bytes) -> list[Field]:
    found, start = [], 1  # a flag for deleted records comes first
    for at in range(0, len(descriptors) - DESCRIPTOR + 1, DESCRIPTOR):
        one = descriptors[at : at + DESCRIPTOR]
        if one[0] == END_OF_FIELDS:
            break
        found.append(Field(chr(one[11]), start, one[16], one[17]))
        start += one[16]
    return found


def correct(
    fix: Corrections,
    path: Path,
    names: Sequence[str],
    fids: Rows,
    *,
    characters: CharacterSet,
    shown: str,
) -> None:
    """Put the attributes of a shapefile right.

    Args:
        fix: the attributes as GDAL read them, maybe only some of them.
        path: the .dbf.
        names: all its fields, as GDAL names them.
        fids: the record number of each row.
        characters: its character set.
        shown: what messages call the file.

    Raises:
        UserError: a column has a type that only its own program can read.
    """
    dbf = Dbf(path)
    for name, field in zip(names, dbf.fields, strict=True):
        if name not in fix or not field.width:
            continue
        if field.kind not in KNOWN:
            what = UNREADABLE.get(field.kind, "of an unknown type")
            raise UserError(
                "parcels.unsupported_column",
                f"{shown}: column {name} is {what} (type {field.kind} of dBASE)",
                (
                    "This is not supported. Export the file again without it, or name the columns to keep"
                    f" with {option('--attribute')}"
                ),
                about=option("--attribute"),
            )
        if field.kind == "C":
            _text(fix, name, dbf.bytes(field, fids), characters)
        else:
            _value(fix, name, field, dbf.text(field, fids))


def _value(fix: Corrections, name: str, field: Field, text: pa.Array) -> None:
    if field.kind == "D":
        none = pc.match_substring_regex(text, "^0*$")
        dates(fix, name, pc.if_else(none, pa.scalar(None, pa.string()), text), compact_date_of)
    elif field.kind == "L":
        blank = np.flatnonzero(np.asarray(text.is_null()))
        fix.values(name, blank, [None] * len(blank))  # which GDAL takes for false
        wrong = pc.invert(pc.match_substring_regex(text, TRUTH))
        wrong = pc.and_(wrong, pc.not_equal(text, "?"))
        rows = np.flatnonzero(np.asarray(pc.fill_null(wrong, False)))
        fix.invalid(name, rows, pc.take(text, pa.array(rows)).to_pylist(), "is neither true nor false")
    elif pa.types.is_integer(fix.table[name].type) or pa.types.is_floating(fix.table[name].type):
        numbers(fix, name, text, whole=field.decimals == 0 and _only_whole(text))


def _only_whole(text: pa.Array) -> bool:
    """Whether no valid number has a fraction: some programs declare none and write one all the same."""
    return not pc.any(
        pc.match_substring_regex(text, r"^[+-]?[0-9]*\.[0-9]*[1-9][0-9]*$|[0-9][eE][+-]?[0-9]")
    ).as_py()


def _text(fix: Corrections, name: str, raw: npt.NDArray[np.uint8], characters: CharacterSet) -> None:
    """GDAL leaves out bytes that mean nothing in the character set. UTF-8 it hands over as it is."""
    if characters.codec == UTF8:
        return
    rows = np.flatnonzero((raw >= ASCII_END).any(axis=1))
    words = [raw[row].tobytes().split(b"\0")[0].rstrip() for row in rows]
    broken = {word for word in set(words) if not _decodes(word, characters.codec)}
    bad = [i for i, word in enumerate(words) if word in broken]
    here = range(len(words)) if not characters.gdal_decodes else bad
    fix.values(name, rows[list(here)], [words[i].decode(characters.codec, "ignore") for i in here])
    shown = [words[i].decode(characters.codec, "backslashreplace") for i in bad]
    fix.tell(name, "changed_text", rows[bad], shown, f"has bytes that are invalid in {characters.shown}")


def _decodes(word: bytes, codec: str) -> bool:
    try:
        word.decode(codec)
    except UnicodeDecodeError:
        return False
    return True
