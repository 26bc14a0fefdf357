"""The tables `orders` and `order_items`: what was ordered, written before it is sent."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from cbmctl.catalogue.orbits import named_orbit
from cbmctl.config import Tables
from cbmctl.database import one, query
from cbmctl.ordering.order_service import STATES, ServiceOrder
from cbmctl.ordering.wanted_product import Wanted

Key = tuple[str, str, datetime]  # Wanted.key
# An item in one of these states is on order, or its product is made: order_items_once_idx holds it once.
ON_ORDER = ("sending", "unknown", "queued", "in_progress", "completed")
# A product whose last order is in one of these states is ordered again only on the operator's word.
STOPPED = ("failed", "cancelled", "refused")
# These were not accepted, so they do not count against the quota.
_NOT_ACCEPTED = ["refused", "unsent"]


@dataclass(frozen=True)
class Item:
    """A row of `order_items`."""

    id: uuid.UUID
    order_id: int
    product_type: str
    sensor: str
    sensed: datetime
    input: str
    earlier: str | None
    workflow: str
    state: str
    service_id: str | None
    code: str | None
    message: str | None
    sent_at: datetime
    changed_at: datetime
    cancel_asked_at: datetime | None

    @property
    def key(self) -> Key:
        """As Wanted.key."""
        return self.product_type, self.sensor, self.sensed

    @property
    def elsewhere(self) -> bool:
        """Whether the order was placed elsewhere: on the web page, or by another tenant of the account."""
        return self.code == _ADOPTED


_ADOPTED = "adopted"  # code of an item whose order was placed elsewhere, whatever becomes of it
# code of an item at which the service refused the account for its quota or rights
ACCOUNT_REFUSED = "account_refused"


@dataclass(frozen=True)
class Refusal:
    """The service refused the account, and has accepted no order since.

    Attributes:
        at: when, UTC without a zone.
        until: first day of the next calendar month, UTC, in which orders are sent again.
        message: status and body of the answer.
    """

    at: datetime
    until: date
    message: str


_COLUMNS = (
    "i.id, i.order_id, i.product_type, i.sensor, i.sensed, i.input, i.earlier, i.workflow, i.state,"
    " i.service_id, i.code, i.message, i.sent_at, i.changed_at, i.cancel_asked_at"
)


@dataclass(frozen=True)
class Ledger:
    """The orders of one account at one service, on a connection in autocommit mode.

    Attributes:
        conn: every statement is its own transaction, and on disk when it returns.
        tables: of the tenant.
        service: URL of the service.
        account: its user.
    """

    conn: psycopg.Connection
    tables: Tables
    service: str
    account: str

    def items(self) -> list[Item]:
        """Return all items of the account, the oldest first."""
        with self.conn.cursor(row_factory=class_row(Item)) as cursor:
            return cursor.execute(
                query(
                    f"SELECT {_COLUMNS} FROM {{items}} i JOIN {{orders}} o ON o.id = i.order_id"  # noqa: S608 - a constant
                    " WHERE o.service = %s AND o.account = %s ORDER BY i.sent_at, i.sensed, i.id",
                    items=self.tables.order_items.sql,
                    orders=self.tables.orders.sql,
                ),
                [self.service, self.account],
            ).fetchall()

    def refusal(self) -> Refusal | None:
        """Return the account's last refusal of this month (UTC), None if an order was accepted since."""
        with self.conn.cursor(row_factory=class_row(Refusal)) as cursor:
            return cursor.execute(
                query(
                    """WITH item AS (SELECT i.* FROM {items} i JOIN {orders} o ON o.id = i.order_id
                                     WHERE o.service = %s AND o.account = %s),
                           month AS (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') AS first)
                       SELECT changed_at AT TIME ZONE 'UTC' AS at,
                           (first + interval '1 month')::date AS until, coalesce(message, '') AS message
                       FROM item, month
                       WHERE code = %s AND changed_at AT TIME ZONE 'UTC' >= first
                           AND NOT EXISTS (SELECT FROM item accepted
                               WHERE accepted.state = ANY(%s) AND accepted.code IS DISTINCT FROM %s
                                   AND accepted.sent_at > item.changed_at)
                       ORDER BY changed_at DESC LIMIT 1""",
                    items=self.tables.order_items.sql,
                    orders=self.tables.orders.sql,
                ),
                [self.service, self.account, ACCOUNT_REFUSED, list(STATES), _ADOPTED],
            ).fetchone()

    def open_order(self, label: str) -> int:
        """Begin an order; return its number."""
        row = one(
            self.conn,
            query(
                "INSERT INTO {orders} (label, service, account) VALUES (%s, %s, %s) RETURNING id",
                orders=self.tables.orders.sql,
            ),
            [label, self.service, self.account],
        )
        return int(row[0])

    def sending(self, order: int, item: uuid.UUID, wanted: Wanted, workflow: str) -> None:
        """Write an item that is about to be sent; one that was not accepted before is written anew.

        Raises:
            psycopg.errors.UniqueViolation: its product is on order.
        """
        self._insert(order, item, wanted, workflow, state="sending")

    def adopt(self, order: int, wanted: Wanted, workflow: str, found: ServiceOrder, item: uuid.UUID) -> None:
        """Write an item for an order that the service already has, such as an order of its web page."""
        self._insert(
            order,
            item,
            wanted,
            workflow,
            state=found.state,
            service_id=found.id,
            code=_ADOPTED,
            message=found.message,
        )

    def resending(self, item: uuid.UUID) -> None:
        """Note that an item of unknown acceptance is about to be sent again, on the operator's word."""
        self._update(item, "sending", code="sent_again", message=None, own=True)

    def follow(self, item: uuid.UUID, found: ServiceOrder) -> None:
        """Write the state that the service lists for an item."""
        self._update(item, found.state, code=None, message=found.message, service_id=found.id)

    def end(self, item: uuid.UUID, state: str, code: str, message: str | None) -> None:
        """Write a state that the service does not list: unknown, refused, unsent or cancelled."""
        self._update(item, state, code=code, message=message)

    def cancel_asked(self, item: uuid.UUID) -> None:
        """Note that the service is about to be asked to cancel an item."""
        self.conn.execute(
            query(
                "UPDATE {items} SET cancel_asked_at = now() WHERE id = %s",
                items=self.tables.order_items.sql,
            ),
            [item],
        )

    def _insert(
        self,
        order: int,
        item: uuid.UUID,
        wanted: Wanted,
        workflow: str,
        *,
        state: str,
        service_id: str | None = None,
        code: str | None = None,
        message: str | None = None,
    ) -> None:
        self.conn.execute(
            query(
                """INSERT INTO {items} (id, order_id, product_type, card, sensor, sensed, relative_orbit,
                       input, earlier, workflow, state, service_id, code, message)
                   VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
                   ON CONFLICT (id) DO UPDATE SET order_id = excluded.order_id, input = excluded.input,
                       relative_orbit = excluded.relative_orbit, earlier = excluded.earlier,
                       workflow = excluded.workflow, state = excluded.state,
                       service_id = NULL, code = NULL, message = NULL, cancel_asked_at = NULL,
                       sent_at = excluded.sent_at, changed_at = excluded.changed_at""",
                items=self.tables.order_items.sql,
            ),
            [
                item,
                order,
                wanted.product_type,
                wanted.card.name,
                wanted.sensor,
                wanted.sensed,
                named_orbit(wanted.input),
                wanted.input,
                wanted.earlier,
                workflow,
                state,
                service_id,
                code,
                message,
            ],
        )

    def _update(
        self,
        item: uuid.UUID,
        state: str,
        *,
        code: str | None,
        message: str | None,
        service_id: Any = None,
        own: bool = False,
    ) -> None:
        """Write a state. An adopted item keeps its code until it is sent from here (`own`)."""
        self.conn.execute(
            query(
                """UPDATE {items} SET state = %s, message = %s,
                       code = CASE WHEN code = %s AND NOT %s THEN code ELSE %s END,
                       service_id = coalesce(%s, service_id), changed_at = now() WHERE id = %s""",
                items=self.tables.order_items.sql,
            ),
            [state, message, _ADOPTED, own, code, service_id, item],
        )


def ordered_in_month(conn: psycopg.Connection, tables: Tables, today: date) -> int:
    """Return how many products were ordered in the calendar month of a day, UTC, by any account."""
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


def last_states(conn: psycopg.Connection, tables: Tables) -> Mapping[Key, str]:
    """Return the state of each product's last order, of any account; an order in ON_ORDER comes first."""
    rows = conn.execute(
        query(
            """SELECT DISTINCT ON (product_type, sensor, sensed) product_type, sensor, sensed, state
               FROM {items}
               ORDER BY product_type, sensor, sensed, state = ANY(%s) DESC, sent_at DESC, id""",
            items=tables.order_items.sql,
        ),
        [list(ON_ORDER)],
    ).fetchall()
    return {(product_type, sensor, sensed): state for product_type, sensor, sensed, state in rows}
