"""Whatever happens in whatever order: plan, ledger and service agree, and nothing is ordered twice."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from cbmctl.catalogue.orbits import named_orbit
from cbmctl.errors import UserError
from cbmctl.ordering.cancel import cancel, cancellable
from cbmctl.ordering.ledger import ON_ORDER, STOPPED, Ledger, last_states
from cbmctl.ordering.level_1_products import Input, Inputs
from cbmctl.ordering.order_service import OrderService
from cbmctl.ordering.place import AGAIN, placing, send
from cbmctl.ordering.plan import Plan, make_plan
from cbmctl.ordering.reconcile import refresh
from tests.conftest import Database
from tests.support import odp_server
from tests.support.effort import THOROUGH, run_machine
from tests.support.odp_server import ACTIVE, Odp
from tests.support.ordering import backscatter, chosen_of, elsewhere, grd, opened
from tests.support.recorded_answers import AREA

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
    odp_server.refused,
    odp_server.twice,
]
MARCH = (date(2021, 3, 1), date(2021, 4, 1))


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
        self.doubled = Counter[str]()  # what a gateway delivered twice
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
        retry=st.booleans(),
        dies_after=st.none() | st.integers(0, 20),
    )
    def place(
        self,
        numbers: set[int] | None,
        faults: list[odp_server.Fault],
        again: set[str],
        retry: bool,
        dies_after: int | None,
    ) -> None:
        """Place a plan; None: the same once more, as an operator does after an interruption."""
        self.last = self.last if numbers is None else numbers
        self.odp.faults.extend(self._twice if fault is odp_server.twice else fault for fault in faults)
        if "unknown" in again:
            self.risked |= {
                item.input for item in self.ledger.items() if item.state in ("unknown", "sending")
            }
        with self._process(dies_after), placing(self.ledger):
            wanted = backscatter(*sorted(self.last))
            chosen = chosen_of(self.ledger, self.service, wanted, again=again, retry_refused_account=retry)
            if chosen.again:
                self.risked |= {each.input for _, each in chosen.again}
            send(self.ledger, self.service, chosen, lambda _number: None)
        self.odp.faults.clear()

    def _twice(self, odp: Odp, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        self.doubled[body["InputProductReference"]["Reference"]] += 1
        odp_server.twice(odp, handler, body)

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
        made = self.odp.made()
        twice = {given for given, number in made.items() if number > 1 + self.doubled[given]}
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
        assert _inputs(forgotten) <= self.risked | set(self.doubled)
        # what the plan finds missing, and nothing else, is what is to be ordered
        every = backscatter(*NUMBERS)
        missing = {each.input for each in every if not self.odp.made(each.input)}
        unknown = [
            each
            for each in every
            if each.key in {item.key for item in self.ledger.items() if item.state == "unknown"}
        ]
        elsewhere_only = _inputs([each for each in self.odp.orders if each["Id"] not in known])
        plan = self._plan()
        planned = {each.input for each in plan.wanted}
        assert missing - {each.input for each in unknown} <= planned
        assert planned - missing <= elsewhere_only
        assert (plan.level_1, plan.on_order) == (len(NUMBERS), len(NUMBERS) - len(planned))
        with placing(self.ledger):
            wanted = [*plan.wanted, *unknown]
            chosen = chosen_of(self.ledger, self.service, wanted, again=AGAIN, retry_refused_account=True)
            assert {each.input for each in chosen.products} == missing
            placed = send(self.ledger, self.service, chosen, lambda _number: None)
            assert placed.reason is None
            duplicates = refresh(self.ledger, self.service)
        made = self.odp.made()
        assert set(made) == {each.input for each in every}
        twice = {given for given, number in made.items() if number > 1}
        assert twice <= self.risked | set(self.doubled)
        if self.odp.keeps_names:
            assert twice - self.risked <= {each.item.input for each in duplicates}
        plan = self._plan()
        assert (list(plan.wanted), plan.on_order) == ([], len(NUMBERS))

    def _plan(self) -> Plan:
        """What cbmctl order plan finds, if the catalogue lists no product."""
        states = {
            (sensor, sensed): state
            for (_, sensor, sensed), state in last_states(self.ledger.conn, self.ledger.tables).items()
        }
        return make_plan(
            "bs",
            Inputs([_level_1(number) for number in NUMBERS]),
            MARCH,
            existing=set(),
            on_order={key for key, state in states.items() if state in ON_ORDER},
            stopped={key for key, state in states.items() if state in STOPPED},
            proven={"1A"},
            label="zurich 2021-03",
        )


def _inputs(orders: Sequence[dict[str, Any]]) -> set[str]:
    return {each["InputProductReference"]["Reference"] for each in orders}


def _level_1(number: int) -> Input:
    (wanted,) = backscatter(number)
    return Input(
        name=wanted.input,
        sensor=wanted.sensor,
        sensed=wanted.sensed,
        relative_orbit=named_orbit(wanted.input),
        timeliness="NRT-3h",
        published="",
        online=True,
        footprint=AREA,
    )


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
