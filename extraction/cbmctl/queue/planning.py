"""From the configuration to the queue: which scenes, which bands, and what changed since they were done."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from cbmctl.config import Config
from cbmctl.config.bandsets import BANDSETS
from cbmctl.database import query
from cbmctl.errors import UserError
from cbmctl.invocation import command
from cbmctl.queue import states
from cbmctl.queue.locks import LIVE_PARAMETERS, lock_queue
from cbmctl.queue.progress import counts
from cbmctl.queue.scene_changes import update_scenes
from cbmctl.queue.statements import names

# What the configuration asks for, a line for each band set; takes the parameters of `wanted`.
WANTED = sql.SQL(
    """SELECT key AS bandset, value ->> 'card' AS card, value -> 'method' AS method,
           ARRAY(SELECT jsonb_array_elements_text(value -> 'bands')) AS bands
       FROM jsonb_each(%(wanted)s)"""
)

# materialised: the scenes of an area are looked up once, and not for each task
_SCENES: LiteralString = "(WITH s AS MATERIALIZED ({scenes}) SELECT * FROM s) s"
AS_WANTED = sql.SQL("bands = w.bands, method = w.method")


@dataclass(frozen=True)
class Planned:
    """What planning changed, and what is in the queue now.

    Attributes:
        created: new tasks.
        again: tasks to be done again, or otherwise than they were waiting for.
        dropped: tasks that are to be done no longer.
        kept: tasks that were done for all tiles of a datatake, of which now one counts, or the reverse, and
            that need not be done again.
        counts: tasks by state; of the scenes that were planned, where only some were.
    """

    created: int
    again: int
    dropped: int
    kept: int
    counts: Mapping[str, int]

    @property
    def changed(self) -> bool:
        """Whether planning changed the queue."""
        return bool(self.created or self.again or self.dropped or self.kept)


def plan(conn: psycopg.Connection, config: Config, *, check: bool = False) -> Planned:
    """Put what is still to be extracted into the queue.

    Scenes of every card count that meet the AOI, lie in [start, end) and are 'ingested' or 'inprogress', or
    were extracted by way of the queue. Those that are 'superseded', 'offered' or 'offline' get no tasks. What
    scenes lack of the band sets that are configured for their card is new; what was done, or has failed, with
    other bands or by another method than are configured is done again, and its rows are replaced. A scene
    that meets no parcel ('No parcels') does so in every band. A scene that someone set back to 'ingested', as
    the manual does, is extracted again as a whole.

    Band sets that are not configured any more leave the queue, unless a worker is at them; what is done of
    them stays, with its rows.

    Args:
        conn: a connection in no transaction.
        config: says which area, dates, bands and methods.
        check: count only.

    Raises:
        UserError: there is no such AOI.
    """
    with conn.transaction(force_rollback=check):
        queue = _Queue(conn, config)
        queue.require_area()
        lock_queue(conn, config.tables)
        # first, so that what is to read new parcels only is not to read all
        kept = queue.change_overlap()
        open_tasks = queue.change_open()
        again = queue.put_again()
        dropped = queue.drop()
        update_scenes(conn, config.tables, open_tasks + kept + again + dropped)
        created = queue.create()
        now = counts(conn, config.tables)
        return Planned(len(created), len(open_tasks) + len(again), len(dropped), len(kept), now)


def plan_scenes(
    conn: psycopg.Connection, config: Config, scenes: Mapping[str, int], *, check: bool = False
) -> Planned:
    """Put scenes into the queue whole, whatever their status, place and date; leave the others alone.

    Their rows stay until they are replaced. A task that a worker is at is left to it, unless it is to be done
    otherwise now: then it is done once more.

    Args:
        conn: a connection in no transaction.
        config: says which bands and methods.
        scenes: references and ids, of `cbmctl.queue.find_scenes`.
        check: count only.

    Raises:
        UserError: nothing is extracted from scenes of such a card, a newer version stands in for one, or
            one is not online.
    """
    obsids = list(scenes.values())
    with conn.transaction(force_rollback=check):
        queue = _Queue(conn, config, obsids)
        queue.require_cards()
        lock_queue(conn, config.tables)
        queue.require_current()
        again = queue.put_again() + queue.change_open()
        dropped = queue.drop()
        update_scenes(conn, config.tables, again + dropped)
        created = queue.create()
        now = counts(conn, config.tables, obsids)
        return Planned(len(created), len(again), len(dropped), 0, now)


def wanted(config: Config) -> dict[str, Any]:
    """Return the parameters that say what is configured: WANTED's, `bandsets` and `cards`."""
    bandsets = {
        bandset: {
            "card": BANDSETS[bandset].card,
            "bands": sorted(bands),  # their order in the configuration says nothing
            "method": asdict(config.extraction.methods[bandset]),
        }
        for bandset, bands in config.extraction.bandsets.items()
    }
    cards = sorted({BANDSETS[bandset].card for bandset in bandsets})
    return {"wanted": Jsonb(bandsets), "bandsets": list(bandsets), "cards": cards}


