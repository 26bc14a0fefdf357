"""`cbmctl order status` and `cancel`: what the service says, and what it cannot stop."""

from datetime import datetime
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.support import odp_server
from tests.support.odp_server import Odp
from tests.support.ordering import (
    INCOMPLETE,
    answered,
    backscatter,
    command,
    elsewhere,
    grd,
    names,
    plan,
    refused,
    rows,
)

pytestmark = pytest.mark.postgis

FOUR = backscatter(1, 2, 3, 4)


@pytest.fixture
def placed(odp: Odp, database: Database, tmp_path: Path) -> Odp:
    """Four products are on order."""
    answered(command(database, "place", plan(tmp_path, *FOUR), "--yes"))
    return odp


def test_nothing_ordered_is_said(odp: Odp, database: Database) -> None:
    result = command(database, "status", as_json=False)
    assert result.stdout == "Nothing is ordered.\n"
    assert len(odp.asked) > 0


def test_each_state_is_counted_and_a_failure_has_the_services_reason(placed: Odp, database: Database) -> None:
    placed.step(grd(1), "in_progress")
    placed.step(grd(2), "failed", "Input product is corrupt")
    placed.step(grd(3), "completed")
    answer = answered(command(database, "status"), INCOMPLETE)
    assert answer["total"] == {"in_progress": 1, "failed": 1, "completed": 1, "queued": 1}
    assert [(each["order_id"], each["label"]) for each in answer["orders"]] == [(1, "zurich 2021-03")] * 4
    problem = answer["problems"][0]
    assert (problem["input"], problem["state"], problem["message"]) == (
        grd(2),
        "failed",
        "Input product is corrupt",
    )
    text = command(database, "status", as_json=False).stdout
    assert f"failed: {grd(2)} (CARD-BS, order 1, 2322969 at the service): Input product is corrupt" in text
    assert text.splitlines()[2].split() == ["all", "1", "1", "1", "1", "4"]


def test_a_product_in_the_catalogue_is_catalogued(placed: Odp, database: Database) -> None:
    """As the sync enters it: with the sensing start of the input."""
    for number in (1, 2):
        placed.step(grd(number), "completed")
    with database.connect() as conn:
        conn.execute(
            "INSERT INTO dias_catalogue (obstime, reference, sensor, card) VALUES (%s, %s, '1A', 'bs')",
            [datetime(2021, 3, 1, 0, 1, 37), grd(1).replace(".SAFE", "_CARD_BS")],
        )
    assert answered(command(database, "status"))["total"] == {"catalogued": 1, "completed": 1, "queued": 2}


def test_failed_products_are_ordered_again_if_asked(placed: Odp, database: Database, tmp_path: Path) -> None:
    refused(
        command(database, "status", "--retry-failed", "--yes"), "No product found whose last order is failed"
    )
    placed.step(grd(2), "failed", "No DEM")
    file = plan(tmp_path, *FOUR)
    left = answered(command(database, "place", file, "--yes"))["left"]
    assert left == {"queued": [grd(1), grd(3), grd(4)], "failed": [grd(2)]}
    check = answered(command(database, "status", "--retry-failed", "--check"))
    assert [each["input"] for each in check["to_order"]] == [grd(2)]
    answer = answered(command(database, "status", "--retry-failed", "--yes"))
    assert answer["accepted"] == [grd(2)]
    assert placed.made() == dict.fromkeys(names(FOUR), 1)
    assert answered(command(database, "status"))["problems"] == []
    refused(
        command(database, "status", "--retry-failed", "--yes"), "No product found whose last order is failed"
    )


@pytest.mark.parametrize(
    ("state", "fault"), [("refused", odp_server.refused), ("unknown", odp_server.lost_before)]
)
def test_an_order_is_repeated_without_a_plan_if_asked(
    odp: Odp, database: Database, tmp_path: Path, state: str, fault: odp_server.Fault
) -> None:
    """A new plan leaves out what may be on order, so that the ledger is what is left."""
    odp.faults.append(fault)
    answered(command(database, "place", plan(tmp_path, FOUR[0]), "--yes"), INCOMPLETE)
    text = command(database, "status", as_json=False).stdout
    assert f"cbmctl order status --again {state}" in text
    answer = answered(command(database, "status", "--again", state, "--yes"))
    assert (answer["accepted"], odp.made()) == ([grd(1)], {grd(1): 1})
    refused(command(database, "status", "--again", state), f"No product found whose last order is {state}")


