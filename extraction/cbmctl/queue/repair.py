"""What the manual does with its table `faulties`: scenes that were left half done are as good as new.

Of a scene that is not done and that no worker is at, the rows of unfinished band sets go, their tasks become
ready as if nobody had tried them, and the status follows. Without a word about it stay scenes that are
'extracted', have 'No parcels', or only wait for their turn; rows of an earlier time too, if their task waits
to be done again and nobody has tried to: they are whole, and replaced when its turn comes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from cbmctl.config import Config
from cbmctl.config.bandsets import BANDSETS
from cbmctl.database import query
from cbmctl.queue import extracted_rows, states
from cbmctl.queue.find_scenes import find_scenes
from cbmctl.queue.locks import LIVE_PARAMETERS, lock_queue
from cbmctl.queue.overlap import reopen
from cbmctl.queue.parcel_sets import any_gone
from cbmctl.queue.planning import AS_WANTED, WANTED, wanted
from cbmctl.queue.scene_changes import update_scenes
from cbmctl.queue.statements import failed, names

# Of scenes that no worker is at: whether somebody has tried the task t since it was planned.
_TOUCHED = sql.SQL("(t.state IN ('running', 'failed') OR (t.state = 'ready' AND t.attempts > 0))")


@dataclass(frozen=True)
class Repaired:
    """A scene that was, or would be, repaired.

    Attributes:
        reference: its name.
        card: its card.
        before: its status until now.
        after: its status from now on.
        reason: what went wrong; None where nobody has written that down.
        tasks: tasks to be done anew.
        sigs: rows removed there.
        hists: likewise.
    """

    reference: str
    card: str
    before: str
    after: str
    reason: str | None
    tasks: int
    sigs: int
    hists: int

    @property
    def changed(self) -> bool:
        """Whether there was anything to repair."""
        return bool(self.tasks or self.sigs or self.hists or self.before != self.after)


@dataclass(frozen=True)
class Repair:
    """What a repair did.

    Attributes:
        scenes: those that were repaired, by time.
        live: references of scenes that were left alone, because they are being worked on.
    """

    scenes: tuple[Repaired, ...]
    live: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether anything was, or would be, different afterwards."""
        return bool(self.scenes)


def repair(
    conn: psycopg.Connection, config: Config, references: Sequence[str] = (), *, check: bool = False
) -> Repair:
    """Repair scenes, in one transaction.

    Args:
        conn: a connection in no transaction, of the owner or the writer.
        config: says with which bands and methods tasks are to be done anew, and which not at all.
        references: only these scenes; none means all.
        check: find out and change nothing.

    Raises:
        UserError: the catalogue has no such reference.
    """
    with conn.transaction(force_rollback=check):
        obsids = list(find_scenes(conn, config.tables, references).values()) if references else None
        work = _Repair(conn, config, obsids)
        lock_queue(conn, config.tables)
        live = work.live()
        faulty = work.faulty()
        ids = [scene["id"] for scene in faulty]
        removed = extracted_rows.delete(conn, config.tables, work.rows_to_go(ids), keep_gone=True)
        tasks = work.renew(ids)
        work.forget_offset(ids)
        update_scenes(conn, config.tables, ids)
        reopen(conn, config.tables, ids)
        after = work.statuses(ids)
    scenes = []
    for scene in faulty:
        obsid = scene.pop("id")
        sigs, hists = removed.get(obsid, (0, 0))
        scenes.append(Repaired(**scene, after=after[obsid], tasks=tasks[obsid], sigs=sigs, hists=hists))
    return Repair(tuple(scene for scene in scenes if scene.changed), tuple(live))


