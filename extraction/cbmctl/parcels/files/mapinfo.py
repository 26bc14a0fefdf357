"""MapInfo files and the character set in their header, which GDAL decodes by, names of columns included.

It is "Neutral" in files of programs other than MapInfo. Then a person must name the character set.
"""

import re
import shutil
from dataclasses import replace

from cbmctl.errors import UserError
from cbmctl.invocation import option
from cbmctl.parcels.files.delivery import Dataset
from cbmctl.parcels.files.shapefile_encoding import UTF8, CharacterSet

# MapInfo's name of each character set that GDAL knows
CHARSETS = {
    **{"cp1250": "WindowsLatin2", "cp1251": "WindowsCyrillic", "cp1252": "WindowsLatin1"},
    **{"cp1253": "WindowsGreek", "cp1254": "WindowsTurkish", "cp1257": "WindowsBalticRim"},
    **{f"cp{n}": f"CodePage{n}" for n in (437, 850, 852, 855, 857, 860, 861, 863, 865)},
    **{f"iso8859_{n}": f"ISO8859_{n}" for n in range(1, 10)},
    UTF8: "UTF-8",
}
HEADER = 1 << 16  # bytes in which the header's lines are
NEUTRAL = "Neutral"
FOLDER = "with_charset"  # beside the file in its view
_CHARSET = re.compile(rb'(?im)(?:^[ \t]*!charset[ \t]+|\bCharset[ \t]+")([\w-]+)')
_VERSION = re.compile(rb"(?im)^([ \t]*)(!?)version[ \t]+\d+[ \t]*\r?\n")


def charset_of(dataset: Dataset) -> str:
    """What the header says; "Neutral" if it says nothing."""
    with dataset.file.open("rb") as file:
        found = _CHARSET.search(file.read(HEADER))
    return found[1].decode("ascii", "replace") if found else NEUTRAL


def with_charset(dataset: Dataset, characters: CharacterSet) -> Dataset:
    """The file with another character set in its header, in the view.

    Raises:
        UserError: MapInfo has no name for the character set, or the header is not one of MapInfo.
    """
    name = CHARSETS.get(characters.codec)
    if name is None:
        known = ", ".join(CharacterSet(codec).shown for codec in CHARSETS)
        raise UserError(
            "parcels.unsupported_encoding",
            f"{option('--encoding')}: {characters.shown} is not supported for MapInfo files"
            f" ({dataset.shown})",
            f"Use one of {known}",
            about=option("--encoding"),
        )
    folder = dataset.file.parent / FOLDER
    folder.mkdir(exist_ok=True)
    copy = folder / dataset.file.name
    with dataset.file.open("rb") as source, copy.open("wb") as target:
        target.write(_renamed(dataset, source.read(HEADER), name.encode()))
        shutil.copyfileobj(source, target)
    parts = {}
    for suffix, part in dataset.parts.items():
        parts[suffix] = folder / part.name
        if part != dataset.file:
            parts[suffix].symlink_to(part.resolve())
    return replace(dataset, file=copy, parts=parts)


def _renamed(dataset: Dataset, header: bytes, name: bytes) -> bytes:
    if _CHARSET.search(header):
        return _CHARSET.sub(lambda match: match[0].removesuffix(match[1]) + name, header)
    version = _VERSION.search(header)
    if version is None:
        raise UserError(
            "parcels.wrong_format",
            f"{dataset.shown} is not a MapInfo file (it has no version)",
            "Deliver it again",
            about=dataset.shown,
        )
    line = b"!charset " + name if version[2] else b'Charset "' + name + b'"'
    return header[: version.end()] + line + b"\r\n" + header[version.end() :]