def test_an_order_that_the_service_lost_is_unknown_until_it_is_back(placed: Odp, database: Database) -> None:
    lost = placed.orders.pop(1)
    answer = answered(command(database, "status"), INCOMPLETE)
    assert [(each["input"], each["code"]) for each in answer["problems"]] == [(grd(2), "not_listed")]
    placed.orders.append(lost)
    assert answered(command(database, "status"))["total"] == {"queued": 4}


def test_a_word_for_a_state_that_is_not_documented_counts_as_on_order(
    placed: Odp, database: Database
) -> None:
    placed.orders[0] |= {"Status": "Quality Check", "StatusMessage": ""}
    placed.orders[1]["Status"] = "in progress"
    assert answered(command(database, "status"))["total"] == {"in_progress": 2, "queued": 2}
    assert rows(database, "message")[0] == ("quality_check",)


def test_a_service_that_is_down_is_reported(placed: Odp, database: Database) -> None:
    placed.down = True
    refused(command(database, "status"), "does not answer")
    placed.down = False
    assert answered(command(database, "status"))["total"] == {"queued": 4}


@pytest.mark.parametrize("by_get", [True, False])
def test_what_is_queued_is_cancelled_and_what_is_in_progress_is_not(
    placed: Odp, database: Database, by_get: bool
) -> None:
    placed.cancel_by_get_only = by_get
    placed.step(grd(1), "in_progress")
    placed.step(grd(2), "completed")
    check = answered(command(database, "cancel", "1", "--check"))
    assert check["to_cancel"] == [grd(1), grd(3), grd(4)]
    assert placed.made() == dict.fromkeys(names(FOUR), 1)
    result = command(database, "cancel", "1", answer="y\n", as_json=False)
    assert result.return_value == INCOMPLETE
    assert "Cancel 3 products? 1 product in progress cannot be stopped" in result.stderr
    assert "the quota is spent" in result.stderr
    assert result.stdout.splitlines() == [
        "Cancelled: 2 products.",
        f"Not stopped, because in progress; the quota is spent: {grd(1)}",
    ]
    placed.step(grd(1), "completed")
    assert answered(command(database, "status"))["total"] == {"completed": 2, "cancelled": 2}
    again = answered(command(database, "cancel", "--all"))
    assert (again["changed"], again["to_cancel"]) == (False, [])
    assert command(database, "cancel", "--all", as_json=False).stdout == "Nothing to cancel.\n"


def test_a_cancelled_product_is_ordered_only_if_asked(
    placed: Odp, database: Database, tmp_path: Path
) -> None:
    answered(command(database, "cancel", "--all", "--yes"))
    file = plan(tmp_path, *FOUR)
    assert answered(command(database, "place", file, "--yes"))["left"] == {"cancelled": names(FOUR)}
    answered(command(database, "place", file, "--yes", "--again", "cancelled"))
    assert placed.made() == dict.fromkeys(names(FOUR), 1)


def test_an_order_that_was_removed_after_a_cancellation_is_cancelled(placed: Odp, database: Database) -> None:
    """The documentation says that queued orders are removed: perhaps from the list as well."""
    answered(command(database, "cancel", "--all", "--yes"))
    with database.connect() as conn:
        conn.execute("UPDATE order_items SET state = 'queued'")
    placed.orders.clear()
    assert answered(command(database, "status"))["total"] == {"cancelled": 4}


def test_a_cancelled_product_that_was_made_meanwhile_is_catalogued(
    placed: Odp, database: Database, tmp_path: Path
) -> None:
    """The service had begun with it, finished it, and does not list the order any more."""
    placed.step(grd(1), "in_progress")
    answered(command(database, "cancel", "--all", "--yes"), INCOMPLETE)
    del placed.orders[0]
    assert answered(command(database, "status"))["total"] == {"cancelled": 4}
    with database.connect() as conn:
        conn.execute(
            "INSERT INTO dias_catalogue (obstime, reference, sensor, card) VALUES (%s, 'made', '1A', 'bs')",
            [FOUR[0].sensed],
        )
    assert answered(command(database, "status"))["total"] == {"catalogued": 1, "cancelled": 3}
    answer = answered(command(database, "place", plan(tmp_path, *FOUR), "--yes", "--again", "cancelled"))
    assert (answer["left"], answer["accepted"]) == ({"made": [grd(1)]}, names(FOUR[1:]))
    # of a product that was ordered several times the last order counts
    assert answered(command(database, "status"))["total"] == {"catalogued": 1, "queued": 3, "cancelled": 3}


