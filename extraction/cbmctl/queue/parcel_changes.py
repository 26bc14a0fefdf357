"""Parcels that are new or gone while there are statistics: what is to be read, and what is forgotten.

A scene that shows new parcels is to read these alone, a delta: it stays 'extracted' meanwhile, and a delta
that fails marks its task only. Rows of parcels that are gone stay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from cbmctl.config import Tables
from cbmctl.database import query
from cbmctl.queue import parcel_sets, states
from cbmctl.queue.locks import lock_queue
from cbmctl.queue.overlap import FOOTPRINT_MARGIN_DEGREES
from cbmctl.queue.scene_changes import update_scenes
from cbmctl.queue.statements import names


@dataclass(frozen=True)
class Delta:
    """What is to be read because parcels changed.

    Attributes:
        scenes: that were done, or failed to read earlier new parcels, and show new ones.
        tasks: of these scenes.
    """

    scenes: int
    tasks: int


def change_parcels(
    conn: psycopg.Connection, tables: Tables, *, version: int, new: Sequence[int], gone: Sequence[int]
) -> Delta:
    """Have new parcels read where scenes show them, and forget what tasks know of those that are gone.

    Workers may go on: one that has read the former parcels leaves its task open, and writes no rows of
    parcels that are gone. The transaction holds the queue from here on, so workers wait for its end. Before
    that it must not lock the table of parcels against readers, as ALTER TABLE does: workers read it while
    they hold the queue.

    Args:
        conn: a connection in the transaction that changed the parcels, their history and their set.
        tables: the tables.
        version: the new version of the set.
        new: current parcels since this version.
        gone: parcels until this version.
    """
    lock_queue(conn, tables)
    scenes = scenes_that_show(conn, tables, new)
    parameters = {"scenes": scenes, "version": version}
    if gone:
        went = states.change(tables, states.PARCELS_WENT, _LISTED, also=_FORGET)
        conn.execute(went, {"gone": list(gone)})
    # before tasks that are done, or failed, become ready
    conn.execute(states.change(tables, states.PARCELS_CAME_MEANWHILE, _NOT_DONE, also=_ASK), parameters)
    unknown, known = (
        conn.execute(states.change(tables, states.PARCELS_CAME, which, also=_ASK), parameters).fetchall()
        for which in (_DONE_UNKNOWN, _DONE)
    )
    came = unknown + known
    others = query(_OTHERS, **names(tables))
    conn.execute(states.change(tables, states.PARCELS_CAME_ELSEWHERE, others, also=_COVER), parameters)
    if unknown:
        update_scenes(conn, tables, sorted({obsid for obsid, _ in unknown}), pids=[])
    return Delta(len({obsid for obsid, _ in came}), len(came))


def plan_missed_parcels(conn: psycopg.Connection, tables: Tables, obsids: Sequence[int]) -> None:
    """Have restored scenes read the parcels that were added while they were archived."""
    version = query(parcel_sets.VERSION, **names(tables))
    conn.execute(
        states.change(
            tables,
            states.PARCELS_CAME,
            query(_BEHIND, version=version),
            also=query("parcels_asked = {version}", version=version),
        ),
        {"scenes": list(obsids)},
    )


def scenes_that_show(
    conn: psycopg.Connection,
    tables: Tables,
    pids: Sequence[int],
    *,
    parcels: sql.Composable | None = None,
) -> list[int]:
    """Return the scenes that are done, or being read, and whose footprint meets one of the parcels.

    Those that are offline are read whole once they are online. Archived ones are not read before they are
    restored [`plan_missed_parcels`].

    Args:
        conn: a connection in a transaction.
        tables: the tables.
        pids: the parcels.
        parcels: the table that has them, in the coordinate system of the parcel table, which is the default.
    """
    if not pids:
        return []
    known = names(tables) | {"came": _CAME, "from": parcels or tables.parcels.sql}
    # with an index: thousands of parcels for thousands of scenes, while workers wait
    conn.execute(query("CREATE TEMPORARY TABLE {came} (wkb_geometry geometry) ON COMMIT DROP", **known))
    conn.execute(
        query("INSERT INTO {came} SELECT wkb_geometry FROM {from} WHERE ogc_fid = ANY(%s)", **known),
        [list(pids)],
    )
    conn.execute(query("CREATE INDEX ON {came} USING gist (wkb_geometry)", **known))
    conn.execute(query("ANALYZE {came}", **known))
    rows = conn.execute(
        query(
            # materialised: an area is computed once, and not for each parcel
            """WITH scene AS MATERIALIZED (
                   SELECT d.id, ST_Transform(ST_Buffer(d.footprint, %(margin)s), (
                       SELECT ST_SRID(wkb_geometry) FROM {came} LIMIT 1)) AS area
                   FROM {catalogue} d
                   WHERE d.status NOT IN ('offline', 'archived')
                       AND EXISTS (SELECT FROM {tasks} t WHERE t.obsid = d.id
                           AND (t.state = 'running' OR t.parcels_covered IS NOT NULL
                               OR (t.state = 'done' AND t.method IS NOT NULL)))
               )
               SELECT id FROM scene
               WHERE EXISTS (SELECT FROM {came} c WHERE ST_Intersects(c.wkb_geometry, scene.area))
               ORDER BY id""",
            **known,
        ),
        {"margin": FOOTPRINT_MARGIN_DEGREES},
    ).fetchall()
    conn.execute(query("DROP TABLE {came}", **known))
    return [obsid for (obsid,) in rows]


_CAME = sql.Identifier("pg_temp", "cbm_parcels_that_came")
_SHOWN = sql.SQL("t.obsid = ANY(%(scenes)s::integer[])")
# What is done without a method is not to be extracted any more.
_KNOWN = sql.SQL("t.method IS NOT NULL AND t.parcels_covered IS NOT NULL")
_DONE = sql.SQL("{} AND {}").format(_SHOWN, _KNOWN)
# What a worker of an earlier version has closed is read whole.
_DONE_UNKNOWN = sql.SQL(
    "{} AND t.state = 'done' AND t.method IS NOT NULL AND t.parcels_covered IS NULL"
).format(_SHOWN)
_NOT_DONE = sql.SQL("{} AND (t.state = 'running' OR t.parcels_covered IS NOT NULL)").format(_SHOWN)
_OTHERS: LiteralString = """
    t.obsid <> ALL(%(scenes)s::integer[]) AND t.method IS NOT NULL AND t.parcels_covered IS NOT NULL
    AND t.obsid NOT IN (SELECT id FROM {catalogue} WHERE status = 'archived')
