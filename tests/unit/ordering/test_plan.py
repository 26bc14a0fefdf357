"""`cbmctl order plan` against an OData service: what is proposed, what it says, and what it refuses."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from shapely import box

from cbmctl.cli import cbmctl, main
from cbmctl.errors import UserError
from cbmctl.ordering.wanted_product import Wanted
from tests.conftest import Database
from tests.support.catalogue_search import with_areas
from tests.support.level_1_products import level_1
from tests.support.odata_server import Catalogue, serve
from tests.support.printed import expect_only_the_error
from tests.support.recorded_answers import Product, backscatter
from tests.support.second_season import later

pytestmark = [pytest.mark.postgis, pytest.mark.usefixtures("hasty")]

START = datetime(2024, 2, 6, 4, 11, 37)  # of the recorded CARD-BS product
PERIOD = ("2024-02-01", "2024-03-01")


def run(
    database: Database,
    url: str,
    card: str,
    *options: str,
    period: Sequence[str] = PERIOD,
    as_json: bool = True,
) -> Result:
    command = ["--config", str(database.config_path), *(["--json"] if as_json else []), "order", "plan"]
    return CliRunner().invoke(cbmctl, [*command, "there", *period, card, "--url", url, *options])


def planned(database: Database, url: str, card: str, *options: str, period: Sequence[str] = PERIOD) -> Any:
    result = run(database, url, card, *options, period=period)
    assert result.exception is None, result.exception
    return json.loads(result.stdout)


def grd(testdata: Path, minutes: int, **given: Any) -> Product:
    return level_1(testdata, "grd", START + timedelta(minutes=minutes), **given)


def slc(testdata: Path, days: int, sensor: str, **given: Any) -> Product:
    return level_1(testdata, "slc", START + timedelta(days=days), sensor=sensor, **given)


def test_what_is_not_set_up_has_an_exit_code(
    area: Database, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is for the daily run, which skips a season until it is set up."""

    def ended(aoi: str) -> tuple[object, str]:
        command = ["cbmctl", "--config", str(area.config_path), "order", "plan", aoi, *PERIOD, "bs"]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, capfd.readouterr().err

    assert ended("elsewhere") == (
        4,
        "cbmctl: public.aois has no area 'elsewhere'. Create it with cbmctl aoi set first.\n",
    )
    later(area)
    monkeypatch.setenv("CBM_SEASON", "2022")
    assert ended("there") == (
        4,
        "cbmctl: the table season_2022.dias_catalogue does not exist."
        " Run cbmctl --season 2022 schema apply first.\n",
    )


def order(conn: psycopg.Connection, name: str, state: str) -> None:
    """Enter an order of one product."""
    conn.execute(
        """WITH made AS (
               INSERT INTO orders (label, service, account) VALUES ('x', 'https://o.example', 'agency')
               RETURNING id)
           INSERT INTO order_items (id, order_id, product_type, card, sensor, sensed, input, workflow, state,
               service_id)
           SELECT gen_random_uuid(), id, 'CARD-BS', 'bs', '1A', %s, %s, 'card_bs', %s, '7'
           FROM made""",
        [Wanted("CARD-BS", name).sensed, name, state],
    )


def inputs(answer: Any) -> list[str]:
    return [each["input"] for each in answer["wanted"]]


