"""`cbmctl order place` if the service, the account or the plan is refused: what is sent, and what is said."""

import json
from pathlib import Path

import pytest

from cbmctl.errors import UserError
from cbmctl.ordering.place import placing, send
from cbmctl.ordering.plan_file import read_plan
from tests.conftest import Database
from tests.support import odp_server
from tests.support.odp_server import Odp
from tests.support.ordering import (
    INCOMPLETE,
    THREE,
    answered,
    chosen_of,
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


def test_a_refusal_is_kept_and_ends_the_sending(odp: Odp, database: Database, tmp_path: Path) -> None:
    answered(command(database, "place", plan(tmp_path, THREE[0]), "--yes"))
    file = plan(tmp_path, *THREE)
    odp.faults.append(odp_server.refused)
    result = command(database, "place", file, "--yes", as_json=False)
    assert result.return_value == INCOMPLETE
    body = '{"detail": [{"msg": "Input product not found"}]}'
    assert f"Refused: {grd(2)} (HTTP 422)." in result.stdout
    assert result.stdout.count(body) == 1
    assert "Not ordered: 1 product. The next cbmctl order place orders it." in result.stdout
    assert rows(database, "input, state, code, message")[1] == (grd(2), "refused", "http_422", body)
    answer = answered(command(database, "place", file, "--yes"))
    assert answer["left"] == {"queued": [grd(1)], "refused": [grd(2)]}
    answered(command(database, "place", file, "--yes", "--again", "refused"))
    assert odp.made() == dict.fromkeys(names(THREE), 1)


def refuse(status: int, detail: str) -> odp_server.Fault:
    return lambda _odp, handler, _body: odp_server.reply(handler, status, {"detail": detail})


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (403, "Forbidden"),
        (402, "Pay"),
        (400, "Monthly Quota exceeded"),
        (429, "Quota exceeded"),
        (429, "Too Many Requests"),
    ],
)
def test_a_refusal_of_the_account_is_not_one_of_the_product(
    odp: Odp, database: Database, tmp_path: Path, status: int, detail: str
) -> None:
    odp.faults.append(refuse(status, detail))
    file = plan(tmp_path, *THREE)
    answer = answered(command(database, "place", file, "--yes"), INCOMPLETE)
    assert (answer["refused"], answer["unsent"]) == ([], names(THREE))
    assert answer["reason"] == (
        f"the service refuses the account 'agency' now (HTTP {status}: {json.dumps({'detail': detail})})"
    )
    held = detail != "Too Many Requests"
    code = "account_refused" if held else "too_many_requests"
    assert rows(database, "input, state, code") == [(grd(1), "unsent", code)]
    again = command(database, "place", file, "--yes")
    if held:
        assert answered(again, INCOMPLETE)["held"] == [grd(2), grd(3), grd(1)]
    else:  # it passes by itself
        assert answered(again)["accepted"] == [grd(2), grd(3), grd(1)]


def sent(odp: Odp) -> int:
    """How many orders the service was sent."""
    return [path for _, path in odp.asked].count("/odata/v1/ProductionOrder/OData.CSC.Order")


def test_nothing_is_sent_until_the_next_month_after_a_refusal_for_quota(
    odp: Odp, database: Database, tmp_path: Path
) -> None:
    odp.quota = 1
    file = plan(tmp_path, *THREE)
    reason = "Monthly quota of processed products exceeded"
    first = command(database, "place", file, "--yes", as_json=False)
    assert first.return_value == INCOMPLETE
    assert first.stdout.count(reason) == 1
    assert "No order is sent in the rest of this month (UTC) without --retry-refused-account." in first.stdout
    assert sent(odp) == 2
    for _day in range(2):
        result = command(database, "place", file, "--yes", as_json=False)
        assert result.return_value == INCOMPLETE
        assert result.stdout.startswith("Not ordered: 2 products. The service refused the account on ")
        assert result.stdout.count(reason) == 1
        assert result.stdout.endswith("-01 (UTC) without --retry-refused-account.\n")
    check = answered(command(database, "place", file, "--check"))
    assert (check["to_order"], check["held"], check["changed"]) == ([], [grd(3), grd(2)], False)
    status = command(database, "status", as_json=False)
    assert (status.return_value or 0) == 0
    assert f"Not ordered: {grd(2)}. The service refused the account on " in status.stdout
    assert (sent(odp), rows(database)) == (2, [(grd(1), "queued"), (grd(2), "unsent")])

    odp.quota = None
    with database.connect() as conn:
        conn.execute("UPDATE order_items SET changed_at = date_trunc('month', now(), 'UTC') - interval '1 s'")
    assert "the next cbmctl order place orders them" in command(database, "status", as_json=False).stdout
    assert answered(command(database, "place", file, "--yes"))["accepted"] == [grd(3), grd(2)]
    assert odp.made() == dict.fromkeys(names(THREE), 1)
    assert {state for _, state in rows(database)} == {"queued"}


def test_orders_are_sent_to_a_refused_account_if_asked(odp: Odp, database: Database, tmp_path: Path) -> None:
    """Once one is accepted, the account is not refused any more, whatever is left of the plan."""
    odp.quota = 0
    file = plan(tmp_path, *THREE)
    answered(command(database, "place", file, "--yes"), INCOMPLETE)
    again = ("place", file, "--yes", "--retry-refused-account")
    answered(command(database, *again), INCOMPLETE)
    # another product each time, so that none holds the others back
    assert (sent(odp), sorted(rows(database))) == (2, [(grd(1), "unsent"), (grd(2), "unsent")])
    odp.quota = None
    assert answered(command(database, *again, "--limit", "1"))["accepted"] == [grd(3)]
    assert answered(command(database, "place", file, "--yes"))["accepted"] == [grd(1), grd(2)]
    assert odp.made() == dict.fromkeys(names(THREE), 1)


def test_failed_products_are_not_sent_while_the_account_is_refused(
    odp: Odp, database: Database, tmp_path: Path
) -> None:
    answered(command(database, "place", plan(tmp_path, THREE[0]), "--yes"))
    odp.step(grd(1), "failed", "No DEM")
    odp.quota = 0
    answered(command(database, "place", plan(tmp_path, THREE[1]), "--yes"), INCOMPLETE)
    retry = ("status", "--retry-failed", "--yes")
    assert answered(command(database, *retry), INCOMPLETE)["held"] == [grd(1)]
    odp.quota = None
    answer = answered(command(database, *retry, "--retry-refused-account"))
    assert (answer["accepted"], answer["account_refused"]) == ([grd(1)], False)


def test_a_token_that_ends_in_between_is_renewed(odp: Odp, database: Database, tmp_path: Path) -> None:
    odp.faults.append(odp_server.expired)
    answered(command(database, "place", plan(tmp_path, *THREE), "--yes"))
    assert odp.made() == dict.fromkeys(names(THREE), 1)
    assert odp.realm.logins == [True]


def test_a_service_that_is_down_has_accepted_nothing(odp: Odp, database: Database, tmp_path: Path) -> None:
    """It goes down after its list was read; a connection that is refused is no lost answer."""
    with opened(database) as (ledger, service), placing(ledger):
        chosen = chosen_of(ledger, service, THREE)
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
        chosen = chosen_of(ledger, service, THREE)
        odp.realm.end_sessions()
        odp.realm.password = "another"
        placed = send(ledger, service, chosen, lambda _number: None)
    assert placed.unsent == names(THREE)
    assert "refuses the login of 'agency'" in str(placed.reason)
    assert rows(database) == [(grd(1), "unsent")]


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
