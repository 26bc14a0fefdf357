"""From the configuration to the queue: which scenes, which bands, and what changed since they were done."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from cbmctl.config import Config
from cbmctl.database import query
from cbmctl.errors import UserError
from cbmctl.tasks import LIVE, LIVE_PARAMETERS, counts, names, settle


@dataclass(frozen=True)
class Planned:
    """What planning changed, and what is in the queue now.

    Attributes:
        created: new tasks.
        again: tasks to be done again, or with other bands than they were waiting with.
        dropped: tasks that are to be done no longer.
        counts: tasks by state.
    """

    created: int
    again: int
    dropped: int
    counts: Mapping[str, int]

    @property
    def changed(self) -> bool:
        """Whether planning changed the queue."""
        return bool(self.created or self.again or self.dropped)


def plan(conn: psycopg.Connection, config: Config, *, retry: bool = False, check: bool = False) -> Planned:
    """Put what is still to be extracted into the queue.

    Scenes count that meet the AOI, lie in [start, end) and are 'ingested' or 'inprogress', or were extracted
    by way of the queue. What they lack of the configured band sets is new; what was done, or has failed, with
    other bands than are configured is done again, and its rows are replaced. A scene that meets no parcel
    ('No parcels') does so in every band. A scene that someone set back to 'ingested', as the manual does, is
    extracted again as a whole.

    Band sets that are not configured any more leave the queue, unless a worker is at them; what is done of
    them stays, with its rows.

    Args:
        conn: a connection in no transaction.
        config: says which area, dates and bands.
        retry: also give failed tasks another three attempts.
        check: count only.

    Raises:
        UserError: there is no such AOI.
    """
    with conn.transaction(force_rollback=check):
        queue = _Queue(conn, config, retry)
        queue.require_area()
        queue.lock()
        open_tasks = queue.change_bands()
        again = queue.put_again()
        dropped = queue.drop()
        settle(conn, config.tables, again + dropped)
        created = queue.create()
        return Planned(len(created), len(open_tasks) + len(again), len(dropped), counts(conn, config.tables))


class _Queue:
    """The statements of a plan; each returns the scenes of the tasks that it changed."""

    def __init__(self, conn: psycopg.Connection, config: Config, retry: bool) -> None:
        self._conn, self._config = conn, config
        # sorted: the order of the bands in the configuration says nothing
        wanted = {bandset: sorted(bands) for bandset, bands in config.extraction.bandsets.items()}
        self._parameters = LIVE_PARAMETERS | {
            "name": config.args.name,
            "start": config.args.start,
            "end": config.args.end,
            "wanted": Jsonb(wanted),
            "bandsets": list(wanted),
            "retry": retry,
        }
        self._names = names(config.tables) | {"live": LIVE}
        self._area = query(
            "SELECT wkb_geometry FROM {aois} WHERE {field} = %(name)s",
            field=sql.Identifier(config.args.aoi_field),
            **self._names,
        )
        self._names["scenes"] = query(
            """SELECT d.id, d.status
               FROM {catalogue} d JOIN ({area}) a ON ST_Intersects(d.footprint, a.wkb_geometry)
               WHERE d.card = 's2' AND d.obstime >= %(start)s AND d.obstime < %(end)s
                 AND (d.status IN ('ingested', 'inprogress')
                     OR (d.status <> 'No parcels' AND EXISTS (SELECT FROM {tasks} WHERE obsid = d.id)))""",
            area=self._area,
            **self._names,
        )
        self._names["wanted"] = query(
            """SELECT key AS bandset, ARRAY(SELECT jsonb_array_elements_text(value)) AS bands
               FROM jsonb_each(%(wanted)s)"""
        )

    def require_area(self) -> None:
        if self._conn.execute(self._area, self._parameters).fetchone() is None:
            args, tables = self._config.args, self._config.tables
            raise UserError(f"{tables.aois} has no area '{args.name}': set it with cbmctl aoi set")

    def lock(self) -> None:
        """Let no worker claim or close a task meanwhile, and no other plan begin; everyone may read.

        Workers touch a task before its scene, so none of them holds a scene while it waits for us.
        """
        self._conn.execute(query("LOCK TABLE {tasks} IN EXCLUSIVE MODE", tasks=self._names["tasks"]))

    def change_bands(self) -> list[int]:
        """Of open tasks. A worker that is at one notices when it is done, and leaves it to be done again."""
        return self._obsids(
            """UPDATE {tasks} t SET bands = w.bands FROM ({wanted}) w
               WHERE w.bandset = t.bandset AND t.state IN ('ready', 'running') AND t.bands <> w.bands
               RETURNING t.obsid"""
        )

    def put_again(self) -> list[int]:
        return self._obsids(
            """WITH scenes AS MATERIALIZED ({scenes})
               UPDATE {tasks} t
               SET state = 'ready', bands = w.bands, attempts = 0, reason = NULL, worker = NULL
               FROM ({wanted}) w
               WHERE w.bandset = t.bandset AND t.state IN ('done', 'failed') AND (
                   (t.state = 'failed' AND %(retry)s)
                   OR t.obsid IN (SELECT id FROM scenes WHERE status = 'ingested')
                   OR (t.bands IS DISTINCT FROM w.bands AND t.obsid IN (SELECT id FROM scenes)))
               RETURNING t.obsid"""
        )

    def drop(self) -> list[int]:
        # of an earlier time there are rows, in whatever bands
        former = self._obsids(
            """UPDATE {tasks} t SET state = 'done', bands = NULL, reason = NULL
               WHERE t.state <> 'done' AND t.bandset <> ALL(%(bandsets)s) AND t.rows > 0
                 AND (t.state <> 'running' OR NOT {live})
               RETURNING t.obsid"""
        )
        return former + self._obsids(
            """DELETE FROM {tasks} t
               WHERE t.state <> 'done' AND t.bandset <> ALL(%(bandsets)s)
                 AND (t.state <> 'running' OR NOT {live})
               RETURNING t.obsid"""
        )

    def create(self) -> list[int]:
        created = self._obsids(
            """INSERT INTO {tasks} (obsid, bandset, bands)
               SELECT s.id, w.bandset, w.bands FROM ({scenes}) s, ({wanted}) w
               ON CONFLICT DO NOTHING RETURNING obsid"""
        )
        self._parameters["created"] = created
        # a new scene is 'ingested' until a worker begins; one that was closed is open again
        settle(
            self._conn,
            self._config.tables,
            self._obsids(
                """SELECT id FROM {catalogue}
                   WHERE id = ANY(%(created)s) AND status NOT IN ('ingested', 'inprogress')"""
            ),
        )
        return created

    def _obsids(self, text: LiteralString) -> list[int]:
        found: list[tuple[Any, ...]] = self._conn.execute(
            query(text, **self._names), self._parameters
        ).fetchall()
        return [obsid for (obsid,) in found]
