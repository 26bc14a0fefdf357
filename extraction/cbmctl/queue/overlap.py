"""One observation of a parcel in a datatake, of the tiles that show it: settled when a scene is closed.

A scene's tasks write rows of every parcel. With the last of them, in the same transaction, each parcel that
other scenes of the datatake have too keeps its rows in the best of these scenes alone, in the order

1. a scene that is extracted before one that failed;
2. an official product that saw something before a product of a user's own processing;
3. one with statistics before one with a histogram only, and of these the one that saw more pixels;
4. one whose image holds the whole parcel before one that cuts it;
5. more bands before fewer;
6. the tile whose name comes first; of one tile, the newer product.

So all bands and the histogram of a parcel are of one scene. A task remembers the parcels that it gave up, and
how many pixels it saw of each, so that they compete as if their rows were still there. Where such a parcel is
the best one now, its tasks are done again. The order is total and every scene competes with all that it has:
it makes no difference which is extracted first, nor what the settings were before. docs/decisions/overlap.md
"""

from collections.abc import Sequence
from typing import LiteralString

import psycopg
from psycopg import sql

from cbmctl.config import Tables
from cbmctl.database import one, query
from cbmctl.queue import scene_status, states
from cbmctl.queue.parcel_sets import GONE, any_gone
from cbmctl.queue.statements import BANDS_PARAMETERS, THIS, names, official

# Footprints are drawn with few corners, in degrees; with this margin no parcel at the edge is overlooked.
FOOTPRINT_MARGIN_DEGREES = 0.02
# What a scene is called that is not closed, and one that is closed without rows that count.
_OPEN_WORDS = ["ingested", "inprogress", "offered", "offline"]
_WITHOUT_ROWS = [*_OPEN_WORDS, "superseded", "No parcels", "archived"]


def held_by_better(conn: psycopg.Connection, tables: Tables, obsid: int, pids: Sequence[int]) -> list[int]:
    """Return those of the parcels that a scene of an earlier name holds whole, with all the bands there are.

    Rows of these would only be given up again, so they need not be read. Whether the others have them still
    is looked at when this scene is closed.
    """
    statement = query(_BETTER, official_n=official("n"), official_s=official("s"), **names(tables))
    better = conn.execute(statement, {"obsid": obsid}).fetchall()
    if not better or not pids:
        return []
    ids = [scene for (scene,) in better]
    near = sorted(_near(conn, tables, obsid, ids, pids))
    parameters = {"ids": ids, "obsid": obsid, "pids": near} | BANDS_PARAMETERS
    return [pid for (pid,) in conn.execute(query(_HELD, **names(tables)), parameters)]


def settle_overlaps(
    conn: psycopg.Connection, tables: Tables, obsids: Sequence[int], *, pids: Sequence[int] | None = None
) -> None:
    """Leave each parcel of scenes that are closed in one scene of the datatake.

    Args:
        conn: a connection in a transaction that has locked the datatake, or the queue.
        tables: the tables.
        obsids: scenes that may have come to be extracted, or to fail; those still open are left alone.
        pids: the only parcels whose rows have changed; None means all.
    """
    if not obsids or (pids is not None and not pids and not any_gone(conn, tables)):
        return
    closed = conn.execute(
        query(
            "SELECT id FROM {catalogue} WHERE id = ANY(%s) AND card = 's2' AND status <> ALL(%s) ORDER BY id",
            **names(tables),
        ),
        [list(obsids), _OPEN_WORDS],
    ).fetchall()
    reopen(conn, tables, [obsid for (obsid,) in closed], pids=pids)


def reopen(
    conn: psycopg.Connection, tables: Tables, obsids: Sequence[int], *, pids: Sequence[int] | None = None
) -> None:
    """Decide again which scenes keep shared parcels; reopen tasks that gave up parcels that they keep now.

    Args:
        conn: as in `settle_overlaps`.
        tables: the tables.
        obsids: scenes that lost rows, or whose rows do not count any more.
        pids: as in `settle_overlaps`.
    """
    for obsid in obsids:
        (competing, extracted, own, busy) = one(
            conn,
            query(_SCENES, official=official("n"), **names(tables)),
            {"obsid": obsid, "without": _WITHOUT_ROWS},
        )
        if not extracted:
            continue
        shared = _given_up(conn, tables, competing if obsid not in competing else [obsid])
        if pids is not None:
            shared &= set(pids)
        gone: set[int] = set()
        if obsid in competing and len(competing) > 1:
            shared |= _near(conn, tables, obsid, competing, pids)
            gone = _gone_in_several(conn, tables, obsid, competing)
        shared |= gone
        if not shared:
            continue
        # as an array, they are looked up by an index, however little the planner knows of new rows
        judged: list[tuple[int, list[int] | None, list[int] | None]] = conn.execute(
            query(_JUDGED, seen=_SEEN, **names(tables)),
            {
                "ids": competing,
                "extracted": extracted,
                "official": own,
                "busy": busy,
                "pids": sorted(shared),
                "gone": sorted(gone),
            },
        ).fetchall()
        for scene, lost, wanted in judged:
            if lost:
                _give_up(conn, tables, scene, lost, gone=sorted(gone))
            if wanted:
                parameters = {"obsid": scene, "pids": wanted}
                for event in (states.REOPENED, states.ASKED_AT_WORK):
                    conn.execute(states.change(tables, event, _GAVE_UP), parameters)
                scene_status.update(conn, tables, {scene: None})


