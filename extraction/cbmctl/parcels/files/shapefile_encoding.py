"""The character set of a shapefile's attributes, which the file itself often keeps to itself.

A .cpg file names it, in one of many spellings; else the code page byte (LDID) of the .dbf does. That byte is
0 ("unknown") or 87 ("whatever Windows uses here") in most national files: then the bytes themselves decide
between UTF-8 and the character sets of Europe's languages (`alphabets`), and that is a guess.
"""

import codecs
import re
from collections import Counter
from dataclasses import dataclass
from typing import IO

from cbmctl.parcels.files.dbf_header import SIZE, dbf_header
from cbmctl.parcels.files.guess_encoding import guess

LDID_UNDECIDED = {0, 87}
CHUNK = 1 << 22
ENOUGH = 200_000  # words looked at
NEARLY_ALL = 0.9  # of the runs of non-ASCII bytes; a field's end may cut some
UTF8 = "utf-8"
DEFAULT = "cp1252"
WORD = re.compile(rb"[A-Za-z\x80-\xff]*[\x80-\xff][A-Za-z\x80-\xff]*")
NOT_ASCII = re.compile(rb"[\x80-\xff]+")
NUMBERED = re.compile(r"(?:ANSI|OEM|CP|IBM|DOS|MSDOS|WINDOWS|WIN|X)?[ _-]*(\d{3,5})", re.IGNORECASE)
LATIN = re.compile(r"(?:ISO)?[ _-]*8859[ _-]*(\d{1,2})", re.IGNORECASE)
LANGUAGE_DRIVER = re.compile(r"LDID[ /]*(\d{1,3})", re.IGNORECASE)
WINDOWS_NUMBERS = {65001: UTF8, 20866: "koi8_r", 21866: "koi8_u", 10000: "mac_roman", 20127: "ascii"}
FIRST_LATIN = 28590  # Windows' number of ISO 8859-n is this and n
# dBASE's numbers of code pages, as ESRI and GDAL list them
LDID = {
    **dict.fromkeys((1, 9, 11, 13, 15, 17, 21, 24, 25, 27), "cp437"),
    **dict.fromkeys((2, 10, 14, 16, 18, 20, 22, 26, 29, 37, 55), "cp850"),
    **dict.fromkeys((3, 88, 89), "cp1252"),
    **dict.fromkeys((31, 34, 35, 64, 100, 135), "cp852"),
    **{4: "mac_roman", 8: "cp865", 23: "cp865", 102: "cp865", 36: "cp860", 28: "cp863", 108: "cp863"},
    **{38: "cp866", 101: "cp866", 103: "cp861", 106: "cp737", 134: "cp737", 107: "cp857", 136: "cp857"},
    **{200: "cp1250", 201: "cp1251", 202: "cp1254", 203: "cp1253", 204: "cp1257"},
}
# what GDAL's iconv knows and decodes as Python does; everything else is decoded here
_GDAL = re.compile(r"cp(437|737|775|85[02578]|86[0-69]|874|1125|125[0-7])|koi8_[ru]|iso8859_\d+|utf-8")
STAND_IN = "ISO-8859-1"  # in which no byte is lost


@dataclass(frozen=True)
class CharacterSet:
    """A character set.

    Attributes:
        codec: Python's name of it.
        doubt: why it is a guess, as a part of a sentence; None if the file or a person says so.
    """

    codec: str
    doubt: str | None = None

    @property
    def shown(self) -> str:
        """Its usual name: UTF-8, CP1250, ISO-8859-2."""
        return re.sub(r"^ISO8859_", "ISO-8859-", self.codec.upper())

    @property
    def single_byte(self) -> bool:
        """Whether every byte is a character of its own."""
        return all(len(bytes([byte, 0x41]).decode(self.codec, "replace")) == 2 for byte in range(256))

    @property
    def gdal_decodes(self) -> bool:
        """Whether GDAL decodes it as Python does."""
        return bool(_GDAL.fullmatch(self.codec))

    @property
    def gdal(self) -> str:
        """The character set that GDAL gets, so that no byte is lost."""
        return self.shown.replace("_", "-") if self.gdal_decodes else STAND_IN

    def name(self, read: str) -> str:
        """A column's name, as GDAL reads it with the character set `gdal`."""
        if self.gdal_decodes:
            return read
        return read.encode(STAND_IN, "replace").decode(self.codec, "backslashreplace")


