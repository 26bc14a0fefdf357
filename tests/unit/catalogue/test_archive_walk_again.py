"""`cbmctl catalogue sync --source archive` again: what is entered stays, and is not opened once more."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shapely import box

from cbmctl.catalogue import archive_walk
from cbmctl.catalogue.record import Card, Record
from cbmctl.errors import UserError
from tests.conftest import Database
from tests.support.catalogue_search import answered, command, rows, with_areas
from tests.support.products_s2 import FOLDER, NAME, make_product, reflectance, write_image

pytestmark = pytest.mark.postgis

YEAR = ("2022-01-01", "2023-01-01")
LATER, APRIL = NAME.replace("20220305T102921", "20220404T102921"), FOLDER.replace("2022/03/05", "2022/04/04")
BS = "S1A_IW_GRDH_1SDV_20220305T053232_20220305T053257_019039_020331_0A1B_CARD_BS"


@pytest.fixture
def root(zurich: Database) -> Path:
    """An archive with a product in each of two months."""
    root = zurich.config.eodata
    make_product(root, {"B02_10m": reflectance()})
    make_product(root, {"B02_10m": reflectance()}, name=LATER, folder=APRIL)
    return root


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the products that are opened from now on."""
    names: list[str] = []
    describe = archive_walk.describe

    def telling(root: Path, path: str, card: Card, match: re.Match[str]) -> Record:
        names.append(match.string)
        return describe(root, path, card, match)

    monkeypatch.setattr(archive_walk, "describe", telling)
    return names


def sync(database: Database, *options: str, aoi: str = "zurich", card: str = "s2") -> dict[str, Any]:
    return answered(command(database, "sync", aoi, *YEAR, card, "--source", "archive", *options))


def test_what_is_known_is_not_opened_again(zurich: Database, root: Path, opened: list[str]) -> None:
    assert sync(zurich)["added"] == opened == [NAME, LATER]
    opened.clear()
    (root / FOLDER / NAME / "MTD_MSIL2A.xml").unlink()
    for option in ("--check", "--since=last"):
        again = sync(zurich, option)
        assert (again["changed"], again["known"], again["broken"]) == (False, 2, [])
        assert [line["count"] for line in again["summary"]] == [2]
    assert opened == []
    third = LATER.replace("135811", "235811")
    make_product(root, {"B02_10m": reflectance()}, name=third, folder=APRIL)
    answer = sync(zurich)
    assert (answer["added"], answer["known"], opened) == ([third], 2, [third])


def test_what_a_service_entered_is_opened_until_it_is_complete(
    zurich: Database, root: Path, opened: list[str]
) -> None:
    sync(zurich)
    before = rows(zurich, "dias_catalogue.*::text")
    with zurich.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET boa_offset = NULL WHERE reference = %s", [NAME])
        conn.execute("UPDATE dias_catalogue SET processed = NULL WHERE reference = %s", [LATER])
    opened.clear()
    assert sync(zurich)["completed"] == opened == [NAME, LATER]
    assert rows(zurich, "dias_catalogue.*::text") == before
    opened.clear()
    (root / "Sentinel-2/MSI/L2A").rename(root / "Sentinel-2/MSI/L2A_N0500")  # followed without a look inside
    assert (sync(zurich)["completed"], opened) == ([NAME, LATER], [])
    assert all("L2A_N0500" in path for (path,) in rows(zurich, "path"))
    with zurich.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET online = false, status = 'offline'")
    assert (sync(zurich)["completed"], opened) == ([NAME, LATER], [])
    assert set(rows(zurich, "status, online")) == {("ingested", True)}


@pytest.mark.usefixtures("root")
def test_what_is_known_beside_the_area_is_not_opened(zurich: Database, opened: list[str]) -> None:
    sync(zurich)
    opened.clear()
    with_areas(zurich, bern=box(7.4, 46.9, 7.5, 47.0))
    result = command(zurich, "sync", "bern", *YEAR, "s2", "--source", "archive")
    assert isinstance(result.exception, UserError)
    assert "meets area 'bern', only others (32TMT)" in str(result.exception)
    assert opened == []


