"""What is recorded of a task that is closed: what was found, or why it failed."""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from cbmctl.config import Tables
from cbmctl.database import query
from cbmctl.queue import states
from cbmctl.queue.statements import THIS
from cbmctl.reasons import Reason


@dataclass(frozen=True)
class Found:
    """What was found, and is there now.

    Attributes:
        parcels: parcels in the image, and parcels that are gone and have rows there.
        rows: rows of these.
        version: of the set of parcels that was read.
        slivers: parcels that hold no pixel centre.
        cut: parcels that reach beyond the image.
        elsewhere: parcels that another scene of the datatake has.
    """

    parcels: int
    rows: int
    version: int
    slivers: list[int] | None = None
    cut: list[int] | None = None
    elsewhere: list[int] | None = None


@dataclass(frozen=True)
class Failure:
    """Why a task failed, in one sentence, and the seconds until it is tried again; None: it is not."""

    cause: Reason
    text: str
    pause: int | None = None


Record = Found | Failure


def close(
    conn: psycopg.Connection, tables: Tables, claimed: dict[str, Any], event: states.Event, record: Record
) -> bool:
    """Let an event happen to a task that was claimed; return whether the task is still there.

    A task whose bands, method or parcels have changed meanwhile is ready again instead.

    Args:
        conn: a connection in a transaction that has locked the datatake.
        tables: the tables.
        claimed: obsid, bandset, bands, method and covered of the task, as they were then.
        event: FINISHED, NO_PARCELS, RETRIED, GIVEN_UP or VANISHED.
        record: what is recorded; a task that is not the one that was claimed any more records no failure.
    """
    parameters = claimed | _parameters(record)
    what: sql.Composable = _FOUND if claimed["covered"] is None else _FOUND_TOO
    steps: list[tuple[states.Event, sql.Composable, sql.Composable]] = [(states.OUTDATED, _OUTDATED, what)]
    if isinstance(record, Found):
        what = sql.SQL(", ").join((what, _COVERED))
        steps += [(states.PARCELS_CAME_AT_WORK, _MORE_CAME, what), (event, THIS, what)]
    else:
        steps.append((event, THIS, sql.SQL(", ").join((what, _FAILURE))))
    return any(
        conn.execute(states.change(tables, happens, where, also=also), parameters).rowcount
        for happens, where, also in steps
    )


def close_unread(conn: psycopg.Connection, tables: Tables, obsid: int, bandset: str, found: Found) -> None:
    """Close a task that nobody has begun, because the scene shows no parcel."""
    also = sql.SQL(", ").join((_FOUND, _COVERED))
    conn.execute(
        states.change(tables, states.NO_PARCELS, THIS, also=also),
        _parameters(found) | {"obsid": obsid, "bandset": bandset},
    )


def _parameters(record: Record) -> dict[str, Any]:
    if isinstance(record, Found):
        return vars(record)
    nothing = dict.fromkeys(("parcels", "rows", "slivers", "cut", "elsewhere"))
    failure = {"code": record.cause.code, "status": record.cause.status}
    return nothing | failure | {"text": record.text, "pause": record.pause}


_OUTDATED = query(
    """{this} AND (t.bands, t.method, t.parcels_covered)
           IS DISTINCT FROM (%(bands)s, %(method)s, %(covered)s::integer)""",
    this=THIS,
)
_MORE_CAME = query("{this} AND t.parcels_asked > %(version)s", this=THIS)
# a task that fails keeps what is known of the rows of an earlier time, which it has not touched
_FOUND = sql.SQL(
    """parcels = coalesce(%(parcels)s, t.parcels), rows = coalesce(%(rows)s, t.rows),
       slivers = coalesce(%(slivers)s::integer[], t.slivers),
       cut = CASE WHEN %(rows)s IS NULL THEN t.cut ELSE %(cut)s::integer[] END,
       elsewhere = CASE WHEN %(rows)s IS NULL THEN t.elsewhere ELSE %(elsewhere)s::integer[] END,
       elsewhere_seen = CASE WHEN %(rows)s IS NULL THEN t.elsewhere_seen END,
       finished_at = now()"""
)
# of new parcels: added to what there is. `scl` gives up parcels only afterwards, so `elsewhere_seen` stays
_FOUND_TOO = sql.SQL(
    """parcels = coalesce(t.parcels, 0) + coalesce(%(parcels)s, 0),
       rows = coalesce(t.rows, 0) + coalesce(%(rows)s, 0),
       slivers = coalesce((SELECT array_agg(DISTINCT pid ORDER BY pid)
           FROM unnest(t.slivers || %(slivers)s::integer[]) pid), t.slivers),
       cut = (SELECT array_agg(DISTINCT pid ORDER BY pid) FROM unnest(t.cut || %(cut)s::integer[]) pid),
       elsewhere = CASE WHEN %(elsewhere)s::integer[] IS NULL THEN t.elsewhere ELSE (
           SELECT array_agg(DISTINCT pid ORDER BY pid)
           FROM unnest(t.elsewhere || %(elsewhere)s::integer[]) pid) END,
       finished_at = now()"""
)
_COVERED = sql.SQL("parcels_covered = %(version)s")
_FAILURE = sql.SQL(
    """reason_code = %(code)s, failed_status = %(status)s, reason = %(text)s,
       not_before = clock_timestamp() + %(pause)s::integer * interval '1 s'"""
)