def named(word: str) -> CharacterSet | None:
    """The character set that somebody names: UTF-8, 1250, "ANSI 1252", "OEM 852", 88592 and the like."""
    word = word.strip(" \t\r\n\0\ufeff'\"")
    if match := LANGUAGE_DRIVER.fullmatch(word):
        return _codec(LDID.get(int(match[1]), ""))
    if match := LATIN.fullmatch(word):
        return _codec(f"iso8859_{int(match[1])}")
    if match := NUMBERED.fullmatch(word):
        number = int(match[1])
        latin = f"iso8859_{number - FIRST_LATIN}" if 0 < number - FIRST_LATIN < 17 else None
        return _codec(latin or WINDOWS_NUMBERS.get(number) or f"cp{number}")
    return _codec(word)


def _codec(name: str) -> CharacterSet | None:
    try:
        found = codecs.lookup(name).name.replace("-", "_")
        ascii_too = b"Az09".decode(found) == "Az09"  # what the rest of a .dbf is written in
    except (LookupError, TypeError, ValueError):
        return None
    if not ascii_too:
        return None
    spelt = {"utf_8": UTF8, "utf_8_sig": UTF8, "ascii": UTF8, "latin_1": "iso8859_1"}
    return CharacterSet(spelt.get(found, found))


def of_shapefile(cpg: bytes | None, dbf: IO[bytes]) -> CharacterSet:
    """The character set of a shapefile.

    A field cut in the middle of a character breaks strict UTF-8, so the majority of the runs of non-ASCII
    bytes decides: accented Latin text practically never forms valid UTF-8. Texts that are nearly all valid
    UTF-8 are UTF-8, even if the file names a set of single bytes.

    Args:
        cpg: the content of its .cpg, if there is one.
        dbf: its .dbf, at the beginning.
    """
    header = dbf_header(dbf.read(SIZE))
    word = (cpg or b"")[:40].decode("utf-8", "replace").strip("\0 \t\r\n\ufeff")
    says, source = named(word) if word else None, f"its .cpg says '{word}'"
    driver = header.code_page if header else 0
    if not word and driver not in LDID_UNDECIDED and driver in LDID:
        says = CharacterSet(LDID[driver])
        source = f"its .dbf says {says.shown}"
    dbf.seek(header.start if header else 0)
    words, utf8, other = _words(dbf)
    if says and says.codec != UTF8:
        if utf8 and utf8 >= NEARLY_ALL * (utf8 + other) and says.single_byte:
            return CharacterSet(UTF8, f"{source}, but its texts are valid UTF-8")
        return says
    if says and utf8 >= other:
        return says
    if word:
        why = (
            f"its .cpg says '{word}', which is wrong" if says else f"its .cpg says '{word}', which is unknown"
        )
    else:
        why = "the file does not name its character set"
    if utf8 >= other:
        return CharacterSet(UTF8, why if word else None)
    found = guess(words)
    if found is None:
        return CharacterSet(DEFAULT, why)
    fits = f"its words fit {found.language}" if found.sure else "no other character set fits its words better"
    return CharacterSet(found.codec, f"{why}, and {fits}")


def _words(dbf: IO[bytes]) -> tuple[Counter[bytes], int, int]:
    """Words with bytes beyond ASCII; how many runs of such bytes are valid UTF-8, and how many are not."""
    words: Counter[bytes] = Counter()
    runs: Counter[bytes] = Counter()
    while (chunk := dbf.read(CHUNK)) and words.total() < ENOUGH:
        found = WORD.findall(chunk)
        words.update(found)
        runs.update(run for word in found for run in NOT_ASCII.findall(word))
    utf8 = sum(count for run, count in runs.items() if _is_utf8(run))
    return words, utf8, runs.total() - utf8


def _is_utf8(run: bytes) -> bool:
    try:
        run.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
