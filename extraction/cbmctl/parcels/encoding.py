"""The character set of a shapefile's attributes, which the file itself often keeps to itself.

GDAL honours a .cpg file and the code page byte (LDID) of the .dbf. That byte is 0 ("unknown") or 87
("whatever Windows uses here") in most national files, so there the bytes themselves decide between UTF-8 and
Windows-1252 (Latin-1 with the typographic signs).
"""

import codecs
import re
from typing import IO

LDID_OFFSET = 29
LDID_UNDECIDED = {0, 87}
NOT_ASCII = re.compile(rb"[\x80-\xff]+")
CHUNK = 1 << 22


def shapefile_encoding(dbf: IO[bytes]) -> str | None:
    """What to tell GDAL about a .dbf without .cpg; None where its code page byte already says it.

    A field cut in the middle of a character breaks strict UTF-8, so the majority of the runs of non-ASCII
    bytes decides: accented Latin-1 text practically never forms valid UTF-8.
    """
    header = dbf.read(32)
    if len(header) < 32 or header[LDID_OFFSET] not in LDID_UNDECIDED:
        return None
    utf8 = other = 0
    while chunk := dbf.read(CHUNK):
        for run in NOT_ASCII.findall(chunk):
            if _is_utf8(run):
                utf8 += 1
            else:
                other += 1
    if other > utf8:
        return "CP1252"
    return "UTF-8"


def check_encoding(name: str) -> bool:
    """Whether there is a character set of that name."""
    try:
        codecs.lookup(name)
    except LookupError:
        return False
    return True


def _is_utf8(run: bytes) -> bool:
    try:
        run.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
