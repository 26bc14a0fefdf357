"""`cbmctl order place`: everything once, whatever happens to answers, tokens and processes."""

import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from cbmctl.errors import UserError
from cbmctl.ordering.place import choose, placing, send
from cbmctl.ordering.plan_file import read_plan
from cbmctl.ordering.service import OrderService
from cbmctl.ordering.wanted import Wanted

from ..conftest import Database
from . import odp_server
from .odp_server import Odp, serve
from .ordering import (
    INCOMPLETE,
    PASSWORD,
    answered,
    backscatter,
    command,
    grd,
    names,
    opened,
    plan,
    refused,
    rows,
    slc,
)

pytestmark = pytest.mark.postgis

THREE = backscatter(1, 2, 3)


def hidden(odp: Odp, handler: BaseHTTPRequestHandler, body: dict[str, Any], lists: int) -> None:
    """Accepted, the answer is lost, and so many lists do not show it."""
    odp.accept(body, hidden=lists)
    odp_server.hang_up(handler)


def test_each_product_is_ordered_once(odp: Odp, database: Database, tmp_path: Path) -> None:
    pair = Wanted("CARD-COH6", slc(13), earlier=slc(7), label="zurich 2021-03")
    file = plan(tmp_path, *THREE, pair, THREE[0])
    answer = answered(command(database, "place", file, "--yes"))
    assert answer["changed"]
    assert answer["accepted"] == [*names(THREE), slc(13)]
    assert odp.made() == dict.fromkeys([*names(THREE), slc(13)], 1)
    assert [order["WorkflowName"] for order in odp.orders] == ["card_bs"] * 3 + ["coh"]
    assert not odp.realm.sessions
    assert rows(database, "input, earlier, card, sensor, state, service_id")[3] == (
        slc(13),
        slc(7),
        "c6",
        "1B",
        "queued",
        odp.orders[3]["Id"],
    )
    again = answered(command(database, "place", file, "--yes"))
    assert not again["changed"]
    assert again["left"] == {"queued": [*names(THREE), slc(13)]}
    assert len(odp.orders) == 4


def test_what_is_sent_has_the_documented_form(
    odp: Odp, database: Database, tmp_path: Path, testdata: Path
) -> None:
    documented = json.loads((testdata / "catalogue" / "odp-request-card_bs.json").read_text())
    bodies = []
    odp.faults.append(lambda _server, handler, body: (bodies.append(body), odp_server.hang_up(handler))[0])
    command(database, "place", plan(tmp_path, THREE[0]), "--yes")
    assert bodies[0].keys() == documented.keys()
    assert bodies[0] | {"Name": None} == {
        "WorkflowName": documented["WorkflowName"],
        "InputProductReference": {"Reference": grd(1)},
        "Priority": documented["Priority"],
        "Name": None,
    }
    assert bodies[0]["Name"].endswith(str(rows(database, "id")[0][0]))


def test_the_recorded_answers_are_read(testdata: Path) -> None:
    from cbmctl.ordering.service import _order, _value

    folder = testdata / "catalogue"
    created = _order(_value(json.loads((folder / "odp-productionorder-created.json").read_text())))
    assert (created.id, created.state, created.workflow) == ("9999999", "queued", "card_bs")
    assert created.input == created.name  # the name given was another: names are not always kept
    listed = json.loads((folder / "odp-productionorders-list.json").read_text())["value"]
    assert [_order(each).state for each in listed] == ["completed"]


def test_a_check_changes_nothing(odp: Odp, database: Database, tmp_path: Path) -> None:
    odp.accept({"WorkflowName": "card_bs", "Name": "web", "InputProductReference": {"Reference": grd(2)}})
    answer = answered(command(database, "place", plan(tmp_path, *THREE), "--check"))
    assert answer["changed"]
    assert [each["input"] for each in answer["to_order"]] == [grd(1), grd(3)]
    assert answer["adopted"] == [grd(2)]
    assert len(odp.orders) == 1
    assert rows(database) == []


def test_no_is_an_answer(odp: Odp, database: Database, tmp_path: Path) -> None:
    result = command(database, "place", plan(tmp_path, *THREE), answer="n\n")
    assert type(result.exception).__name__ == "Abort"
    assert "Order 3 products as 'agency'?" in result.stderr
    assert odp.orders == []
    answered(command(database, "place", plan(tmp_path, *THREE), answer="y\n"))
    assert len(odp.orders) == 3


