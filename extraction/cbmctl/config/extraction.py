"""What to extract, and how: what `extraction` in `db_config.json` makes of the band sets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cbmctl.config.bandsets import BANDSETS
from cbmctl.config.options import read_values
from cbmctl.config.section import Section

SCL_CLASSES = range(12)


@dataclass(frozen=True)
class Method:
    """How the rows of a task are made, beside its bands. A task that was done otherwise is done again.

    Attributes:
        edge: 'drop' leaves out parcels that reach beyond the image, 'keep' keeps them with the pixels inside.
        reflectance: of the 10 m and 20 m bands: 'harmonised' or 'as-stored'; None elsewhere.
        cloud_classes: parcels that hold no other SCL class get no row; empty where SCL is not looked at.
        overlap: of a parcel in several tiles of a datatake 'first' keeps the rows of one, 'all' of each.
        buffer_m: metres by which parcels are shrunk before their pixels are looked up.
    """

    edge: str
    reflectance: str | None = None
    cloud_classes: tuple[int, ...] = ()
    overlap: str | None = None
    buffer_m: float = 0.0


@dataclass(frozen=True)
class Extraction:
    """What to extract.

    Attributes:
        bandsets: keys of BANDSETS to band names, in the order of processing; sets without bands are absent.
        methods: keys of BANDSETS to how; of all of them.
        retry_seconds: pauses after the first, second … failure of a task; the last failure parks it.
        checksums: whether the files that are read are compared with the product's own checksums.
    """

    bandsets: Mapping[str, tuple[str, ...]]
    methods: Mapping[str, Method]
    retry_seconds: tuple[int, ...]
    checksums: bool


def read_extraction(section: Section) -> Extraction:
    """Read the section `extraction` of the configuration.

    Raises:
        UserError: a value is wrong, or nothing is to be extracted.
    """
    values = read_values(section)
    bandsets: dict[str, tuple[str, ...]] = {}
    for name, bandset in BANDSETS.items():
        if name == "scl":
            bands = bandset.default if values["s2.scl"] else ()
        else:
            bands = values[f"s2.{name}" if bandset.card == "s2" else f"{name}.bands"]
        if bands:
            bandsets[name] = tuple(dict.fromkeys(bands))
    if not bandsets:
        s2 = section.section("s2", {})
        raise s2.error("scl", "is false, and no bands are listed", "Set scl to true, or list bands")
    return Extraction(bandsets, _methods(values), values["retry_seconds"], checksums=values["checksums"])


def _methods(values: Mapping[str, Any]) -> dict[str, Method]:
    overlap, buffer_m = values["s2.overlap"], values["parcels_buffer_m"]
    # without histograms nobody could see why a parcel has no row
    cloudy = tuple(sorted(set(values["s2.cloud_classes"]))) if values["s2.scl"] else ()
    methods = {
        "scl": Method("keep", overlap=overlap, buffer_m=buffer_m),
        "10": Method(values["s2.edge"], values["s2.reflectance"], cloudy, overlap, buffer_m),
    }
    methods["20"] = methods["10"]
    for name in ("bs", "c6", "c12"):
        methods[name] = Method(values[f"{name}.edge"], buffer_m=buffer_m)
    return methods