def test_an_item_that_was_written_and_not_sent_is_the_last_order_of_its_product(
    placed: Odp, database: Database, tmp_path: Path
) -> None:
    """It was to repeat one that failed. The next command sends it without a word, in the same row."""
    placed.step(grd(2), "failed", "No DEM")
    file = plan(tmp_path, *FOUR)
    placed.quota = 0
    answered(command(database, "place", file, "--yes", "--again", "failed"), INCOMPLETE)
    for _ in range(2):
        assert answered(command(database, "status"))["total"] == {"queued": 3, "failed": 1, "unsent": 1}
        answered(command(database, "place", file, "--yes", "--retry-refused-account"), INCOMPLETE)
    placed.quota = None
    again = answered(command(database, "place", file, "--yes", "--retry-refused-account"))
    assert again["accepted"] == [grd(2)]
    placed.step(grd(2), "failed", "No DEM either")
    problem = answered(command(database, "status"), INCOMPLETE)["problems"]
    assert [each["message"] for each in problem] == ["No DEM either"]
    assert answered(command(database, "place", file, "--yes"))["left"]["failed"] == [grd(2)]


def test_a_cancellation_that_is_refused_is_reported(
    placed: Odp, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_odp: Odp, handler: object, _order: object) -> None:
        odp_server.reply(handler, 403, {"detail": "Not yours"})  # type: ignore[arg-type]

    monkeypatch.setattr(odp_server, "_cancel", forbidden)
    answer = answered(command(database, "cancel", "--all", "--yes"), INCOMPLETE)
    assert len(answer["refused"]) == 4
    assert answer["refused"][0] == [grd(1), 'HTTP 403: {"detail": "Not yours"}']
    assert len(placed.made()) == 4


def test_an_order_of_unknown_acceptance_is_named_when_others_are_cancelled(
    odp: Odp, database: Database, tmp_path: Path
) -> None:
    answered(command(database, "place", plan(tmp_path, FOUR[0]), "--yes"))
    odp.faults.append(odp_server.lost_before)
    answered(command(database, "place", plan(tmp_path, FOUR[1]), "--yes"), INCOMPLETE)
    result = command(database, "cancel", "--all", "--yes")
    assert "not known whether the service accepted the order: " + grd(2) in result.stderr
    answer = answered(result, INCOMPLETE)
    assert (answer["removed"], answer["unknown"]) == ([grd(1)], [grd(2)])
    assert answered(command(database, "cancel", "2", "--yes"), INCOMPLETE)["to_cancel"] == []


def test_orders_placed_elsewhere_are_cancelled_only_if_named(
    odp: Odp, database: Database, tmp_path: Path
) -> None:
    """Even after the service listed other states of them, or did not list them for a while."""
    for number in (1, 2):
        elsewhere(odp, number)
    answered(command(database, "place", plan(tmp_path, *FOUR), "--yes"))
    odp.step(grd(1), "in_progress")
    odp.orders[1]["_hidden"] = 2
    answered(command(database, "status"), INCOMPLETE)
    answered(command(database, "status"))
    result = command(database, "cancel", "--all", "--yes")
    assert (
        f"placed elsewhere: {grd(1)}, {grd(2)}. To cancel them, run cbmctl order cancel 1." in result.stderr
    )
    answer = answered(result)
    assert (answer["removed"], answer["elsewhere"]) == ([grd(3), grd(4)], [grd(1), grd(2)])
    named = answered(command(database, "cancel", "1", "--yes"), INCOMPLETE)
    assert (named["removed"], named["running"]) == ([grd(2)], [grd(1)])


def test_what_to_cancel_must_be_named(placed: Odp, database: Database) -> None:
    refused(command(database, "cancel"), "name the orders to cancel, or use --all")
    refused(command(database, "cancel", "1", "--all"), "name the orders to cancel, or use --all")
    refused(command(database, "cancel", "7", "--yes"), "order 7 does not exist for the account 'agency'")
    assert len(placed.made()) == 4
