"""The catalogue over an area, counted for people: the manual's summary, zones, and orbits of Sentinel-1."""

from dataclasses import dataclass, field
from datetime import datetime

import psycopg
from psycopg import sql

from cbmctl.catalogue.table import read_area
from cbmctl.config import Config
from cbmctl.config.bandsets import BANDSETS
from cbmctl.database import query


@dataclass(frozen=True)
class Line:
    """A line of the manual's summary: the products of a card and a sensor over an area."""

    card: str
    sensor: str
    count: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class OrbitLine:
    """The Sentinel-1 scenes of a card, an orbit and a satellite (for coherence, a pair) over an area."""

    card: str
    relative_orbit: int | None
    orbit_pass: str | None
    sensor: str
    pair_sensor: str | None
    pair_days: int | None
    count: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class Summary:
    """The catalogue over an area.

    Attributes:
        lines: the manual's summary.
        epsg: of the images, which is where the parcels are needed.
        unknown: number of scenes whose zone is only in the image: cards of Sentinel-1 from a service.
        resolutions: of the bands that are to be extracted, in metres.
        orbits: of Sentinel-1, so that a step from one satellite to another can be explained.
    """

    lines: list[Line] = field(default_factory=list)
    epsg: list[int] = field(default_factory=list)
    unknown: int = 0
    resolutions: list[int] = field(default_factory=list)
    orbits: list[OrbitLine] = field(default_factory=list)


def summary(conn: psycopg.Connection, config: Config, area: str) -> Summary:
    """Count the scenes over an area; of several versions of an acquisition only the current one.

    Raises:
        UserError: the area does not exist.
    """
    read_area(conn, config, area)
    names = {
        "catalogue": config.tables.catalogue.sql,
        "aois": config.tables.aois.sql,
        "field": sql.Identifier(config.args.aoi_field),
    }
    scenes = query(
        """SELECT card, sensor, obstime, epsg, relative_orbit, orbit_pass, pair_sensor, pair_days
           FROM {catalogue} JOIN {aois} AS aoi ON ST_Intersects(footprint, aoi.wkb_geometry)
           WHERE aoi.{field} = %s AND status NOT IN ('superseded', 'offered')""",
        **names,
    )
    lines = conn.execute(
        query(
            """SELECT card, sensor, count(*), min(obstime), max(obstime) FROM ({scenes}) AS s
               GROUP BY card, sensor ORDER BY card, sensor""",
            scenes=scenes,
        ),
        (area,),
    )
    found = [Line(*row) for row in lines]
    zones = conn.execute(
        query("SELECT epsg, count(*) FROM ({scenes}) AS s GROUP BY epsg ORDER BY epsg", scenes=scenes),
        (area,),
    ).fetchall()
    orbits = conn.execute(
        query(
            """SELECT card, relative_orbit, orbit_pass, sensor, pair_sensor, pair_days,
                   count(*), min(obstime), max(obstime)
               FROM ({scenes}) AS s WHERE sensor LIKE '1%%'
               GROUP BY card, relative_orbit, orbit_pass, sensor, pair_sensor, pair_days
               ORDER BY card, relative_orbit, min(obstime)""",
            scenes=scenes,
        ),
        (area,),
    )
    return Summary(
        found,
        [epsg for epsg, _ in zones if epsg is not None],
        sum(count for epsg, count in zones if epsg is None),
        sorted({BANDSETS[name].resolution for name in config.extraction.bandsets}),
        [OrbitLine(*row) for row in orbits],
    )
