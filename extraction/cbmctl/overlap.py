"""One observation of a parcel in a datatake, of the tiles that show it: settled when a scene is extracted.

A scene's tasks write rows of every parcel. With the last of them, in the same transaction, each parcel that
other extracted scenes of the datatake have too keeps its rows in the best of these scenes alone, in the order

1. a scene with statistics before one with a histogram only;
2. one whose image holds the whole parcel before one that cuts it;
3. more bands before fewer;
4. the tile whose name comes first; of one tile, the newer product.

So all bands and the histogram of a parcel are of one scene. The order is total and a scene enters whole, so
it makes no difference which is extracted first. A task remembers the parcels that it gave up; when the scene
that has them gives way, it is done again. docs/decisions/overlap.md
"""

from collections.abc import Sequence
from typing import LiteralString

import psycopg
from psycopg import sql

from cbmctl.config import BANDSETS, Tables
from cbmctl.database import query
from cbmctl.queue_sql import LOCK_SPACE

# Beside the keys of tasks, which follow LOCK_SPACE.
_DATATAKE_SPACE = LOCK_SPACE + 0xFF
_SETS_OF_BANDS = [(name, band) for name in ("10", "20") for band in BANDSETS[name].bands]


def lock(conn: psycopg.Connection, tables: Tables, obsid: int) -> None:
    """Let no other worker close a task of this scene's datatake until the transaction ends.

    To be taken before every other lock of the transaction. Whoever locks the table of tasks as a whole needs
    none of this.
    """
    conn.execute(
        query(
            """SELECT pg_advisory_xact_lock(%s, hashtext(sensor || to_char(obstime, 'YYYYMMDDHH24MISS')))
               FROM {catalogue} WHERE id = %s AND card = 's2'""",
            catalogue=tables.catalogue.sql,
        ),
        [_DATATAKE_SPACE, obsid],
    )


def held_by_better(conn: psycopg.Connection, tables: Tables, obsid: int, pids: Sequence[int]) -> list[int]:
    """Return those of the parcels that a scene of an earlier name holds whole, with all the bands there are.

    A scene that is not extracted yet gives nothing up to one like that without being read; whether the other
    has them still is looked at again when this one is closed.
    """
    better = conn.execute(query(_BETTER, **_names(tables)), {"obsid": obsid}).fetchall()
    if not better or not pids:
        return []
    rows = conn.execute(
        query(_HELD, **_names(tables)),
        {"ids": [scene for (scene,) in better], "obsid": obsid, "pids": list(pids)},
    )
    return [pid for (pid,) in rows]


def settle_overlaps(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int]) -> None:
    """Leave each parcel of scenes that are extracted in one scene of the datatake.

    Args:
        conn: a connection in a transaction that holds `lock`, or the table of tasks.
        tables: the tables.
        obsids: scenes that may have come to be extracted; the others among them are left alone.
    """
    scenes = conn.execute(query(_SCENES, **_names(tables)), {"obsids": list(obsids)}).fetchall()
    for obsid, ids in scenes:
        conn.execute(
            query(_SETTLE, **_names(tables)),
            {
                "obsid": obsid,
                "ids": ids,
                "sets": [name for name, _ in _SETS_OF_BANDS],
                "bands": [band for _, band in _SETS_OF_BANDS],
            },
        )


def reopen(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int]) -> None:
    """Open the tasks again that gave up parcels for scenes that do not have them any more.

    Args:
        conn: as in `settle_overlaps`.
        tables: the tables.
        obsids: scenes that lost rows, or whose rows do not count any more.
    """
    opened = conn.execute(query(_REOPEN, **_names(tables)), {"obsids": list(obsids)}).fetchall()
    conn.execute(
        query(
            "UPDATE {catalogue} SET status = 'inprogress', reason = NULL WHERE id = ANY(%s)", **_names(tables)
        ),
        [[obsid for (obsid,) in opened]],
    )


def _names(tables: Tables) -> dict[str, sql.Composable]:
    return {
        "catalogue": tables.catalogue.sql,
        "tasks": tables.tasks.sql,
        "sigs": tables.sigs.sql,
        "hists": tables.hists.sql,
    }