def test_backscatter_that_is_missing(area: Database, testdata: Path) -> None:
    there, catalogued, ordered, free = (grd(testdata, minutes) for minutes in (0, 1, 2, 3))
    beside = grd(testdata, 4, place=box(60, 10, 61, 11))
    cog = grd(testdata, 5)
    cog["Attributes"] = [
        each | {"Value": "IW_GRDH_1S-COG"} if each["Name"] == "productType" else each
        for each in cog["Attributes"]
    ]
    with area.connect() as conn:
        conn.execute(
            "INSERT INTO dias_catalogue (reference, obstime, sensor, card)"
            " VALUES ('known', '2024-02-06 04:12:37', '1A', 'bs')"
        )
        order(conn, ordered["Name"].replace(ordered["Name"][-9:], "FFFF.SAFE"), "queued")  # another version
    products = [backscatter(testdata, 0), there, catalogued, ordered, free, beside, cog]
    with serve(Catalogue(products)) as url:
        answer = planned(area, url, "bs", "--price", "1.5")
        text = run(area, url, "bs", "--price", "1.5", as_json=False).stdout
    assert (answer["changed"], answer["level_1"], answer["existing"], answer["on_order"]) == (False, 4, 2, 1)
    assert answer["wanted"] == [
        {
            "product_type": "CARD-BS",
            "input": free["Name"],
            "earlier": None,
            "label": "there 2024-02-01 to 2024-03-01",
        }
    ]
    assert answer["ordered_this_month"] == 1
    assert answer["forecast"]["this_month"] == 1
    assert answer["forecast"]["cost"] == 1.5
    assert "IW_GRDH_1S in area and period" in text
    assert (
        "Quota: 25 a month, 2 at a time. Ordered this month: 1. Can be ordered now: 1. Months needed: 1"
        in text
    )
    assert "Cost: 1.50 at 1.5 a product." in text


def test_a_card_product_that_cannot_be_catalogued_is_not_ordered_again(
    area: Database, testdata: Path
) -> None:
    made = backscatter(testdata, 0, S3Path=None)
    with serve(Catalogue([made, grd(testdata, 0)])) as url:
        answer = planned(area, url, "bs")
        assert (answer["existing"], answer["wanted"]) == (1, [])


def test_what_failed_before_is_left_out_of_the_forecast(area: Database, testdata: Path) -> None:
    failed, free = grd(testdata, 0), grd(testdata, 1)
    with area.connect() as conn:
        order(conn, failed["Name"], "failed")
    with serve(Catalogue([failed, free])) as url:
        answer = planned(area, url, "bs")
        text = run(area, url, "bs", as_json=False).stdout
    assert (len(answer["wanted"]), answer["stopped"], answer["to_order"]) == (2, 1, 1)
    assert answer["forecast"]["this_month"] == 1
    assert "Failed, refused or cancelled before: 1 product." in text


def test_what_failed_and_was_not_sent_again_is_in_the_forecast(area: Database, testdata: Path) -> None:
    """As `place` does, the plan follows the last order: one that was not sent is repeated without a word."""
    failed = grd(testdata, 0)
    for state in ("failed", "unsent"):
        with area.connect() as conn:
            order(conn, failed["Name"], state)
    with serve(Catalogue([failed])) as url:
        answer = planned(area, url, "bs")
    assert (len(answer["wanted"]), answer["stopped"], answer["to_order"]) == (1, 0, 1)
    assert answer["forecast"]["this_month"] == 1


def test_of_several_versions_of_a_slice_the_manuals_timeliness_counts(area: Database, testdata: Path) -> None:
    fast = grd(testdata, 0, timeliness="Fast-24h", tail="AAAA")
    near = grd(testdata, 0, timeliness="NRT-3h", tail="0001")
    alone = grd(testdata, 1, timeliness="Fast-24h")
    with serve(Catalogue([fast, near, alone])) as url:
        answer = planned(area, url, "bs")
        assert inputs(answer) == [near["Name"]]
        assert answer["other_timeliness"] == [alone["Name"]]
        assert inputs(planned(area, url, "bs", "--any-timeliness")) == [near["Name"], alone["Name"]]
    with serve(Catalogue([alone])) as url:
        result = run(area, url, "bs")
        assert "but 1 product with another. Use --any-timeliness." in str(result.exception)


