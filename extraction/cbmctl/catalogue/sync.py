"""The catalogue table: records go in once, keep their status, and are counted for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
import shapely
from psycopg import sql
from shapely import wkb
from shapely.geometry.base import BaseGeometry

from cbmctl.catalogue.record import Record
from cbmctl.config import Config
from cbmctl.database import query
from cbmctl.errors import UserError


@dataclass(frozen=True)
class Synced:
    """What a sync did.

    Attributes:
        added: references of new products, with status `ingested`.
        completed: references of known products that got metadata they lacked, or a new place in the archive.
        known: how many were there already, as they are.
    """

    added: list[str]
    completed: list[str]
    known: int

    @property
    def changed(self) -> bool:
        """Whether the table changed."""
        return bool(self.added or self.completed)


@dataclass(frozen=True)
class Line:
    """A line of the manual's summary: the products of a card and a sensor over an area."""

    card: str
    sensor: str
    count: int
    first: datetime
    last: datetime


def read_area(conn: psycopg.Connection, config: Config, name: str) -> BaseGeometry:
    """Return an area of interest, EPSG:4326.

    Raises:
        UserError: there is none of this name; the sentence lists those there are.
    """
    names = {"aois": config.tables.aois.sql, "field": sql.Identifier(config.args.aoi_field)}
    row = conn.execute(
        query("SELECT ST_AsBinary(wkb_geometry) FROM {aois} WHERE {field} = %s", **names), (name,)
    ).fetchone()
    if row is None:
        rows = conn.execute(query("SELECT {field} FROM {aois} ORDER BY 1", **names))
        known = ", ".join(row[0] for row in rows) or "nothing yet"
        raise UserError(
            f"there is no area '{name}' in {config.tables.aois} (only {known}): make it with 'cbmctl aoi set'"
        )
    return wkb.loads(row[0])


def store(conn: psycopg.Connection, config: Config, records: Sequence[Record]) -> Synced:
    """Put records into the catalogue, all or none.

    New products get status `ingested`. Known ones (by reference) keep their status and everything they have;
    what they lack is filled in, and their path follows the archive.

    Args:
        conn: a connection that is in no transaction, or in one of the caller's.
        config: says which table.
        records: the products.
    """
    table = config.tables.catalogue.sql
    columns = [
        [record.reference for record in records],
        [record.obstime for record in records],
        [record.sensor for record in records],
        [record.card for record in records],
        [shapely.to_wkb(record.footprint) for record in records],
        [record.path for record in records],
        [record.tile for record in records],
        [record.baseline for record in records],
        [record.boa_offset for record in records],
        [record.cloud_cover for record in records],
        [record.epsg for record in records],
    ]
    with conn.transaction():
        completed = conn.execute(_COMPLETE.format(catalogue=table, found=_FOUND), columns).fetchall()
        added = conn.execute(_ADD.format(catalogue=table, found=_FOUND), columns).fetchall()
    return Synced(
        added=sorted(row[0] for row in added),
        completed=sorted(row[0] for row in completed),
        known=len(records) - len(added) - len(completed),
    )


_FOUND = sql.SQL("""
    SELECT reference, obstime, sensor, card, ST_GeomFromWKB(wkb, 4326) AS footprint,
        path, tile, baseline, boa_offset, cloud_cover, epsg
    FROM unnest(
        %s::text[], %s::timestamp[], %s::text[], %s::text[], %s::bytea[],
        %s::text[], %s::text[], %s::text[], %s::smallint[], %s::real[], %s::integer[]
    ) AS given (
        reference, obstime, sensor, card, wkb, path, tile, baseline, boa_offset, cloud_cover, epsg
    )
""")

# Only rows that really change are written: the second sync of the same archive touches nothing.
_COMPLETE = sql.SQL("""
    UPDATE {catalogue} AS known SET
        path = found.path,
        footprint = coalesce(known.footprint, found.footprint),
        tile = coalesce(known.tile, found.tile),
        baseline = coalesce(known.baseline, found.baseline),
        boa_offset = coalesce(known.boa_offset, found.boa_offset),
        cloud_cover = coalesce(known.cloud_cover, found.cloud_cover),
        epsg = coalesce(known.epsg, found.epsg)
    FROM ({found}) AS found
    WHERE known.reference = found.reference AND (
        known.path IS DISTINCT FROM found.path
        OR known.footprint IS NULL
        OR known.tile IS NULL AND found.tile IS NOT NULL
        OR known.baseline IS NULL AND found.baseline IS NOT NULL
        OR known.boa_offset IS NULL AND found.boa_offset IS NOT NULL
        OR known.cloud_cover IS NULL AND found.cloud_cover IS NOT NULL
        OR known.epsg IS NULL AND found.epsg IS NOT NULL
    )
    RETURNING known.reference
""")

# Known products are left out beforehand: ON CONFLICT alone would use up an id for each of them.
_ADD = sql.SQL("""
    INSERT INTO {catalogue} (
        reference, obstime, sensor, card, footprint, path, tile, baseline, boa_offset, cloud_cover, epsg
    )
    SELECT * FROM ({found}) AS found
    WHERE NOT EXISTS (SELECT FROM {catalogue} AS known WHERE known.reference = found.reference)
    ON CONFLICT (reference) DO NOTHING
    RETURNING reference
""")


def summary(conn: psycopg.Connection, config: Config, area: str) -> tuple[list[Line], list[int]]:
    """Count the catalogue over an area.

    Returns:
        The manual's summary by card and sensor, and the EPSG codes of the images, which is where the parcels
        are to be rasterised.

    Raises:
        UserError: there is no such area.
    """
    read_area(conn, config, area)
    names = {
        "catalogue": config.tables.catalogue.sql,
        "aois": config.tables.aois.sql,
        "field": sql.Identifier(config.args.aoi_field),
    }
    lines = conn.execute(
        query(
            """
            SELECT card, sensor, count(*), min(obstime), max(obstime)
            FROM {catalogue} JOIN {aois} AS aoi ON ST_Intersects(footprint, aoi.wkb_geometry)
            WHERE aoi.{field} = %s
            GROUP BY card, sensor ORDER BY card, sensor
            """,
            **names,
        ),
        (area,),
    )
    found = [Line(*row) for row in lines]
    zones = conn.execute(
        query(
            """
            SELECT DISTINCT epsg
            FROM {catalogue} JOIN {aois} AS aoi ON ST_Intersects(footprint, aoi.wkb_geometry)
            WHERE aoi.{field} = %s AND epsg IS NOT NULL ORDER BY epsg
            """,
            **names,
        ),
        (area,),
    )
    return found, [row[0] for row in zones]
