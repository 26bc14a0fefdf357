"""What the tenant's database knows of products that can be ordered."""

from datetime import date, datetime

import psycopg

from cbmctl.config import Tables
from cbmctl.database import one, query
from cbmctl.ordering.inputs import Made, satellites

# These were not accepted, so they do not count against the quota.
_NOT_ACCEPTED = ["refused", "unsent"]


def catalogued(conn: psycopg.Connection, tables: Tables, card: str, start: date, end: date) -> list[Made]:
    """Return a card's products in the catalogue, sensed in [start, end)."""
    rows = conn.execute(
        query(
            """SELECT sensor, obstime, pair_sensor FROM {catalogue}
               WHERE card = %s AND obstime >= %s AND obstime < %s""",
            catalogue=tables.catalogue.sql,
        ),
        [card, start, end],
    )
    return [Made(*row) for row in rows]


def proven(conn: psycopg.Connection, tables: Tables, card: str) -> set[str]:
    """Return the satellites (as inputs.satellites) of which a card is in the catalogue, whatever its date."""
    rows = conn.execute(
        query(
            "SELECT DISTINCT sensor, pair_sensor FROM {catalogue} WHERE card = %s",
            catalogue=tables.catalogue.sql,
        ),
        [card],
    )
    return {satellites(sensor, pair_sensor) for sensor, pair_sensor in rows}


def ordered_in_month(conn: psycopg.Connection, tables: Tables, today: date) -> int:
    """Return how many products were ordered in the calendar month of a day, UTC, by whatever account."""
    first = datetime(today.year, today.month, 1)
    row = one(
        conn,
        query(
            """SELECT count(*)::integer FROM {items}
               WHERE (sent_at AT TIME ZONE 'UTC') >= %s AND state <> ALL(%s)""",
            items=tables.order_items.sql,
        ),
        [first, _NOT_ACCEPTED],
    )
    return int(row[0])
