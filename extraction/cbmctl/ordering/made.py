"""CARD products that exist, in the list of a service or in the tenant's catalogue."""

from dataclasses import dataclass
from datetime import date, datetime

import psycopg

from cbmctl.catalogue.normal import reference
from cbmctl.catalogue.orbits import named_pair, satellites
from cbmctl.catalogue.record import CARDS, sensing_time
from cbmctl.config import Tables
from cbmctl.database import query
from cbmctl.ordering.inputs import Key, Search


@dataclass(frozen=True)
class Made:
    """A CARD product that exists; sensor, start of sensing, and for coherence the earlier satellite."""

    sensor: str
    sensed: datetime
    pair_sensor: str | None = None

    @property
    def key(self) -> Key:
        """The same as Input.key of its input."""
        return self.sensor, self.sensed

    @property
    def satellites(self) -> str:
        """The satellite, for coherence both, in one word."""
        return satellites(self.sensor, self.pair_sensor)


def listed(search: Search, card: str) -> list[Made]:
    """Return the CARD products that the service lists.

    Only their names are read: a product that cannot be catalogued exists, too, and an order would make no
    other.

    Raises:
        ServiceError: the service does not answer, or not as it should.
    """
    kind, found = CARDS[card], []
    for product in search.products(kind):
        try:
            name = reference(kind, search.service.tell(product).name)
            match = kind.pattern.fullmatch(name)
            if match is None:
                continue
            pair = named_pair(name)
            found.append(Made(match["sensor"], sensing_time(match), pair.sensor if pair else None))
        except (LookupError, TypeError, ValueError, AttributeError):
            continue
    return found


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
    """Return the satellites (as orbits.satellites) of a card's products in the catalogue, of any date."""
    rows = conn.execute(
        query(
            "SELECT DISTINCT sensor, pair_sensor FROM {catalogue} WHERE card = %s",
            catalogue=tables.catalogue.sql,
        ),
        [card],
    )
    return {satellites(sensor, pair_sensor) for sensor, pair_sensor in rows}