def _given_up(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int]) -> set[int]:
    """Return the parcels that tasks of scenes remember."""
    rows = conn.execute(
        query("SELECT DISTINCT unnest(elsewhere) FROM {tasks} WHERE obsid = ANY(%s)", **names(tables)),
        [list(obsids)],
    )
    return {pid for (pid,) in rows}


def _near(
    conn: psycopg.Connection, tables: Tables, obsid: int, ids: Sequence[int], pids: Sequence[int] | None
) -> set[int]:
    """Return the parcels, of `pids` or of all, that a scene and others may both show."""
    place = {"margin": FOOTPRINT_MARGIN_DEGREES, "schema": tables.parcels.schema, "name": tables.parcels.name}
    parameters = place | {"obsid": obsid, "ids": list(ids), "pids": None if pids is None else list(pids)}
    return {pid for (pid,) in conn.execute(query(_NEAR, **names(tables)), parameters)}


def _gone_in_several(conn: psycopg.Connection, tables: Tables, obsid: int, ids: Sequence[int]) -> set[int]:
    """Return the parcels of which a scene and others have rows, and which went before it was closed."""
    if not any_gone(conn, tables):
        return set()
    gone = [pid for (pid,) in conn.execute(query(GONE, **names(tables)))]
    rows = conn.execute(query(_IN_SEVERAL, **names(tables)), {"obsid": obsid, "ids": list(ids), "pids": gone})
    return {pid for (pid,) in rows}


def _give_up(
    conn: psycopg.Connection, tables: Tables, obsid: int, pids: Sequence[int], *, gone: Sequence[int]
) -> None:
    """Delete the rows of parcels in a scene, and have its tasks remember them, but not those in `gone`."""
    deleted = conn.execute(
        query(_DELETE, seen=_SEEN, **names(tables)), {"obsid": obsid, "pids": pids} | BANDS_PARAMETERS
    ).fetchall()
    for bandset, rows, parcels, seen in deleted:
        conn.execute(
            states.change(tables, states.GAVE_UP_PARCELS, THIS, also=_REMEMBER),
            {"rows": rows, "pids": parcels, "seen": seen, "gone": gone, "obsid": obsid, "bandset": bandset},
        )


