"""Delete statistics of parcels that a scene saw through cloud only, and record that as its tasks' method.

A purged scene looks as if it had been extracted with these `cloud_classes`, so `planning` leaves it alone.
Nothing is read again. If the tile that keeps a parcel saw it fully cloudy, the other tiles of the datatake,
which gave up the parcel, no longer compete with statistics for it: at the same instant they saw the same
cloud.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from cbmctl.config import Tables
from cbmctl.database import one, query
from cbmctl.queue import states
from cbmctl.queue.locks import lock_datatake, lock_scenes
from cbmctl.queue.statements import BANDS_PARAMETERS, OPTICAL, THIS, names


@dataclass(frozen=True)
class Purgeable:
    """Extracted scenes of Sentinel-2, by what a purge with given classes does with them.

    Attributes:
        purge: ids of the scenes whose rows are looked at.
        recorded: how many of these have tasks, in whose method the classes are recorded.
        purged: how many were extracted or purged with just these classes already.
        unfinished: how many have tasks that are not done, or no histograms.
        other: how many were extracted with classes that are not among these.
    """

    purge: list[int]
    recorded: int
    purged: int
    unfinished: int
    other: int


def find_purgeable(conn: psycopg.Connection, tables: Tables, classes: Sequence[int]) -> Purgeable:
    """Sort the extracted scenes of Sentinel-2 by what a purge does with them."""
    found = conn.execute(_SCENES.format(**_names(tables)), _parameters(classes, None)).fetchall()
    number = Counter(verdict for _, verdict in found)
    return Purgeable(
        purge=[obsid for obsid, verdict in found if verdict in _PURGE],
        recorded=number["method"],
        purged=number["purged"],
        unfinished=number["unfinished"],
        other=number["other"],
    )


def count_cloudy(conn: psycopg.Connection, tables: Tables, obsid: int, classes: Sequence[int]) -> int:
    """Return how many rows of sigs a purge of a scene would delete."""
    return int(
        one(
            conn,
            query(
                """WITH cloudy AS MATERIALIZED ({cloudy})
                   SELECT count(*) FROM {sigs} JOIN cloudy USING (pid) WHERE obsid = %(obsid)s""",
                **_names(tables),
            ),
            _parameters(classes, obsid),
        )[0]
    )


def purge_scene(conn: psycopg.Connection, tables: Tables, obsid: int, classes: Sequence[int]) -> int:
    """Delete the rows of fully cloudy parcels of a scene in one transaction; return how many rows.

    Rows of hists stay. Readers and workers at other datatakes go on. A scene that `find_purgeable` would not
    list any more is left alone.

    Args:
        conn: a connection in no transaction.
        tables: the tables.
        obsid: the scene.
        classes: SCL classes; a parcel is fully cloudy if its histogram has no other class.
    """
    named, parameters = _names(tables), _parameters(classes, obsid)
    with conn.transaction():
        lock_datatake(conn, tables, obsid)
        lock_scenes(conn, tables, [obsid], [obsid])
        now = conn.execute(_SCENES.format(**named), parameters).fetchall()
        if not any(verdict in _PURGE for _, verdict in now):
            return 0
        gone = conn.execute(query(_DELETE, **named), parameters).fetchall()
        pids = sorted({pid for _, _, parcels in gone for pid in parcels})
        for bandset, rows, _ in gone:
            conn.execute(
                states.change(tables, states.PURGED, THIS, also=_COUNT),
                parameters | {"bandset": bandset, "rows": rows},
            )
        conn.execute(states.change(tables, states.PURGED, _RATED, also=_RECORD), parameters)
        if pids:
            neighbours = states.change(
                tables,
                states.NEIGHBOUR_PURGED,
                _NEIGHBOURS,
                also=_REMAINING,
                source=query("{catalogue} s JOIN {catalogue} n USING (card, sensor, obstime)", **named),
            )
            conn.execute(neighbours, parameters | {"pids": pids})
    return sum(rows for _, rows, _ in gone)


def _parameters(classes: Sequence[int], obsid: int | None) -> dict[str, Any]:
    return BANDS_PARAMETERS | {
        "obsid": obsid,
        "classes": Jsonb(sorted(classes)),
        "keys": [str(number) for number in classes],
        "bandsets": OPTICAL,
    }


def _names(tables: Tables) -> dict[str, sql.Composable]:
    known = names(tables)
    return known | {"cloudy": query(_CLOUDY, **known)}


# Scenes to be purged: the method of their tasks is known; or it is not, as after an extraction by hand.
_PURGE = ("method", "rows")
_SCENES = sql.SQL(
    """SELECT d.id, CASE
           WHEN NOT t.any THEN 'rows'
           WHEN NOT t.done THEN 'unfinished'
           WHEN t.among IS NULL THEN 'rows'
           WHEN NOT t.among THEN 'other'
           WHEN t.same THEN 'purged'
           ELSE 'method' END
       FROM {catalogue} d, LATERAL (
           SELECT count(*) > 0 AS any,
               coalesce(bool_and(state = 'done') AND bool_or(bandset = 'scl'), false) AS done,
               bool_and(method -> 'cloud_classes' <@ %(classes)s) FILTER (WHERE rated) AS among,
               bool_and(method -> 'cloud_classes' = %(classes)s) FILTER (WHERE rated) AS same
           FROM (SELECT *, bandset = ANY(%(bandsets)s) AND method IS NOT NULL AS rated FROM {tasks}) task
           WHERE obsid = d.id) t
       WHERE d.card = 's2' AND d.status = 'extracted'
         AND (%(obsid)s::integer IS NULL OR d.id = %(obsid)s)
       ORDER BY d.obstime, d.id"""
)
# A parcel without a pixel has no class at all.
_CLOUDY: LiteralString = """
    SELECT pid FROM {hists}
    WHERE obsid = %(obsid)s AND hist::jsonb <> '{{}}' AND hist::jsonb - %(keys)s::text[] = '{{}}'
"""
_DELETE: LiteralString = """
    WITH cloudy AS MATERIALIZED ({cloudy}), gone AS (
        DELETE FROM {sigs} s USING cloudy c WHERE s.obsid = %(obsid)s AND s.pid = c.pid
        RETURNING s.pid, s.band
    )
    SELECT bandset, count(*), array_agg(DISTINCT pid)
    FROM gone LEFT JOIN {bands} USING (band)
    GROUP BY bandset
"""
_COUNT = sql.SQL("rows = t.rows - %(rows)s")
_RATED = sql.SQL("t.obsid = %(obsid)s AND t.bandset = ANY(%(bandsets)s) AND t.method IS NOT NULL")
_RECORD = sql.SQL("method = jsonb_set(t.method, '{cloud_classes}', %(classes)s)")
_NEIGHBOURS = sql.SQL(
    """s.id = %(obsid)s AND n.id <> s.id AND t.obsid = n.id AND t.bandset = ANY(%(bandsets)s)
       AND t.elsewhere && %(pids)s::integer[]"""
)
_REMAINING = sql.SQL(
    """elsewhere = (
           SELECT array_agg(pid ORDER BY pid) FROM unnest(t.elsewhere) pid
           WHERE pid <> ALL(%(pids)s::integer[]))"""
)
