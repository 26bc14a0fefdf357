"""The orbit of a scene: relative orbit, pass, and the pair of a coherence product.

Statistics of Sentinel-1 depend on them: scenes of one relative orbit look at the ground in the same way.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

import shapely
from shapely.geometry.base import BaseGeometry

# Orbits of a repeat cycle of 12 days.
CYCLE = 175
DIRECTIONS = ("ascending", "descending")
# Relative orbit = (absolute orbit - offset) mod 175 + 1, by satellite. S1A and S1B as ESA publishes them
# (SentiWiki, "SAR naming convention"), S1C and S1D as presented at FRINGE 2026 (isce-framework/isce2#28123,
# #28130).
_OFFSETS = {"1A": 73, "1B": 27, "1C": 172, "1D": 42}
# Sentinel-1C was moved to another place of the cycle from 8 to 24 June 2026; 8018 is its last orbit before.
_MOVED = "1C"
_LAST_BEFORE = 8018
_OFFSET_AFTER = 99

_LONGEST = 366  # days of a pair; more is a mistake in a name
_NOON = 12.0
_DEGREES_PER_HOUR = 15.0

_GRD = re.compile(r"S(?P<sensor>1[A-D])_IW_\w{4}_1S\w{2}_\d{8}T\d{6}_\d{8}T\d{6}_(?P<orbit>\d{6})_")
_S2 = re.compile(r"S2[A-D]_MSIL2A_\d{8}T\d{6}_N\d{4}_R(?P<orbit>0\d\d|1[0-6]\d|17[0-5])_")
# The satellite of the earlier acquisition is written 1A or S1A, and the number of _ before it differs.
_PAIR = re.compile(
    r"S1[A-D]_(?P<main>\d{8}T\d{6})_+S?(?P<sensor>1[A-D])_+(?P<earlier>\d{8}T\d{6})_\w+_CARD[-_]COH(6|12)"
)


@dataclass(frozen=True)
class Pair:
    """The earlier acquisition of a coherence product.

    Attributes:
        days: between the two.
        sensor: satellite of the earlier one, as in "1B".
    """

    days: int
    sensor: str


@dataclass(frozen=True)
class Orbit:
    """From where a scene was seen.

    Attributes:
        relative: relative orbit; None if neither the name nor the service states it.
        direction: of Sentinel-1, `ascending` or `descending`.
        pair: of coherence.
    """

    relative: int | None = None
    direction: str | None = None
    pair: Pair | None = None


NO_ORBIT = Orbit()


def scene_orbit(
    reference: str,
    obstime: datetime,
    footprint: BaseGeometry | None,
    *,
    relative: object = None,
    direction: object = None,
) -> Orbit:
    """Return the orbit of a product; for Sentinel-1 a valid statement of the service comes first.

    Args:
        reference: name of the product.
        obstime: start of sensing, UTC.
        footprint: EPSG:4326, or its centre; None if it is not known.
        relative: relative orbit as a service states it.
        direction: pass as a service states it, in any case.
    """
    stated = relative if isinstance(relative, int) and 1 <= relative <= CYCLE else None
    if not reference.startswith("S1"):
        return Orbit(named_orbit(reference) or stated)
    word: str | None = str(direction).lower()
    if word not in DIRECTIONS:
        word = orbit_pass(obstime, footprint) if footprint else None
    return Orbit(stated or named_orbit(reference), word, named_pair(reference))


def relative_orbit(sensor: str, absolute: int) -> int | None:
    """Return the relative orbit, 1 to 175, of a Sentinel-1 satellite; None for an unknown satellite.

    Args:
        sensor: satellite without its S, as in "1A".
        absolute: number of the orbit since launch.
    """
    offset = _OFFSETS.get(sensor)
    if offset is None:
        return None
    if sensor == _MOVED and absolute > _LAST_BEFORE:
        offset = _OFFSET_AFTER
    return (absolute - offset) % CYCLE + 1


def named_orbit(reference: str) -> int | None:
    """Return the relative orbit that a product's name contains or implies; None for coherence."""
    if match := _S2.match(reference):
        return int(match["orbit"]) or None
    match = _GRD.match(reference)
    return relative_orbit(match["sensor"], int(match["orbit"])) if match else None


def named_pair(reference: str) -> Pair | None:
    """Return the pair that a coherence product's name states; None for other products."""
    match = _PAIR.fullmatch(reference)
    if match is None:
        return None
    try:
        main, earlier = (datetime.strptime(match[each], "%Y%m%dT%H%M%S") for each in ("main", "earlier"))
    except ValueError:
        return None
    days = round((main - earlier) / timedelta(days=1))
    return Pair(days, match["sensor"]) if 0 < days <= _LONGEST else None


def satellites(sensor: str, earlier: str | None) -> str:
    """Return satellites in one word: "1C", or for coherence the later and the earlier one, "1C-1A"."""
    return f"{sensor}-{earlier}" if earlier else sensor


def orbit_pass(obstime: datetime, footprint: BaseGeometry) -> str:
    """Return the pass of a Sentinel-1 scene: `ascending` or `descending`.

    Sentinel-1 crosses the equator northwards at 18:00 local solar time, and southwards at 06:00. Up to 80°
    of latitude that time differs by less than 4 hours, so that morning is descending and evening ascending.

    Args:
        obstime: start of sensing, UTC.
        footprint: EPSG:4326.
    """
    utc_hours = obstime.hour + obstime.minute / 60 + obstime.second / 3600
    longitude = shapely.centroid(footprint).x
    return "descending" if (utc_hours + longitude / _DEGREES_PER_HOUR) % 24 < _NOON else "ascending"
