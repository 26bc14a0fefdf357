"""What was asked of a catalogue before: so that the next search asks only for what is new since.

A search of everything is on record by area, card, source and URL. `complete_at` is when the last complete
one began; what is published from then on can be new. It is earlier where products could not be entered, so
that these are asked for again. `full_at` is when the last complete one began that asked for everything: a
service may enter products under an old date, which no search for what is new can see, so that everything is
asked for again after a while. While a search runs, `reached` follows it, so that one that was cut short goes
on from there.

Two searches may run at once, also for other dates, or before and after the area was changed. So a search
writes only into the record that it began with; where another one has taken that over or ended first, it
leaves no trace there, and the next one asks for more than it need.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import psycopg
import shapely
from psycopg import sql
from shapely.geometry.base import BaseGeometry

from cbmctl.config import TableName
from cbmctl.database import one, query

# Services enter products hours after they date them, and clocks differ.
OVERLAP = timedelta(days=2)
# A search that was cut short longer ago than this begins anew: much may have been published since.
RESUMABLE = timedelta(days=1)
# Less than a minute for a season of a country; what is entered under an old date waits no longer than this.
FULL_EVERY = timedelta(days=7)


@dataclass(frozen=True)
class Place:
    """Which search it is: the key of its record, and what it covers."""

    aoi: str
    card: str
    source: str
    url: str
    area: BaseGeometry
    start: date
    end: date

    @property
    def key(self) -> list[str]:
        """The record's key."""
        return [self.aoi, self.card, self.source, self.url]

    @property
    def checksum(self) -> str:
        """What tells one outline from another."""
        return hashlib.sha256(shapely.to_wkb(shapely.normalize(self.area))).hexdigest()[:32]


@dataclass(frozen=True)
class Begun:
    """How a search is to begin.

    Attributes:
        at: now, by the database's clock.
        published: ask only for what was published from then on, UTC without a zone; None: for everything.
        reached: of a search that was cut short: what was sensed before is known.
        recorded: whether this search is to be recorded; not where a longer one is on record.
        full_because: why everything is asked for where only what is new was wanted; where `published` is
            not None, why everything is to be asked for after that.
        complete_at: of a search for what is new: what was on record of the complete one before.
    """

    at: datetime
    published: datetime | None = None
    reached: datetime | None = None
    recorded: bool = True
    full_because: str | None = None
    complete_at: datetime | None = None


def begin(
    conn: psycopg.Connection, table: TableName, place: Place, *, since_last: bool, check: bool = False
) -> Begun:
    """Look up what is known, and record that a search begins."""
    now: datetime = one(conn, query("SELECT now()"))[0]
    row = conn.execute(
        query(
            """SELECT area, first_day, end_day, complete_at, full_at, began_at, reached FROM {syncs}
               WHERE (aoi, card, source, url) = (%s, %s, %s, %s)""",
            syncs=table.sql,
        ),
        place.key,
    ).fetchone()
    because = "no complete sync of this area and period is on record" if since_last else None
    if row:
        area, first, end, complete_at, full_at, began_at, reached = row
        same = area == place.checksum
        exact = same and (first, end) == (place.start, place.end)
        known = same and complete_at and first <= place.start and end >= place.end
        if since_last and known:
            return Begun(
                now,
                (complete_at - OVERLAP).astimezone(UTC).replace(tzinfo=None),
                recorded=exact,
                full_because=None if full_at and now - full_at < FULL_EVERY else _overdue(full_at),
                complete_at=complete_at,
            )
        if exact and began_at and reached and now - began_at < RESUMABLE:
            return Begun(began_at, reached=reached, full_because=because)
        if known and not exact:
            return Begun(now, recorded=False, full_because=because)
    if not check:
        conn.execute(
            query(
                """INSERT INTO {syncs} AS known
                       (aoi, card, source, url, area, first_day, end_day, began_at)
                   VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
                   ON CONFLICT (aoi, card, source, url) DO UPDATE SET
                       complete_at = CASE WHEN (known.area, known.first_day, known.end_day)
                           = (excluded.area, excluded.first_day, excluded.end_day) THEN known.complete_at END,
                       full_at = CASE WHEN (known.area, known.first_day, known.end_day)
                           = (excluded.area, excluded.first_day, excluded.end_day) THEN known.full_at END,
                       area = excluded.area, first_day = excluded.first_day, end_day = excluded.end_day,
                       began_at = excluded.began_at, reached = NULL""",
                syncs=table.sql,
            ),
            [*place.key, place.checksum, place.start, place.end, now],
        )
    return Begun(now, full_because=because)


def _overdue(full_at: datetime | None) -> str:
    last = (
        f"that was done last on {full_at.astimezone(UTC):%Y-%m-%d}, and is due again after"
        f" {FULL_EVERY.days} days"
        if full_at
        else "it is not on record when that was done last"
    )
    return f"{last}: a service may enter products under an old date"


def reach(conn: psycopg.Connection, table: TableName, place: Place, begun: Begun, until: datetime) -> None:
    """Record in the caller's transaction how far a search of everything is."""
    conn.execute(
        query("UPDATE {syncs} SET reached = %s WHERE {ours}", syncs=table.sql, ours=_OURS_FULL),
        [until, *_ours(place), begun.at],
    )


def end(
    conn: psycopg.Connection,
    table: TableName,
    place: Place,
    begun: Begun,
    *,
    complete: bool = True,
    missing: datetime | None = None,
) -> None:
    """Record that a search has come to its end.

    Args:
        conn: a connection in a transaction of the caller's.
        table: of searches.
        place: which search it is.
        begun: how it began.
        complete: false where nothing at all was found: that is not taken for complete.
        missing: what could not be entered was published after this time, UTC without a zone: the next search
            for what is new asks for it again.
    """
    if not begun.recorded:
        return
    at = begun.at
    if missing:
        at = min(at, missing.replace(tzinfo=UTC))
        if begun.published:  # older things were not asked for, so none of what is missing is older
            at = max(at, begun.published.replace(tzinfo=UTC) + OVERLAP)
    if begun.published:
        conn.execute(
            query("UPDATE {syncs} SET complete_at = %s WHERE {ours}", syncs=table.sql, ours=_OURS_NEW),
            [at, *_ours(place), begun.complete_at],
        )
    else:
        conn.execute(
            query(
                """UPDATE {syncs} SET complete_at = coalesce(%s, complete_at),
                       full_at = coalesce(%s, full_at), began_at = NULL, reached = NULL
                   WHERE {ours}""",
                syncs=table.sql,
                ours=_OURS_FULL,
            ),
            [at if complete else None, begun.at if complete else None, *_ours(place), begun.at],
        )


# The record as a search began with it: what it found says nothing of other dates, nor of another outline.
_OURS = sql.SQL("(aoi, card, source, url, area, first_day, end_day) = (%s, %s, %s, %s, %s, %s, %s)")
_OURS_FULL = sql.SQL("{} AND began_at = %s").format(_OURS)
_OURS_NEW = sql.SQL("{} AND complete_at = %s").format(_OURS)


def _ours(place: Place) -> list[object]:
    return [*place.key, place.checksum, place.start, place.end]
