"""A sync from beginning to end: ask a source, enter what it finds step by step, remember how far it came."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from cbmctl.catalogue import rejected_products, search_history
from cbmctl.catalogue.found_products import Findings
from cbmctl.catalogue.known_products import read_known
from cbmctl.catalogue.search import Search
from cbmctl.catalogue.sources import Source
from cbmctl.catalogue.summary import summary
from cbmctl.catalogue.sync_outcome import Outcome, Step
from cbmctl.catalogue.table import store
from cbmctl.config import Config
from cbmctl.database import query

_UNDATED = "the archive does not know when products were published"


@dataclass(frozen=True)
class _Sync:
    """What all searches of a sync have in common."""

    conn: psycopg.Connection
    config: Config
    source: Source
    place: search_history.Place
    check: bool


def run(
    conn: psycopg.Connection,
    config: Config,
    source: Source,
    place: search_history.Place,
    outcome: Outcome,
    *,
    since_last: bool = False,
    check: bool = False,
    progress: Callable[[int], None] = lambda _days: None,
) -> None:
    """Enter what a source finds; each month is a transaction, so that what was cut short goes on.

    Args:
        conn: a connection in autocommit mode: a search takes long, and no transaction is to stay open.
        config: says which tables.
        source: asked.
        place: what for.
        outcome: tells what was found and done; if the source fails, what was done until then.
        since_last: ask only for what was published since the last complete sync, and for products that were
            not online. Everything is asked for if no sync was complete, and once a week.
        check: find out and change nothing.
        progress: told how many days of the period are done.

    Raises:
        UserError: the source cannot be used.
    """
    sync = _Sync(conn, config, source, place, check)
    syncs = config.tables.syncs
    begun = search_history.begin(conn, syncs, place, since_last=since_last and source.dated, check=check)
    because = _UNDATED if since_last and not source.dated else begun.full_because
    if begun.published and because:
        if not check:  # first: a search of everything that fails at an early month may do so every day
            _search(sync, begun, outcome, lambda _days: None)
        begun = search_history.begin(conn, syncs, place, since_last=False, check=check)
    outcome.full_because = because
    _search(sync, begun, outcome, progress)


def _search(
    sync: _Sync, begun: search_history.Begun, outcome: Outcome, progress: Callable[[int], None]
) -> None:
    """Ask once, and record that it was done."""
    conn, config, place, syncs = sync.conn, sync.config, sync.place, sync.config.tables.syncs
    step = Step()
    outcome.steps.append(step)
    outcome.published, outcome.reached = begun.published, begun.reached
    wanted = Search(
        place.area,
        place.start,
        place.end,
        place.card,
        published=begun.published,
        reached=begun.reached,
        again=_offline(conn, config, place) if begun.published else (),
        # only the archive opens each product to read it
        known={} if sync.source.dated else read_known(conn, config, place.card, place.start, place.end),
    )
    full = begun.recorded and begun.published is None
    for batch in sync.source.find(wanted, progress):
        step.findings += batch.findings
        if not sync.check:
            with conn.transaction():
                done = store(conn, config, batch.findings.records)
                rejected_products.record(conn, config.tables.rejected, place, batch.findings.broken)
                # a search that is taken up again is to meet what could not be entered once more
                if full and batch.until and not step.findings.broken:
                    search_history.reach(conn, syncs, place, begun, batch.until)
            step.synced += done
    with conn.transaction(force_rollback=sync.check):
        if sync.check:
            step.synced = store(conn, config, step.findings.records)
        else:
            anything = bool(step.findings.records or begun.published or begun.reached)
            missing = _missing(step.findings, place)
            search_history.end(conn, syncs, place, begun, complete=anything, missing=missing)
            if begun.published is None:
                rejected_products.forget(conn, config.tables.rejected, place, begun)
        outcome.summary = summary(conn, config, place.aoi)


def _missing(findings: Findings, place: search_history.Place) -> datetime | None:
    """Return a time before which nothing of what could not be entered was published; None: all was entered.

    That is when the first of it was sensed, as its name says, or the first day where that says nothing.
    """
    times = [rejected_products.sensed(place.card, broken) or datetime.min for broken in findings.broken]
    first = datetime(place.start.year, place.start.month, place.start.day)
    return max(min(times), first) if times else None


def _offline(conn: psycopg.Connection, config: Config, place: search_history.Place) -> list[datetime]:
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
