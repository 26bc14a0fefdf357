"""Searches that know of earlier ones: what is new, what was cut short, and everything once a week."""

import json
from collections.abc import Callable
from datetime import date
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from shapely import box

from cbmctl.errors import UserError
from tests.conftest import Database
from tests.support.catalogue_search import parameters_of, rows, run, sync
from tests.support.odata_server import Catalogue, reply, serve
from tests.support.printed import expect_only_the_error
from tests.support.recorded_answers import backscatter, sentinel2

pytestmark = [pytest.mark.postgis, pytest.mark.usefixtures("hasty")]


def enter(known: Catalogue, *products: dict[str, Any]) -> None:
    """Let a service have more products."""
    known.products += products
    known.shapes |= {id(product): box(29, 51, 32, 54) for product in products}


def pass_days(area: Database, days: int) -> None:
    """Let the searches on record be of earlier days."""
    with area.connect() as conn:
        conn.execute(
            """UPDATE catalogue_syncs SET full_at = full_at - %(days)s * interval '1 day',
                   complete_at = complete_at - %(days)s * interval '1 day'""",
            {"days": days},
        )


def answer_of(known: Catalogue) -> Callable[[BaseHTTPRequestHandler], None]:
    """What a service that does not fail answers."""
    return lambda handler: reply(handler, 200, known.answer("", parameters_of(handler)))


def on_record(area: Database, columns: str) -> tuple[Any, ...]:
    with area.connect() as conn:
        (row,) = conn.execute(f"SELECT {columns} FROM catalogue_syncs").fetchall()
    return row


def test_since_last_asks_only_for_what_was_published_since(
    area: Database, catalogue: tuple[Catalogue, str], testdata: Path
) -> None:
    known, url = catalogue
    first = run(area, url, "--since", "last")
    assert "no complete sync of this area and period is on record" in first.stderr
    assert len(json.loads(first.stdout)["added"]) == 4
    with area.connect() as conn:
        conn.execute("UPDATE catalogue_syncs SET complete_at = '2024-02-20 00:00+00'")
    late = backscatter(testdata, 700, PublicationDate="2024-02-18T00:00:00.000Z")
    later = backscatter(testdata, 800, PublicationDate="2024-02-17T23:59:59.999Z")
    enter(known, late, later)
    answer = sync(area, url, "--since", "last")
    assert (answer["added"], answer["known"]) == ([late["Name"]], 0)  # two days before the last sync
    assert answer["published_since"].startswith("2024-02-18")
    again = sync(area, url, "--since", "last")
    assert (again["added"], again["changed"]) == ([], False)
    # another period, another area or a cut outline: everything
    assert sync(area, url, "--since", "last", period=("2024-01-01", "2024-03-01"))["added"] == [later["Name"]]


def test_what_could_not_be_entered_is_asked_for_again(
    area: Database, catalogue: tuple[Catalogue, str], testdata: Path
) -> None:
    known, url = catalogue
    broken = known.products[2]
    path = broken.pop("S3Path")
    answer = sync(area, url)
    assert ([each["status"] for each in answer["broken"]], len(answer["added"])) == (["!S3 subdir"], 3)
    later = backscatter(testdata, 3000, S3Path=None)
    enter(known, later)
    for _ in range(2):  # still broken, and one more
        again = sync(area, url, "--since", "last")
        assert again["published_since"].startswith("2024-02-04 20:51")
        assert (again["added"], len(again["broken"])) == ([], 2)
    broken["S3Path"] = path  # mended, and published when it was
    assert sync(area, url, "--since", "last")["added"] == [broken["Name"]]
    later["S3Path"] = f"/eodata/Sentinel-1/SAR/CARD-BS/2024/02/08/{later['Name']}"
    assert sync(area, url, "--since", "last")["added"] == [later["Name"]]
    sync(area, url, "--since", "last")
    assert not sync(area, url, "--since", "last")["published_since"].startswith("2024")


def test_a_search_goes_on_from_what_could_not_be_entered(area: Database, testdata: Path) -> None:
    known = Catalogue([backscatter(testdata, number * 1440) for number in (0, 40, 70)])
    path = known.products[0].pop("S3Path")
    with serve(known) as url:
        known.faults.extend([lambda handler: reply(handler, 200, known.answer("", parameters_of(handler)))])
        known.faults.extend([lambda handler: reply(handler, 503, {"detail": "busy"})] * 3)
        assert isinstance(run(area, url, period=("2024-02-01", "2024-05-01")).exception, UserError)
        known.products[0]["S3Path"] = path
        assert len(sync(area, url, period=("2024-02-01", "2024-05-01"))["added"]) == 3


