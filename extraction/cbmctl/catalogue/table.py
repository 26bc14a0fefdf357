"""The catalogue table: records go in once and keep their status."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg
import shapely
from psycopg import sql
from shapely import wkb
from shapely.geometry.base import BaseGeometry

from cbmctl.catalogue.product_versions import Arranged, arrange
from cbmctl.catalogue.record import Record
from cbmctl.config import Config, Tables
from cbmctl.database import query
from cbmctl.errors import UserError
from cbmctl.invocation import command
from cbmctl.queue.locks import lock_queue
from cbmctl.queue.scene_changes import follow_archive, go_offline
from cbmctl.queue.statements import failed
from cbmctl.reasons import FROM_ARCHIVE


@dataclass(frozen=True)
class Synced:
    """What a sync did.

    Attributes:
        added: references of new products.
        completed: references of known products that got metadata they lacked, or a new place in the archive,
            or came online, or went, or are not online and will be tried again once they are.
        known: how many were there already, as they are.
        offline: references of those found that are not online; they wait with status 'offline'.
        versions: what became of products that are versions of one acquisition.
    """

    added: list[str] = field(default_factory=list)
    completed: list[str] = field(default_factory=list)
    known: int = 0
    offline: list[str] = field(default_factory=list)
    versions: Arranged = field(default_factory=Arranged)

    @property
    def changed(self) -> bool:
        """Whether the table changed."""
        return bool(self.added or self.completed or self.versions.superseded or self.versions.renewed)

    def __add__(self, other: "Synced") -> "Synced":
        """What both did."""
        return Synced(
            self.added + other.added,
            self.completed + other.completed,
            self.known + other.known,
            self.offline + other.offline,
            self.versions + other.versions,
        )


def read_area(conn: psycopg.Connection, config: Config, name: str) -> BaseGeometry:
    """Return an area of interest, EPSG:4326.

    Raises:
        UserError: no area has this name, and the sentence lists the names; or the area has no outline.
    """
    names = {"aois": config.tables.aois.sql, "field": sql.Identifier(config.args.aoi_field)}
    row = conn.execute(
        query("SELECT ST_AsBinary(wkb_geometry) FROM {aois} WHERE {field} = %s", **names), (name,)
    ).fetchone()
    if row is None:
        rows = conn.execute(query("SELECT {field} FROM {aois} ORDER BY 1", **names))
        known = ", ".join(row[0] for row in rows) or "nothing yet"
        raise UserError(
            "area.missing",
            f"{config.tables.aois} has no area '{name}' (only {known})",
            f"Create it with '{command('aoi set')}'",
            about=config.tables.aois,
        )
    area = wkb.loads(row[0]) if row[0] else None
    if area is None or area.is_empty:
        raise UserError(
            "area.no_outline", f"area '{name}' has no outline", f"Set it with {command('aoi set')}"
        )
    return area


def store(conn: psycopg.Connection, config: Config, records: Sequence[Record]) -> Synced:
    """Put records into the catalogue, all or none, and settle which versions are for extraction.

    New products get status `ingested`, or `offline` where the archive does not have them at once. Known ones
    (by reference) keep their status and everything they have; what they lack is filled in, their path follows
    the archive, and what nobody has begun with, or has failed because it was not there, follows the archive
    online and offline.

    Args:
        conn: a connection that is in no transaction, or in one of the caller's.
        config: says which tables.
        records: the products.
    """
    table, tables = config.tables.catalogue.sql, config.tables
    references = [record.reference for record in records]
    columns = [
        references,
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
        [record.datatake for record in records],
        [record.datastrip for record in records],
        [record.processed for record in records],
        [record.published for record in records],
        [record.online for record in records],
        [record.orbit.relative for record in records],
        [record.orbit.direction for record in records],
        [record.orbit.pair and record.orbit.pair.days for record in records],
        [record.orbit.pair and record.orbit.pair.sensor for record in records],
    ]
    with conn.transaction():
        lock_queue(conn, tables)  # before anything is written
        absent = [record.reference for record in records if not record.online]
        waiting = _let_wait(conn, tables, references, absent)
        completed = conn.execute(_COMPLETE.format(catalogue=table, found=_FOUND), columns).fetchall()
        added = conn.execute(_ADD.format(catalogue=table, found=_FOUND), columns).fetchall()
        _follow_online(conn, tables, references)
        versions = arrange(conn, tables, references)
    return Synced(
        added=sorted(row[0] for row in added),
        completed=sorted(changed := {row[0] for row in completed} | waiting),
        known=len(records) - len(added) - len(changed),
        offline=sorted(absent),
        versions=versions,
    )


def _let_wait(
    conn: psycopg.Connection, tables: Tables, references: Sequence[str], absent: Sequence[str]
) -> set[str]:
    """Let scenes that could not be read wait if the archive does not have them at once, or had not.

    They are as new once they are online. Rows stay until they are replaced: what was extracted long ago, and
    failed now because a band was added, may never be had again. To be called while the catalogue still says
    what was so before.

    Returns:
        References of these scenes.
    """
    found: list[tuple[int, str]] = conn.execute(
        query(
            """SELECT id, reference FROM {catalogue} d
               WHERE reference = ANY(%s) AND (NOT online OR reference = ANY(%s))
                 AND {failed}""",
            catalogue=tables.catalogue.sql,
            failed=failed("d", FROM_ARCHIVE),
        ),
        [references, absent],
    ).fetchall()
    go_offline(conn, tables, [obsid for obsid, _ in found])
    return {reference for _, reference in found}


def _follow_online(conn: psycopg.Connection, tables: Tables, references: Sequence[str]) -> None:
    """Let scenes that nobody has begun with wait while they are not online, and be ready once they are."""
    changed = conn.execute(
        query(
            """SELECT id FROM {catalogue}
               WHERE reference = ANY(%s) AND status = CASE WHEN online THEN 'offline' ELSE 'ingested' END""",
            catalogue=tables.catalogue.sql,
        ),
        [references],
    ).fetchall()
    follow_archive(conn, tables, [obsid for (obsid,) in changed])


_FOUND = sql.SQL("""
    SELECT reference, obstime, sensor, card, ST_GeomFromWKB(wkb, 4326) AS footprint,
        path, tile, baseline, boa_offset, cloud_cover, epsg, datatake, datastrip, processed, published,
        online, relative_orbit, orbit_pass, pair_days, pair_sensor
    FROM unnest(
        %s::text[], %s::timestamp[], %s::text[], %s::text[], %s::bytea[],
        %s::text[], %s::text[], %s::text[], %s::smallint[], %s::real[], %s::integer[],
        %s::text[], %s::text[], %s::timestamp[], %s::timestamp[], %s::boolean[],
        %s::smallint[], %s::text[], %s::smallint[], %s::text[]
    ) AS given (
        reference, obstime, sensor, card, wkb, path, tile, baseline, boa_offset, cloud_cover, epsg,
        datatake, datastrip, processed, published, online, relative_orbit, orbit_pass, pair_days, pair_sensor
    )
