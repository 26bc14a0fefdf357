"""One observation of a parcel in a datatake, of the tiles that show it: settled when a scene is closed.

A scene's tasks write rows of every parcel. With the last of them, in the same transaction, each parcel that
other scenes of the datatake have too keeps its rows in the best of these scenes alone, in the order

1. a scene that is extracted before one that failed;
2. one with statistics before one with a histogram only, and of these the one that saw more pixels;
3. one whose image holds the whole parcel before one that cuts it;
4. more bands before fewer;
5. the tile whose name comes first; of one tile, the newer product.

So all bands and the histogram of a parcel are of one scene. The order is total and a scene enters whole, so
it makes no difference which is extracted first. A task remembers the parcels that it gave up; when the scene
that has them gives way, it is done again. docs/decisions/overlap.md
"""

from collections.abc import Sequence
from typing import LiteralString

import psycopg
from psycopg import sql

from cbmctl.bandsets import BANDSETS
from cbmctl.config import Tables
from cbmctl.database import one, query
from cbmctl.queue_sql import LOCK_SPACE

# Beside the keys of tasks, which follow LOCK_SPACE.
_DATATAKE_SPACE = LOCK_SPACE + 0xFF
# Footprints are drawn with few corners, in degrees; with this margin no parcel at the edge is overlooked.
FOOTPRINT_MARGIN_DEGREES = 0.02
# What a scene is called that is not closed, or has no rows.
_OPEN_WORDS = ["ingested", "inprogress", "superseded", "offered", "offline", "No parcels"]
_BANDS = [(name, band) for name in ("10", "20") for band in BANDSETS[name].bands]
_SETS = {"sets": [name for name, _ in _BANDS], "bands": [band for _, band in _BANDS]}


def lock(conn: psycopg.Connection, tables: Tables, obsid: int) -> None:
    """Let no other worker close a task of this scene's datatake, or acquisition, until the transaction ends.

    Locks are taken in one order, by workers and by all others, so that nobody waits in a circle: datatake,
    tasks, rows of sigs and hists, catalogue. Whoever locks the table of tasks as a whole begins there.
    """
    conn.execute(
        query(
            """SELECT pg_advisory_xact_lock(%s, hashtext(sensor || to_char(obstime, 'YYYYMMDDHH24MISS')))
               FROM {catalogue} WHERE id = %s""",
            catalogue=tables.catalogue.sql,
        ),
        [_DATATAKE_SPACE, obsid],
    )
    # not only at the task itself, which comes after its rows
    conn.execute(query("LOCK TABLE {tasks} IN ROW EXCLUSIVE MODE", tasks=tables.tasks.sql))


def held_by_better(conn: psycopg.Connection, tables: Tables, obsid: int, pids: Sequence[int]) -> list[int]:
    """Return those of the parcels that a scene of an earlier name holds whole, with all the bands there are.

    Rows of these would only be given up again, so they need not be read. Whether the others have them still
    is looked at when this scene is closed.
    """
    better = conn.execute(query(_BETTER, **_names(tables)), {"obsid": obsid}).fetchall()
    if not better or not pids:
        return []
    ids = [scene for (scene,) in better]
    near = sorted(set(pids) & set(_near(conn, tables, obsid, ids)))
    rows = conn.execute(query(_HELD, **_names(tables)), {"ids": ids, "obsid": obsid, "pids": near})
    return [pid for (pid,) in rows]


def settle_overlaps(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int]) -> None:
    """Leave each parcel of scenes that are closed in one scene of the datatake.

    Args:
        conn: a connection in a transaction that holds `lock`, or the table of tasks.
        tables: the tables.
        obsids: scenes that may have come to be extracted, or to fail; others among them are left alone.
    """
    scenes = conn.execute(
        query(_SCENES, **_names(tables)), {"obsids": list(obsids), "open": _OPEN_WORDS}
    ).fetchall()
    for obsid, ids, extracted in scenes:
        losers: list[tuple[int, list[int]]] = conn.execute(
            query(_LOSERS, **_names(tables)),
            {"ids": ids, "extracted": extracted, "pids": _near(conn, tables, obsid, ids)},
        ).fetchall()
        for loser, pids in losers:
            _give_up(conn, tables, loser, pids)


def _near(conn: psycopg.Connection, tables: Tables, obsid: int, ids: Sequence[int]) -> list[int]:
    """Return the parcels that a scene and others may both show.

    As an array, they are looked up by an index, however little the planner knows of new rows.
    """
    place = {"margin": FOOTPRINT_MARGIN_DEGREES, "schema": tables.parcels.schema, "name": tables.parcels.name}
    rows = conn.execute(query(_NEAR, **_names(tables)), place | {"obsid": obsid, "ids": list(ids)})
    return [pid for (pid,) in rows]


