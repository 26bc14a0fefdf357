"""The first 32 bytes of a table of dBASE III: how many records it has, and where they are."""

from dataclasses import dataclass

SIZE = 32


@dataclass(frozen=True)
class DbfHeader:
    """What the header says.

    Attributes:
        records: their number, those that are marked as deleted included.
        start: the first record's place in the file, in bytes.
        length: bytes of a record.
        code_page: dBASE's number of the character set (LDID); 0 if it is unknown.
    """

    records: int
    start: int
    length: int
    code_page: int


def dbf_header(raw: bytes) -> DbfHeader | None:
    """The header at the beginning of a file; None if the file is shorter than one."""
    if len(raw) < SIZE:
        return None
    return DbfHeader(
        records=int.from_bytes(raw[4:8], "little"),
        start=int.from_bytes(raw[8:10], "little"),
        length=int.from_bytes(raw[10:12], "little"),
        code_page=raw[29],
    )
