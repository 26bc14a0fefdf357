"""`cbmctl parcels check`: what an earlier reader lost or changed is found, and can be mended."""

import json
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from click.testing import CliRunner, Result

from cbmctl import aoi
from cbmctl.cli import cbmctl, commands  # noqa: F401  (the commands register themselves)
from cbmctl.config import Config
from cbmctl.parcels.load import Options, load
from tests.conftest import Database
from tests.support.parcel_loading import fields, rows, write
from tests.unit.parcels.test_places import squares

pytestmark = pytest.mark.postgis

NUMBERS = [2**60 + i for i in range(5)]  # beyond what a float holds
NAMES = ["å", "æ", "ø", None, "ß"]


@pytest.fixture
def five(tmp_path: Path) -> Path:
    codes = [5, 7, 7, 99, 5]
    return write(
        tmp_path / "five.gpkg",
        fields(5),
        name=NAMES,
        crop=codes,
        code=codes,
        farm=NUMBERS,
        letters=NAMES,
        sown=[None, *["2021-03-01"] * 4],
    )


@pytest.fixture
def loaded(conn: psycopg.Connection, config: Config, five: Path) -> psycopg.Connection:
    """As earlier versions numbered them: `ogc_fid` is the number of the feature in the file."""
    load(conn, config.tables, five, Options())
    conn.execute("UPDATE parcels_2021 SET ogc_fid = -ogc_fid")
    conn.execute("UPDATE parcels_2021 SET ogc_fid = (ST_XMin(wkb_geometry) - 500000) / 200 + 1")
    return conn


def run(database: Database, *arguments: str) -> Result:
    return CliRunner().invoke(cbmctl, ["--config", str(database.config_path), *arguments])


def scene(conn: psycopg.Connection) -> None:
    """A scene with a histogram of parcel 1."""
    conn.execute(
        "WITH scene AS (INSERT INTO dias_catalogue (obstime, reference, sensor, card)"
        " VALUES ('2021-06-01', 'S', '2A', 's2') RETURNING id)"
        " INSERT INTO hists (pid, obsid, hist) SELECT 1, id, '{\"4\": 3}' FROM scene"
    )


def checked(database: Database, path: Path, *options: str, differs: bool = True) -> Any:
    result = run(database, "--json", "parcels", "check", str(path), *options)
    assert result.exit_code == (3 if differs else 0), result.output
    return json.loads(result.stdout)


def test_a_table_as_it_was_loaded_holds_what_the_file_holds(
    database: Database, loaded: psycopg.Connection, five: Path
) -> None:
    said = checked(database, five, differs=False)
    assert (said["same"], said["in_file"], said["in_table"], said["advice"]) == (True, 5, 5, [])
    result = run(database, "parcels", "check", str(five))
    assert result.stdout == "public.parcels_2021 and five.gpkg are equal: 5 parcels.\n"
    tables = "SELECT count(*) FROM pg_class WHERE relname LIKE 'cbm_parcels%' OR relname LIKE '%_new'"
    assert rows(loaded, tables) == [(0,)]


def test_parcels_that_were_lost_added_or_moved_are_found(
    database: Database, loaded: psycopg.Connection, five: Path
) -> None:
    move = "UPDATE parcels_2021 SET wkb_geometry = ST_Translate(wkb_geometry, %s, 0) WHERE ogc_fid = %s"
    for shift, number in ((5000, 1), (0.01, 2), (0.0004, 3)):
        loaded.execute(move, [shift, number])
    loaded.execute("UPDATE parcels_2021 SET ogc_fid = 9 WHERE ogc_fid = 1")
    loaded.execute("DELETE FROM parcels_2021 WHERE ogc_fid IN (4, 5)")
    said = checked(database, five)
    assert (said["in_file"], said["in_table"], said["columns"]) == (5, 3, [])
    assert said["missing"] == {"count": 3, "feature": [1, 4, 5]}
    assert said["extra"] == {"count": 1, "ogc_fid": [9]}
    assert said["geometry"] == {"count": 1, "ogc_fid": [2]}
    assert said["advice"] == [f"Load the file again: cbmctl parcels load {five} --again"]
    scene(loaded)
    assert checked(database, five)["advice"][0].endswith(
        f"Update the parcels: cbmctl parcels load {five} --again. Then run cbmctl extract."
    )
    mended = run(database, "parcels", "load", str(five), "--again", "--accept-removals")
    assert mended.exit_code == 0, mended.output
    assert checked(database, five, differs=False)["same"]