"""
_BEHIND: LiteralString = (
    "t.obsid = ANY(%(scenes)s) AND t.method IS NOT NULL AND t.parcels_covered < {version}"
)
_ASK = sql.SQL("parcels_asked = %(version)s")
_COVER = sql.SQL("parcels_covered = %(version)s")
_LISTED = sql.SQL(
    """EXISTS (SELECT FROM unnest(t.slivers || t.cut || t.elsewhere) pid
               WHERE pid = ANY(%(gone)s::integer[]))"""
)
_FORGET = sql.SQL(
    """slivers = CASE WHEN t.slivers IS NOT NULL THEN ARRAY(
           SELECT pid FROM unnest(t.slivers) pid WHERE pid <> ALL(%(gone)s::integer[])) END,
       cut = (SELECT array_agg(pid) FROM unnest(t.cut) pid WHERE pid <> ALL(%(gone)s::integer[])),
       (elsewhere, elsewhere_seen) = (
           SELECT array_agg(pid ORDER BY pid),
               CASE WHEN t.elsewhere_seen IS NOT NULL THEN array_agg(saw ORDER BY pid) END
           FROM unnest(t.elsewhere, t.elsewhere_seen) AS given (pid, saw)
           WHERE pid <> ALL(%(gone)s::integer[]))"""
)
