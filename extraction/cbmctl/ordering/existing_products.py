"""CARD products that exist, in the list of a service or in the tenant's catalogue."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import psycopg

from cbmctl.catalogue import http
from cbmctl.catalogue.http import polite_session
from cbmctl.catalogue.odata import OData
from cbmctl.catalogue.orbits import named_pair, satellites
from cbmctl.catalogue.record import CARDS, Card, sensing_time
from cbmctl.catalogue.service_products import reference
from cbmctl.config import Config, Tables
from cbmctl.database import one, query
from cbmctl.ordering.level_1_products import Key, Search
from cbmctl.ordering.wanted_product import Wanted

_ADVICE = "Check the network and the URL, which is catalogue.urls.odata in the configuration, then try again"
# by which the stated sensing of a product may differ from its name; coherence has the earlier acquisition
_BEFORE, _AFTER = timedelta(days=13), timedelta(days=1)


def odata(config: Config, note: Callable[[str], None], url: str | None = None) -> OData:
    """Return the catalogue service that is asked for products; `url` overrides the configuration."""
    session = polite_session(note, replace(http.MANNERS, advice=_ADVICE))
    return OData(session, url or config.catalogue.urls.get("odata"))


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
    found = []
    for product in search.products(CARDS[card]):
        try:
            made = _named(CARDS[card], search.service.tell(product).name)
        except (LookupError, TypeError, ValueError, AttributeError):
            continue
        if made is not None:
            found.append(made)
    return found


def _named(kind: Card, name: str) -> Made | None:
    """Return the product of a name; None if it is of another kind. Raises ValueError for an invalid date."""
    match = kind.pattern.fullmatch(reference(kind, name))
    if match is None:
        return None
    pair = named_pair(match.string)
    return Made(match["sensor"], sensing_time(match), pair.sensor if pair else None)


@dataclass(frozen=True)
class Existing:
    """Whether a product exists by now, in the tenant's catalogue or at the catalogue service.

    Attributes:
        conn: of the tenant's database.
        tables: of the tenant.
        service: one request a product.
    """

    conn: psycopg.Connection
    tables: Tables
    service: OData

    def __call__(self, wanted: Wanted) -> bool:
        """Return whether it exists. Raises ServiceError if the service does not answer."""
        row = one(
            self.conn,
            query(
                "SELECT EXISTS (SELECT FROM {catalogue} WHERE card = %s AND sensor = %s AND obstime = %s)",
                catalogue=self.tables.catalogue.sql,
            ),
            [wanted.card.name, wanted.sensor, wanted.sensed],
        )
        return bool(row[0]) or self._listed(wanted)

    def _listed(self, wanted: Wanted) -> bool:
        names = self.service.named(
            wanted.card, wanted.made_beginning, wanted.sensed - _BEFORE, wanted.sensed + _AFTER
        )
        for name in names:
            try:
                made = _named(wanted.card, name)
            except ValueError:
                continue
            if made is not None and made.key == (wanted.sensor, wanted.sensed):
                return True
        return False


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