def test_a_limit_orders_the_first(odp: Odp, database: Database, tmp_path: Path) -> None:
    file = plan(tmp_path, *THREE)
    for expected in ([grd(1)], [grd(1), grd(2)]):
        answered(command(database, "place", file, "--limit", "1", "--yes"))
        assert list(odp.made()) == expected


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


@pytest.mark.parametrize("fault", [odp_server.lost_before, odp_server.unavailable, odp_server.late])
def test_an_order_whose_acceptance_is_unknown_is_sent_again_only_if_asked(
    odp: Odp, database: Database, tmp_path: Path, fault: odp_server.Fault
) -> None:
    file = plan(tmp_path, *THREE)
    odp.faults.append(fault)
    answer = answered(command(database, "place", file, "--yes"), INCOMPLETE)
    assert (answer["unknown"], answer["unsent"]) == ([grd(1)], [grd(2), grd(3)])
    assert rows(database) == [(grd(1), "unknown")]
    for _ in range(4):
        answered(command(database, "place", file, "--yes"))
    late = fault is odp_server.late
    assert odp.made() == dict.fromkeys(names(THREE[0 if late else 1 :]), 1)
    assert rows(database)[0] == (grd(1), "queued" if late else "unknown")
    answered(command(database, "place", file, "--yes", "--again", "unknown"))
    assert odp.made() == dict.fromkeys(names(THREE), 1)
    assert {state for _, state in rows(database)} == {"queued"}


@pytest.mark.parametrize("reason", ["refused", "not sent", "no token"])
def test_a_second_order_that_is_not_accepted_says_nothing_about_the_first(
    odp: Odp, database: Database, tmp_path: Path, reason: str
) -> None:
    """The first one was accepted and is not listed yet."""
    odp.faults.append(lambda server, handler, body: hidden(server, handler, body, 100))
    answered(command(database, "place", plan(tmp_path, THREE[0]), "--yes"), INCOMPLETE)
    with opened(database) as (ledger, service), placing(ledger):
        chosen = choose(ledger, service, THREE[:1], again=("unknown",))
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
    odp.faults.append(lambda server, handler, body: hidden(server, handler, body, 5))
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
    first["Status"] = "cancelled"
    assert answered(command(database, "status"))["total"] == {"queued": 3}


def test_a_refusal_is_kept_and_ends_the_sending(odp: Odp, database: Database, tmp_path: Path) -> None:
    odp.quota = 1
    file = plan(tmp_path, *THREE)
    result = command(database, "place", file, "--yes", as_json=False)
    assert result.return_value == INCOMPLETE
    body = '{"detail": "Monthly quota of processed products exceeded"}'
    assert f"Refused: {grd(2)} (HTTP 403)." in result.stdout
    assert body in result.stdout
    assert rows(database, "input, state, code, message")[1] == (grd(2), "refused", "http_403", body)
    sent = len([method for method, path in odp.asked if path.endswith("OData.CSC.Order")])
    assert sent == 2
    odp.quota = None
    answer = answered(command(database, "place", file, "--yes"))
    assert answer["left"] == {"queued": [grd(1)], "refused": [grd(2)]}
    answered(command(database, "place", file, "--yes", "--again", "refused"))
    assert odp.made() == dict.fromkeys(names(THREE), 1)


def test_too_many_requests_are_a_refusal(odp: Odp, database: Database, tmp_path: Path) -> None:
    odp.faults.append(lambda _server, handler, _body: odp_server.reply(handler, 429, {"detail": "Quota"}))
    answer = answered(command(database, "place", plan(tmp_path, THREE[0]), "--yes"), INCOMPLETE)
    assert answer["refused"] == [[grd(1), 429, '{"detail": "Quota"}']]


def test_a_token_that_ends_in_between_is_renewed(odp: Odp, database: Database, tmp_path: Path) -> None:
    odp.faults.append(odp_server.expired)
    answered(command(database, "place", plan(tmp_path, *THREE), "--yes"))
    assert odp.made() == dict.fromkeys(names(THREE), 1)
    assert odp.realm.logins == [True]


def test_a_service_that_is_down_has_accepted_nothing(odp: Odp, database: Database, tmp_path: Path) -> None:
    """It goes down after its list was read; a connection that is refused is no lost answer."""
    with opened(database) as (ledger, service), placing(ledger):
        chosen = choose(ledger, service, THREE)
        real = service.url
        service.url = "http://127.0.0.1:9/odata/v1"
        placed = send(ledger, service, chosen, lambda _number: None)
        service.url = real
    assert (placed.unknown, placed.unsent) == ([], names(THREE))
    assert placed.reason is not None
    assert "connection refused" in placed.reason
    assert rows(database) == [(grd(1), "unsent")]
    answered(command(database, "place", plan(tmp_path, *THREE), "--yes"))
    assert odp.made() == dict.fromkeys(names(THREE), 1)


