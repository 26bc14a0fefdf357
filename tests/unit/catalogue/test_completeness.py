"""The completeness ledger: each product that a search found is counted once, in one state."""

import json
from datetime import date
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg import conninfo
from psycopg.rows import dict_row

from cbmctl.catalogue import rejected_products
from cbmctl.catalogue.found_products import Broken
from cbmctl.catalogue.search_history import Place
from cbmctl.cli import cbmctl
from cbmctl.config import Tables
from tests.conftest import Database
from tests.support.catalogue_search import run, sync
from tests.support.odata_server import Catalogue
from tests.support.recorded_answers import AREA

pytestmark = pytest.mark.postgis

STATES = {
    "ingested": "waiting",
    "inprogress": "waiting",
    "offline": "waiting",
    "extracted": "extracted",
    "No parcels": "no_parcels",
    "!S3 B08.jp2": "failed",
    "Rio error": "failed",
    "Worker vanished": "failed",
    "offered": "offered",
    "superseded": "superseded",
    "archived": "archived",
}
NAME = "S2A_MSIL2A_20210305T102921_N0400_R108_T32TMT_20210305T1358{:02d}.SAFE"
PLACE = Place("there", "s2", "stac", "https://stac.example", AREA, date(2021, 3, 1), date(2021, 4, 1))


def enter(conn: psycopg.Connection, number: int, status: str) -> None:
    conn.execute(
        """INSERT INTO dias_catalogue (obstime, reference, sensor, card, relative_orbit, tile, status)
           VALUES ('2021-03-05 23:59:59', %s, '2A', 's2', 108, '32TMT', %s)""",
        [NAME.format(number), status],
    )


def complete(database: Database, *options: str) -> Result:
    found = CliRunner().invoke(
        cbmctl, ["--config", str(database.config_path), *options, "status", "--complete"]
    )
    assert found.exception is None, found.exception
    return found


def test_each_product_is_in_one_state(conn: psycopg.Connection, tables: Tables) -> None:
    for number, status in enumerate(STATES):
        enter(conn, number, status)
    refused = [Broken(NAME.format(n), "No extent", "it has no footprint") for n in (0, 30, 30, 31)]
    rejected_products.record(
        conn, tables.rejected, PLACE, [*refused, Broken("folder", "Rio error", "cannot be listed")]
    )
    with conn.cursor(row_factory=dict_row) as cursor:
        (row,) = cursor.execute("SELECT * FROM completeness").fetchall()
    assert (row["card"], row["relative_orbit"], row["tile"], row["day"]) == (
        "s2",
        108,
        "32TMT",
        date(2021, 3, 5),
    )
    words = list(STATES.values())
    assert {name: row[name] for name in words} == {name: words.count(name) for name in words}
    assert (row["published"], row["catalogued"]) == (len(STATES) + 2, len(STATES))
    assert row["missing"] == row["waiting"] + row["failed"] + 2
    assert row["searched_at"] is None, "no search is on record"


def test_radar_products_have_no_tile(conn: psycopg.Connection) -> None:
    conn.execute(
        """INSERT INTO dias_catalogue (obstime, reference, sensor, card, status)
           SELECT '2021-03-05 05:34:21', 'S1A_IW_GRDH_1SDV_20210305T05342' || i || '_CARD_BS', '1A', 'bs',
               'extracted'
           FROM generate_series(1, 2) i"""
    )
    found = conn.execute("SELECT card, tile, published, missing FROM completeness").fetchall()
    assert found == [("bs", None, 2, 0)]


def test_an_order_counts_until_its_product_is_catalogued(conn: psycopg.Connection, tables: Tables) -> None:
    del tables
    conn.execute(
        """INSERT INTO orders (label, service, account) VALUES ('a', 'b', 'c');
           INSERT INTO order_items (id, order_id, product_type, card, sensor, sensed, relative_orbit, input,
               workflow, state, service_id)
           SELECT gen_random_uuid(), 1, 'CARD-BS', 'bs', '1A',
               '2021-03-05 05:34:00'::timestamp + number * interval '1 s', CASE WHEN number > 2 THEN 36 END,
               state, 'w', state, 'x'
           FROM unnest(string_to_array(
               'sending,unknown,queued,in_progress,completed,failed,cancelled,refused,unsent', ','))
               WITH ORDINALITY AS each (state, number)"""
    )
    ordered = "SELECT relative_orbit, published, missing, on_order FROM completeness ORDER BY 1"
    assert conn.execute(ordered).fetchall() == [(36, 0, 0, 3), (None, 0, 0, 2)]
    conn.execute(
        """INSERT INTO dias_catalogue (obstime, reference, sensor, card, relative_orbit)
           VALUES ('2021-03-05 05:34:05', 'x', '1A', 'bs', 36)"""
    )
    assert conn.execute(ordered).fetchall() == [(36, 1, 1, 2), (None, 0, 0, 2)]