def test_another_coordinate_system_is_found(
    database: Database, loaded: psycopg.Connection, five: Path
) -> None:
    loaded.execute(
        "ALTER TABLE parcels_2021 ALTER wkb_geometry TYPE geometry(MultiPolygon, 25833)"
        " USING ST_SetSRID(wkb_geometry, 25833)"
    )
    said = checked(database, five)
    assert (said["srid"], said["geometry"]["count"]) == ([25832, 25833], 0)


# as earlier readers left them: (damage, column, problem, types of file and table, rows, an example)
DAMAGE: tuple[tuple[LiteralString, tuple[Any, ...], Any], ...] = (
    # F2: attributes that were not found
    ("ALTER TABLE parcels_2021 DROP name", ("name", "missing", "text", None, 4), None),
    # F3: codes as texts, an unlisted one as nothing
    (
        "ALTER TABLE parcels_2021 ALTER crop TYPE text USING CASE crop WHEN 99 THEN NULL ELSE 'w' END",
        ("crop", "type", "int8", "text", 5),
        {"ogc_fid": 4, "file": "99", "table": None},
    ),
    ("ALTER TABLE parcels_2021 ALTER code TYPE text", ("code", "type", "int8", "text", 0), None),
    # F4: digits
    (
        "UPDATE parcels_2021 SET farm = farm::float8::int8",
        ("farm", "values", "int8", "int8", 4),
        {"ogc_fid": 2, "file": str(NUMBERS[1]), "table": str(NUMBERS[0])},
    ),
    # F9: letters
    (
        "UPDATE parcels_2021 SET letters = 'Ã¥' WHERE ogc_fid = 1",
        ("letters", "values", "text", "text", 1),
        {"ogc_fid": 1, "file": "å", "table": "Ã¥"},
    ),
    # F11: values that were made up
    (
        "UPDATE parcels_2021 SET sown = '1970-01-01' WHERE ogc_fid = 1",
        ("sown", "values", "text", "text", 1),
        {"ogc_fid": 1, "file": None, "table": "1970-01-01"},
    ),
    ("ALTER TABLE parcels_2021 ADD old text", ("old", "extra", None, "text", 0), None),
)


def test_values_that_were_lost_or_changed_are_found_and_mended_without_loss_of_statistics(
    database: Database, loaded: psycopg.Connection, five: Path
) -> None:
    for damage, _, _ in DAMAGE:
        loaded.execute(damage)
    scene(loaded)
    found = checked(database, five)
    known = ("column", "problem", "file_type", "table_type", "rows")
    assert [tuple(column[key] for key in known) for column in found["columns"]] == [d[1] for d in DAMAGE]
    for column, (_, _, example) in zip(found["columns"], DAMAGE, strict=True):
        assert example is None or example in column["examples"]
    mend = ["parcels", "load", str(five), "--again", "--keep-statistics"]
    assert found["advice"][0].endswith(f"cbmctl {' '.join(mend)}")
    would = run(database, *mend, "--check")
    assert would.exit_code == 0, would.output
    assert checked(database, five) == found
    mended = run(database, *mend)
    assert mended.exit_code == 0, mended.output
    assert checked(database, five, differs=False)["same"]
    assert rows(loaded, "SELECT count(*) FROM hists") == [(1,)]