class _Repair:
    """The statements of a repair."""

    def __init__(self, conn: psycopg.Connection, config: Config, obsids: list[int] | None) -> None:
        self._conn, self._tables = conn, config.tables
        self._names = names(config.tables) | {"wanted": WANTED, "touched": _TOUCHED, "failed": failed("d")}
        known = [(name, band) for name, bandset in BANDSETS.items() for band in bandset.bands]
        self._parameters = (
            LIVE_PARAMETERS
            | wanted(config)
            | {
                "asked": obsids,
                "all_sets": [name for name, _ in known],
                "all_bands": [band for _, band in known],
            }
        )

    def live(self) -> list[str]:
        """References of the scenes that are being worked on."""
        rows = self._rows(
            """SELECT reference FROM {catalogue} d
               WHERE EXISTS (SELECT FROM {tasks} t WHERE obsid = d.id AND {at_work})
                 AND (%(asked)s::integer[] IS NULL OR id = ANY(%(asked)s::integer[]))
               ORDER BY obstime, id"""
        )
        return [row["reference"] for row in rows]

    def faulty(self) -> list[dict[str, Any]]:
        """Scenes that no worker is at and that may need something, by time.

        If no task has failed, a status that REASONS lacks was set by hand, and is not an error.
        """
        return self._rows(
            """SELECT d.id, reference, card, status AS before, coalesce(t.reason, d.reason) AS reason
               FROM {catalogue} d LEFT JOIN (
                   SELECT obsid, bool_or({at_work}) AS live, bool_or({touched}) AS touched,
                       (array_agg(CASE state WHEN 'running' THEN format('the worker %%s is gone', worker)
                                  ELSE reason END ORDER BY array_position(%(order)s, bandset))
                           FILTER (WHERE {touched}))[1] AS reason
                   FROM {tasks} t GROUP BY obsid
               ) t ON t.obsid = d.id
               WHERE (%(asked)s::integer[] IS NULL OR d.id = ANY(%(asked)s::integer[]))
                 AND t.live IS NOT TRUE
                 AND (t.touched OR status = 'inprogress' OR {failed})
               ORDER BY obstime, d.id"""
        )

    def rows_to_go(self, ids: list[int]) -> list[tuple[int, str | None]]:
        """Band sets whose rows nobody vouches for; None for all rows of a scene that has no task."""
        rows = self._rows(
            """SELECT obsid, bandset FROM {tasks} t
               WHERE obsid = ANY(%(ids)s) AND NOT {delta}
                   AND ({touched} OR (state = 'ready' AND rows IS NULL))
               UNION ALL
               SELECT id, NULL FROM unnest(%(ids)s::integer[]) id
               WHERE NOT EXISTS (SELECT FROM {tasks} WHERE obsid = id)""",
            ids,
        )
        return [(row["obsid"], row["bandset"]) for row in rows]

    def renew(self, ids: list[int]) -> Counter[int]:
        """Take up again what was tried, or forget it if it is not configured; count both by scene.

        So is what gave parcels up: to take part as a whole, the scene needs all of its rows. A task that is
        to read new parcels keeps the rows of the others, and does not make the scene half done.
        """
        changed = [
            row
            for event, which, configured in (
                (
                    states.RETIRED_WITH_ROWS,
                    "{touched} AND NOT {delta} AND t.bandset <> ALL(%(bandsets)s) AND {kept} > 0",
                    False,
                ),
                (states.REPAIRED_AWAY, "{touched} AND NOT {delta} AND t.bandset <> ALL(%(bandsets)s)", False),
                # before what was tried becomes ready
                (
                    states.MADE_WHOLE,
                    """(NOT {touched} OR {delta}) AND t.elsewhere IS NOT NULL AND t.obsid NOT IN (
                           SELECT obsid FROM {tasks} t WHERE t.state <> 'done'
                           GROUP BY obsid HAVING bool_and({delta}))""",
                    True,
                ),
                (states.REPAIRED, "{touched} AND NOT {delta}", True),
                (states.REPAIRED_DELTA, "{touched} AND {delta}", False),
            )
            for row in self._change(event, which, ids, configured=configured)
        ]
        return Counter(obsid for obsid, _ in changed)

    def forget_offset(self, ids: list[int]) -> None:
        """What was added to the digital numbers is told of scenes that have rows made of them."""
        self._rows(
            """UPDATE {catalogue} SET applied_offset = NULL
               WHERE id = ANY(%(ids)s) AND applied_offset IS NOT NULL AND NOT EXISTS (
                   SELECT FROM {tasks} WHERE obsid = id AND bandset <> 'scl' AND rows > 0)
               RETURNING id""",
            ids,
        )

    def statuses(self, ids: list[int]) -> dict[int, str]:
        rows = self._rows("SELECT id, status FROM {catalogue} WHERE id = ANY(%(ids)s)", ids)
        return {row["id"]: row["status"] for row in rows}

    def _change(
        self, event: states.Event, which: LiteralString, ids: Sequence[int], *, configured: bool
    ) -> list[tuple[int, str]]:
        kept = self._kept()
        where = query(which, **self._names, kept=kept) + query(" AND t.obsid = ANY(%(ids)s)")
        also: sql.Composable | None = None
        source: sql.Composable | None = None
        if configured:
            where += query(" AND w.bandset = t.bandset")
            also, source = AS_WANTED, query("({wanted}) w", **self._names)
        if event is states.REPAIRED:
            also = query("{wanted}, rows = {kept}", wanted=AS_WANTED, kept=kept)
        elif event is states.RETIRED_WITH_ROWS:
            also = query("rows = {kept}", kept=kept)
        statement = states.change(self._tables, event, where, also=also, source=source)
        return self._conn.execute(statement, self._parameters | {"ids": list(ids)}).fetchall()

    def _kept(self) -> sql.Composable:
        """Return how many rows the task t has left, those of parcels that are gone; NULL if none."""
        if not any_gone(self._conn, self._tables):
            return sql.SQL("NULL")
        return query(
            """nullif(CASE t.bandset WHEN 'scl' THEN (SELECT count(*) FROM {hists} WHERE obsid = t.obsid)
                   ELSE (SELECT count(*) FROM {sigs} WHERE obsid = t.obsid AND band IN (
                       SELECT band
                       FROM unnest(%(all_sets)s::text[], %(all_bands)s::bpchar[]) known (bandset, band)
                       WHERE known.bandset = t.bandset)) END, 0)""",
            **self._names,
        )

    def _rows(self, text: LiteralString, ids: Sequence[int] = ()) -> list[dict[str, Any]]:
        with self._conn.cursor(row_factory=dict_row) as cursor:
            parameters = self._parameters | {"ids": list(ids)}
            return cursor.execute(query(text, **self._names), parameters).fetchall()