def test_orders_of_another_period_are_of_another_season(conn: psycopg.Connection, tables: Tables) -> None:
    """As soon as the catalogue was searched, which shows the season's period."""
    del tables
    conn.execute(
        """INSERT INTO orders (label, service, account) VALUES ('a', 'b', 'c');
           INSERT INTO order_items (id, order_id, product_type, card, sensor, sensed, input, workflow, state)
           SELECT gen_random_uuid(), 1, 'CARD-BS', 'bs', '1A', sensed, sensed::text, 'w', 'sending'
           FROM unnest('{2020-09-30 23:59:59, 2020-10-01, 2021-12-31 23:59:59, 2022-01-01}'::timestamp[])
               sensed"""
    )
    days = "SELECT day::text FROM completeness WHERE on_order = 1 ORDER BY 1"
    assert len(conn.execute(days).fetchall()) == 4
    conn.execute(
        """INSERT INTO catalogue_syncs (aoi, card, source, url, area, first_day, end_day, began_at) VALUES
               ('there', 's2', 'stac', 'a', 'x', '2021-06-01', '2022-01-01', now()),
               ('there', 'bs', 'odata', 'a', 'x', '2020-10-01', '2021-06-01', now())"""
    )
    assert conn.execute(days).fetchall() == [("2020-10-01",), ("2021-12-31",)]


def test_what_a_search_could_not_enter_is_missing_until_it_can(
    area: Database,
    catalogue: tuple[Catalogue, str],
    hasty: None,  # noqa: ARG001
) -> None:
    known, url = catalogue
    area.configured(args={"startdate": "2024-02-01", "enddate": "2024-03-01"})
    path = known.products[0]["S3Path"]
    known.products[0]["S3Path"] = None
    assert len(sync(area, url)["broken"]) == 1
    told = json.loads(complete(area, "--json").stdout)
    assert sum(day["published"] - day["catalogued"] for day in told["days"]) == 1
    assert sum(day["missing"] for day in told["days"]) == 4
    assert [one["reference"] for one in told["rejected"]] == [known.products[0]["Name"]]
    assert all(day["searched_at"] for day in told["days"])
    shown = complete(area).stdout
    assert f"missing: bs R036 2024-02-06: {told['days'][0]['missing']} of" in shown
    assert "1 rejected" in shown
    assert f"rejected: {known.products[0]['Name']}: " in shown
    assert "complete as of" in shown

    known.products[0]["S3Path"] = path
    assert len(sync(area, url)["added"]) == 1
    assert json.loads(complete(area, "--json").stdout)["rejected"] == []


def test_a_product_that_the_service_no_longer_lists_is_forgotten(
    area: Database,
    catalogue: tuple[Catalogue, str],
    hasty: None,  # noqa: ARG001
) -> None:
    known, url = catalogue
    known.products[0]["S3Path"] = None
    run(area, url)
    run(area, url, "--since", "last")
    with area.connect() as conn:
        assert conn.execute("SELECT count(*) FROM rejected_products").fetchone() == (1,)
    del known.products[0]
    run(area, url, "--check")
    with area.connect() as conn:
        assert conn.execute("SELECT count(*) FROM rejected_products").fetchone() == (1,)
    run(area, url)
    with area.connect() as conn:
        assert conn.execute("SELECT count(*) FROM rejected_products").fetchone() == (0,)


@pytest.mark.usefixtures("roles")
def test_the_reader_sees_it_and_days_without_a_search_are_named(database: Database, tmp_path: Path) -> None:
    del tmp_path
    owner = database.configured(connection={"dbuser": "cbm_owner", "dbpasswd": "only-for-tests"})
    assert owner.connection.user == "cbm_owner"
    database.migrated()
    database.configured(connection={"dbuser": "cbm_reader"})
    with database.connect() as conn:
        enter(conn, 1, "Rio error")
    shown = complete(database).stdout
    assert "missing: s2 R108 T32TMT 2021-03-05: 1 of 1 (1 failed)\n" in shown
    assert "Card s2 has days that no complete search covers." in shown
    login = conninfo.make_conninfo(database.dsn, user="cbm_reader", password="only-for-tests")  # noqa: S106
    with psycopg.connect(login) as conn:
        assert conn.execute("SELECT missing FROM completeness").fetchall() == [(1,)]