# Each scene with those of its datatake that take part, in the order of preference.
_SCENES: LiteralString = """
    WITH scene AS MATERIALIZED (
        SELECT d.*
        FROM {catalogue} d JOIN (
            SELECT DISTINCT card, sensor, obstime FROM {catalogue}
            WHERE id = ANY(%(obsids)s) AND card = 's2' AND status = 'extracted'
        ) asked USING (card, sensor, obstime)
        WHERE d.status = 'extracted' AND d.tile IS NOT NULL
            AND (SELECT bool_and(method ->> 'overlap' = 'first') FROM {tasks} WHERE obsid = d.id)
    )
    SELECT s.id, array_agg(n.id ORDER BY n.tile COLLATE "C", n.baseline COLLATE "C" DESC NULLS LAST,
        n.processed DESC NULLS LAST, n.reference COLLATE "C")
    FROM scene s JOIN scene n USING (card, sensor, obstime)
    WHERE s.id = ANY(%(obsids)s)
    GROUP BY s.id HAVING count(*) > 1 ORDER BY s.id
"""
# Only neighbours can have what is here; this saves work and decides nothing, so that footprints will do.
_BETTER: LiteralString = """
    SELECT n.id
    FROM {catalogue} s JOIN {catalogue} n USING (card, sensor, obstime)
    WHERE s.id = %(obsid)s AND n.status = 'extracted' AND n.tile COLLATE "C" < s.tile COLLATE "C"
        AND ST_Intersects(n.footprint, s.footprint)
        AND (SELECT bool_and(method ->> 'overlap' = 'first') FROM {tasks} WHERE obsid = n.id)
"""
_HELD: LiteralString = """
    SELECT DISTINCT pid
    FROM {sigs} JOIN unnest(%(pids)s::integer[]) asked (pid) USING (pid)
    WHERE obsid = ANY(%(ids)s)
        AND (pid, obsid) NOT IN (SELECT pid, obsid FROM {tasks}, unnest(cut) pid WHERE obsid = ANY(%(ids)s))
    GROUP BY pid, obsid
    HAVING count(*) >= (SELECT sum(cardinality(bands)) FROM {tasks} WHERE obsid = %(obsid)s
        AND bandset <> 'scl')
"""
_SETTLE: LiteralString = """
    WITH ours AS MATERIALIZED (
        SELECT pid FROM {hists} WHERE obsid = %(obsid)s UNION SELECT pid FROM {sigs} WHERE obsid = %(obsid)s
    ), held AS MATERIALIZED (
        SELECT pid, obsid, count(band) AS bands FROM (
            SELECT pid, obsid, band FROM {sigs} JOIN ours USING (pid) WHERE obsid = ANY(%(ids)s)
            UNION ALL SELECT pid, obsid, NULL FROM {hists} JOIN ours USING (pid) WHERE obsid = ANY(%(ids)s)
        ) row GROUP BY pid, obsid
    ), cut AS (
        SELECT DISTINCT pid, obsid, true AS cut FROM {tasks}, unnest(cut) pid WHERE obsid = ANY(%(ids)s)
    ), loser AS MATERIALIZED (
        SELECT pid, obsid FROM (
            SELECT pid, obsid, row_number() OVER (PARTITION BY pid ORDER BY
                bands = 0, cut IS NOT NULL, bands DESC, array_position(%(ids)s, obsid)) AS place
            FROM held LEFT JOIN cut USING (pid, obsid)
        ) ranked WHERE place > 1
    ), sig AS (
        DELETE FROM {sigs} s USING loser l WHERE (s.pid, s.obsid) = (l.pid, l.obsid)
        RETURNING s.pid, s.obsid, s.band
    ), hist AS (
        DELETE FROM {hists} h USING loser l WHERE (h.pid, h.obsid) = (l.pid, l.obsid)
        RETURNING h.pid, h.obsid
    ), gone AS (
        SELECT obsid, bandset, count(*) AS rows, array_agg(DISTINCT pid) AS pids FROM (
            SELECT pid, obsid, bandset
            FROM sig JOIN unnest(%(sets)s::text[], %(bands)s::bpchar[]) known (bandset, band) USING (band)
            UNION ALL SELECT pid, obsid, 'scl' FROM hist
        ) row GROUP BY obsid, bandset
    )
    UPDATE {tasks} t
    SET rows = t.rows - gone.rows,
        elsewhere = ARRAY(SELECT unnest(t.elsewhere) UNION SELECT unnest(gone.pids) ORDER BY 1)
    FROM gone WHERE (t.obsid, t.bandset) = (gone.obsid, gone.bandset)
"""
# A scene that is being extracted has its rows of before until they are replaced, and is looked at then.
_REOPEN: LiteralString = """
    WITH scene AS MATERIALIZED (
        SELECT d.id, d.card, d.sensor, d.obstime, d.status
        FROM {catalogue} d JOIN (
            SELECT DISTINCT card, sensor, obstime FROM {catalogue} WHERE id = ANY(%(obsids)s) AND card = 's2'
        ) asked USING (card, sensor, obstime)
        WHERE d.status IN ('extracted', 'inprogress')
    ), given AS MATERIALIZED (
        SELECT t.obsid, t.bandset, p.pid, ARRAY(
            SELECT n.id FROM scene n
            WHERE (n.card, n.sensor, n.obstime) = (s.card, s.sensor, s.obstime) AND n.id <> s.id) AS others
        FROM scene s JOIN {tasks} t ON t.obsid = s.id, unnest(t.elsewhere) AS p (pid)
        WHERE t.state = 'done'
    ), lost AS MATERIALIZED (
        SELECT DISTINCT obsid, bandset FROM given g
        WHERE NOT EXISTS (SELECT FROM {sigs} WHERE pid = g.pid AND obsid = ANY(g.others))
            AND (g.bandset <> 'scl'
                OR NOT EXISTS (SELECT FROM {hists} WHERE pid = g.pid AND obsid = ANY(g.others)))
    ), opened AS (
        UPDATE {tasks} t
        SET state = 'ready', attempts = 0, reason = NULL, not_before = NULL, worker = NULL
        FROM lost l WHERE (t.obsid, t.bandset) = (l.obsid, l.bandset) RETURNING t.obsid
    )
    SELECT DISTINCT obsid FROM opened ORDER BY obsid
"""
