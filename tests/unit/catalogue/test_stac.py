"""STAC against the real server: thousands of items of the service's shape, every one once."""

import json
import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo, sql

from cbmctl.catalogue import http
from cbmctl.catalogue.stac import Stac
from cbmctl.errors import UserError
from tests.conftest import Database
from tests.support import catalogue_search
from tests.support.catalogue_search import HASTY, S2, with_areas
from tests.support.effort import THOROUGH
from tests.support.recorded_answers import recorded
from tests.support.stac_server import AREA, TILES, Maker, collection, stac_server

pytestmark = pytest.mark.postgis
# a year of it in `./run test-all`
DAYS = 335 if THOROUGH else 65
NUMBER = DAYS * len(TILES)
ODD_DAY = 400  # another year: hard cases
YEAR = ("2021-01-01", "2022-01-01")
run, sync = (
    partial(catalogue_search.run, card=S2, period=YEAR),
    partial(catalogue_search.sync, card=S2, period=YEAR),
)


@pytest.fixture(scope="module")
def server(dsn: str, testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The items of a season, and some hard ones of the year after."""
    make = Maker(testdata)

    def items() -> Iterator[dict[str, Any]]:
        for day in range(DAYS):
            for tile in TILES:
                yield make.item(day, tile)
        tile = TILES[0]
        yield make.item(ODD_DAY, tile, "0400", "20220205T120000")
        yield make.item(ODD_DAY, tile, "0510", "20240516T022440")
        homeless = make.item(ODD_DAY + 1, tile)
        del homeless["assets"]["safe_manifest"]
        yield homeless
        across = make.item(ODD_DAY + 2, tile)
        across["geometry"] = {
            "type": "MultiPolygon",
            "coordinates": [
                [[[179, 55], [180, 55], [180, 56], [179, 56], [179, 55]]],
                [[[-180, 55], [10, 55], [10, 56], [-180, 56], [-180, 55]]],
            ],
        }
        yield across

    name = sql.Identifier("cbm_test_stac")
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(name))
    own = conninfo.make_conninfo(dsn, dbname="cbm_test_stac")
    with psycopg.connect(own, autocommit=True) as conn:
        conn.execute("CREATE EXTENSION postgis; CREATE EXTENSION btree_gist; CREATE EXTENSION unaccent")
    folder = tmp_path_factory.mktemp("stac")
    try:
        with stac_server(own, items(), collection(testdata), folder) as address:
            yield address
    finally:
        with psycopg.connect(dsn, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture
def area(database: Database) -> Database:
    return with_areas(database, there=AREA)


def test_thousands_of_items_each_once(
    server: str, area: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the manners that the real service gets: the time below has the pauses in it."""
    asked: list[str] = []
    send = http._Adapter.send
    monkeypatch.setattr(http._Adapter, "send", lambda *a, **k: (asked.append(""), send(*a, **k))[1])
    start = time.monotonic()
    answer = sync(area, server)
    spent = time.monotonic() - start
    assert len(answer["added"]) == len(set(answer["added"])) == NUMBER
    with area.connect() as conn:
        (counted,) = conn.execute("SELECT count(DISTINCT (obstime, tile)) FROM dias_catalogue").fetchall()
    assert counted == (NUMBER,)
    assert Stac.page_size == 100
    assert len(asked) >= NUMBER / 100
    assert [line["count"] for line in answer["summary"]] == [(DAYS + 1) // 2 * 30, DAYS // 2 * 30]
    assert answer["epsg"] == [32632]
    requests = len(asked)
    monkeypatch.setattr(http, "MANNERS", HASTY)
    start = time.monotonic()
    again = sync(area, server)
    repeated = time.monotonic() - start
    assert (again["changed"], again["known"]) == (False, NUMBER)
    with capsys.disabled():  # what was measured; never a gate
        print(  # noqa: T201
            f"\n{NUMBER} items by pages of 100: {spent:.1f} s, {requests} requests, the database included;"
            f" once more, without pauses between requests: {repeated:.1f} s"
        )


@pytest.mark.usefixtures("hasty")
def test_a_record_holds_what_the_item_says(server: str, area: Database) -> None:
    sync(area, server, period=("2021-01-05", "2021-01-06"))
    with area.connect() as conn:
        row = conn.execute(
            """SELECT reference, obstime, sensor, card, status, path, tile, baseline, boa_offset, cloud_cover,
                   epsg, datatake, datastrip, processed, published, online
               FROM dias_catalogue WHERE tile = '32VKH'"""
        ).fetchone()
    name = "S2A_MSIL2A_20210105T102921_N0500_R108_T32VKH_20230301T010203.SAFE"
    assert row == (
        name,
        datetime(2021, 1, 5, 10, 29, 21),
        "2A",
        "s2",
        "ingested",
        f"Sentinel-2/MSI/L2A_N0500/2021/01/05/{name}",
        "32VKH",
        "05.00",
        None,
        pytest.approx(41.21),
        32632,
        "GS2A_20210105T102921_034773_N05.00",
        "S2A_OPER_MSI_L2A_DS_S2RP_20230301T010203_S20210105T102921_N05.00",
        datetime(2023, 3, 1, 1, 2, 3),
        datetime(2021, 1, 5, 18, 29, 21, 150523),
        True,
    )


@pytest.mark.usefixtures("hasty")
def test_versions_and_hard_items(server: str, area: Database) -> None:
    result = run(area, server, period=("2022-01-01", "2023-01-01"))
    answer = json.loads(result.stdout)
    assert len(answer["added"]) == 3
    assert [(pair["old"].split("_")[3], pair["new"].split("_")[3]) for pair in answer["superseded"]] == [
        ("N0400", "N0510")
    ]
    assert [broken["status"] for broken in answer["broken"]] == ["!S3 subdir"]
    assert "states no valid folder in the archive for it" in result.stderr
    assert [line["count"] for line in answer["summary"]] == [2]


@pytest.mark.usefixtures("hasty")
def test_since_last(server: str, area: Database) -> None:
    period = ("2021-02-01", "2021-03-01")
    sync(area, server, period=period)
    with area.connect() as conn:
        conn.execute("UPDATE catalogue_syncs SET complete_at = '2021-03-01 18:00+00'")
        conn.execute("DELETE FROM dias_catalogue")
    assert len(sync(area, server, "--since", "last", period=period)["added"]) == 2 * len(TILES)


@pytest.mark.usefixtures("hasty")
def test_errors_are_one_sentence(server: str, area: Database) -> None:
    for url, sentence in (
        (
            server,
            f"{server} has no S2MSI2A product from 2030-01-01 to the day before 2030-02-01 that meets area",
        ),
        (f"{server}/nowhere", "/nowhere refuses the search (HTTP 404:"),
    ):
        result = run(area, url, period=("2030-01-01", "2030-02-01"))
        assert isinstance(result.exception, UserError), result.exception
        assert sentence in str(result.exception)


def test_the_recorded_item_and_the_recorded_search(testdata: Path) -> None:
    from cbmctl.catalogue.record import CARDS
    from cbmctl.catalogue.service_products import normal

    stac = Stac(http.polite_session(print))
    item = recorded(testdata, "stac-item-s2-l2a.json")
    record = normal(CARDS["s2"], stac.tell(item))
    assert record.path == f"Sentinel-2/MSI/L2A_N0500/2022/02/17/{item['id']}.SAFE"
    assert (record.baseline, record.boa_offset, record.epsg) == ("05.10", None, 32613)
    # abridged by the project that recorded it: without assets there is no path
    for abridged in recorded(testdata, "stac-search-response-live-20260923-abridged.json")["features"]:
        assert stac.sensed(abridged) == datetime(2026, 9, 22, 10, 20, 19, 24000)
        assert stac.tell(abridged).path is None
