"""Relative orbit, pass and pair: the rules, against what services say, and in the catalogue."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import shapely
from shapely import Point
from shapely.geometry import shape

from cbmctl.catalogue.orbits import (
    Orbit,
    Pair,
    named_orbit,
    named_pair,
    orbit_pass,
    relative_orbit,
    scene_orbit,
)
from cbmctl.catalogue.record import utc
from cbmctl.schema import apply
from tests.conftest import Database
from tests.support.catalogue_search import answered, command, rows, sync
from tests.support.odata_server import Catalogue, serve
from tests.support.recorded_answers import backscatter, recorded
from tests.unit.database.test_migrations import at

BS = "S1A_IW_GRDH_1SDV_20240206T041137_20240206T041202_052433_06574A_9703_CARD_BS"
COH12 = "S1A_20141022T145933__1A__20141010T145907_20141010T145933_CARD-COH12"
COH6 = "S1B_20210106T053341__S1A_20201231T053424_20201231T053451_CARD-COH6"
S2 = "S2A_MSIL2A_20210305T102921_N0214_R108_T32TMT_20210305T134215.SAFE"


@pytest.mark.parametrize(
    ("sensor", "absolute", "relative"),
    [
        ("1A", 52433, 36),  # odata-products-card-bs.json
        ("1A", 54210, 63),  # stac-item-s1-grd-cog-s1a.json
        ("1A", 73, 1),
        ("1A", 72, 175),
        ("1B", 27, 1),
        ("1C", 1628, 57),  # stac-item-s1-grd-cog-s1c.json
        ("1C", 8018, 147),
        ("1C", 8019, 46),  # after the manoeuvre of June 2026
        ("1D", 4762, 171),
        ("1E", 100, None),
    ],
)
def test_relative_orbit_from_absolute_orbit(sensor: str, absolute: int, relative: int | None) -> None:
    assert relative_orbit(sensor, absolute) == relative


def stated(testdata: Path) -> list[dict[str, Any]]:
    """Every recorded Sentinel-1 product of the OpenSearch and STAC answers, as name, time, outline, orbit."""
    found = []
    for name in ("IW_GRDH_1S", "IW_SLC__1S", "CARD-BS", "CARD-COH6", "CARD-COH12", "s1-grd"):
        for feature in recorded(testdata, f"resto-search-{name}.json")["features"]:
            said = feature["properties"]
            found.append(
                {
                    "name": said["title"],
                    "time": said["startDate"],
                    "outline": feature["geometry"],
                    "relative": said["relativeOrbitNumber"],
                    "direction": said["orbitDirection"].lower(),
                }
            )
    for name in ("grd-cog-s1a", "grd-cog-s1c", "slc"):
        item = recorded(testdata, f"stac-item-s1-{name}.json")
        said = item["properties"]
        found.append(
            {
                "name": item["id"],
                "time": said["start_datetime"],
                "outline": item["geometry"],
                "relative": said["sat:relative_orbit"],
                "direction": said["sat:orbit_state"],
            }
        )
    return found


def test_rules_agree_with_recorded_answers(testdata: Path) -> None:
    known = stated(testdata)
    assert len(known) > 15
    for product in known:
        time, outline = utc(product["time"]), shape(product["outline"])
        assert time is not None
        assert orbit_pass(time, outline) == product["direction"], product["name"]
        assert named_orbit(product["name"]) in (product["relative"], None), product["name"]
        assert ("CARD-COH" in product["name"]) is (named_orbit(product["name"]) is None)


def test_names_of_sentinel_2_and_of_pairs() -> None:
    assert named_orbit(S2) == 108
    assert named_orbit(S2.replace("R108", "R999")) is None
    assert named_pair(COH12) == Pair(12, "1A")
    assert named_pair(COH6) == Pair(6, "1A")
    assert named_pair(BS) is None
    assert named_pair(COH6.replace("20201231T053424", "20201331T053424")) is None
    assert named_pair(COH6.replace("20201231T053424", "00011231T053424")) is None


def test_the_service_is_believed_and_nonsense_is_not() -> None:
    time, place = datetime(2024, 2, 6, 4, 11, 37), Point(30, 52)
    assert scene_orbit(BS, time, place) == Orbit(36, "descending")
    assert scene_orbit(BS, time, place, relative=37, direction="ASCENDING") == Orbit(37, "ascending")
    assert scene_orbit(BS, time, place, relative=0, direction="up") == Orbit(36, "descending")
    assert scene_orbit(COH6, time, place, relative=44) == Orbit(44, "descending", Pair(6, "1A"))
    assert scene_orbit(BS, time, None) == Orbit(36)
    assert scene_orbit(S2, time, place, direction="DESCENDING") == Orbit(108)


COLUMNS = "relative_orbit, orbit_pass, pair_days, pair_sensor"


@pytest.mark.postgis
@pytest.mark.usefixtures("hasty")
def test_a_sync_enters_the_orbit_once(area: Database, testdata: Path) -> None:
    product = backscatter(testdata, 0)
    with serve(Catalogue([product])) as url:
        sync(area, url)
        assert rows(area, COLUMNS) == [(36, "descending", None, None)]
        with area.connect() as conn:
            conn.execute("UPDATE dias_catalogue SET relative_orbit = NULL, orbit_pass = NULL")
        assert sync(area, url)["completed"] == [product["Name"]]
        assert rows(area, COLUMNS) == [(36, "descending", None, None)]
        assert sync(area, url)["changed"] is False


@pytest.mark.postgis
def test_scenes_that_are_there_get_their_orbits(database: Database) -> None:
    at(database, "0013")
    with database.connect() as conn:
        for name, time, card in (
            (BS, "2024-02-06 04:11:37", "bs"),
            (COH12, "2014-10-22 14:59:33", "c12"),
            (S2, "2021-03-05 10:29:21", "s2"),
            (BS.replace("CARD_BS", "x"), "2024-02-06 04:11:37", "bs"),
        ):
            footprint = None if name.endswith("x") else shapely.to_wkb(shapely.box(30, 52, 31, 53))
            conn.execute(
                "INSERT INTO dias_catalogue (reference, obstime, sensor, card, footprint)"
                " VALUES (%s, %s, %s, %s, ST_GeomFromWKB(%s, 4326))",
                [name, time, name[1:3], card, footprint],
            )
    apply(database.config)
    with database.connect() as conn:
        found = conn.execute(f"SELECT {COLUMNS} FROM dias_catalogue ORDER BY id").fetchall()
    assert found == [
        (36, "descending", None, None),
        (None, "ascending", 12, "1A"),
        (108, None, None, None),
        (36, None, None, None),
    ]


@pytest.mark.postgis
@pytest.mark.usefixtures("hasty")
def test_summary_shows_who_saw_an_orbit_when(area: Database, testdata: Path) -> None:
    with serve(Catalogue([backscatter(testdata, number) for number in range(2)])) as url:
        sync(area, url)
    with area.connect() as conn:
        conn.execute(
            """INSERT INTO dias_catalogue (reference, obstime, sensor, card, footprint, relative_orbit,
                   orbit_pass, pair_days, pair_sensor)
               SELECT 'later', '2026-07-01 04:11:37', '1D', 'c6', footprint, 36, 'descending', 6, '1C'
               FROM dias_catalogue LIMIT 1"""
        )
    answer = answered(command(area, "summary", "there"))
    assert [
        [each[key] for key in ("card", "relative_orbit", "orbit_pass", "sensor", "count")]
        for each in answer["orbits"]
    ] == [
        ["bs", 36, "descending", "1A", 2],
        ["c6", 36, "descending", "1D", 1],
    ]
    assert (answer["orbits"][1]["pair_days"], answer["orbits"][1]["pair_sensor"]) == (6, "1C")
    text = command(area, "summary", "there", as_json=False).stdout
    assert "descending" in text
    assert "1D-1C" in text
