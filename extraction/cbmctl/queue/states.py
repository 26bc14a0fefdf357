"""What happens to a task: a table of events and states, from which every write of `tasks.state` is built.

docs/queue.md shows the same table [`markdown`].
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql

from cbmctl.config import Tables

# None: there is no such task.
State = LiteralString | None
READY, RUNNING, DONE, FAILED = "ready", "running", "done", "failed"
STATES: tuple[LiteralString, ...] = (READY, RUNNING, DONE, FAILED)

_NO_REASON: LiteralString = "reason_code = NULL, failed_status = NULL, reason = NULL"
# A task that is ready again looks as if nobody had tried it.
_UNTRIED: LiteralString = f"attempts = 0, {_NO_REASON}, not_before = NULL, worker = NULL"
# Of a task that is not done, `parcels_covered` says that only parcels after that version are to be read.
_WHOLE: LiteralString = "parcels_covered = NULL"
# Whichever version of the parcels is current when it is read, that is all of them.
READY_AGAIN: LiteralString = f"{_UNTRIED}, {_WHOLE}, parcels_asked = DEFAULT"
# The same, without what was recorded about its rows.
WITHOUT_RESULTS: LiteralString = """claimed_at = NULL, finished_at = NULL, parcels = NULL, slivers = NULL,
    cut = NULL, elsewhere = NULL, elsewhere_seen = NULL"""
# Its rows stay, in whatever bands; nothing is left to do.
RETIRED: LiteralString = f"bands = NULL, method = NULL, {_WHOLE}, {_NO_REASON}, not_before = NULL"
_BEGUN: LiteralString = """claimed_at = clock_timestamp(), finished_at = NULL, not_before = NULL,
    server_start = pg_postmaster_start_time()"""


@dataclass(frozen=True)
class Event:
    """Something that happens to a task.

    Attributes:
        name: as the docs have it.
        meaning: when it happens.
        moves: the state afterwards, by the state before; a task in another state is left alone.
        sets: the other columns that change with it, always.
    """

    name: str
    meaning: str
    moves: Mapping[State, State]
    sets: LiteralString = ""


def _event(name: str, meaning: str, before: str, after: State, sets: LiteralString = "") -> Event:
    """Return an event after which a task is in one state."""
    return Event(name, meaning, {state: after for state in STATES if state in before.split()}, sets)


_ANY, _NOT_DONE = "ready running done failed", "ready running failed"

PLANNED = Event("planned", "the configuration asks for the band set of a scene", {None: READY})
ASKED_AGAIN = _event(
    "requested again",
    "other bands or another method are configured, the scene was set to `ingested` by hand or came online"
    " again, or `extract --scene`; of a running task only if its worker is gone. Also a done task, if it is"
    " unknown which parcels it has read",
    _ANY,
    READY,
    READY_AGAIN,
)
ASKED_AT_WORK = _event(
    "requested again while running",
    "all parcels must be read again, but a worker is reading only new parcels; the worker's result is"
    " discarded",
    RUNNING,
    RUNNING,
    _WHOLE,
)
CHANGED = _event("changed", "other bands or another method before anybody began", READY, READY, READY_AGAIN)
CHANGED_AT_WORK = _event(
    "changed while running", "the same, but a worker is running the task", RUNNING, RUNNING, _WHOLE
)
OVERLAP_CHANGED = Event(
    "overlap changed",
    "only `tenant_overlap` was changed, and no rows are missing; also for a delta",
    {state: state for state in (READY, DONE, FAILED)},
)
DROPPED = _event("dropped", "not configured any more, and there are no rows", _NOT_DONE, None)
RETIRED_WITH_ROWS = _event("retired", "not configured any more, and there are rows", _NOT_DONE, DONE, RETIRED)
CLAIMED = _event("claimed", "a worker begins", READY, RUNNING, _BEGUN)
TAKEN_OVER = _event("taken over", "another worker begins; the first one vanished", RUNNING, RUNNING, _BEGUN)
EXCUSED = Event(
    "excused",
    "the worker vanished, and the scene is not to blame",
    {READY: READY, RUNNING: RUNNING},
    "attempts = attempts - 1",
)
VANISHED = _event("worker vanished", "in the last attempt, and the scene may be to blame", RUNNING, FAILED)
FINISHED = _event("done", "the rows are written", RUNNING, DONE, f"{_NO_REASON}, not_before = NULL")
NO_PARCELS = _event(
    "no parcels",
    "the scene shows no parcel; also its tasks that nobody has begun",
    "ready running",
    DONE,
    f"{_NO_REASON}, not_before = NULL",
)
PARCELS_CAME_AT_WORK = _event(
    "done, delta follows",
    "the rows are written, but new parcels were loaded in the meantime and must be read",
    RUNNING,
    READY,
    _UNTRIED,
)
RETRIED = _event("failed, tried again", "after a pause", RUNNING, READY)
GIVEN_UP = _event("failed", "in the last attempt, or a retry cannot help", RUNNING, FAILED)
OUTDATED = _event(
    "outdated",
    "the worker finished or failed, but the request changed in the meantime: other bands, another method, or"
    " all parcels",
    RUNNING,
    READY,
    READY_AGAIN,
)
RELEASED = _event(
    "released",
    "the worker stops, or the archive is away; the attempt does not count",
    RUNNING,
    READY,
    "attempts = attempts - 1, worker = NULL",
)
GAVE_UP_PARCELS = Event(
    "lost parcels", "another tile of the datatake keeps their rows", {state: state for state in STATES}
)
REOPENED = _event(
    "reopened",
    "the rows of a parcel move back to this scene from another tile, so the parcel must be read again; a"
    " ready or failed task only if it is a delta",
    "ready done failed",
    READY,
    READY_AGAIN,
)
PURGED = _event("purged", "rows of fully cloudy parcels are deleted, and the classes recorded", DONE, DONE)
NEIGHBOUR_PURGED = Event(
    "neighbour purged",
    "parcels that it gave up are removed from its list, because another tile saw them fully cloudy",
    {state: state for state in STATES},
)
ARCHIVED = _event(
    "archived", "the rows are in a verified archive, and were deleted from the database", DONE, DONE
)
RESTORED = _event("restored", "the rows of an archived scene are in the database again", DONE, DONE)
SUPERSEDED = _event("superseded", "another version of the scene counts", _ANY, None)
OFFLINE = _event("offline", "the scene is not online, and there are no rows", _NOT_DONE, None)
OFFLINE_WITH_ROWS = _event("offline, with rows", "the same, and there are rows", _NOT_DONE, DONE, RETIRED)
REPAIRED = _event(
    "repaired",
    "`repair` of what was tried and is not done",
    _NOT_DONE,
    READY,
    f"{READY_AGAIN}, {WITHOUT_RESULTS}",
)
REPAIRED_DELTA = _event(
    "repaired, new parcels",
    "the same for a delta; rows of other parcels are kept",
    _NOT_DONE,
    READY,
    _UNTRIED,
)
MADE_WHOLE = _event(
    "made whole",
    "`repair` of another task of the scene, if it gave up parcels",
    _ANY,
    READY,
    f"{READY_AGAIN}, {WITHOUT_RESULTS}",
)
REPAIRED_AWAY = _event(
    "repaired, not configured",
    "`repair` of what is not to be extracted any more",
    _NOT_DONE,
    None,
)
NEW_PARCELS = _event(
    "new parcels",
    "the parcels are replaced, with all statistics",
    _ANY,
    READY,
    f"{READY_AGAIN}, {WITHOUT_RESULTS}, rows = NULL",
)
NEW_PARCELS_UNKNOWN = _event(
    "new parcels, not planned",
    "the same; the bands are not known, the scene is superseded or offline, or the parcels are those of"
    " another season",
    _ANY,
    None,
)
PARCELS_CAME = _event(
    "parcels added",
    "new parcels lie in the scene. Only the new parcels are read; if it is unknown which parcels the task has"
    " read, all are read. A delta that failed is retried with them",
    "done failed",
    READY,
    _UNTRIED,
)
PARCELS_CAME_MEANWHILE = Event(
    "parcels added to an open task",
    "new parcels lie in the scene, and the task is running, or is a delta that is still ready",
    {state: state for state in (READY, RUNNING)},
)
PARCELS_CAME_ELSEWHERE = _event(
    "parcels added elsewhere", "new parcels were loaded, but none lies in the scene", DONE, DONE
)
PARCELS_WENT = Event(
    "parcels removed",
    "parcels are gone: they are removed from the lists of the task; their rows are kept",
    {state: state for state in STATES},
)
DELETED = _event("deleted", "the scene's row is deleted from the catalogue (`ON DELETE CASCADE`)", _ANY, None)

EVENTS: tuple[Event, ...] = (
    PLANNED, ASKED_AGAIN, ASKED_AT_WORK, CHANGED, CHANGED_AT_WORK, OVERLAP_CHANGED, DROPPED,
    RETIRED_WITH_ROWS, CLAIMED, TAKEN_OVER, EXCUSED, VANISHED, FINISHED, PARCELS_CAME_AT_WORK, NO_PARCELS,
    RETRIED, GIVEN_UP, OUTDATED, RELEASED, GAVE_UP_PARCELS, REOPENED, PURGED, NEIGHBOUR_PURGED, ARCHIVED,
    RESTORED, SUPERSEDED, OFFLINE, OFFLINE_WITH_ROWS, REPAIRED, REPAIRED_DELTA, MADE_WHOLE, REPAIRED_AWAY,
    NEW_PARCELS, NEW_PARCELS_UNKNOWN, PARCELS_CAME, PARCELS_CAME_MEANWHILE, PARCELS_CAME_ELSEWHERE,
    PARCELS_WENT, DELETED,
)  # fmt: skip


def change(
    tables: Tables,
    event: Event,
    where: sql.Composable,
    *,
    also: sql.Composable | None = None,
    source: sql.Composable | None = None,
) -> sql.Composed:
    """Return a statement that lets an event happen to tasks; it returns `obsid` and `bandset` of each.

    Args:
        tables: the tables.
        event: one of EVENTS, but not PLANNED.
        where: which tasks `t`, of those that are in a state which the event knows.
        also: further columns to be set.
        source: what else `where` and `also` name, as in FROM.
    """
    if None in event.moves:
        raise ValueError(f"'{event.name}' happens to no task that exists")
    known = sql.SQL("t.state IN ({})").format(sql.SQL(", ").join(map(sql.Literal, event.moves)))
    if set(event.moves.values()) == {None}:
        using = sql.SQL(" USING {}").format(source) if source else sql.SQL("")
        head = sql.SQL("DELETE FROM {} t{}").format(tables.tasks.sql, using)
    else:
        columns = [_state_after(event), sql.SQL(event.sets) if event.sets else None, also]
        head = sql.SQL("UPDATE {} t SET {}{}").format(
            tables.tasks.sql,
            sql.SQL(", ").join(column for column in columns if column),
            sql.SQL(" FROM {}").format(source) if source else sql.SQL(""),
        )
    return sql.SQL("{} WHERE {} AND ({}) RETURNING t.obsid, t.bandset").format(head, known, where)


def plan(tables: Tables, wanted: sql.Composable) -> sql.Composed:
    """Return a statement that enters the new tasks of `wanted`: obsid, bandset, bands, method."""
    return sql.SQL(
        """INSERT INTO {} (obsid, bandset, bands, method, state)
           SELECT w.obsid, w.bandset, w.bands, w.method, {} FROM ({}) w
           ON CONFLICT DO NOTHING RETURNING obsid, bandset"""
    ).format(tables.tasks.sql, sql.Literal(PLANNED.moves[None]), wanted)


def _state_after(event: Event) -> sql.Composable:
    after = set(event.moves.values())
    if len(after) == 1:
        return sql.SQL("state = {}").format(sql.Literal(after.pop()))
    cases = [
        sql.SQL("WHEN {} THEN {}").format(sql.Literal(before), sql.Literal(state))
        for before, state in event.moves.items()
    ]
    return sql.SQL("state = CASE t.state {} END").format(sql.SQL(" ").join(cases))


def markdown() -> str:
    """Return the table of EVENTS for docs/queue.md."""

    def cells(event: Event) -> Iterator[str]:
        for state in (None, *STATES):
            if state not in event.moves:
                yield ""
            else:
                after = event.moves[state]
                yield "no task" if after is None else f"`{after}`"

    head = ["event", "when", "no task", *(f"`{state}`" for state in STATES)]
    lines = [head, ["---"] * len(head)]
    lines += [[event.name, event.meaning, *cells(event)] for event in EVENTS]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