def test_a_password_that_ends_in_between_orders_nothing(odp: Odp, database: Database) -> None:
    with opened(database) as (ledger, service), placing(ledger):
        chosen = choose(ledger, service, THREE)
        odp.realm.end_sessions()
        odp.realm.password = "another"
        placed = send(ledger, service, chosen, lambda _number: None)
    assert placed.unsent == names(THREE)
    assert "refuses the login of 'agency'" in str(placed.reason)
    assert rows(database) == [(grd(1), "unsent")]


def test_an_interruption_before_an_order_is_sent_leaves_it_unknown(
    odp: Odp, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(OrderService, "place", interrupted)
        result = command(database, "place", plan(tmp_path, *THREE), "--yes")
    assert type(result.exception).__name__ == "Abort"
    assert rows(database) == [(grd(1), "sending")]
    assert answered(command(database, "status"), INCOMPLETE)["total"] == {"unknown": 1}
    answered(command(database, "place", plan(tmp_path, *THREE), "--yes"))
    assert odp.made() == dict.fromkeys([grd(2), grd(3)], 1)


def test_orders_placed_elsewhere_are_not_repeated(odp: Odp, database: Database, tmp_path: Path) -> None:
    """On the web page, by another tenant of the account, or before the database was restored."""
    for number, status in ((1, "in_progress"), (2, "completed"), (3, "failed")):
        body = {"WorkflowName": "card_bs", "Name": "x", "InputProductReference": {"Reference": grd(number)}}
        odp.accept(body)["Status"] = status
    private = odp.accept(body | {"InputProductReference": {"Reference": grd(4)}})
    private |= {"Status": "completed", "WorkflowOptions": [{"Name": "output_storage", "Value": "TEMPORARY"}]}
    odp.orders[-1] = private
    answer = answered(command(database, "place", plan(tmp_path, *backscatter(1, 2, 3, 4)), "--yes"))
    assert (answer["adopted"], answer["accepted"]) == ([grd(1), grd(2)], [grd(3), grd(4)])
    assert sorted(rows(database)) == sorted(
        [(grd(1), "in_progress"), (grd(2), "completed"), (grd(3), "queued"), (grd(4), "queued")]
    )


def test_another_version_of_an_input_is_the_same_product(
    odp: Odp, database: Database, tmp_path: Path
) -> None:
    """Level 1 is made again under a name that differs in its last digits; the scene is on order."""
    newer = [replace(each, input=each.input[:-9] + "FFFF.SAFE") for each in THREE]
    elsewhere = {"WorkflowName": "card_bs", "Name": "x", "InputProductReference": {"Reference": grd(3)}}
    odp.accept(elsewhere)
    odp.faults.append(odp_server.lost_before)
    answered(command(database, "place", plan(tmp_path, THREE[0]), "--yes"), INCOMPLETE)
    answered(command(database, "place", plan(tmp_path, THREE[1]), "--yes"))
    answer = answered(command(database, "place", plan(tmp_path, *newer), "--yes"))
    assert answer["left"] == {"unknown": [newer[0].input], "queued": [newer[1].input]}
    assert answer["adopted"] == [newer[2].input]
    answered(command(database, "place", plan(tmp_path, *newer), "--yes", "--again", "unknown"))
    assert odp.made() == dict.fromkeys(names(THREE), 1)


def test_a_long_list_is_read_to_its_end(odp: Odp, database: Database, tmp_path: Path) -> None:
    for number in range(120):
        body = {"WorkflowName": "card_bs", "Name": "x", "InputProductReference": {"Reference": grd(number)}}
        odp.accept(body)
    answer = answered(command(database, "place", plan(tmp_path, *backscatter(0, 119, 120)), "--yes"))
    assert (answer["adopted"], answer["accepted"]) == ([grd(0), grd(119)], [grd(120)])


def test_two_at_once_do_not_order_twice(odp: Odp, database: Database, tmp_path: Path) -> None:
    inside, leave = threading.Event(), threading.Event()

    def wait(server: Odp, handler: object, body: dict[str, object]) -> None:
        server.lock.release()
        inside.set()
        leave.wait(60)
        server.lock.acquire()
        odp_server.reply(handler, 201, {"value": odp_server._shown(server.accept(body))})  # type: ignore[arg-type]

    odp.faults.append(wait)
    file = plan(tmp_path, *THREE)
    first = threading.Thread(target=command, args=(database, "place", file, "--yes"))
    first.start()
    try:
        assert inside.wait(60)
        for arguments in (("place", file, "--yes"), ("cancel", "--all", "--yes")):
            refused(command(database, *arguments), "another cbmctl order command uses the account 'agency'")
        shown = command(database, "status")
        assert "Shown as last known" in shown.stderr
        assert json.loads(shown.stdout)["total"] == {"sending": 1}
    finally:
        leave.set()
        first.join()
    assert odp.made() == dict.fromkeys(names(THREE), 1)


def test_a_restarted_service_goes_on(odp: Odp, database: Database, tmp_path: Path) -> None:
    """At another address, so that the ledger is that of another service: its list still decides."""
    odp.faults.append(odp_server.lost_before)
    answered(command(database, "place", plan(tmp_path, *THREE), "--yes"), INCOMPLETE)
    with serve(odp) as url:
        database.configured(ordering={"url": f"{url}/odata/v1", "token_url": f"{url}/realm/token"})
        answer = answered(command(database, "place", plan(tmp_path, *THREE), "--yes"))
    assert answer["left"] == {"unknown": [grd(1)]}
    assert odp.made() == dict.fromkeys([grd(2), grd(3)], 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is not valid JSON"),
        ("[]", "has no list 'wanted'"),
        ('{"wanted": [{"input": "x"}]}', "wanted[0] must be an object with product_type and input"),
        ('{"wanted": [{"input": 7, "product_type": "CARD-BS"}]}', "wanted[0].input is 7, expected a text"),
        ('{"wanted": [{"input": "x", "product_type": "CARD-BS"}]}', "'x' is not a valid input of CARD-BS"),
        (
            json.dumps({"wanted": [{"input": slc(1), "product_type": "CARD-BS"}]}),
            "Use the full name of a Sentinel-1 IW GRD product with .SAFE",
        ),
        (json.dumps({"wanted": [{"input": grd(1), "product_type": "RTC"}]}), "It must be one of: CARD-BS"),
        (
            json.dumps(
                {"wanted": [{"input": grd(1).replace("0301T0", "3301T0"), "product_type": "CARD-BS"}]}
            ),
            "has no valid date",
        ),
    ],
)
def test_a_plan_that_is_wrong_is_refused(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "plan.json"
    file.write_text(content)
    with file.open() as opened_file, pytest.raises(UserError) as raised:
        read_plan(opened_file)
    assert str(raised.value).startswith("plan.json")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_empty_plan_asks_nobody(odp: Odp, database: Database, tmp_path: Path) -> None:
    refused(command(database, "place", plan(tmp_path), "--yes"), "lists nothing to order")
    assert odp.asked == []


def test_no_workflow_is_reported(odp: Odp, database: Database, tmp_path: Path) -> None:
    file = plan(tmp_path, THREE[0])
    odp.workflows = [each for each in odp.workflows if each["Name"] != "card_bs"]
    refused(command(database, "place", file), "no workflow that makes CARD-BS", "CARD-COH12, CARD-COH6")
    odp.workflows = []
    refused(command(database, "place", file), "The type of the account decides what it may order")
    odp.workflows = [
        {"Id": "1", "Name": "card_bs", "OutputProductType": "CARD-BS"},
        {"Id": "2", "Name": "card_bs_2", "OutputProductType": "CARD-BS"},
    ]
    refused(command(database, "place", file), "several workflows that make CARD-BS: card_bs, card_bs_2")
    assert rows(database) == []


def test_an_account_that_is_refused_orders_nothing(
    odp: Odp, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = plan(tmp_path, THREE[0])
    odp.realm.password = "another"
    refused(command(database, "place", file), "refuses the login of 'agency'", "Check user and password")
    monkeypatch.delenv("CBM_ORDER_PASSWORD")
    refused(command(database, "place", file), "the password of the ordering account is missing")
    assert rows(database) == []


@pytest.mark.usefixtures("odp")
def test_a_service_that_is_another_is_reported(database: Database, tmp_path: Path) -> None:
    config = database.configured()
    database.configured(ordering={"url": f"{config.ordering.url}/no"})
    refused(command(database, "place", plan(tmp_path, THREE[0])), "refuses the request (HTTP 404")


def test_the_service_is_asked_for_workflows_once(odp: Odp, database: Database) -> None:
    with opened(database) as (_, service):
        assert isinstance(service, OrderService)
        assert [service.workflow(each) for each in ("CARD-BS", "CARD-COH6")] == ["card_bs", "coh"]
    assert [path for _, path in odp.asked].count("/odata/v1/Workflows") == 2  # two pages, the second empty
