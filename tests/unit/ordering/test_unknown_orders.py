"""`cbmctl order place` if it is not known whether an order was accepted: only the operator repeats it."""

from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from cbmctl.ordering.order_service import OrderService
from cbmctl.ordering.place import placing, send
from tests.conftest import Database
from tests.support import odp_server
from tests.support.keycloak_realm import PASSWORD
from tests.support.odp_server import Odp
from tests.support.ordering import (
    INCOMPLETE,
    THREE,
    answered,
    chosen_of,
    command,
    elsewhere,
    grd,
    names,
    opened,
    plan,
    rows,
)

pytestmark = pytest.mark.postgis


def hidden(odp: Odp, handler: BaseHTTPRequestHandler, body: dict[str, Any], lists: int) -> None:
    """Accepted, the answer is lost, and so many lists do not show it."""
    odp.accept(body, hidden=lists)
    odp_server.hang_up(handler)


@pytest.mark.parametrize("keeps_names", [True, False])
@pytest.mark.parametrize("fault", [odp_server.lost_after, odp_server.gateway_after, odp_server.page_after])
def test_a_lost_answer_is_found_in_the_list(
    odp: Odp, database: Database, tmp_path: Path, fault: odp_server.Fault, keeps_names: bool
) -> None:
    odp.keeps_names = keeps_names
    odp.faults.append(fault)
    answer = answered(command(database, "place", plan(tmp_path, *THREE), "--yes"))
    assert answer["accepted"] == names(THREE)
    assert odp.made() == dict.fromkeys(names(THREE), 1)
    assert {state for _, state in rows(database)} == {"queued"}


