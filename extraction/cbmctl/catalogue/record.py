"""One normal form for a product, wherever the catalogue heard of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import shapely
from shapely import MultiPolygon, Polygon
from shapely.affinity import translate

from cbmctl.catalogue.orbits import NO_ORBIT, Orbit

Footprint = Polygon | MultiPolygon
LONGEST_NAME = 120  # as the manual's table has it


@dataclass(frozen=True)
class Card:
    """A kind of product of the manual: where the archive keeps it and how its names read.

    Attributes:
        name: the word in `dias_catalogue.card`.
        ptype: the manual's product type, optional on the command line.
        folder: below the archive's root, with `*` where there are several (L2A, L2A_N0500).
        pattern: of product names; groups sensor, sensing (UTC), and tile, baseline where the name has them.
    """

    name: str
    ptype: str
    folder: str
    pattern: re.Pattern[str]


_SENSING = r"(?P<sensing>\d{8}T\d{6})"

CARDS: Mapping[str, Card] = {
    card.name: card
    for card in (
        Card(
            "s2",
            "S2MSI2A",
            "Sentinel-2/MSI/L2A*",
            re.compile(
                rf"S(?P<sensor>2[A-D])_MSIL2A_{_SENSING}_N(?P<baseline>\d{{4}})_R\d{{3}}"
                r"_T(?P<tile>\d{2}[C-HJ-NP-X][A-Z]{2})_\w+\.SAFE"
            ),
        ),
        Card(
            "bs",
            "CARD-BS",
            "Sentinel-1/SAR/CARD-BS",
            re.compile(rf"S(?P<sensor>1[A-D])_IW_GRD[A-Z]_1S[A-Z]{{2}}_{_SENSING}_\w+_CARD[-_]BS"),
        ),
        # The date is the main acquisition's; what follows changed over the years.
        Card(
            "c6",
            "CARD-COH6",
            "Sentinel-1/SAR/CARD-COH6",
            re.compile(rf"S(?P<sensor>1[A-D])_{_SENSING}_\w+_CARD[-_]COH6"),
        ),
        Card(
            "c12",
            "CARD-COH12",
            "Sentinel-1/SAR/CARD-COH12",
            re.compile(rf"S(?P<sensor>1[A-D])_{_SENSING}_\w+_CARD[-_]COH12"),
        ),
    )
}


@dataclass(frozen=True)
class Record:
    """A product that can be extracted; the columns of `dias_catalogue`.

    Attributes:
        reference: product name verbatim, for Sentinel-2 with `.SAFE`: clients split it.
        card: s2, bs, c6 or c12.
        sensor: satellite without its S, as in "2A".
        obstime: start of sensing, UTC, without a time zone as in the manual's table.
        path: product folder below the archive's root; None where the source does not say.
        footprint: polygonal, EPSG:4326.
        epsg: the images' CRS; None where only the image tells it (Sentinel-1, unless the image was read).
        tile: MGRS tile without its T (Sentinel-2).
        baseline: processing baseline, "04.00" (Sentinel-2).
        boa_offset: of all bands (Sentinel-2).
        cloud_cover: percent of the tile (Sentinel-2).
        datatake: what was sensed in one go, of all tiles (Sentinel-2).
        datastrip: what was received and processed in one piece; a tile may lie in two (Sentinel-2).
        processed: when the product was made, UTC.
        published: when the service entered it, UTC; of Sentinel-1 from the archive, when that got it.
        online: whether the archive has it at once.
        orbit: relative orbit, pass and pair.
    """

    reference: str
    card: str
    sensor: str
    obstime: datetime
    path: str | None
    footprint: Footprint = field(repr=False)
    epsg: int | None
    tile: str | None = None
    baseline: str | None = None
    boa_offset: int | None = None
    cloud_cover: float | None = None
    datatake: str | None = None
    datastrip: str | None = None
    processed: datetime | None = None
    published: datetime | None = None
    online: bool = True
    orbit: Orbit = NO_ORBIT


def sensing_time(match: re.Match[str]) -> datetime:
    """Return the sensing start of a matched product name; ValueError when it is no date."""
    return datetime.strptime(match["sensing"], "%Y%m%dT%H%M%S")


def made_at(reference: str) -> datetime | None:
    """Return the time at the end of a Sentinel-2 product's name: of its making; of sensing in old ones."""
    match = re.fullmatch(r"S2.*_(\d{8}T\d{6})\.SAFE", reference)
    return utc(match[1]) if match else None


def utc(text: str | None) -> datetime | None:
    """Return a time in ISO 8601, UTC unless it says otherwise, as the catalogue has it: without a zone.

    Raises:
        ValueError: it is none.
    """
    if not text:
        return None
    time = datetime.fromisoformat(text)
    try:
        return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
    except OverflowError as error:  # at either end of all time
        raise ValueError(f"{text} is not a valid time in UTC") from error


def as_footprint(outline: Polygon | MultiPolygon) -> Footprint:
    """Make a stated outline (EPSG:4326) a valid polygon, or several.

    A part that seems to go round the world, or goes beyond 180 degrees, crosses the 180th meridian; it is
    cut there.

    Raises:
        ValueError: it has no area.
    """
    polygons = []
    for stated in shapely.get_parts(shapely.force_2d(outline)).tolist():
        west, _, east, _ = stated.bounds or (0, 0, 0, 0)
        whole = east - west <= 180 and west >= -180 and east <= 180
        shape = shapely.make_valid(stated) if whole else _cut_at_180(stated)
        polygons += [part for part in _parts(shape) if isinstance(part, Polygon) and part.area > 0]
    if len(polygons) > 1:  # parts that overlap would be no valid MultiPolygon
        polygons = [part for part in _parts(shapely.union_all(polygons)) if isinstance(part, Polygon)]
    if not polygons:
        raise ValueError("its footprint has no area")
    return polygons[0] if len(polygons) == 1 else MultiPolygon(polygons)


def _cut_at_180(outline: Polygon) -> shapely.Geometry:
    eastward = shapely.transform(outline, lambda xy: xy + (xy < [0, -90]) * [360, 0])
    whole = shapely.make_valid(eastward)
    beyond = whole.intersection(shapely.box(180, -90, 540, 90))
    return whole.intersection(shapely.box(-180, -90, 180, 90)).union(translate(beyond, -360))


def _parts(shape: shapely.Geometry) -> list[shapely.Geometry]:
    """Return the simple geometries in a geometry, however collections are nested."""
    parts = shapely.get_parts(shape).tolist()
    return [shape] if parts == [shape] else [leaf for part in parts for leaf in _parts(part)]
