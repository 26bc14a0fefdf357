"""`cbmctl catalogue`: every scene once, its status kept, and errors that say what to do."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cbmctl.cli import catalogue, cbmctl
from cbmctl.errors import UserError
from tests.conftest import Database
from tests.support.catalogue_search import answered, command, rows
from tests.support.printed import expect_only_the_error
from tests.support.products_s2 import NAME, image_file, make_product, metadata, reflectance

pytestmark = pytest.mark.postgis

OFFSETS = dict.fromkeys(range(13), -1000)
PERIOD = ("2022-01-01", "2023-01-01")
SECOND = NAME.replace("S2A", "S2B").replace("20220305", "20220404")
assert catalogue.group.name in cbmctl.commands


@pytest.fixture
def root(zurich: Database) -> Path:
    """An archive with two products over Zürich; the area is there too."""
    root = zurich.config.eodata
    make_product(root, {"B02_10m": reflectance()}, metadata(OFFSETS))
    make_product(root, {"B02_10m": reflectance()}, name=SECOND, folder="Sentinel-2/MSI/L2A/2022/04/04")
    return root


def sync(database: Database, *options: str) -> dict[str, Any]:
    return answered(command(database, "sync", "zurich", *PERIOD, "s2", "--source", "archive", *options))


def test_new_scenes_are_ingested_with_all_that_is_known_of_them(database: Database, root: Path) -> None:
    answer = sync(database)
    assert answer["changed"] is True
    assert answer["added"] == sorted([NAME, SECOND])
    assert rows(database, "reference, obstime, sensor, card, status, tile, baseline, boa_offset, epsg") == [
        (NAME, datetime(2022, 3, 5, 10, 29, 21), "2A", "s2", "ingested", "32TMT", "04.00", -1000, 32632),
        (SECOND, datetime(2022, 4, 4, 10, 29, 21), "2B", "s2", "ingested", "32TMT", "04.00", 0, 32632),
    ]
    (path,), _ = rows(database, "path")
    assert (root / path / "MTD_MSIL2A.xml").is_file()
    assert rows(database, "ST_SRID(footprint), GeometryType(footprint)") == [(4326, "POLYGON")] * 2
    assert rows(database, "applied_offset, reason, cloud_cover") == [(None, None, None)] * 2


def test_the_second_sync_changes_nothing(database: Database, root: Path) -> None:
    sync(database)
    before = rows(database, "xmin::text, dias_catalogue.*::text")
    answer = sync(database)
    assert (answer["changed"], answer["added"], answer["completed"], answer["known"]) == (False, [], [], 2)
    assert rows(database, "xmin::text, dias_catalogue.*::text") == before
    make_product(
        root,
        {"B02_10m": reflectance()},
        name=NAME.replace("135811", "235811"),
        folder="Sentinel-2/MSI/L2A/2022/03/05",
    )
    sync(database)
    assert {number for (number,) in rows(database, "id")} == {1, 2, 3}  # no number is wasted on known scenes


@pytest.mark.usefixtures("root")
def test_check_tells_what_would_be_and_changes_nothing(database: Database) -> None:
    answer = sync(database, "--check")
    assert (answer["changed"], len(answer["added"])) == (True, 2)
    assert [line["count"] for line in answer["summary"]] == [1, 1]
    assert rows(database, "reference") == []
    sync(database)
    assert sync(database, "--check")["changed"] is False


@pytest.mark.usefixtures("root")
def test_known_scenes_keep_their_status_and_get_what_they_lack(database: Database) -> None:
    with database.connect() as conn:
        conn.execute(
            "INSERT INTO dias_catalogue (obstime, reference, sensor, card, status, cloud_cover)"
            " VALUES ('2022-03-05 10:29:21', %s, '2A', 's2', 'No parcels', 7)",
            (NAME,),
        )
    answer = sync(database)
    assert (answer["completed"], answer["added"]) == ([NAME], [SECOND])
    known, _ = rows(
        database, "status, cloud_cover, boa_offset, epsg, footprint IS NOT NULL, path IS NOT NULL"
    )
    assert known == ("No parcels", 7, -1000, 32632, True, True)
    assert sync(database)["changed"] is False


def test_a_scene_that_moved_in_the_archive_is_followed(database: Database, root: Path) -> None:
    sync(database)
    (root / "Sentinel-2/MSI/L2A").rename(root / "Sentinel-2/MSI/L2A_N0500")
    assert sync(database)["completed"] == sorted([NAME, SECOND])
    assert all("L2A_N0500" in path for (path,) in rows(database, "path"))


def test_broken_products_are_named_and_the_others_entered(database: Database, root: Path) -> None:
    image_file(root, f"Sentinel-2/MSI/L2A/2022/03/05/{NAME}", "B02_10m").write_bytes(b"")
    result = command(database, "sync", "zurich", *PERIOD, "s2", "--source", "archive")
    answer = json.loads(result.stdout)
    assert [broken["status"] for broken in answer["broken"]] == ["Rio error"]
    assert answer["added"] == [SECOND]
    assert f"not entered: Sentinel-2/MSI/L2A/2022/03/05/{NAME}: Rio error" in result.stderr


def test_the_summary_is_the_manuals(database: Database, root: Path) -> None:
    result = command(
        database, "sync", "zurich", *PERIOD, "s2", "S2MSI2A", "--source", "archive", as_json=False
    )
    summary = command(database, "summary", "zurich", as_json=False).stdout
    assert result.stdout.splitlines()[1] == f"Searched {root}/Sentinel-2/MSI/L2A* (archive)."
    assert result.stdout.splitlines()[2:] == summary.splitlines()
    header, *lines, zones = summary.splitlines()
    assert header.split() == ["card", "sensor", "count", "min", "max"]
    assert [line.split()[:3] for line in lines] == [["s2", "2A", "1"], ["s2", "2B", "1"]]
    assert "2022-03-05 10:29:21" in lines[0]
    assert zones == "UTM zones: 32N (EPSG:32632); resolutions: 10 m and 20 m"
    assert json.loads(command(database, "summary", "jutland").stdout) == {
        "changed": False,
        "summary": [],
        "epsg": [],
        "zone_unknown": 0,
        "resolutions": [10, 20],
        "orbits": [],
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("paris", *PERIOD, "s2"), "public.aois has no area 'paris' (only jutland, zurich). Create it"),
        (("zurich", "2022-13-01", "2023-01-01", "s2"), "'2022-13-01' is not a valid date. Use"),
        (
            ("zurich", "9999-12-01", "9999-12-31", "s2"),
            "there are no scenes of 9999-12-01. Use a date from",
        ),
        (
            ("zurich", "0001-01-01", "2022-01-02", "s2"),
            "there are no scenes of 0001-01-01. Use a date from",
        ),
        (
            ("zurich", "2022-01-01", "2101-01-02", "s2"),
            "there are no scenes of 2101-01-02. Use a date from",
        ),
        (("zurich", "2022-02-01", "2022-02-01", "s2"), "the end 2022-02-01 is not after the start"),
        (("zurich", *PERIOD, "s2", "S2MSI1C"), "card s2 has the product type S2MSI2A, not S2MSI1C"),
        (("zurich", *PERIOD, "c6"), "has no folder Sentinel-1/SAR/CARD-COH6"),
        (
            ("zurich", "2020-01-01", "2021-01-01", "s2"),
            "has no S2MSI2A product from 2020-01-01 to the day before",
        ),
        (("jutland", *PERIOD, "s2"), "that meets area 'jutland', only others (32TMT). Check"),
    ],
)
@pytest.mark.usefixtures("root")
def test_errors_are_one_sentence(database: Database, arguments: tuple[str, ...], sentence: str) -> None:
    result = command(database, "sync", *arguments, "--source", "archive")
    assert isinstance(result.exception, UserError)
    assert sentence in str(result.exception)
    assert "\n" not in str(result.exception)
    assert rows(database, "reference") == []
    expect_only_the_error(result)


@pytest.mark.usefixtures("root")
def test_an_area_without_an_outline(database: Database) -> None:
    with database.connect() as conn:
        conn.execute(
            "INSERT INTO aois VALUES ('null', NULL), ('empty', ST_GeomFromText('POLYGON EMPTY', 4326))"
        )
    for name in ("null", "empty"):
        for words in (("sync", name, *PERIOD, "s2", "--source", "archive"), ("summary", name)):
            result = command(database, *words)
            assert isinstance(result.exception, UserError), result.exception
            assert str(result.exception) == f"area '{name}' has no outline. Set it with cbmctl aoi set."


def test_an_archive_that_is_not_mounted_is_said_so(zurich: Database, tmp_path: Path) -> None:
    (tmp_path / "eodata").mkdir()
    result = command(zurich, "sync", "zurich", *PERIOD, "s2", "--source", "archive")
    assert isinstance(result.exception, UserError)
    assert "eodata is empty. Mount it, or correct eodata in db_config.json" in str(result.exception)