def test_a_lost_answer_is_not_taken_for_an_order_that_failed(
    odp: Odp, database: Database, tmp_path: Path
) -> None:
    """Somebody else's order of the same input, placed at the same time and listed first."""

    def after_another(server: Odp, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        elsewhere(server, 1)["Status"] = "failed"
        odp_server.lost_after(server, handler, body)

    odp.keeps_names = False
    odp.faults.append(after_another)
    answer = answered(command(database, "place", plan(tmp_path, THREE[0]), "--yes"))
    assert answer["accepted"] == names(THREE[:1])
    assert rows(database, "state, service_id") == [("queued", odp.orders[1]["Id"])]


@pytest.mark.parametrize("fault", [odp_server.lost_before, odp_server.unavailable, odp_server.late])
def test_an_order_whose_acceptance_is_unknown_is_sent_again_only_if_asked(
    odp: Odp, database: Database, tmp_path: Path, fault: odp_server.Fault
) -> None:
    file = plan(tmp_path, *THREE)
    odp.faults.append(fault)
    answer = answered(command(database, "place", file, "--yes"), INCOMPLETE)
    assert (answer["unknown"], answer["unsent"]) == ([grd(1)], [grd(2), grd(3)])
    assert rows(database) == [(grd(1), "unknown")]
    status = command(database, "status", as_json=False).stdout
    # the advice for a request that can be repeated would mislead
    assert "Run the command again" not in status
    for _ in range(3):
        answered(command(database, "place", file, "--yes"))
    late = fault is odp_server.late
    assert odp.made() == dict.fromkeys(names(THREE[0 if late else 1 :]), 1)
    assert rows(database)[0] == (grd(1), "queued" if late else "unknown")
    answered(command(database, "place", file, "--yes", "--again", "unknown"))
    assert odp.made() == dict.fromkeys(names(THREE), 1)
    assert {state for _, state in rows(database)} == {"queued"}


@pytest.mark.parametrize(
    ("number", "question"),
    [
        (1, "Order 1 product as 'agency', which may be on order already?"),
        (2, "Order 2 products as 'agency', of which 1 may be on order already?"),
    ],
)
def test_a_person_is_asked_before_a_second_order(
    odp: Odp, database: Database, tmp_path: Path, number: int, question: str
) -> None:
    odp.faults.append(odp_server.lost_before)
    first = command(database, "place", plan(tmp_path, THREE[0]), "--yes", as_json=False)
    assert first.stdout.count("does not answer") == 1
    file = plan(tmp_path, *THREE[:number])
    result = command(database, "place", file, "--again", "unknown", answer="n\n")
    assert question in result.stderr
    assert odp.orders == []


@pytest.mark.parametrize("reason", ["refused", "not sent", "no token"])
def test_a_second_order_that_is_not_accepted_says_nothing_about_the_first(
    odp: Odp, database: Database, tmp_path: Path, reason: str
) -> None:
    """The first one was accepted and is not listed yet."""
    odp.faults.append(lambda server, handler, body: hidden(server, handler, body, 100))
    answered(command(database, "place", plan(tmp_path, THREE[0]), "--yes"), INCOMPLETE)
    with opened(database) as (ledger, service), placing(ledger):
        chosen = chosen_of(ledger, service, THREE[:1], again=("unknown",))
        if reason == "refused":
            odp.quota = 0
        elif reason == "not sent":
            service.url = "http://127.0.0.1:9/odata/v1"
        else:
            odp.realm.end_sessions()
            odp.realm.password = "another"
        placed = send(ledger, service, chosen, lambda _number: None)
    assert (placed.unknown, placed.unsent, placed.refused) == (names(THREE[:1]), [], [])
    odp.quota, odp.realm.password = None, PASSWORD
    assert rows(database) == [(grd(1), "unknown")]
    answered(command(database, "place", plan(tmp_path, THREE[0]), "--yes", "--again", "refused"))
    assert odp.made() == {grd(1): 1}
    odp.orders[0]["_hidden"] = 0
    assert answered(command(database, "status"))["total"] == {"queued": 1}


def test_a_second_order_of_one_that_the_service_lost_is_found(
    odp: Odp, database: Database, tmp_path: Path
) -> None:
    """It has another number; its answer is lost, and it is listed later."""
    file = plan(tmp_path, THREE[0])
    answered(command(database, "place", file, "--yes"))
    odp.orders[0] |= {"_hidden": 100, "Status": "cancelled"}
    answered(command(database, "status"), INCOMPLETE)
    odp.faults.append(lambda server, handler, body: hidden(server, handler, body, 1))
    answered(command(database, "place", file, "--yes", "--again", "unknown"), INCOMPLETE)
    assert answered(command(database, "status"))["total"] == {"queued": 1}
    assert rows(database, "service_id") == [(odp.orders[1]["Id"],)]


def test_an_order_that_appears_after_the_second_was_sent_is_reported(
    odp: Odp, database: Database, tmp_path: Path
) -> None:
    file = plan(tmp_path, THREE[0])
    odp.faults.append(lambda server, handler, body: hidden(server, handler, body, 7))
    answered(command(database, "place", file, "--yes"), INCOMPLETE)
    answered(command(database, "place", file, "--yes", "--again", "unknown"))
    status = answered(command(database, "status"))
    status = answered(command(database, "status"), INCOMPLETE)
    assert status["duplicates"] == [{"input": grd(1), "service_ids": [each["Id"] for each in odp.orders]}]


def test_an_order_that_arrived_twice_is_reported(odp: Odp, database: Database, tmp_path: Path) -> None:
    odp.faults.append(odp_server.twice)
    result = command(database, "place", plan(tmp_path, *THREE), "--yes", as_json=False)
    assert result.return_value == INCOMPLETE
    first, second = odp.orders[:2]
    assert f"Ordered more than once: {grd(1)}" in result.stdout
    assert f"{first['Id']} and {second['Id']} at the service. Cancel one" in result.stdout
    # somebody cancels one of the two on the web page, whichever it is
    for cancelled, other in ((first, second), (second, first)):
        cancelled["Status"], other["Status"] = "cancelled", "queued"
        assert answered(command(database, "status"))["total"] == {"queued": 3}


def test_both_orders_of_one_that_arrived_twice_are_cancelled(
    odp: Odp, database: Database, tmp_path: Path
) -> None:
    odp.faults.append(odp_server.twice)
    answered(command(database, "place", plan(tmp_path, *THREE), "--yes"), INCOMPLETE)
    assert answered(command(database, "cancel", "1", "--yes"))["removed"] == names(THREE)
    assert odp.made().total() == 0
    assert answered(command(database, "status"))["total"] == {"cancelled": 3}


def test_an_interruption_before_an_order_is_sent_leaves_it_unknown(
    odp: Odp, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(OrderService, "place", interrupted)
        result = command(database, "place", plan(tmp_path, *THREE), "--yes")
    assert type(result.exception).__name__ == "Abort"
    assert (
        "Interrupted after 0 of 3 products. The service may have accepted one more: run cbmctl order status."
        in result.stderr
    )
    assert rows(database) == [(grd(1), "sending")]
    assert answered(command(database, "status"), INCOMPLETE)["total"] == {"unknown": 1}
    answered(command(database, "place", plan(tmp_path, *THREE), "--yes"))
    assert odp.made() == dict.fromkeys([grd(2), grd(3)], 1)
