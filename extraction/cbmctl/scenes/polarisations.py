"""What a GeoTIFF says of its bands' polarisations, in any of the ways that GDAL and SNAP write it."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree.ElementTree import ParseError

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

from cbmctl.scenes.sentinel1 import FlawError

_POLARISATION = re.compile(r"(?<![A-Z0-9])(VV|VH|HH|HV)C?(?![A-Z0-9])", re.IGNORECASE)
_SNAP_NAME = re.compile(r"\bcoh(?:_IW\d)?_(?:VV|VH|HH|HV)\w*", re.IGNORECASE)
_DIMAP_TAG = 65000  # of SNAP and BEAM: the BEAM-DIMAP header of the product
_ASCII = 2  # the TIFF type
_MAX_DIMAP_BYTES = 2**26

_Claims = Sequence[str | None]


def stated_polarisations(dataset: Any, path: Path) -> tuple[str, ...] | None:
    """Return the polarisation of each band of an open GeoTIFF as the file states it; None: it says nothing.

    Args:
        dataset: the file, opened by rasterio.
        path: the file.

    Raises:
        FlawError: it says so of some bands only, or contradicts itself.
        OSError: it cannot be read.
    """
    claims = [claim for claim in _claims(dataset, path) if any(claim)]
    if not claims:
        return None
    stated = []
    for number, of_band in enumerate(zip(*claims, strict=True), start=1):
        different = sorted({claim for claim in of_band if claim})
        if len(different) != 1:
            raise FlawError(
                f"states both {' and '.join(different)} for its band {number}"
                if different
                else f"does not say which polarisation its band {number} is"
            )
        stated.append(different[0])
    if len(set(stated)) != len(stated):
        raise FlawError(f"states the same polarisation for several bands: {', '.join(stated)}")
    return tuple(stated)


def _claims(dataset: Any, path: Path) -> Iterator[_Claims]:
    """Yield what each source says, band by band: None where it does not."""
    numbers = range(1, dataset.count + 1)
    yield [_polarisation(dataset.descriptions[number - 1] or "") for number in numbers]
    yield [_polarisation(" ".join(dataset.tags(number).values())) for number in numbers]
    for text in (*dataset.tags().values(), _dimap(path)):
        names = _dimap_names(text) if "<Dimap_Document" in text else _SNAP_NAME.findall(text)
        # names of something else than the bands of this file say nothing about their order
        yield [_polarisation(name) for name in names] if len(names) == dataset.count else [None]


def _polarisation(text: str) -> str | None:
    """Return the one polarisation that a text names."""
    found = {match.upper() for match in _POLARISATION.findall(text.replace("_", " "))}
    return found.pop() if len(found) == 1 else None


def _dimap_names(document: str) -> list[str]:
    """Return the names of the bands that a BEAM-DIMAP document lists as stored, in their order."""
    try:
        root = defusedxml.ElementTree.fromstring(document)
    except (ParseError, DefusedXmlException):
        return []
    bands = []
    for info in root.iter("Spectral_Band_Info"):
        index = info.findtext("BAND_INDEX", "").strip()
        if index.isdecimal() and info.findtext("VIRTUAL_BAND", "false").strip() != "true":
            bands.append((int(index), info.findtext("BAND_NAME", "").strip()))
    return [name for _, name in sorted(bands)]


def _dimap(path: Path) -> str:
    """Return the BEAM-DIMAP header of a GeoTIFF, "" when it has none: GDAL does not show this tag."""
    with path.open("rb") as file:
        magic = file.read(4)
        if magic not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return ""
        order: Any = "little" if magic[:2] == b"II" else "big"
        big = 43 in magic  # BigTIFF
        wide, entry_bytes = (8, 20) if big else (4, 12)
        file.seek(8 if big else 4)
        file.seek(int.from_bytes(file.read(wide), order))
        entries = int.from_bytes(file.read(8 if big else 2), order)
        directory = file.read(min(entries, 65535) * entry_bytes)
        for at in range(0, len(directory), entry_bytes):
            entry = directory[at : at + entry_bytes]
            if (int.from_bytes(entry[:2], order), int.from_bytes(entry[2:4], order)) == (_DIMAP_TAG, _ASCII):
                count = int.from_bytes(entry[4 : 4 + wide], order)
                return _text(file, entry[4 + wide :], count, order)
    return ""


def _text(file: BinaryIO, value: bytes, count: int, order: Any) -> str:
    """Return the text of a TIFF entry: in the entry itself if it fits there."""
    if count > len(value):
        file.seek(int.from_bytes(value, order))
        value = file.read(min(count, _MAX_DIMAP_BYTES))
    return value[:count].rstrip(b"\0").decode("latin-1").strip()