def _give_up(conn: psycopg.Connection, tables: Tables, obsid: int, pids: Sequence[int]) -> None:
    """Delete the rows of parcels in a scene, and have its tasks remember them."""
    gone = conn.execute(query(_DELETE, **_names(tables)), {"obsid": obsid, "pids": pids} | _SETS).fetchall()
    for bandset, rows, parcels in gone:
        conn.execute(
            query(
                """UPDATE {tasks}
                   SET rows = rows - %s, elsewhere = ARRAY(
                       SELECT unnest(elsewhere) UNION SELECT unnest(%s::integer[]) ORDER BY 1)
                   WHERE obsid = %s AND bandset = %s""",
                **_names(tables),
            ),
            [rows, parcels, obsid, bandset],
        )


def reopen(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int]) -> None:
    """Open the tasks again that gave up parcels for scenes that do not have them any more.

    Args:
        conn: as in `settle_overlaps`.
        tables: the tables.
        obsids: scenes that lost rows, or whose rows do not count any more.
    """
    given = conn.execute(query(_GIVEN, **_names(tables)), {"obsids": list(obsids)}).fetchall()
    for obsid, bandset, pids, others in given:
        parameters = {"pids": pids, "others": others, "hists": bandset == "scl"}
        if one(conn, query(_STILL_HELD, **_names(tables)), parameters)[0] < len(pids):
            conn.execute(query(_OPEN, **_names(tables)), {"obsid": obsid, "bandset": bandset})


def _names(tables: Tables) -> dict[str, sql.Composable]:
    return {
        "catalogue": tables.catalogue.sql,
        "tasks": tables.tasks.sql,
        "sigs": tables.sigs.sql,
        "hists": tables.hists.sql,
        "parcels": tables.parcels.sql,
    }


