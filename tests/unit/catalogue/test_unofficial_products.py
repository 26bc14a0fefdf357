"""Products of a user's own processing (N99xx): they count only where there is nothing official."""

import json
from dataclasses import replace as changed
from itertools import permutations, product
from pathlib import Path

import pytest
from shapely.geometry import shape

from cbmctl.catalogue.product_versions import arrange
from cbmctl.catalogue.replace_versions import replace
from cbmctl.database import connect
from cbmctl.queue.locks import lock_queue
from tests.conftest import Database
from tests.support.acquisitions import (
    BETTER,
    ORIGINAL,
    STRIP,
    counted,
    enter,
    extracted_as,
    here,
    pairs,
    statuses,
    version,
    write,
)
from tests.support.catalogue_search import S2, sync, with_areas
from tests.support.odata_server import Catalogue, serve
from tests.support.season import Season

pytestmark = pytest.mark.postgis

OWN = version("99.99", "20240511T112233", strip=STRIP.replace("N04.00", "N99.99"))
OTHER_OWN = version("99.33", "20250101T000000", strip=STRIP.replace("N04.00", "N99.33"))


def test_official_products_count_in_whatever_order_they_come(season: Season) -> None:
    for order in permutations((ORIGINAL, OWN, BETTER)):
        empty(season)
        for record in order:
            enter(season, record)
        assert statuses(season) == {
            ORIGINAL.reference: "superseded",
            OWN.reference: "superseded",
            BETTER.reference: "ingested",
        }
        newest = "SELECT DISTINCT n.reference FROM dias_catalogue o JOIN dias_catalogue n"
        assert season.rows(f"{newest} ON n.id = o.superseded_by") == [(BETTER.reference,)]


def test_a_users_own_processing_takes_no_official_place(season: Season) -> None:
    """Whatever the datastrip, and by the name if the catalogue has no baseline or another one."""
    for own, strip in product(
        (OWN, OTHER_OWN, changed(OWN, baseline="04.00"), changed(OWN, baseline=None)),
        (STRIP, None, STRIP.replace("S20210305T102917", "S20210305T103217")),
    ):
        empty(season)
        superseded = enter(season, ORIGINAL, changed(own, datastrip=strip)).versions.superseded
        assert {pair.old for pair in superseded} <= {own.reference}
        assert statuses(season)[ORIGINAL.reference] == "ingested"


def test_where_there_is_nothing_else_the_newest_of_them_counts(season: Season) -> None:
    again = version("99.99", "20240611T112233")
    done = enter(season, OTHER_OWN, OWN, again, changed(BETTER, online=False))
    assert set(done.versions.superseded) == set(pairs((OTHER_OWN, again), (OWN, again)))
    assert statuses(season)[again.reference] == "ingested"
    # what nobody has begun with gives way to an official product as soon as that can be had
    assert pairs((again, BETTER))[0] in enter(season, BETTER).versions.superseded


def empty(season: Season) -> None:
    with season.database.connect() as conn:
        conn.execute("DELETE FROM dias_catalogue")


@pytest.fixture
def extracted(season: Season) -> Season:
    """A user's own processing is extracted; the official product is in the archive."""
    write(season, OWN, seed=7)
    extracted_as(season, OWN)
    return season


def test_an_official_product_that_comes_later_is_offered(extracted: Season) -> None:
    season, official = extracted, here(extracted, ORIGINAL)
    assert enter(season, official).versions.offered == pairs((OWN, ORIGINAL))
    assert statuses(season) == {OWN.reference: "extracted", ORIGINAL.reference: "offered"}
    with connect(season.config, autocommit=True) as conn:
        assert tuple(replace(conn, season.config)) == pairs((OWN, ORIGINAL))
    season.extract()
    assert counted(season) == [
        (ORIGINAL.reference, True, True, True),
        (OWN.reference, False, False, False),
    ]
    assert not enter(season, official).changed


@pytest.mark.parametrize("begun", [True, False])
def test_what_gave_way_to_a_users_own_processing_comes_back(extracted: Season, *, begun: bool) -> None:
    """By any sync, also one that finds neither of them."""
    season = extracted
    enter(season, here(season, ORIGINAL))
    with season.database.connect() as conn:  # as an earlier version left it
        conn.execute("UPDATE dias_catalogue SET superseded_by = NULL")
        conn.execute(
            "UPDATE dias_catalogue SET status = 'superseded', superseded_by ="
            " (SELECT id FROM dias_catalogue WHERE reference = %s) WHERE reference = %s",
            [OWN.reference, ORIGINAL.reference],
        )
        if not begun:
            for table in ("tasks", "sigs", "hists"):
                conn.execute(f"DELETE FROM {table}")  # type: ignore[call-overload]
            conn.execute(
                "UPDATE dias_catalogue SET status = 'ingested' WHERE reference = %s", [OWN.reference]
            )
    with season.database.connect() as conn:
        lock_queue(conn, season.config.tables)
        done = arrange(conn, season.config.tables, [])
        assert arrange(conn, season.config.tables, []) == type(done)(), "once"
    if begun:
        assert done.offered == pairs((OWN, ORIGINAL))
        assert statuses(season) == {OWN.reference: "extracted", ORIGINAL.reference: "offered"}
    else:
        assert (done.superseded, done.renewed) == (pairs((OWN, ORIGINAL)), (ORIGINAL.reference,))
        assert statuses(season) == {OWN.reference: "superseded", ORIGINAL.reference: "ingested"}


@pytest.mark.usefixtures("hasty")
def test_a_service_that_lists_a_users_own_processing(database: Database, testdata: Path) -> None:
    folder = testdata / "reports" / "catalogue"
    if not folder.is_dir():
        pytest.skip(f"REPORTED FAULTS ABSENT: {folder} is not there; this test proves nothing here")
    products = json.loads((folder / "n9999.json").read_text())["odata"]
    for each in products:
        each["_collection"] = "SENTINEL-2"
        each["Attributes"].append({"Name": "productType", "Value": "S2MSI2A"})
    area = with_areas(database, there=shape(json.loads((folder / "aoi.geojson").read_text())))
    with serve(Catalogue(products)) as url:
        sync(area, url, "--source", "odata", card=S2, period=("2018-05-01", "2018-06-01"))
    with area.connect() as conn:
        found = conn.execute("SELECT baseline, status FROM dias_catalogue").fetchall()
    assert dict(found) == {"05.00": "ingested", "99.99": "superseded", "02.07": "superseded"}