""")

# Only rows that really change are written: the second sync of the same archive touches nothing.
_COMPLETE = sql.SQL("""
    UPDATE {catalogue} AS known SET
        path = coalesce(found.path, known.path),
        footprint = coalesce(known.footprint, found.footprint),
        tile = coalesce(known.tile, found.tile),
        baseline = coalesce(known.baseline, found.baseline),
        boa_offset = coalesce(known.boa_offset, found.boa_offset),
        cloud_cover = coalesce(known.cloud_cover, found.cloud_cover),
        epsg = coalesce(known.epsg, found.epsg),
        datatake = coalesce(known.datatake, found.datatake),
        datastrip = coalesce(known.datastrip, found.datastrip),
        processed = coalesce(known.processed, found.processed),
        published = coalesce(known.published, found.published),
        online = found.online,
        relative_orbit = coalesce(known.relative_orbit, found.relative_orbit),
        orbit_pass = coalesce(known.orbit_pass, found.orbit_pass),
        pair_days = coalesce(known.pair_days, found.pair_days),
        pair_sensor = coalesce(known.pair_sensor, found.pair_sensor)
    FROM ({found}) AS found
    WHERE known.reference = found.reference AND (
        known.path <> found.path
        OR known.online <> found.online
        OR num_nulls(
            known.path, known.footprint, known.tile, known.baseline, known.boa_offset, known.cloud_cover,
            known.epsg, known.datatake, known.datastrip, known.processed, known.published,
            known.relative_orbit, known.orbit_pass, known.pair_days, known.pair_sensor
        ) > num_nulls(
            coalesce(known.path, found.path), coalesce(known.footprint, found.footprint),
            coalesce(known.tile, found.tile), coalesce(known.baseline, found.baseline),
            coalesce(known.boa_offset, found.boa_offset), coalesce(known.cloud_cover, found.cloud_cover),
            coalesce(known.epsg, found.epsg), coalesce(known.datatake, found.datatake),
            coalesce(known.datastrip, found.datastrip), coalesce(known.processed, found.processed),
            coalesce(known.published, found.published),
            coalesce(known.relative_orbit, found.relative_orbit),
            coalesce(known.orbit_pass, found.orbit_pass), coalesce(known.pair_days, found.pair_days),
            coalesce(known.pair_sensor, found.pair_sensor)
        )
    )
    RETURNING known.reference
""")

# Known products are left out beforehand: ON CONFLICT alone would use up an id for each of them.
_ADD = sql.SQL("""
    INSERT INTO {catalogue} (
        reference, obstime, sensor, card, footprint, path, tile, baseline, boa_offset, cloud_cover, epsg,
        datatake, datastrip, processed, published, online, relative_orbit, orbit_pass, pair_days, pair_sensor
    )
    SELECT * FROM ({found}) AS found
    WHERE NOT EXISTS (SELECT FROM {catalogue} AS known WHERE known.reference = found.reference)
    ON CONFLICT (reference) DO NOTHING
    RETURNING reference
""")