class _Queue:
    """The statements of a plan; each returns the scenes of the tasks that it changed."""

    def __init__(self, conn: psycopg.Connection, config: Config, obsids: list[int] | None = None) -> None:
        """`obsids`: only these scenes, and these whole."""
        self._conn, self._config = conn, config
        self._parameters = (
            LIVE_PARAMETERS
            | wanted(config)
            | {
                "name": config.args.name,
                "start": config.args.start,
                "end": config.args.end,
                "obsids": obsids,
            }
        )
        self._names = names(config.tables) | {"wanted": WANTED}
        self._area = query(
            "SELECT wkb_geometry FROM {aois} WHERE {field} = %(name)s",
            field=sql.Identifier(config.args.aoi_field),
            **self._names,
        )
        self._names["scenes"] = (
            self._of_the_area()
            if obsids is None
            else query("SELECT id, status, card FROM {catalogue} WHERE id = ANY(%(obsids)s)", **self._names)
        )

    def _of_the_area(self) -> sql.Composed:
        return query(
            """SELECT d.id, d.status, d.card
               FROM {catalogue} d JOIN ({area}) a ON ST_Intersects(d.footprint, a.wkb_geometry)
               WHERE d.card = ANY(%(cards)s) AND d.obstime >= %(start)s AND d.obstime < %(end)s
                 AND (d.status IN ('ingested', 'inprogress')
                     OR (d.status NOT IN ('No parcels', 'offline', 'archived')
                         AND EXISTS (SELECT FROM {tasks} WHERE obsid = d.id)))""",
            area=self._area,
            **self._names,
        )

    def require_area(self) -> None:
        if self._conn.execute(self._area, self._parameters).fetchone() is None:
            args, tables = self._config.args, self._config.tables
            raise UserError(
                "area.missing",
                f"{tables.aois} has no area '{args.name}'",
                f"Set it with {command('aoi set')}",
                about=tables.aois,
            )

    def require_cards(self) -> None:
        statement = query(
            "SELECT reference, card FROM {catalogue} WHERE id = ANY(%(obsids)s) AND card <> ALL(%(cards)s)",
            **self._names,
        )
        if row := self._conn.execute(statement, self._parameters).fetchone():
            reference, card = row
            raise UserError(
                "scene.no_bands",
                f"{self._config.source} has no bands for card '{card}' of {reference}",
                f"List bands in extraction.{card}",
                about="extraction",
            )

    def require_current(self) -> None:
        statement = query(
            """SELECT d.reference, d.status, n.reference FROM {catalogue} d
               LEFT JOIN {catalogue} n ON n.id = d.superseded_by
               WHERE d.id = ANY(%(obsids)s)
                 AND d.status IN ('superseded', 'offered', 'offline', 'archived')""",
            **self._names,
        )
        row = self._conn.execute(statement, self._parameters).fetchone()
        if row is None:
            return
        reference, status, newer = row
        if status == "superseded":
            raise UserError(
                "scene.superseded",
                f"{reference} is superseded by {newer or 'a newer version'}",
                "Extract that one",
                about=reference,
            )
        if status == "offered":
            raise UserError(
                "scene.newer_version",
                f"{reference} is a newer version of an extracted scene",
                f"Accept it with {command('catalogue replace')} {reference}",
                about=reference,
            )
        if status == "archived":
            raise UserError(
                "scene.archived",
                f"{reference} is archived",
                (
                    f"To restore its rows, run {command('maintain restore')}. To extract it again, set its"
                    " status to 'ingested'"
                ),
                about=reference,
            )
        raise UserError(
            "scene.offline",
            f"{reference} is not online",
            "Sync the catalogue again once the archive has it",
            about=reference,
        )

    def change_open(self) -> list[int]:
        """Tell open tasks of new bands and methods; what failed with others begins anew.

        A worker that is at one notices when it is done, and leaves it to be done again.
        """
        where = query(
            "w.bandset = t.bandset AND {asked} AND (t.bands, t.method) <> (w.bands, w.method)", **self._names
        )
        return [
            obsid
            for event in (states.CHANGED, states.CHANGED_AT_WORK)
            for obsid in self._change(event, where, also=AS_WANTED, source="({wanted}) w")
        ]

    def change_overlap(self) -> list[int]:
        """Tell what is done that it is to give up parcels, or need not, where that is all that changed.

        So is what is done but for new parcels, unless a worker is at it. Rows that were given up and are
        asked for now must be read again. Of band sets that are not configured any more there may be rows too.
        """
        kept = self._change(
            states.OVERLAP_CHANGED,
            query(
                """w.bandset = t.bandset AND s.id = t.obsid AND t.bands = w.bands
                   AND (t.state = 'done' OR {delta})
                   AND t.method <> w.method AND t.method - 'overlap' = w.method - 'overlap'
                   AND (w.method ->> 'overlap' = 'first' OR t.elsewhere IS NULL)""",
                **self._names,
            ),
            also=query("method = w.method"),
            source=f"({{wanted}}) w, {_SCENES}",
        )
        return kept + self._change(
            states.OVERLAP_CHANGED,
            query(
                """s.id = t.obsid AND t.bandset <> ALL(%(bandsets)s) AND t.state = 'done'
                   AND t.method ->> 'overlap' = 'all' AND EXISTS (
                     SELECT FROM ({wanted}) w WHERE w.method ->> 'overlap' = 'first')""",
                **self._names,
            ),
            also=query("""method = jsonb_set(t.method, '{{overlap}}', '"first"')"""),
            source=_SCENES,
        )

    def put_again(self) -> list[int]:
        """Make tasks ready again: of scenes asked for whole or set to 'ingested', or done otherwise.

        So are those that a worker of an earlier version closed, which did not record what parcels it read.

        What a worker reads new parcels for is read whole after that.
        """
        asked = query("(%(obsids)s::integer[] IS NOT NULL OR s.status = 'ingested')")
        again = self._change(
            states.ASKED_AGAIN,
            query(
                """w.bandset = t.bandset AND s.id = t.obsid AND CASE
                   WHEN {delta} AND {asked} THEN NOT {at_work}
                   WHEN %(obsids)s::integer[] IS NOT NULL THEN CASE t.state
                       WHEN 'ready' THEN t.attempts > 0
                       WHEN 'running' THEN NOT {at_work}
                       ELSE true END
                   ELSE t.state IN ('done', 'failed') AND (
                       s.status = 'ingested'
                       OR (t.bands, t.method) IS DISTINCT FROM (w.bands, w.method)
                       OR t.state = 'done' AND t.parcels_covered IS NULL) END""",
                **self._names | {"asked": asked},
            ),
            also=AS_WANTED,
            source=f"({{wanted}}) w, {_SCENES}",
        )
        return again + self._change(
            states.ASKED_AT_WORK,
            query(
                "w.bandset = t.bandset AND s.id = t.obsid AND {delta} AND {asked} AND {at_work}",
                **self._names | {"asked": asked},
            ),
            source=f"({{wanted}}) w, {_SCENES}",
        )

    def drop(self) -> list[int]:
        """Leave nothing to be done of band sets that are not configured; rows of an earlier time stay."""
        where = query(
            "t.bandset <> ALL(%(bandsets)s) AND NOT {at_work} AND {asked}",
            **self._names,
        )
        former = self._change(states.RETIRED_WITH_ROWS, query("{where} AND t.rows > 0", where=where))
        return former + self._change(states.DROPPED, where)

    def create(self) -> list[int]:
        wanted = query(
            """SELECT s.id AS obsid, w.bandset, w.bands, w.method
               FROM ({scenes}) s JOIN ({wanted}) w ON w.card = s.card""",
            **self._names,
        )
        rows = self._conn.execute(states.plan(self._config.tables, wanted), self._parameters)
        created = [obsid for obsid, _ in rows]
        # a new scene is 'ingested' until a worker begins; one that was closed, or waited for others, is open;
        # one that somebody was at by hand stays as it is, so that `repair` finds its rows
        opened = self._conn.execute(
            query(
                """SELECT id FROM {catalogue} WHERE id = ANY(%s) AND status <> 'ingested'
                   AND (status <> 'inprogress' OR reason_code IS NOT NULL)""",
                **self._names,
            ),
            [created],
        )
        update_scenes(self._conn, self._config.tables, [obsid for (obsid,) in opened])
        return created

    def _change(
        self,
        event: states.Event,
        where: sql.Composable,
        *,
        also: sql.Composable | None = None,
        source: LiteralString | None = None,
    ) -> list[int]:
        statement = states.change(
            self._config.tables,
            event,
            where,
            also=also,
            source=query(source, **self._names) if source else None,
        )
        return [obsid for obsid, _ in self._conn.execute(statement, self._parameters)]
