"""Whatever happens in whatever order: plan, ledger and service agree, and nothing is ordered twice."""

from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from cbmctl.errors import UserError
from cbmctl.ordering.cancel import cancel, cancellable
from cbmctl.ordering.ledger import ON_ORDER, Ledger, last_states
from cbmctl.ordering.order_service import OrderService
from cbmctl.ordering.place import AGAIN, placing, send
from cbmctl.ordering.reconcile import refresh
from tests.conftest import Database
from tests.support import odp_server
from tests.support.effort import THOROUGH, run_machine
from tests.support.odp_server import ACTIVE, Odp
from tests.support.ordering import backscatter, chosen_of, elsewhere, grd, opened

pytestmark = pytest.mark.postgis

NUMBERS = range(8)
FAULTS = [
    odp_server.lost_after,
    odp_server.lost_before,
    odp_server.late,
    odp_server.gateway_after,
    odp_server.unavailable,
    odp_server.page_after,
    odp_server.expired,
]


class Killed(BaseException):
    """The process ends here."""


class Countdown:
    """Kills the process before or after one of its next acts that others see."""

    def __init__(self) -> None:
        self.left: int | None = None

    def killing(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def act(*arguments: Any, **options: Any) -> Any:
            self._count()
            outcome = method(*arguments, **options)
            self._count()
            return outcome

        return act

    def _count(self) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            self.left = None
            raise Killed


class Ordering(RuleBasedStateMachine):
    """An operator, a service that may do anything documented, and processes that die."""

    database: Database
    odp: Odp
    countdown: Countdown

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.last = {0}
        self.risked: set[str] = set()  # what the operator had sent again, not knowing whether it was accepted
        with self.database.connect() as conn:
            conn.execute("TRUNCATE orders, order_items")
        self.odp.orders.clear()
        self.odp.faults.clear()
        self.odp.quota = None
        self.ledger, self.service = self._start()

    def _start(self) -> tuple[Ledger, OrderService]:
        self.stack.close()
        self.stack = ExitStack()
        return self.stack.enter_context(opened(self.database))

    @contextmanager
    def _process(self, dies_after: int | None) -> Any:
        """One command; it may be killed, or end with an error that a person reads."""
        self.countdown.left = dies_after
        try:
            yield
        except (Killed, UserError):
            self.countdown.left = None
            self.ledger, self.service = self._start()
        finally:
            self.countdown.left = None

    @initialize(keeps_names=st.booleans())
    def names_are_kept_or_not(self, keeps_names: bool) -> None:
        self.odp.keeps_names = keeps_names

    @rule(
        numbers=st.sets(st.sampled_from(NUMBERS), min_size=1, max_size=3) | st.none(),
        faults=st.lists(st.sampled_from(FAULTS), max_size=2),
        again=st.just(set()) | st.sets(st.sampled_from(AGAIN)),
        dies_after=st.none() | st.integers(0, 20),
    )
    def place(
        self,
        numbers: set[int] | None,
        faults: list[odp_server.Fault],
        again: set[str],
        dies_after: int | None,
    ) -> None:
        """Place a plan; None: the same once more, as an operator does after an interruption."""
        self.last = self.last if numbers is None else numbers
        self.odp.faults.extend(faults)
        if "unknown" in again:
            self.risked |= {
                item.input for item in self.ledger.items() if item.state in ("unknown", "sending")
            }
        with self._process(dies_after), placing(self.ledger):
            chosen = chosen_of(self.ledger, self.service, backscatter(*sorted(self.last)), again=again)
            if chosen.again:
                self.risked |= {each.input for _, each in chosen.again}
            send(self.ledger, self.service, chosen, lambda _number: None)
        self.odp.faults.clear()

    @rule(dies_after=st.none() | st.integers(0, 10))
    def status(self, dies_after: int | None) -> None:
        with self._process(dies_after), placing(self.ledger):
            refresh(self.ledger, self.service)

    @rule(dies_after=st.none() | st.integers(0, 10))
    def cancel(self, dies_after: int | None) -> None:
        with self._process(dies_after), placing(self.ledger):
            found = cancellable(self.ledger, self.service, None)
            cancel(self.ledger, self.service, found.items, lambda _one: None)

    @rule(number=st.sampled_from(NUMBERS), status=st.sampled_from(["in_progress", "completed", "failed"]))
    def the_service_goes_on(self, number: int, status: str) -> None:
        self.odp.step(grd(number), status, "No DEM" if status == "failed" else "")

    @rule(number=st.sampled_from(NUMBERS))
    def somebody_orders_on_the_web_page(self, number: int) -> None:
        if not self.odp.made(grd(number)):
            elsewhere(self.odp, number)["_web"] = True

    @rule(number=st.sampled_from(NUMBERS))
    def the_list_misses_an_order_for_a_while(self, number: int) -> None:
        cancelling = {item.input for item in self.ledger.items() if item.cancel_asked_at}
        for each in self.odp.orders:
            given = each["InputProductReference"]["Reference"]
            known = given in {item.input for item in self.ledger.items() if item.service_id == each["Id"]}
            # after a cancellation a missing order counts as removed
            if given == grd(number) and known and given not in cancelling:
                each["_hidden"] = 2

    @rule(
        what=st.sampled_from(["tokens end", "sessions end", "down", "quota"]),
        quota=st.none() | st.integers(0, 3),
    )
    def the_service_makes_trouble(self, what: str, quota: int | None) -> None:
        if what == "tokens end":
            self.odp.realm.expire_access()
        elif what == "sessions end":
            self.odp.realm.end_sessions()
        elif what == "quota":
            self.odp.quota = None if quota is None else len(self.odp.orders) + quota
        else:
            self.odp.down = True
            self.status(None)
            self.odp.down = False

    @invariant()
    def nothing_is_ordered_twice(self) -> None:
        twice = {given for given, number in self.odp.made().items() if number > 1}
        assert twice <= self.risked

    @invariant()
    def an_input_is_on_order_once(self) -> None:
        keys = [item.key for item in self.ledger.items() if item.state in ON_ORDER]
        assert len(keys) == len(set(keys))

    def teardown(self) -> None:
        try:
            self._everything_agrees()
        finally:
            self.stack.close()

    def _everything_agrees(self) -> None:
        self.odp.quota, self.odp.faults = None, type(self.odp.faults)()
        for each in self.odp.orders:
            each["_hidden"] = 0
        self.status(None)
        for item in self.ledger.items():
            made = [each for each in self.odp.orders if each["Id"] == item.service_id]
            if item.state in ON_ORDER and item.state != "unknown":
                assert [each["Status"] for each in made] == [item.state]
            if item.state == "unknown":
                assert not self.odp.made(item.input)
        known = {item.service_id for item in self.ledger.items()}
        forgotten = [
            each
            for each in self.odp.orders
            if each["Id"] not in known and not each.get("_web") and each["Status"] in ACTIVE
        ]
        assert {each["InputProductReference"]["Reference"] for each in forgotten} <= self.risked
        # what is left of the plan, and nothing else, is what is to be ordered
        wanted = backscatter(*NUMBERS)
        with placing(self.ledger):
            chosen = chosen_of(self.ledger, self.service, wanted, again=AGAIN)
            left = {each.input for each in chosen.new} | {each.input for _, each in chosen.again}
            assert left == {each.input for each in wanted if not self.odp.made(each.input)}
            send(self.ledger, self.service, chosen, lambda _number: None)
        made = self.odp.made()
        assert set(made) == {each.input for each in wanted}
        assert {given for given, number in made.items() if number > 1} <= self.risked
        states = last_states(self.ledger.conn, self.ledger.tables)
        assert {key for key, state in states.items() if state in ON_ORDER} == {each.key for each in wanted}


def test_nothing_is_ordered_twice_or_forgotten(
    odp: Odp, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    countdown = Countdown()
    for owner, methods in (
        (Ledger, ("open_order", "sending", "adopt", "resending", "follow", "end", "cancel_asked")),
        (OrderService, ("place", "orders", "cancel")),
    ):
        for name in methods:
            monkeypatch.setattr(owner, name, _method(countdown.killing(getattr(owner, name))))
    machine = type("Machine", (Ordering,), {"database": database, "odp": odp, "countdown": countdown})
    run_machine(machine, 25, thorough=200, steps=40 if THOROUGH else 20)


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    """Bind to an instance, as a method of the class would."""

    def method(self: object, *arguments: Any, **options: Any) -> Any:
        return function(self, *arguments, **options)

    return method
