"""A sync from beginning to end: ask a source, enter what it finds step by step, remember how far it came."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import psycopg
from psycopg import sql

from cbmctl.catalogue import history
from cbmctl.catalogue.findings import Findings
from cbmctl.catalogue.known import read_known
from cbmctl.catalogue.normal import reference
from cbmctl.catalogue.record import CARDS, sensing_time
from cbmctl.catalogue.remote import Search
from cbmctl.catalogue.sources import Source
from cbmctl.catalogue.sync import Summary, Synced, store, summary
from cbmctl.config import Config
from cbmctl.database import query

_UNDATED = "the archive does not know when products were published"


@dataclass
class Outcome:
    """What a sync has found and done.

    Attributes:
        synced: what changed in the catalogue.
        findings: everything that was found.
        published: only what was published from then on was asked for; None: everything was.
        full_because: why everything was asked for where only what is new was wanted.
        reached: what was sensed before was known from a sync that was cut short.
        summary: of the catalogue afterwards.
    """

    synced: Synced = field(default_factory=Synced)
    findings: Findings = field(default_factory=Findings)
    published: datetime | None = None
    full_because: str | None = None
    reached: datetime | None = None
    summary: Summary = field(default_factory=Summary)


def run(
    conn: psycopg.Connection,
    config: Config,
    source: Source,
    place: history.Place,
    *,
    since_last: bool = False,
    check: bool = False,
    progress: Callable[[int], None] = lambda _days: None,
) -> Outcome:
    """Enter what a source finds; each step is a transaction, so that what was cut short goes on.

    Args:
        conn: a connection in autocommit mode: a search takes long, and no transaction is to stay open.
        config: says which tables.
        source: asked.
        place: what for.
        since_last: ask only for what was published since the last complete sync, and for products that were
            not online; for everything where there was none, and once a week.
        check: find out and change nothing.
        progress: told how many days of the period are done.

    Raises:
        UserError: the source cannot be used.
    """
    syncs = config.tables.syncs
    begun = history.begin(conn, syncs, place, since_last=since_last and source.dated, check=check)
    outcome = Outcome(
        published=begun.published,
        full_because=_UNDATED if since_last and not source.dated else begun.full_because,
        reached=begun.reached,
    )
    wanted = Search(
        place.area,
        place.start,
        place.end,
        place.card,
        published=begun.published,
        reached=begun.reached,
        again=_offline(conn, config, place) if begun.published else (),
        # only the archive must open what it tells of
        known={} if source.dated else read_known(conn, config, place.card, place.start, place.end),
    )
    full = begun.recorded and begun.published is None
    for batch in source.find(wanted, progress):
        outcome.findings += batch.findings
        if not check:
            with conn.transaction():
                outcome.synced += store(conn, config, batch.findings.records)
                # a search that is taken up again is to meet what could not be entered once more
                if full and batch.until and not outcome.findings.broken:
                    history.reach(conn, syncs, place, begun, batch.until)
    with conn.transaction(force_rollback=check):
        if check:
            outcome.synced = store(conn, config, outcome.findings.records)
        else:
            anything = bool(outcome.findings.records or begun.published or begun.reached)
            history.end(conn, syncs, place, begun, complete=anything, missing=_missing(outcome, place))
        outcome.summary = summary(conn, config, place.aoi)
    return outcome


def _missing(outcome: Outcome, place: history.Place) -> datetime | None:
    """Return a time before which nothing of what could not be entered was published; None: all was entered.

    That is when the first of it was sensed, as its name says, or the first day where that says nothing.
    """
    card = CARDS[place.card]
    times = []
    for broken in outcome.findings.broken:
        match = card.pattern.fullmatch(reference(card, broken.path))
        try:
            times.append(sensing_time(match) if match else datetime.min)
        except ValueError:
            times.append(datetime.min)
    first = datetime(place.start.year, place.start.month, place.start.day)
    return max(min(times), first) if times else None


def _offline(conn: psycopg.Connection, config: Config, place: history.Place) -> list[datetime]:
    """Return the instants of scenes that were not online when they were last asked for."""
    rows = conn.execute(
        query(
            """SELECT DISTINCT obstime FROM {catalogue} d JOIN {aois} a
                   ON ST_Intersects(d.footprint, a.wkb_geometry)
               WHERE NOT online AND card = %s AND obstime >= %s AND obstime < %s AND a.{field} = %s
               ORDER BY obstime""",
            catalogue=config.tables.catalogue.sql,
            aois=config.tables.aois.sql,
            field=sql.Identifier(config.args.aoi_field),
        ),
        [place.card, place.start, place.end, place.aoi],
    )
    return [obstime for (obstime,) in rows]
