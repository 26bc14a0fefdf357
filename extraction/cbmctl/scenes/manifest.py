"""The checksums that a product brings along: manifest.safe, which lists each of its files.

The layout is that of real products: `byteStream` elements with a `fileLocation` and a `checksum`, which is
MD5 in older products and SHA3-256 in newer ones, in lower or upper case.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

MANIFEST_FILE = "manifest.safe"
# As manifests name them, in upper case, and as hashlib does.
ALGORITHMS: Mapping[str, str] = {"MD5": "md5", "SHA3-256": "sha3_256"}


@dataclass(frozen=True)
class Checksum:
    """What a manifest says of a file.

    Attributes:
        algorithm: its name in upper case; one of ALGORITHMS, or one that is not supported.
        digest: hexadecimal, in lower case.
        size: bytes; None if the manifest does not say.
    """

    algorithm: str
    digest: str
    size: int | None

    @property
    def supported(self) -> bool:
        """Whether the checksum can be computed."""
        return self.algorithm in ALGORITHMS


def read_manifest(folder: Path) -> Mapping[str, Checksum] | None:
    """Read the manifest of the product in `folder`.

    Returns:
        Checksums by file, as a path below the folder with `/`; files without a checksum are left out. None if
        the product has no manifest.

    Raises:
        OSError: the manifest cannot be read.
        ValueError: it is not XML.
    """
    try:
        root = _parse(folder / MANIFEST_FILE)
    except FileNotFoundError:
        return None
    except (ParseError, DefusedXmlException) as error:
        raise ValueError(str(error)) from error
    found: dict[str, Checksum] = {}
    for stream in root.iterfind(".//{*}byteStream"):
        location, checksum = stream.find("{*}fileLocation"), stream.find("{*}checksum")
        if location is None or checksum is None:
            continue
        digest = "".join((checksum.text or "").split()).lower()
        if href := location.get("href", "").strip():
            size = stream.get("size", "").strip()
            found[_file(href)] = Checksum(
                checksum.get("checksumName", "").strip().upper(),
                digest,
                int(size) if size.isdecimal() else None,
            )
    return {file: checksum for file, checksum in found.items() if checksum.digest}


def _parse(path: Path) -> Element:
    root: Element | None = defusedxml.ElementTree.parse(path).getroot()
    if root is None:
        raise ValueError("no element found")
    return root


def _file(href: str) -> str:
    """Return "GRANULE/a.jp2" for "./GRANULE/a.jp2", also with backslashes."""
    return PurePosixPath(href.replace("\\", "/")).as_posix()