# Each scene with its neighbours of the datatake that take part, in the order of preference.
_SCENES: LiteralString = """
    WITH scene AS MATERIALIZED (
        SELECT d.*
        FROM {catalogue} d JOIN (
            SELECT DISTINCT card, sensor, obstime FROM {catalogue}
            WHERE id = ANY(%(obsids)s) AND card = 's2' AND status <> ALL(%(open)s)
        ) asked USING (card, sensor, obstime)
        WHERE d.status <> ALL(%(open)s) AND d.tile IS NOT NULL
            AND (SELECT bool_and(method ->> 'overlap' = 'first') FROM {tasks} WHERE obsid = d.id)
    )
    SELECT s.id, array_agg(n.id ORDER BY n.tile COLLATE "C", n.baseline COLLATE "C" DESC NULLS LAST,
        n.processed DESC NULLS LAST, n.reference COLLATE "C"),
        array_agg(n.id) FILTER (WHERE n.status = 'extracted')
    FROM scene s JOIN scene n USING (card, sensor, obstime)
    WHERE s.id = ANY(%(obsids)s) AND n.footprint && s.footprint
    GROUP BY s.id HAVING count(*) > 1 AND bool_or(n.status = 'extracted') ORDER BY s.id
"""
_BETTER: LiteralString = """
    SELECT n.id
    FROM {catalogue} s JOIN {catalogue} n USING (card, sensor, obstime)
    WHERE s.id = %(obsid)s AND n.status = 'extracted' AND n.tile COLLATE "C" < s.tile COLLATE "C"
        AND n.footprint && s.footprint
        AND (SELECT bool_and(method ->> 'overlap' = 'first') FROM {tasks} WHERE obsid = n.id)
"""
_HELD: LiteralString = """
    SELECT DISTINCT pid FROM (
        SELECT pid, obsid FROM {sigs} WHERE obsid = ANY(%(ids)s) AND pid = ANY(%(pids)s)
        GROUP BY pid, obsid
        HAVING count(*) >= (SELECT sum(cardinality(bands)) FROM {tasks}
            WHERE obsid = %(obsid)s AND bandset <> 'scl')
        EXCEPT SELECT pid, obsid FROM {tasks}, unnest(cut) pid WHERE obsid = ANY(%(ids)s)
    ) whole
"""
# Parcels where the scene and a neighbour may both have rows.
_NEAR: LiteralString = """
    SELECT DISTINCT p.ogc_fid
    FROM {catalogue} s JOIN {catalogue} n ON n.id = ANY(%(ids)s) AND n.id <> s.id,
        LATERAL (SELECT ST_Expand(ST_Intersection(ST_Envelope(s.footprint), ST_Envelope(n.footprint)),
            %(margin)s) AS both_show) here
        JOIN {parcels} p ON p.wkb_geometry && ST_Transform(
            both_show, Find_SRID(%(schema)s, %(name)s, 'wkb_geometry'))
    WHERE s.id = %(obsid)s
"""
_LOSERS: LiteralString = """
    WITH held AS (
        SELECT pid, obsid, count(band) AS bands FROM (
            SELECT pid, obsid, band FROM {sigs} WHERE obsid = ANY(%(ids)s) AND pid = ANY(%(pids)s)
            UNION ALL SELECT pid, obsid, NULL FROM {hists} WHERE obsid = ANY(%(ids)s) AND pid = ANY(%(pids)s)
        ) row GROUP BY pid, obsid
    ), judged AS (
        SELECT *, CASE WHEN bands = 0 THEN (
            SELECT coalesce(sum(pixels::integer), 0)
            FROM {hists} h, json_each_text(h.hist::json) AS classes (class, pixels)
            WHERE h.pid = held.pid AND h.obsid = held.obsid AND class <> '0'
        ) END AS seen FROM held
    ), cut AS (
        SELECT DISTINCT pid, obsid, true AS cut FROM {tasks}, unnest(cut) pid WHERE obsid = ANY(%(ids)s)
    )
    SELECT obsid, array_agg(pid ORDER BY pid) FROM (
        SELECT pid, obsid, row_number() OVER ranking AS place, first_value(obsid) OVER ranking AS first
        FROM judged LEFT JOIN cut USING (pid, obsid)
        WINDOW ranking AS (PARTITION BY pid ORDER BY obsid <> ALL(%(extracted)s),
            bands = 0, seen DESC, cut IS NOT NULL, bands DESC, array_position(%(ids)s, obsid))
    ) ranked WHERE place > 1 AND first = ANY(%(extracted)s) GROUP BY obsid ORDER BY obsid
"""
_DELETE: LiteralString = """
    WITH gone AS (
        DELETE FROM {sigs} WHERE obsid = %(obsid)s AND pid = ANY(%(pids)s) RETURNING pid, band
    ), hist AS (
        DELETE FROM {hists} WHERE obsid = %(obsid)s AND pid = ANY(%(pids)s) RETURNING pid
    )
    SELECT bandset, count(*), array_agg(DISTINCT pid)
    FROM gone JOIN unnest(%(sets)s::text[], %(bands)s::bpchar[]) known (bandset, band) USING (band)
    GROUP BY bandset
    UNION ALL SELECT 'scl', count(*), array_agg(pid) FROM hist HAVING count(*) > 0
"""
# A scene that is being extracted has its rows of before until they are replaced, and is looked at then.
_GIVEN: LiteralString = """
    SELECT d.id, t.bandset, t.elsewhere, ARRAY(
        SELECT n.id FROM {catalogue} n
        WHERE (n.card, n.sensor, n.obstime) = (d.card, d.sensor, d.obstime) AND n.id <> d.id
            AND n.status IN ('extracted', 'inprogress'))
    FROM {catalogue} d JOIN {tasks} t ON t.obsid = d.id
    WHERE d.card = 's2' AND d.status IN ('extracted', 'inprogress')
        AND t.state = 'done' AND t.elsewhere IS NOT NULL AND EXISTS (
            SELECT FROM {catalogue} s
            WHERE s.id = ANY(%(obsids)s) AND (s.card, s.sensor, s.obstime) = (d.card, d.sensor, d.obstime)
                AND s.footprint && d.footprint)
    ORDER BY d.id, t.bandset
"""
_STILL_HELD: LiteralString = """
    SELECT count(*) FROM (
        SELECT pid FROM {sigs} WHERE obsid = ANY(%(others)s) AND pid = ANY(%(pids)s)
        UNION SELECT pid FROM {hists} WHERE %(hists)s AND obsid = ANY(%(others)s) AND pid = ANY(%(pids)s)
    ) held
"""
_OPEN: LiteralString = """
    WITH opened AS (
        UPDATE {tasks}
        SET state = 'ready', attempts = 0, reason = NULL, not_before = NULL, worker = NULL
        WHERE obsid = %(obsid)s AND bandset = %(bandset)s RETURNING obsid
    )
    UPDATE {catalogue} d SET status = 'inprogress', reason = NULL FROM opened WHERE d.id = opened.obsid
"""
