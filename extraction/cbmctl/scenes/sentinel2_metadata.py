"""What a Sentinel-2 product says about itself: MTD_MSIL2A.xml."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml import DefusedXmlException
from shapely import Polygon

from cbmctl.reasons import UNREADABLE, file_missing
from cbmctl.scenes import SceneError

METADATA_FILE = "MTD_MSIL2A.xml"

# Band order of Sentinel-2 L2A metadata, for products without Spectral_Information.
_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")


@dataclass(frozen=True)
class SafeMetadata:
    """The part of MTD_MSIL2A.xml that extraction and catalogue need.

    Attributes:
        baseline: processing baseline, as in "05.10".
        boa_offsets: BOA_ADD_OFFSET by band name; empty when the product has none (before baseline 04.00).
        quantification: reflectance = (DN + offset) / quantification.
        footprint: Global_Footprint in EPSG:4326 (x = longitude), None when the product does not say.
        cloud_cover: percent of the tile, None when the product does not say.
        datatake: what was sensed in one go, likewise.
        datastrip: what was processed in one piece, likewise.
        generated: when the product was made, as it says it, likewise.
    """

    baseline: str | None
    boa_offsets: Mapping[str, int]
    quantification: int
    footprint: Polygon | None
    cloud_cover: float | None
    datatake: str | None
    datastrip: str | None
    generated: str | None

    @property
    def boa_offset(self) -> int | None:
        """The offset of all bands; 0: the product has none, None: its bands differ (never seen so far)."""
        offsets = set(self.boa_offsets.values()) or {0}
        return offsets.pop() if len(offsets) == 1 else None


def read_safe_metadata(folder: Path) -> SafeMetadata:
    """Read MTD_MSIL2A.xml of the product in `folder`.

    Raises:
        SceneError: the file is missing (`!S3 MTD_MSIL2A.xml`) or not a readable metadata file (`Rio error`).
    """
    path = folder / METADATA_FILE
    try:
        root = _parse(path)
        return SafeMetadata(
            baseline=_text(root, "PROCESSING_BASELINE"),
            boa_offsets=_boa_offsets(root),
            quantification=int(float(_text(root, "BOA_QUANTIFICATION_VALUE") or 10000)),
            footprint=_footprint(root),
            cloud_cover=_cloud_cover(root),
            datatake=_attribute(root, "Datatake", "datatakeIdentifier"),
            datastrip=_attribute(root, "Granule", "datastripIdentifier"),
            generated=_text(root, "GENERATION_TIME"),
        )
    except FileNotFoundError:
        raise SceneError(file_missing(METADATA_FILE), f"{folder.name} has no {METADATA_FILE}") from None
    except (OSError, ParseError, DefusedXmlException, ValueError) as error:
        raise SceneError(UNREADABLE, f"{METADATA_FILE} of {folder.name} cannot be read: {error}") from error


def _parse(path: Path) -> Element:
    root: Element | None = defusedxml.ElementTree.parse(path).getroot()
    if root is None:
        raise ValueError("it has no XML element")
    return root


def _text(root: Element, name: str) -> str | None:
    found = root.find(f".//{{*}}{name}")
    return found.text.strip() if found is not None and found.text and found.text.strip() else None


def _attribute(root: Element, name: str, attribute: str) -> str | None:
    found = root.find(f".//{{*}}{name}[@{attribute}]")
    return None if found is None else found.attrib[attribute]


def _boa_offsets(root: Element) -> dict[str, int]:
    """Offsets by band; the numbering is the product's own (Spectral_Information) where it gives one."""
    names = dict(enumerate(_BANDS))
    for item in root.iterfind(".//{*}Spectral_Information"):
        names[int(item.attrib["bandId"])] = _band_name(item.attrib["physicalBand"])
    offsets = {}
    for item in root.iterfind(".//{*}BOA_ADD_OFFSET"):
        band = int(item.attrib["band_id"])
        if band not in names:
            raise ValueError(f"BOA_ADD_OFFSET of an unknown band {band}")
        offsets[names[band]] = int(float(item.text or "0"))
    return offsets


def _band_name(physical: str) -> str:
    """Return "B02" for "B2"; "B8A" and "B11" stay."""
    return re.sub(r"^B(\d)$", r"B0\1", physical)


def _footprint(root: Element) -> Polygon | None:
    """Global_Footprint: pairs of latitude and longitude, in that order."""
    text = _text(root, "EXT_POS_LIST")
    if text is None:
        return None
    numbers = [float(word) for word in text.split()]
    if len(numbers) < 8 or len(numbers) % 2:
        raise ValueError(f"EXT_POS_LIST holds {len(numbers)} numbers, which is not a valid polygon")
    return Polygon(zip(numbers[1::2], numbers[0::2], strict=True))


def _cloud_cover(root: Element) -> float | None:
    text = _text(root, "Cloud_Coverage_Assessment")
    return None if text is None else float(text)