def test_what_was_cut_short_goes_on(area: Database, testdata: Path) -> None:
    known = Catalogue([backscatter(testdata, number * 1440) for number in (0, 1, 40, 41, 70)])
    period = ("2024-02-01", "2024-05-01")
    with serve(known) as url:
        known.faults.extend([lambda handler: reply(handler, 200, known.answer("", parameters_of(handler)))])
        known.faults.extend([lambda handler: reply(handler, 503, {"detail": "busy"})] * 3)
        failed = run(area, url, period=period)
        assert isinstance(failed.exception, UserError)
        assert len(rows(area, "reference")) == 2  # February, whole
        known.asked.clear()
        result = run(area, url, period=period)
        answer = json.loads(result.stdout)
        assert (len(answer["added"]), answer["known"]) == (3, 0)
        assert len(known.asked) == 2
        assert "continued from 2024-03-01" in result.stderr
        known.asked.clear()
        sync(area, url, period=period)
        assert len(known.asked) == 3


def test_what_is_entered_under_an_old_date_is_found_within_a_week(
    area: Database, catalogue: tuple[Catalogue, str], testdata: Path
) -> None:
    known, url = catalogue
    assert len(sync(area, url, "--since", "last")["added"]) == 4
    old = backscatter(testdata, 700, PublicationDate="2024-02-07T00:00:00.000Z")
    enter(known, old)
    for _ in range(6):
        pass_days(area, 1)
        daily = run(area, url, "--since", "last")
        answer = json.loads(daily.stdout)
        assert (answer["added"], answer["full_because"]) == ([], None)
        assert answer["published_since"]
        assert "all products were searched" not in daily.stderr
    (last,) = on_record(area, "full_at AT TIME ZONE 'UTC' - interval '2 days'")
    pass_days(area, 2)
    weekly = run(area, url, "--since", "last", "--check")
    assert json.loads(weekly.stdout)["added"] == [old["Name"]]
    weekly = run(area, url, "--since", "last")
    answer = json.loads(weekly.stdout)
    assert (answer["added"], answer["known"], answer["published_since"]) == ([old["Name"]], 4, None)
    because = (
        f"that was done last on {last:%Y-%m-%d}, and is due again after 7 days: a service may enter products"
        " under an old date"
    )
    assert answer["full_because"] == because
    assert f"all products were searched: {because}\n" in weekly.stderr
    assert on_record(area, "full_at = complete_at, full_at > now() - interval '1 hour'") == (True, True)
    assert on_record(area, "began_at, reached") == (None, None)
    assert sync(area, url, "--since", "last")["published_since"]


def test_of_searches_on_record_before_the_date_of_the_full_one_was_kept(
    area: Database, catalogue: tuple[Catalogue, str]
) -> None:
    _, url = catalogue
    sync(area, url)
    with area.connect() as conn:
        conn.execute("UPDATE catalogue_syncs SET full_at = NULL")
    answer = sync(area, url, "--since", "last")
    assert answer["full_because"].startswith("it is not on record when that was done last")
    assert sync(area, url, "--since", "last")["full_because"] is None


def test_a_part_of_a_period_is_as_old_as_the_whole(
    area: Database, catalogue: tuple[Catalogue, str], testdata: Path
) -> None:
    known, url = catalogue
    part = ("2024-02-01", "2024-02-20")
    sync(area, url)
    assert sync(area, url, "--since", "last", period=part)["published_since"]
    pass_days(area, 8)
    old = backscatter(testdata, 700, PublicationDate="2024-02-07T00:00:00.000Z")
    enter(known, old)
    before = on_record(area, "catalogue_syncs")
    answer = sync(area, url, "--since", "last", period=part)
    assert (answer["added"], answer["published_since"]) == ([old["Name"]], None)
    assert answer["full_because"].startswith("that was done last on")
    assert on_record(area, "catalogue_syncs") == before, "the whole was not asked for"
    assert on_record(area, "first_day, end_day") == (date(2024, 2, 1), date(2024, 3, 1))


