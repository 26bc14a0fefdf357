"""How far orders are: counts by order and state, and what went wrong with which input."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql
from psycopg.rows import class_row

from cbmctl.config import Tables
from cbmctl.database import query
from cbmctl.ordering.ledger import ON_ORDER, STOPPED, Ledger
from cbmctl.ordering.wanted_product import Wanted

# Columns of the table, in this order. catalogued: the product is in dias_catalogue, whatever became of its
# last order: a cancelled one may have been made, and a failed product may have been ordered elsewhere.
STATES = (*ON_ORDER, "catalogued", *STOPPED, "unsent")
PROBLEMS = ("unknown", "failed", "refused")


@dataclass(frozen=True)
class Line:
    """Items of an order that are in one of the states STATES."""

    order_id: int
    label: str
    placed_at: datetime
    product_type: str
    state: str
    items: int


@dataclass(frozen=True)
class Problem:
    """An item that needs a person: the last order of its product."""

    order_id: int
    product_type: str
    input: str
    earlier: str | None
    label: str
    state: str
    service_id: str | None
    code: str | None
    message: str | None

    @property
    def wanted(self) -> Wanted:
        """The product to order to repeat it."""
        return Wanted(self.product_type, self.input, self.earlier, self.label)


def lines(ledger: Ledger) -> Sequence[Line]:
    """Return how many items of each order of the account are in which state."""
    with ledger.conn.cursor(row_factory=class_row(Line)) as cursor:
        return cursor.execute(
            query(
                """SELECT order_id, label, placed_at, product_type, shown AS state, count(*)::integer AS items
                   FROM (SELECT i.order_id, o.label, o.placed_at, i.product_type,
                             CASE WHEN EXISTS (
                                 SELECT FROM {catalogue} d WHERE d.card = i.card AND d.sensor = i.sensor
                                     AND d.obstime = i.sensed)
                                 AND row_number() OVER (PARTITION BY i.product_type, i.sensor, i.sensed
                                     ORDER BY i.state = ANY(%s) DESC, i.sent_at DESC, i.id) = 1
                             THEN 'catalogued' ELSE i.state END AS shown
                         FROM {items} i JOIN {orders} o ON o.id = i.order_id
                         WHERE o.service = %s AND o.account = %s) each
                   GROUP BY order_id, label, placed_at, product_type, shown
                   ORDER BY order_id, product_type, shown""",
                **_names(ledger.tables),
            ),
            [list(ON_ORDER), ledger.service, ledger.account],
        ).fetchall()


def problems(ledger: Ledger, states: Sequence[str] = PROBLEMS) -> Sequence[Problem]:
    """Return the last order of each product that does not exist if it is in one of the states, by time."""
    with ledger.conn.cursor(row_factory=class_row(Problem)) as cursor:
        return cursor.execute(
            query(
                """SELECT order_id, product_type, input, earlier, label, state, service_id, code, message
                   FROM (SELECT DISTINCT ON (i.product_type, i.sensor, i.sensed) i.*, o.label
                         FROM {items} i JOIN {orders} o ON o.id = i.order_id
                         WHERE o.service = %s AND o.account = %s
                         ORDER BY i.product_type, i.sensor, i.sensed, i.state = ANY(%s) DESC,
                             i.sent_at DESC, i.id) last
                   WHERE state = ANY(%s) AND NOT EXISTS (
                       SELECT FROM {catalogue} d WHERE d.card = last.card AND d.sensor = last.sensor
                           AND d.obstime = last.sensed)
                   ORDER BY sent_at, id""",
                **_names(ledger.tables),
            ),
            [ledger.service, ledger.account, list(ON_ORDER), list(states)],
        ).fetchall()


def _names(tables: Tables) -> dict[str, sql.Identifier]:
    return {
        "items": tables.order_items.sql,
        "orders": tables.orders.sql,
        "catalogue": tables.catalogue.sql,
    }