# A scene's neighbours of the datatake, and itself: those that compete, in the order of preference; of these
# the extracted and the official ones; and those in progress, whose rows are looked at once they are done.
_SCENES: LiteralString = """
    WITH near AS MATERIALIZED (
        SELECT n.*, {official} AS official, n.status <> ALL(%(without)s) AND (
            SELECT bool_and(method ->> 'overlap' = 'first') FROM {tasks} WHERE obsid = n.id) AS competes
        FROM {catalogue} s JOIN {catalogue} n USING (card, sensor, obstime)
        WHERE s.id = %(obsid)s AND card = 's2' AND n.tile IS NOT NULL AND n.footprint && s.footprint
    )
    SELECT coalesce(array_agg(id ORDER BY tile COLLATE "C", official DESC,
            baseline COLLATE "C" DESC NULLS LAST, processed DESC NULLS LAST, reference COLLATE "C")
            FILTER (WHERE competes), '{{}}'),
        coalesce(array_agg(id) FILTER (WHERE competes AND status = 'extracted'), '{{}}'),
        coalesce(array_agg(id) FILTER (WHERE competes AND official), '{{}}'),
        coalesce(array_agg(id) FILTER (WHERE status = 'inprogress'), '{{}}')
    FROM near
"""
_BETTER: LiteralString = """
    SELECT n.id
    FROM {catalogue} s JOIN {catalogue} n USING (card, sensor, obstime)
    WHERE s.id = %(obsid)s AND n.status = 'extracted' AND n.tile COLLATE "C" < s.tile COLLATE "C"
        AND n.footprint && s.footprint AND ({official_n} OR NOT {official_s})
        AND (SELECT bool_and(method ->> 'overlap' = 'first') FROM {tasks} WHERE obsid = n.id)
"""
# All the bands there are: of the scene's tasks, and of what is not to be extracted any more but is there. New
# parcels that the other scene is still to read are left out: if it fails to, this one is read whole again.
_HELD: LiteralString = """
    WITH planned AS (
        SELECT sum(cardinality(bands)) AS bands, array_agg(bandset) AS bandsets
        FROM {tasks} WHERE obsid = %(obsid)s AND bandset <> 'scl' AND method IS NOT NULL
    ), kept AS (
        SELECT pid, count(*) AS bands
        FROM {sigs} LEFT JOIN {bands} USING (band)
        WHERE obsid = %(obsid)s AND pid = ANY(%(pids)s)
            AND (bandset IS NULL OR bandset <> ALL (SELECT unnest(bandsets) FROM planned))
        GROUP BY pid
    )
    SELECT DISTINCT pid FROM (
        SELECT pid, obsid FROM {sigs} LEFT JOIN kept USING (pid) CROSS JOIN planned
        WHERE obsid = ANY(%(ids)s) AND pid = ANY(%(pids)s)
        GROUP BY pid, obsid, kept.bands, planned.bands
        HAVING count(*) >= planned.bands + coalesce(kept.bands, 0)
        EXCEPT SELECT pid, obsid FROM {tasks}, unnest(cut) pid WHERE obsid = ANY(%(ids)s)
        EXCEPT SELECT ogc_fid, obsid FROM {tasks} t
            JOIN {history} ON table_name = {set} AND until IS NULL AND since > parcels_covered
        WHERE obsid = ANY(%(ids)s) AND {delta} AND ogc_fid = ANY(%(pids)s)
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
    WHERE s.id = %(obsid)s AND (%(pids)s::integer[] IS NULL OR p.ogc_fid = ANY(%(pids)s::integer[]))
"""
# Parcels with rows in the scene and in another one, looked up by the keys, which begin with the parcel.
_IN_SEVERAL: LiteralString = """
    SELECT pid FROM (
        SELECT pid, obsid FROM {sigs} WHERE pid = ANY(%(pids)s) AND obsid = ANY(%(ids)s)
        UNION SELECT pid, obsid FROM {hists} WHERE pid = ANY(%(pids)s) AND obsid = ANY(%(ids)s)
    ) row GROUP BY pid HAVING count(*) > 1 AND bool_or(obsid = %(obsid)s)
"""
# Pixels of a histogram that were observed.
_SEEN = sql.SQL(
    """(SELECT coalesce(sum(pixels::integer), 0)::integer
        FROM json_each_text(hist::json) AS classes (class, pixels) WHERE class <> '0')"""
)
# Of each scene the parcels that it is to give up, and those that it gave up and should have. Of a histogram
# that was given up by an earlier version nobody knows what it saw: all there is, until it is read again.
# A scene that is still to read a new parcel takes no part in it; if it failed to, it counts as failed there.
# Nothing can be read again of a parcel that is gone: most bands come first, and what failed keeps its rows.
_JUDGED: LiteralString = """
    WITH behind AS (
        SELECT obsid, min(parcels_covered) AS covered,
            min(parcels_covered) FILTER (WHERE state <> 'failed') AS waits_from
        FROM {tasks} t WHERE obsid = ANY(%(ids)s) AND {delta} GROUP BY obsid
    ), unread AS (
        SELECT obsid, ogc_fid AS pid, coalesce(since > waits_from, false) AS waits
        FROM behind JOIN {history} ON table_name = {set} AND until IS NULL AND since > covered
        WHERE ogc_fid = ANY(%(pids)s)
    ), there AS (
        SELECT pid, obsid, count(band) AS bands FROM (
            SELECT pid, obsid, band FROM {sigs} WHERE obsid = ANY(%(ids)s) AND pid = ANY(%(pids)s)
            UNION ALL SELECT pid, obsid, NULL FROM {hists} WHERE obsid = ANY(%(ids)s) AND pid = ANY(%(pids)s)
        ) row GROUP BY pid, obsid
    ), gone AS (
        SELECT pid, obsid, coalesce(sum(cardinality(bands)) FILTER (WHERE bandset <> 'scl'), 0) AS bands,
            max(coalesce(saw, 2147483647)) FILTER (WHERE bandset = 'scl') AS saw
        FROM {tasks} t, unnest(elsewhere, elsewhere_seen) AS parcel (pid, saw)
        WHERE obsid = ANY(%(ids)s) AND (state = 'done' OR {delta}) AND method IS NOT NULL
            AND pid = ANY(%(pids)s)
        GROUP BY pid, obsid
    ), held AS (
        SELECT pid, obsid, coalesce(t.bands, 0) + coalesce(g.bands, 0) AS bands, saw,
            t.bands IS NOT NULL AS there, g.bands IS NOT NULL AS lacking
        FROM there t FULL JOIN gone g USING (pid, obsid)
        WHERE (pid, obsid) NOT IN (SELECT pid, obsid FROM unread WHERE waits)
    ), judged AS (
        SELECT *,
            obsid = ANY(%(extracted)s) AND (pid, obsid) NOT IN (SELECT pid, obsid FROM unread) AS counts,
            CASE WHEN bands = 0 THEN coalesce(saw, (
            SELECT {seen} FROM {hists} h WHERE h.pid = held.pid AND h.obsid = held.obsid), 0) END AS seen
        FROM held
    ), cut AS (
        SELECT DISTINCT pid, obsid, true AS cut FROM {tasks}, unnest(cut) pid WHERE obsid = ANY(%(ids)s)
    ), ranked AS (
        SELECT *, row_number() OVER (PARTITION BY pid ORDER BY counts DESC,
            CASE WHEN pid = ANY(%(gone)s::integer[]) THEN -bands END,
            obsid = ANY(%(official)s) AND (bands > 0 OR seen > 0) DESC,
            bands = 0, seen DESC, cut IS NOT NULL, bands DESC, array_position(%(ids)s, obsid)) AS place
        FROM judged LEFT JOIN cut USING (pid, obsid)
    ), busy AS (
        SELECT pid FROM {sigs} WHERE obsid = ANY(%(busy)s) AND pid = ANY(%(pids)s)
        UNION SELECT pid FROM {hists} WHERE obsid = ANY(%(busy)s) AND pid = ANY(%(pids)s)
    ), opened AS (
        SELECT *, place = 1 AND lacking AND counts AND pid NOT IN (SELECT pid FROM busy) AS wanted FROM ranked
    ), kept AS (
        SELECT *, first_value(obsid) OVER best AS keeper, first_value(counts AND there) OVER best AS keeps
        FROM opened
        WINDOW best AS (PARTITION BY pid ORDER BY wanted, counts DESC, there DESC, lacking, place)
    )
    SELECT obsid,
        array_agg(pid ORDER BY pid) FILTER (WHERE there AND keeps AND obsid <> keeper AND NOT wanted
            AND (counts OR pid <> ALL(%(gone)s::integer[]))),
        array_agg(pid ORDER BY pid) FILTER (WHERE wanted)
    FROM kept GROUP BY obsid ORDER BY obsid
"""
_DELETE: LiteralString = """
    WITH gone AS (
        DELETE FROM {sigs} WHERE obsid = %(obsid)s AND pid = ANY(%(pids)s) RETURNING pid, band
    ), hist AS (
        DELETE FROM {hists} WHERE obsid = %(obsid)s AND pid = ANY(%(pids)s) RETURNING pid, hist
    )
    SELECT bandset, count(*), array_agg(DISTINCT pid), NULL::integer[]
    FROM gone JOIN {bands} USING (band)
    GROUP BY bandset
    UNION ALL SELECT 'scl', count(*), array_agg(pid), array_agg({seen}) FROM hist HAVING count(*) > 0
"""
_REMEMBER = sql.SQL(
    """rows = t.rows - %(rows)s, (elsewhere, elsewhere_seen) = (
        SELECT array_agg(pid ORDER BY pid),
            CASE WHEN %(seen)s::integer[] IS NOT NULL THEN array_agg(saw ORDER BY pid) END
        FROM (
            SELECT pid, max(saw) AS saw FROM (
                SELECT * FROM unnest(t.elsewhere, t.elsewhere_seen) AS before (pid, saw)
                UNION ALL SELECT * FROM unnest(%(pids)s::integer[], %(seen)s::integer[]) AS given (pid, saw)
                WHERE pid <> ALL(%(gone)s::integer[])
            ) parcel WHERE pid IS NOT NULL GROUP BY pid
        ) parcels)"""
)
_GAVE_UP = sql.SQL(
    """t.obsid = %(obsid)s AND t.method IS NOT NULL AND t.elsewhere && %(pids)s::integer[]
       AND (t.state = 'done' OR t.parcels_covered IS NOT NULL)"""
)