def test_the_weekly_search_goes_on_where_it_was_cut_short(area: Database, testdata: Path) -> None:
    known = Catalogue([backscatter(testdata, number * 1440) for number in (0, 40, 70)])
    period = ("2024-02-01", "2024-05-01")
    with serve(known) as url:
        sync(area, url, period=period)
        pass_days(area, 8)
        before = on_record(area, "full_at")
        # three months for what is new, and one of everything
        known.faults.extend([answer_of(known)] * 4)
        known.faults.extend([lambda handler: reply(handler, 503, {"detail": "busy"})] * 3)
        assert isinstance(run(area, url, "--since", "last", period=period).exception, UserError)
        assert on_record(area, "full_at") == before
        known.asked.clear()
        result = run(area, url, "--since", "last", period=period)
        assert len(known.asked) == 3 + 2
        assert "continued from 2024-03-01" in result.stderr
        assert "that was done last on" in result.stderr
        assert on_record(area, "full_at > now() - interval '1 hour'") == (True,)
        assert sync(area, url, "--since", "last", period=period)["published_since"]


def test_what_is_new_comes_in_though_the_weekly_search_fails_each_day(area: Database, testdata: Path) -> None:
    known = Catalogue([backscatter(testdata, number * 1440) for number in (0, 40)])
    period = ("2024-02-01", "2024-05-01")
    with serve(known) as url:
        sync(area, url, period=period)
        pass_days(area, 8)
        for day in (70, 71):
            new = backscatter(testdata, day * 1440, PublicationDate="2099-01-01T00:00:00.000Z")
            enter(known, new)
            before = on_record(area, "complete_at, full_at")
            known.faults.extend([answer_of(known)] * 3)
            known.faults.extend([lambda handler: reply(handler, 503, {"detail": "busy"})] * 3)
            result = run(area, url, "--since", "last", period=period)
            assert result.exit_code == 1
            assert "does not answer (HTTP 503, 3 attempts)" in str(result.exception)
            assert "Entered before the error: New: 1 scene; completed: 0; known: " in result.stderr
            assert rows(area, "reference")[-1] == (new["Name"],)
            after = on_record(area, "complete_at, full_at")
            assert (after[0] > before[0], after[1] == before[1]) == (True, True)
        assert sync(area, url, "--since", "last", period=period)["known"] == 4


def test_what_both_searches_of_a_day_find_is_counted_once(
    area: Database, catalogue: tuple[Catalogue, str], testdata: Path
) -> None:
    known, url = catalogue
    sync(area, url)
    pass_days(area, 8)
    new = backscatter(testdata, 700, PublicationDate="2099-01-01T00:00:00.000Z")
    broken = backscatter(testdata, 701, PublicationDate="2099-01-01T00:00:00.000Z", S3Path=None)
    enter(known, new, broken)
    answer = sync(area, url, "--since", "last")
    assert (answer["added"], answer["known"], len(answer["broken"])) == ([new["Name"]], 4, 1)
    assert answer["full_because"]


def test_what_was_done_before_a_service_fails_is_told(area: Database, testdata: Path) -> None:
    products = [sentinel2(testdata, day) for day in (0, 1)]
    old, new = products[0], sentinel2(testdata, 0)
    new["Name"] = old["Name"].replace("N0510", "N0511").replace("20240516", "20240816")
    new["Id"] = "00000000-0000-0000-0000-00000000000a"
    new["S3Path"] = old["S3Path"].replace(old["Name"], new["Name"])
    products[1]["S3Path"] = None
    known = Catalogue([*products, new])
    with serve(known) as url:
        known.faults.append(answer_of(known))
        known.faults.extend([lambda handler: reply(handler, 503, {"detail": "busy"})] * 3)
        period = ("2024-02-01", "2024-05-01")
        result = run(area, url, "--source", "odata", period=period, card=("s2", "S2MSI2A"))
    assert isinstance(result.exception, UserError)
    expect_only_the_error(result)
    assert f"superseded: {old['Name']} by {new['Name']}\n" in result.stderr
    assert f"not entered: {products[1]['Name']}: " in result.stderr
    assert "Entered before the error: New: 2 scenes; completed: 0; known: 0; broken: 1" in result.stderr
