"""Products that a search found and could not enter, until a later one enters or no longer finds them."""

from collections.abc import Iterable
from datetime import datetime

import psycopg

from cbmctl.catalogue.found_products import Broken
from cbmctl.catalogue.orbits import named_orbit
from cbmctl.catalogue.record import CARDS, sensing_time
from cbmctl.catalogue.search_history import Begun, Place
from cbmctl.catalogue.service_products import reference
from cbmctl.config import TableName
from cbmctl.database import query


def sensed(card: str, broken: Broken) -> datetime | None:
    """Return the start of sensing in a product's name, UTC; None if the name does not have one."""
    match = CARDS[card].pattern.fullmatch(reference(CARDS[card], broken.path))
    try:
        return sensing_time(match) if match else None
    except ValueError:
        return None


def record(conn: psycopg.Connection, table: TableName, place: Place, found: Iterable[Broken]) -> None:
    """Record rejected products in the caller's transaction.

    Only products with a sensing time in their name are recorded; the others are folders, or belong to no day.
    """
    card, rows = CARDS[place.card], []
    for broken in found:
        name = reference(card, broken.path)
        match, time = card.pattern.fullmatch(name), sensed(place.card, broken)
        if match and time:
            tile = match.groupdict().get("tile")
            rows.append(
                [*place.key, name, named_orbit(name), tile, time.date(), broken.status, _text(broken.reason)]
            )
    with conn.cursor() as cursor:
        cursor.executemany(
            query(
                """INSERT INTO {rejected} (
                       aoi, card, source, url, reference, relative_orbit, tile, day, status, reason)
                   VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
                   ON CONFLICT (aoi, card, source, url, reference) DO UPDATE
                   SET status = excluded.status, reason = excluded.reason, noticed_at = now()""",
                rejected=table.sql,
            ),
            rows,
        )


def _text(reason: str) -> str:
    """Return a reason without the one character that PostgreSQL does not store."""
    return reason.replace("\0", "\\0")


def forget(conn: psycopg.Connection, table: TableName, place: Place, begun: Begun) -> None:
    """Delete what a complete search of everything no longer found, in the caller's transaction."""
    conn.execute(
        query(
            """DELETE FROM {rejected}
               WHERE (aoi, card, source, url) = (%s, %s, %s, %s) AND day >= %s AND day < %s
                 AND noticed_at < %s""",
            rejected=table.sql,
        ),
        [*place.key, place.start, place.end, begun.at],
    )
