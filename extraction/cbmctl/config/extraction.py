"""What to extract, and how: the band sets, and what `extraction` in `db_config.json` makes of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from cbmctl.config.section import Section

REFLECTANCE = ("harmonised", "as-stored")
EDGES = ("drop", "keep")
OVERLAPS = ("first", "all")
RETRY_SECONDS = (10, 60)
SCL_CLASSES = range(12)
MAX_BUFFER_M = 50


@dataclass(frozen=True)
class Bandset:
    """Bands that one task extracts together: those of a card at one resolution.

    Attributes:
        card: the word in `dias_catalogue.card`.
        resolution: metres.
        bands: all there are, by the names in `sigs`.
        default: those that are extracted unless the configuration says otherwise.
        megabytes: typical size of the file of one band, for forecasts.
    """

    card: str
    resolution: int
    bands: tuple[str, ...]
    default: tuple[str, ...]
    megabytes: int


# In the order of processing: SCL tells which scenes hold no parcels.
BANDSETS: Mapping[str, Bandset] = {
    "scl": Bandset("s2", 20, ("SCL",), ("SCL",), 2),
    "10": Bandset("s2", 10, ("B02", "B03", "B04", "B08"), ("B02", "B03", "B04", "B08"), 105),
    "20": Bandset("s2", 20, ("B05", "B06", "B07", "B8A", "B11", "B12"), ("B05", "B11"), 28),
    "bs": Bandset("bs", 10, ("VVb", "VHb"), ("VVb", "VHb"), 672),
    "c6": Bandset("c6", 20, ("VVc", "VHc"), ("VVc", "VHc"), 168),
    "c12": Bandset("c12", 20, ("VVc", "VHc"), ("VVc", "VHc"), 168),
}


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
    retry_seconds: tuple[int, ...] = RETRY_SECONDS
    checksums: bool = True


def read_extraction(section: Section) -> Extraction:
    """Read the section `extraction` of the configuration.

    Raises:
        UserError: a value is wrong, or nothing is to be extracted.
    """
    radar = [name for name, bandset in BANDSETS.items() if bandset.card != "s2"]
    section.only("s2", *radar, "parcels_buffer_m", "retry_seconds", "checksums")
    s2 = section.section("s2", {})
    s2.only("scl", "10", "20", "reflectance", "cloud_classes", "edge", "overlap")
    for name in radar:
        section.section(name, {}).only("bands", "edge")
    bandsets: dict[str, tuple[str, ...]] = {}
    if s2.flag("scl", default=True):
        bandsets["scl"] = BANDSETS["scl"].default
    for name, bandset in BANDSETS.items():
        if name == "scl":
            continue
        place, key = (s2, name) if bandset.card == "s2" else (section.section(name, {}), "bands")
        bands = place.get(key, list(bandset.default))
        if not isinstance(bands, list) or not all(band in bandset.bands for band in bands):
            raise place.error(key, f"is {bands!r}", f"Use a list of {', '.join(bandset.bands)}")
        if bands:
            bandsets[name] = tuple(dict.fromkeys(bands))
    if not bandsets:
        raise s2.error("scl", "is false, and no bands are listed", "Set scl to true, or list bands")
    return Extraction(
        bandsets,
        _methods(section, s2),
        _retry_seconds(section),
        checksums=section.flag("checksums", default=True),
    )


def _methods(section: Section, s2: Section) -> dict[str, Method]:
    reflectance = s2.choice("reflectance", REFLECTANCE, "harmonised")
    classes = s2.get("cloud_classes", [9])
    if not isinstance(classes, list) or not all(type(c) is int and c in SCL_CLASSES for c in classes):
        raise s2.error("cloud_classes", f"is {classes!r}", "Use a list of SCL classes from 0 to 11, or []")
    edge = s2.choice("edge", EDGES, "drop")
    # without histograms nobody could see why a parcel has no row
    cloudy = tuple(sorted(set(classes))) if s2.flag("scl", default=True) else ()
    overlap = s2.choice("overlap", OVERLAPS, "first")
    buffer_m = section.number("parcels_buffer_m", 0.0, MAX_BUFFER_M)
    methods = {
        "scl": Method("keep", overlap=overlap, buffer_m=buffer_m),
        "10": Method(edge, reflectance, cloudy, overlap, buffer_m),
    }
    methods["20"] = methods["10"]
    for name in ("bs", "c6", "c12"):
        methods[name] = Method(section.section(name, {}).choice("edge", EDGES, "keep"), buffer_m=buffer_m)
    return methods


def _retry_seconds(section: Section) -> tuple[int, ...]:
    seconds = section.get("retry_seconds", list(RETRY_SECONDS))
    if not isinstance(seconds, list) or not all(type(s) is int and 0 <= s <= 86400 for s in seconds):
        raise section.error("retry_seconds", f"is {seconds!r}", "Use a list of seconds from 0 to 86400")
    return tuple(seconds)
