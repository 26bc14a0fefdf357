"""`cbmctl order place`: each product once, whoever ordered it first."""

import json
import threading
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cbmctl.ordering.order_service import OrderService
from cbmctl.ordering.wanted_product import Wanted
from tests.conftest import Database
from tests.support import odp_server
from tests.support.odata_server import Catalogue
from tests.support.odp_server import Odp, serve
from tests.support.ordering import (
    INCOMPLETE,
    THREE,
    answered,
    backscatter,
    command,
    elsewhere,
    grd,
    names,
    opened,
    plan,
    refused,
    rows,
    served,
    slc,
)
from tests.support.recorded_answers import backscatter as recorded_backscatter
from tests.support.recorded_answers import recorded

pytestmark = pytest.mark.postgis


def test_each_product_is_ordered_once(odp: Odp, database: Database, tmp_path: Path) -> None:
    pair = Wanted("CARD-COH6", slc(13), earlier=slc(7), label="zurich 2021-03")
    file = plan(tmp_path, *THREE, pair, THREE[0])
    answer = answered(command(database, "place", file, "--yes"))
    assert answer["changed"]
    assert answer["accepted"] == [*names(THREE), slc(13)]
    assert odp.made() == dict.fromkeys([*names(THREE), slc(13)], 1)
    assert [order["WorkflowName"] for order in odp.orders] == ["card_bs"] * 3 + ["coh"]
    assert not odp.realm.sessions
    assert rows(database, "input, earlier, card, sensor, relative_orbit, state, service_id")[3] == (
        slc(13),
        slc(7),
        "c6",
        "1B",
        99,
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
    documented = recorded(testdata, "odp-request-card_bs.json")
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


def test_the_recorded_answers_are_read(odp: Odp, database: Database, testdata: Path) -> None:
    """As the service gives them; batch orders are not placed from here, but have the same fields."""
    created, listed, workflow, batch, batch_done = (
        recorded(testdata, f"odp-{name}.json")
        for name in (
            "productionorder-created",
            "productionorders-list",
            "workflow-card_coh12_public",
            "batchorder-created",
            "batchorder-completed",
        )
    )
    answers = [created, batch, batch_done]
    for answer in answers:
        odp.faults.append(lambda _odp, handler, _body, answer=answer: odp_server.reply(handler, 201, answer))
    odp.orders = [each | {"_hidden": 0} for each in listed["value"]]
    odp.workflows = [workflow]
    with opened(database) as (_, service):
        assert service.workflow("CARD-COH12") == "card_coh12_public"
        (done,) = service.orders()
        order, wanted, made = (service.place("card_bs", grd(1), "a name") for _ in answers)
    assert (done.id, done.state, done.message) == (
        "2322968",
        "completed",
        "requested output product is available",
    )
    assert (order.id, order.state, order.workflow) == ("9999999", "queued", "card_bs")
    assert order.input == order.name  # the name given was another: names are not always kept
    assert (order.submitted, order.temporary) == (datetime(2023, 4, 5, 10, 3, 25, 474000), False)
    assert (wanted.id, wanted.state, wanted.input, wanted.temporary) == ("1374977", "queued", None, True)
    assert (made.id, made.state, made.workflow, made.temporary) == ("1357372", "completed", "sen2cor", False)


def test_a_check_changes_nothing(odp: Odp, database: Database, tmp_path: Path) -> None:
    elsewhere(odp, 2)
    answer = answered(command(database, "place", plan(tmp_path, *THREE), "--check"))
    assert answer["changed"]
    assert [each["input"] for each in answer["to_order"]] == [grd(1), grd(3)]
    assert answer["adopted"] == [grd(2)]
    assert len(odp.orders) == 1
    assert rows(database) == []


def test_no_is_an_answer(odp: Odp, database: Database, tmp_path: Path) -> None:
    result = command(database, "place", plan(tmp_path, *THREE), answer="n\n")
    refused(result, "nothing was ordered, because the answer was no")
    assert "Order 3 products as 'agency'?" in result.stderr
    result = command(database, "place", plan(tmp_path, *THREE), answer="")
    refused(result, "nothing was ordered, because nobody answered. --yes needs no answer.")
    assert odp.orders == []
    answered(command(database, "place", plan(tmp_path, *THREE), answer="y\n"))
    assert len(odp.orders) == 3


def test_a_limit_orders_the_first(odp: Odp, database: Database, tmp_path: Path) -> None:
    file = plan(tmp_path, *THREE)
    for expected in ([grd(1)], [grd(1), grd(2)]):
        answered(command(database, "place", file, "--limit", "1", "--yes"))
        assert list(odp.made()) == expected


def test_orders_placed_elsewhere_are_not_repeated(odp: Odp, database: Database, tmp_path: Path) -> None:
    """On the web page, by another tenant of the account, or before the database was restored."""
    for number, status in ((1, "in_progress"), (2, "completed"), (3, "failed")):
        elsewhere(odp, number)["Status"] = status
    private = [{"Name": "output_storage", "Value": "TEMPORARY"}]
    elsewhere(odp, 4).update({"Status": "completed", "WorkflowOptions": private})
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
    elsewhere(odp, 3)
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
        elsewhere(odp, number)
    answer = answered(command(database, "place", plan(tmp_path, *backscatter(0, 119, 120)), "--yes"))
    assert (answer["adopted"], answer["accepted"]) == ([grd(0), grd(119)], [grd(120)])


def test_a_product_that_others_had_made_since_the_plan_is_not_ordered(
    odp: Odp, database: Database, tmp_path: Path, testdata: Path
) -> None:
    """The sync has entered one; two others only the service lists; other coherence of that SLC is missing."""
    pairs = [Wanted(kind, slc(13), label="zurich 2021-03") for kind in ("CARD-COH6", "CARD-COH12")]
    with database.connect() as conn:
        conn.execute(
            "INSERT INTO dias_catalogue (obstime, reference, sensor, card) VALUES (%s, 'known', '1A', 'bs')",
            [THREE[0].sensed],
        )
    odp.catalogue = Catalogue(
        [
            made(testdata, THREE[1], "20210301T235959_036800_0452F9_AAAA_CARD_BS"),
            # the same kind of name, of another second
            made(testdata, backscatter(4)[0], "20210301T235959_036800_0452F9_AAAA_CARD_BS"),
            made(testdata, pairs[0], "_S1A_20210307T052630_20210307T052657_CARD-COH6"),
        ]
    )
    with served(database, odp):
        file = plan(tmp_path, *THREE, *pairs)
        result = command(database, "place", file, "--yes", "--limit", "2", as_json=False)
        assert result.exception is None, result.exception
        left = f"Not ordered, the product exists by now: {grd(1)}, {grd(2)}, {slc(13)}"
        assert left in result.stderr
        assert [given for given, _ in rows(database)] == [grd(3), slc(13)]
        assert [order["WorkflowName"] for order in odp.orders] == ["card_bs", "card_coh12_public"]


def test_without_the_catalogue_service_nothing_is_ordered(
    odp: Odp, database: Database, tmp_path: Path
) -> None:
    database.configured(catalogue={"urls": {"odata": "http://127.0.0.1:9/odata/v1"}})
    refused(command(database, "place", plan(tmp_path, *THREE), "--yes"), "catalogue.urls.odata")
    assert (odp.orders, rows(database)) == ([], [])


def made(testdata: Path, wanted: Wanted, end: str) -> dict[str, Any]:
    """The CARD product of an input, as the catalogue service lists it."""
    name = f"{wanted.made_beginning}_{end}"
    product = recorded_backscatter(testdata, 0, Id=name, Name=name)
    stated = f"{wanted.sensed:%Y-%m-%dT%H:%M:%S}.189Z"
    kinds = [
        each | {"Value": wanted.product_type} if each["Name"] == "productType" else each
        for each in product["Attributes"]
    ]
    return product | {"ContentDate": {"Start": stated, "End": stated}, "Attributes": kinds}


@pytest.mark.parametrize("sorts", [True, False])
def test_an_order_is_found_in_a_list_that_changes_while_it_is_read(
    odp: Odp, database: Database, tmp_path: Path, sorts: bool
) -> None:
    """After the first page older orders leave the list and a new one enters it, so that the rest moves."""
    odp.sorts = sorts
    for number in range(60):
        elsewhere(odp, number)
    pages = 0

    def changed(server: Odp) -> None:
        nonlocal pages
        pages += 1
        if pages == 2:
            del server.orders[40:42], server.orders[3:5]
            elsewhere(server, 100)

    odp.reads = changed
    numbers = [*range(3), *range(5, 40), *range(42, 60)]
    with opened(database) as (_, service):
        listed = {each.input for each in service.orders()}
    assert listed >= {grd(number) for number in numbers}
    answer = answered(command(database, "place", plan(tmp_path, *backscatter(*numbers)), "--yes"))
    assert answer["adopted"] == [grd(number) for number in numbers]


def test_a_list_that_always_changes_orders_nothing(odp: Odp, database: Database, tmp_path: Path) -> None:
    for number in range(120):
        elsewhere(odp, number)
    odp.reads = lambda server: server.orders.pop(0) and None
    refused(
        command(database, "place", plan(tmp_path, *backscatter(200)), "--yes"),
        "/ProductionOrders changes while it is read",
        "Nothing is ordered",
    )
    assert rows(database) == []


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


def test_the_service_is_asked_for_workflows_once(odp: Odp, database: Database) -> None:
    with opened(database) as (_, service):
        assert isinstance(service, OrderService)
        assert [service.workflow(each) for each in ("CARD-BS", "CARD-COH6")] == ["card_bs", "coh"]
    assert [path for _, path in odp.asked].count("/odata/v1/Workflows") == 2  # two pages, the second empty