def test_real_products_are_opened_once(zurich: Database, opened: list[str], testdata: Path) -> None:
    zurich.configured(eodata=str(testdata / "eodata"))
    assert len(sync(zurich)["added"]) == len(opened) == 37
    opened.clear()
    assert (sync(zurich)["known"], opened) == (37, [])


def test_radar_that_is_known_is_not_opened_again(zurich: Database, opened: list[str]) -> None:
    folder = zurich.config.eodata / "Sentinel-1/SAR/CARD-BS/2022/03/05" / BS
    write_image(folder / f"{BS}.data" / "Gamma0_VH.img", np.ones((30, 30), np.float32), 10, driver="ENVI")
    assert sync(zurich, card="bs")["added"] == opened == [BS]
    opened.clear()
    assert (sync(zurich, card="bs")["known"], opened) == (1, [])
    with zurich.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET epsg = NULL")  # as a service leaves it
    assert sync(zurich, card="bs")["completed"] == opened == [BS]


@pytest.mark.parametrize("newer", ["0002", "FFFF"])
def test_of_radar_that_was_delivered_twice_the_later_one_counts(zurich: Database, newer: str) -> None:
    """The end of the name is a checksum, and says nothing of time."""
    older = {"0002": "FFFF", "FFFF": "0002"}[newer]
    for end, stored in ((newer, datetime(2022, 9, 1, tzinfo=UTC)), (older, datetime(2022, 3, 7, tzinfo=UTC))):
        name = BS.replace("0A1B", end)
        image = zurich.config.eodata / f"Sentinel-1/SAR/CARD-BS/2022/03/05/{name}/{name}.data/Gamma0_VH.img"
        write_image(image, np.ones((30, 30), np.float32), 10, driver="ENVI")
        os.utime(image, (0, stored.timestamp()))
    (pair,) = sync(zurich, card="bs")["superseded"]
    assert pair == {"old": BS.replace("0A1B", older), "new": BS.replace("0A1B", newer)}
    assert sorted(rows(zurich, "published, status")) == [
        (datetime(2022, 3, 7), "superseded"),
        (datetime(2022, 9, 1), "ingested"),
    ]
    assert sync(zurich, card="bs")["changed"] is False


def test_a_time_that_the_file_system_made_up(zurich: Database) -> None:
    image = zurich.config.eodata / f"Sentinel-1/SAR/CARD-BS/2022/03/05/{BS}/{BS}.data/Gamma0_VH.img"
    write_image(image, np.ones((30, 30), np.float32), 10, driver="ENVI")
    os.utime(image, (0, 0))
    sync(zurich, card="bs")
    assert rows(zurich, "published") == [(None,)]


def test_months_before_the_mount_died_stay(
    zurich: Database, root: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    away, entries = root.with_name("away"), archive_walk._entries

    def unmounted(folder: Path, *arguments: Any) -> list[Path]:
        if "2022/04" in folder.as_posix():
            root.rename(away)
            root.mkdir()
        return entries(folder, *arguments)

    monkeypatch.setattr(archive_walk, "_entries", unmounted)
    result = command(zurich, "sync", "zurich", *YEAR, "s2", "--source", "archive")
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == (
        f"the archive {root} became unavailable while it was read (it is empty now). Mount it and sync again;"
        " scenes that were entered before stay."
    )
    assert rows(zurich, "reference") == [(NAME,)]
    monkeypatch.setattr(archive_walk, "_entries", entries)
    root.rmdir()
    away.rename(root)
    opened.clear()
    answer = sync(zurich)
    assert (answer["added"], answer["known"], opened) == ([LATER], 1, [LATER])
    assert [line["count"] for line in answer["summary"]] == [2]