@pytest.mark.usefixtures("loaded")
def test_statistics_are_not_kept_for_other_parcels(
    database: Database, conn: psycopg.Connection, five: Path
) -> None:
    conn.execute("UPDATE parcels_2021 SET wkb_geometry = ST_Translate(wkb_geometry, 1, 0) WHERE ogc_fid = 2")
    for more in ([], ["--check"]):
        result = run(database, "parcels", "load", str(five), "--again", "--keep-statistics", *more)
        assert "are not those of public.parcels_2021: 1 are new, 1 are gone." in str(result.exception)
    assert (
        run(database, "parcels", "load", str(five), "--keep-statistics", "--drop-statistics").exit_code == 2
    )


@pytest.mark.usefixtures("loaded")
def test_the_start_of_a_ring_is_no_difference(
    database: Database, conn: psycopg.Connection, five: Path
) -> None:
    conn.execute("UPDATE parcels_2021 SET wkb_geometry = ST_Reverse(wkb_geometry)")
    assert checked(database, five, differs=False)["same"]


def test_the_options_of_the_load_are_used(
    database: Database, conn: psycopg.Connection, config: Config, five: Path
) -> None:
    load(conn, config.tables, five, Options(where="crop = 7", attributes=("name",)))
    assert checked(database, five, differs=False)["in_file"] == 2
    said = checked(database, five, "--where", "crop = 5")
    assert [said[which]["count"] for which in ("missing", "extra", "geometry")] == [2, 2, 0]
    load_again = f"cbmctl parcels load {five} --again --where 'crop = 5' --attribute name"
    assert said["advice"] == [f"Load the file again: {load_again}"]


def test_an_area_that_reaches_to_a_stray_parcel_is_found(
    database: Database, conn: psycopg.Connection, config: Config, tmp_path: Path
) -> None:
    path = write(tmp_path / "stray.gpkg", [*fields(40), *squares((0, 0))], code=list(range(41)))
    load(conn, config.tables, path, Options())
    aoi.set_area(conn, config, config.args.name, aoi.from_parcels(conn, config).area)
    assert checked(database, path, differs=False)["same"]
    conn.execute(
        "UPDATE aois SET wkb_geometry = (SELECT ST_Expand(ST_Transform(ST_Extent(wkb_geometry)::geometry"
        "(Polygon, 25832), 4326), 1) FROM parcels_2021)"
    )
    said = checked(database, path)
    assert said["strays"] == {"count": 1, "ogc_fid": [1]}
    assert "cbmctl aoi set parcels_2021 --from-parcels" in said["advice"][0]


def test_without_a_table_the_check_says_so(database: Database, config: Config, five: Path) -> None:  # noqa: ARG001
    result = run(database, "parcels", "check", str(five))
    assert str(result.exception) == (
        "The table public.parcels_2021 does not exist. Load it with cbmctl parcels load."
    )


@pytest.mark.usefixtures("loaded")
def test_of_a_damaged_file_the_table_is_counted(database: Database, five: Path) -> None:
    five.write_bytes(five.read_bytes()[:5000])
    result = run(database, "parcels", "check", str(five))
    assert str(result.exception).startswith("public.parcels_2021, with 5 parcels, cannot be compared: ")


@pytest.mark.usefixtures("loaded")
def test_what_differs_is_printed_for_people(database: Database, conn: psycopg.Connection, five: Path) -> None:
    conn.execute("DELETE FROM parcels_2021 WHERE ogc_fid = 5")
    conn.execute("UPDATE parcels_2021 SET name = NULL WHERE ogc_fid = 1")
    result = run(database, "parcels", "check", str(five))
    assert result.exit_code == 3
    assert result.stdout.splitlines() == [
        "public.parcels_2021 and five.gpkg differ.",
        "Parcels: 5 in the file, 4 in the table.",
        "Parcels that are missing in the table: 1 (feature 5).",
        "Column name: values that differ: 1 (ogc_fid 1: 'å' in the file, nothing in the table).",
        f"Load the file again: cbmctl parcels load {five} --again",
    ]