def test_coherence_names_both_of_a_pair(area: Database, testdata: Path) -> None:
    # the relative orbits are those of 52433 on 1A: 36
    later, six, twelve = slc(testdata, 0, "1A"), slc(testdata, -6, "1C", orbit=207), slc(testdata, -12, "1A")
    other = slc(testdata, -6, "1B", orbit=100)
    with serve(Catalogue([later, six, twelve, other])) as url:
        answer = planned(area, url, "c6")
        assert [(each["input"], each["earlier"]) for each in answer["wanted"]] == [
            (later["Name"], six["Name"])
        ]
        assert (answer["level_1"], answer["satellites"]) == (1, {"1A-1C": 1})
        answer = planned(area, url, "c12")
        assert [(each["input"], each["earlier"]) for each in answer["wanted"]] == [
            (later["Name"], twelve["Name"])
        ]


def test_without_six_day_pairs_the_plan_says_why(area: Database, testdata: Path) -> None:
    found = [slc(testdata, days, "1A") for days in (0, -12)]
    with serve(Catalogue(found)) as url:
        text = run(area, url, "c6", as_json=False).stdout
        answer = planned(area, url, "c6")
    assert "Nothing to order now." in text
    assert (
        "From 2024-02-01 to the day before 2024-03-01 no two satellites were 6 days apart, so that there is"
        " no CARD-COH6. Use card c12 for this time."
    ) in text
    assert (answer["wanted"], answer["no_pair"]) == ([], [found[0]["Name"]])
    assert answer["no_six_day_pairs"] == [{"start": "2024-02-01", "end": "2024-03-01"}]


def test_one_of_a_new_satellite_is_ordered_first(area: Database, testdata: Path) -> None:
    found = [grd(testdata, minutes, sensor="1C") for minutes in range(3)]
    with serve(Catalogue(found)) as url:
        answer = planned(area, url, "bs")
        assert (len(answer["wanted"]), answer["held"]) == (1, {"1C": 2})
        text = run(area, url, "bs", as_json=False).stdout
        assert "No CARD-BS of 1C is known. One is ordered first, and 2 more once" in text
        assert len(planned(area, url, "bs", "--all-satellites")["wanted"]) == 3
        with area.connect() as conn:
            conn.execute(
                "INSERT INTO dias_catalogue (reference, obstime, sensor, card)"
                " VALUES ('elsewhere', '2023-05-05', '1C', 'bs')"
            )
        assert len(planned(area, url, "bs")["wanted"]) == 3


@pytest.mark.parametrize(
    ("period", "sentence"),
    [
        (("2024-03-01", "2024-02-01"), "the end 2024-02-01 is not after the start 2024-03-01"),
        (("2024-02-30", "2024-03-01"), "'2024-02-30' is not a valid date. Use YYYY-MM-DD."),
        (
            ("2023-01-01", "2023-02-01"),
            "has no IW_GRDH_1S product from 2023-01-01 to the day before 2023-02-01 that meets area 'there'",
        ),
    ],
)
def test_bad_input(area: Database, testdata: Path, period: Sequence[str], sentence: str) -> None:
    with serve(Catalogue([grd(testdata, 0)])) as url:
        result = run(area, url, "bs", period=period)
    assert isinstance(result.exception, UserError)
    assert sentence in str(result.exception)
    assert "\n" not in str(result.exception)
    expect_only_the_error(result)


def test_a_service_that_does_not_answer_is_reported_without_options_of_another_command(
    area: Database,
) -> None:
    result = run(area, "http://127.0.0.1:9/odata/v1", "bs")
    assert "does not answer" in str(result.exception)
    assert "--source" not in str(result.exception)


def test_an_unknown_area_and_an_invalid_url(database: Database, testdata: Path) -> None:
    with_areas(database, here=box(0, 0, 1, 1))
    with serve(Catalogue([grd(testdata, 0)])) as url:
        result = run(database, url, "bs")
    assert isinstance(result.exception, UserError)
    assert "area 'there'" in str(result.exception)
    assert "--url 'ftp://x' is not a valid URL" in str(run(database, "ftp://x", "bs").exception)
