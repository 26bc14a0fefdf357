"""Since and until which version of its set a parcel is declared, and which parcels succeed which."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from cbmctl.config import Tables
from cbmctl.database import one, query
from cbmctl.parcels import gone_parcels
from cbmctl.parcels.changes import SUCCESSORS
from cbmctl.parcels.fill_table import FEATURE


@dataclass(frozen=True)
class ParcelSet:
    """What is known of a parcel set.

    Attributes:
        version: grows with each load that changes geometries; 0 if no load is recorded.
        last_id: the highest `ogc_fid` ever assigned, or 0.
    """

    version: int
    last_id: int


def recorded_set(conn: psycopg.Connection, tables: Tables) -> ParcelSet:
    """What is recorded of the parcel set."""
    row = conn.execute(
        query(
            "SELECT version, coalesce(last_id, 0) FROM {sets} WHERE table_name = %s",
            sets=tables.parcel_sets.sql,
        ),
        [str(tables.parcels)],
    ).fetchone()
    return ParcelSet(*(row or (0, 0)))


def current_set(conn: psycopg.Connection, tables: Tables) -> ParcelSet:
    """What is known of the parcel set, whose table exists."""
    known = recorded_set(conn, tables)
    last = one(conn, query("SELECT coalesce(max(ogc_fid), 0) FROM {table}", table=tables.parcels.sql))[0]
    return ParcelSet(known.version, max(known.last_id, last, gone_parcels.last_of(conn, tables.parcels)))


def first_number(conn: psycopg.Connection, tables: Tables) -> int:
    """Return the lowest `ogc_fid` of the parcel table; of an empty one, the number after all that were."""
    table = query("SELECT min(ogc_fid) FROM {table}", table=tables.parcels.sql)
    first: int | None = one(conn, table)[0]
    return current_set(conn, tables).last_id + 1 if first is None else max(first, 1)


def had_statistics(conn: psycopg.Connection, tables: Tables) -> bool:
    """Whether parcels of the set had statistics, as far as the queue, the catalogue and the history show."""
    return bool(
        one(
            conn,
            query(
                "SELECT EXISTS (SELECT FROM {tasks} WHERE rows > 0)"
                " OR EXISTS (SELECT FROM {catalogue} WHERE status = 'extracted')"
                " OR EXISTS (SELECT FROM {history} WHERE table_name = %s)",
                tasks=tables.tasks.sql,
                catalogue=tables.catalogue.sql,
                history=tables.parcel_history.sql,
            ),
            [str(tables.parcels)],
        )[0]
    )


def last_archived(conn: psycopg.Connection, tables: Tables) -> int:
    """Return the highest `ogc_fid` of the archives that can be restored, or 0."""
    statement = query(
        """SELECT coalesce(max(last_id), 0)
           FROM {archived} JOIN {catalogue} d ON d.id = obsid WHERE d.status = 'archived'""",
        archived=tables.archived_scenes.sql,
        catalogue=tables.catalogue.sql,
    )
    return int(one(conn, statement)[0])


def record(
    conn: psycopg.Connection,
    tables: Tables,
    *,
    version: int,
    source: str,
    numbers: sql.Composable,
    removed: Sequence[int],
) -> None:
    """Record which parcels came and went, and the successors (SUCCESSORS).

    Args:
        conn: a connection in the transaction of the load.
        tables: the tables.
        version: of the parcel set that this load makes.
        source: name of the file.
        numbers: table of the new parcels: FEATURE and `ogc_fid`.
        removed: numbers of the parcels that are gone.
    """
    names = {
        "history": tables.parcel_history.sql,
        "lineage": tables.parcel_lineage.sql,
        "numbers": numbers,
        "successors": SUCCESSORS,
        "feature": FEATURE,
    }
    values = {"table": str(tables.parcels), "version": version, "source": source, "gone": list(removed)}
    conn.execute(
        query(
            """INSERT INTO {history} AS h (table_name, ogc_fid, since, until, valid_to, source_to)
               SELECT %(table)s, pid, 1, %(version)s, now(), %(source)s FROM unnest(%(gone)s::integer[]) pid
               ON CONFLICT (table_name, ogc_fid) DO UPDATE
               SET (until, valid_to, source_to) = (excluded.until, excluded.valid_to, excluded.source_to)""",
            **names,
        ),
        values,
    )
    conn.execute(
        query(
            """INSERT INTO {history} (table_name, ogc_fid, since, valid_from, source_from)
               SELECT %(table)s, ogc_fid, %(version)s, now(), %(source)s FROM {numbers}""",
            **names,
        ),
        values,
    )
    conn.execute(
        query(
            """INSERT INTO {lineage} (table_name, predecessor, successor, version, share)
               SELECT %(table)s, s.ogc_fid, n.ogc_fid, %(version)s, s.share
               FROM {successors} s JOIN {numbers} n USING ({feature})""",
            **names,
        ),
        values,
    )
    for table in (tables.parcel_history, tables.parcel_lineage):
        conn.execute(query("ANALYZE {table}", table=table.sql))


def forget(conn: psycopg.Connection, tables: Tables) -> None:
    """Delete what is known of former parcels, because the parcels and all statistics are replaced."""
    for table in (tables.parcel_history, tables.parcel_lineage):
        conn.execute(
            query("DELETE FROM {table} WHERE table_name = %s", table=table.sql), [str(tables.parcels)]
        )
    gone_parcels.drop_gone_table(conn, tables.parcels)
