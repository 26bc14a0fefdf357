"""A changed file while there are statistics: the parcel table is updated in place."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from cbmctl.cli import cbmctl, commands  # noqa: F401  (the commands register themselves)
from cbmctl.config import Tables
from cbmctl.database import connect
from cbmctl.errors import UserError
from cbmctl.parcels.load import Options, load
from cbmctl.queue import locks
from cbmctl.schema import apply
from tests.conftest import Database
from tests.support.parcel_loading import fields, rows, write
from tests.support.parcel_updates import N, halves, run
from tests.unit.docs.test_recipes import blocks
from tests.unit.parcels.test_changes import use

pytestmark = pytest.mark.postgis


def test_a_changed_file_updates_the_table(
    database: Database, conn: psycopg.Connection, used: dict[int, int], second: Path
) -> None:
    conn.execute(
        """CREATE VIEW crops AS SELECT crop, count(*) FROM parcels_2021 GROUP BY 1;
           ALTER TABLE parcels_2021 ADD inaoi boolean DEFAULT true;
           UPDATE dias_catalogue SET footprint = ST_MakeEnvelope(8, 53, 10, 55, 4326);
           INSERT INTO tasks (obsid, bandset, bands, method, state, parcels_covered)
           VALUES (1, '10', '{B02}', '{}', 'done', 1)"""
    )
    oid = rows(conn, "SELECT 'parcels_2021'::regclass::oid")
    would = run(database, "load", str(second), "--key", "id", "--accept-removals", "--check")
    done = run(database, "load", str(second), "--key", "id", "--accept-removals")
    assert (would.exit_code, done.exit_code) == (0, 0), would.output + done.output
    forecast = [line for line in would.stderr.splitlines() if line.startswith("This opens about")]
    assert len(forecast) == 1
    assert would.stderr.replace("would move", "moved").replace(f"{forecast[0]}\n", "") == done.stderr
    assert "4 parcels would move to public.parcels_2021_gone; their statistics stay" in would.stderr
    for sentence in (
        "Of 20 parcels, 15 are unchanged, 1 have other attributes, 4 are gone (1 without a successor);"
        " 4 are new (1 without a predecessor).",
        "4 parcels moved to public.parcels_2021_gone; their statistics stay",
        "4 new parcels (ogc_fid 21 to 24) must be extracted in 1 scene",
    ):
        assert sentence in done.stderr
    now = dict(rows(conn, "SELECT id, ogc_fid FROM parcels_2021"))
    kept = range(4, N)
    assert {name: now[name] for name in kept} == {name: used[name] for name in kept}
    assert sorted(now[name] for name in (0, 100, 101, 102)) == [21, 22, 23, 24]
    assert rows(conn, "SELECT * FROM crops ORDER BY 1") == [("a", 19), ("b", 1)]
    assert rows(conn, "SELECT 'parcels_2021'::regclass::oid") == oid
    assert rows(conn, "SELECT ogc_fid, id, inaoi FROM parcels_2021_gone ORDER BY id") == [
        (used[name], name, True) for name in range(4)
    ]
    assert rows(conn, "SELECT count(*) FROM sigs") == [(1,)]
    assert set(rows(conn, "SELECT predecessor, successor, version, share FROM parcel_lineage")) == {
        (used[0], now[0], 2, 1.0),
        (used[0], now[100], 2, 1.0),
        (used[1], now[101], 2, 1.0),
        (used[2], now[101], 2, 1.0),
    }
    assert rows(
        conn,
        "SELECT since, until, source_from, source_to, count(*) FROM parcel_history GROUP BY 1, 2, 3, 4"
        " ORDER BY 1",
    ) == [(1, 2, None, "second.gpkg", 4), (2, None, "second.gpkg", None, 4)]
    assert rows(conn, "SELECT version, last_id, source, parcels FROM parcel_sets") == [
        (2, 24, "second.gpkg", 20)
    ]
    again = run(database, "load", str(second), "--key", "id")
    assert "are loaded already" in again.stdout


def test_many_removals_must_be_accepted(
    database: Database, conn: psycopg.Connection, used: dict[int, int], drawn: list[Any], tmp_path: Path
) -> None:
    for number, refused in ((N - 2, False), (N - 5, True)):
        path = write(tmp_path / f"{number}.gpkg", drawn[:number], id=list(range(number)), crop=["a"] * number)
        for more in (["--check"], []):
            done = run(database, "load", str(path), *more)
            if not refused:
                assert done.exit_code == 0, done.output
                continue
            assert str(done.exception) == (
                "public.parcels_2021: the file lacks many stored geometries. Of 18 parcels, 15 are unchanged,"
                " 0 have other attributes, 3 are gone (3 without a successor); 0 are new (0 without a"
                " predecessor). More than 10% of the parcels are gone without a successor: check that the"
                " file is complete. If the file is correct, load it with --accept-removals."
            )
    assert rows(conn, "SELECT count(*) FROM parcels_2021") == [(N - 2,)]
    assert run(database, "load", str(path), "--accept-removals").exit_code == 0
    assert set(rows(conn, "SELECT ogc_fid FROM parcels_2021_gone")) == {(used[i],) for i in range(N - 5, N)}


@pytest.mark.usefixtures("used")
def test_a_file_with_shifted_coordinates_must_be_accepted(
    database: Database, conn: psycopg.Connection, tmp_path: Path
) -> None:
    """All parcels have a successor, but all would be extracted again."""
    path = write(tmp_path / "shifted.gpkg", fields(N, shift=0.02), id=list(range(N)), crop=["a"] * N)
    for more in (["--check"], []):
        done = run(database, "load", str(path), "--key", "id", *more)
        assert str(done.exception) == (
            "public.parcels_2021: the file lacks many stored geometries. Of 20 parcels, 0 are unchanged, 0"
            " have other attributes, 20 are gone (0 without a successor); 20 are new (0 without a"
            " predecessor). More than 10% of the parcels have another geometry: check that the coordinates"
            " were not rounded or shifted. If the file is correct, load it with --accept-removals."
        )
    assert rows(conn, "SELECT max(ogc_fid), to_regclass('parcels_2021_gone') FROM parcels_2021") == [
        (N, None)
    ]
    assert run(database, "load", str(path), "--accept-removals").exit_code == 0


@pytest.mark.usefixtures("used")
def test_another_coordinate_system_is_refused(
    conn: psycopg.Connection, tables: Tables, tmp_path: Path
) -> None:
    path = write(tmp_path / "moved.gpkg", fields(N), id=list(range(N)))
    with pytest.raises(
        UserError,
        match=r"sigs \(1 rows\).*The table is in EPSG:25832, but the file is in EPSG:32632\. Request the"
        r" file in EPSG:25832, or delete the statistics with --drop-statistics",
    ):
        load(conn, tables, path, Options(crs="EPSG:32632"))
    conn.execute("DROP TABLE parcels_2021")
    with pytest.raises(UserError, match=r"_2021 is missing, or has no ogc_fid and wkb_geometry\. Restore"):
        load(conn, tables, path, Options())


@pytest.mark.usefixtures("used")
def test_statistics_can_still_be_dropped_and_no_number_comes_back(
    conn: psycopg.Connection, tables: Tables, first: Path, second: Path
) -> None:
    load(conn, tables, second, Options(), accept_removals=True)
    done = load(conn, tables, first, Options(), drop_statistics=True)
    assert done.superseded is not None
    assert rows(conn, "SELECT min(ogc_fid), max(ogc_fid), count(*) FROM parcels_2021") == [(25, 44, 20)]
    assert rows(conn, "SELECT version, last_id FROM parcel_sets") == [(3, 44)]
    assert rows(conn, "SELECT to_regclass('parcels_2021_gone')") == [(None,)]
    for table in ("parcel_history", "parcel_lineage", "sigs"):
        assert rows(conn, f"SELECT count(*) FROM {table}") == [(0,)]
    # nobody has used the numbers from 25 on; somebody may have kept those before
    assert load(conn, tables, second, Options()).changed
    assert rows(conn, "SELECT min(ogc_fid), max(ogc_fid) FROM parcels_2021") == [(25, 44)]
    assert rows(conn, "SELECT version, last_id FROM parcel_sets") == [(4, 44)]


def test_numbers_begin_at_1_until_there_are_statistics(
    conn: psycopg.Connection, tables: Tables, first: Path, second: Path
) -> None:
    for file in (first, second, first):
        assert load(conn, tables, file, Options()).changed
        assert rows(conn, NUMBERS) == [(1, 20)]


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(
    ("by_hand", "drop", "first_number"),
    [
        ("DELETE FROM sigs", False, 1),  # nothing shows that there were any
        ("DELETE FROM sigs", True, 21),
        ("DELETE FROM sigs; UPDATE tasks SET rows = 1", False, 21),
        ("DELETE FROM sigs; UPDATE dias_catalogue SET status = 'extracted'", False, 21),
        ("DROP TABLE parcels_2021", True, 21),
        ("DELETE FROM parcels_2021", True, 21),
    ],
)
def test_numbers_of_parcels_that_had_statistics_are_not_given_again(
    conn: psycopg.Connection, tables: Tables, second: Path, by_hand: str, *, drop: bool, first_number: int
) -> None:
    conn.execute("INSERT INTO tasks (obsid, bandset, bands, method) VALUES (1, '10', '{B02}', '{}')")
    conn.execute(by_hand.encode())
    load(conn, tables, second, Options(), drop_statistics=drop)
    assert rows(conn, NUMBERS) == [(first_number, first_number + 19)]


@pytest.mark.usefixtures("used")
def test_numbers_of_an_update_are_not_given_again(
    conn: psycopg.Connection, tables: Tables, first: Path, second: Path
) -> None:
    load(conn, tables, second, Options(), accept_removals=True)
    conn.execute("DELETE FROM sigs")
    load(conn, tables, first, Options())
    assert rows(conn, NUMBERS) == [(25, 44)]


def test_a_value_that_does_not_fit_changes_nothing(
    conn: psycopg.Connection, tables: Tables, used: dict[int, int], drawn: list[Any], tmp_path: Path
) -> None:
    conn.execute("ALTER TABLE parcels_2021 ALTER crop TYPE varchar(3)")
    drawn[0] = halves(drawn[0])[0]
    path = write(tmp_path / "long.gpkg", drawn, id=list(range(N)), crop=["maize"] * N)
    with pytest.raises(
        UserError,
        match=r"^public\.parcels_2021 cannot be updated: PostgreSQL reports 'value too long for type"
        r" character varying\(3\)'\. Nothing was changed\.",
    ):
        load(conn, tables, path, Options())
    assert dict(rows(conn, "SELECT id, ogc_fid FROM parcels_2021")) == used
    texts = write(tmp_path / "texts.gpkg", drawn, id=[str(i) for i in range(N)])
    with pytest.raises(
        UserError, match=r"id \(text in the file, int8 in the table\)\. Run this statement"
    ) as error:
        load(conn, tables, texts, Options())
    conn.execute(str(error.value).split("load again: ")[1].encode())
    assert load(conn, tables, texts, Options()).updated is not None


def test_numbers_in_the_archive_of_a_season_are_not_given_again(
    conn: psycopg.Connection, tables: Tables, used: dict[int, int], second: Path
) -> None:
    conn.execute("DELETE FROM sigs; UPDATE dias_catalogue SET status = 'archived'")
    load(conn, tables, second, Options(), accept_removals=True)
    assert dict(rows(conn, "SELECT id, ogc_fid FROM parcels_2021 WHERE id > 3 AND id < 100")) == {
        name: used[name] for name in range(4, N)
    }


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize("table", ["parcels_2021_32632_10_rast", "parcels_2021_gone"])
def test_a_reader_of_what_is_dropped_is_named(
    database: Database, drawn: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.setattr(locks, "TABLE_PATIENCE_S", 0.2)
    monkeypatch.setattr(locks, "TABLE_PAUSE_S", 0.0)
    fewer = write(tmp_path / "fewer.gpkg", drawn[:-1], id=list(range(N - 1)))
    assert run(database, "load", str(fewer)).exit_code == 0
    with database.connect() as conn:
        conn.execute("CREATE TABLE parcels_2021_32632_10_rast (pid integer)")
    path = write(tmp_path / "other.gpkg", drawn[1:], id=list(range(1, N)))
    with ThreadPoolExecutor(1) as pool, database.connect(application_name="psql") as reader:
        reader.execute(f"SELECT count(*) FROM {table}".encode())
        refused = pool.submit(run, database, "load", str(path), "--drop-statistics").result(60)
        assert f"public.{table}" in str(refused.exception)
        assert "cannot be changed, because other transactions are open (process" in str(refused.exception)
    done = run(database, "load", str(path), "--drop-statistics")
    assert done.exit_code == 0, done.output
    with database.connect() as conn:
        dropped = "SELECT to_regclass('parcels_2021_32632_10_rast'), to_regclass('parcels_2021_gone')"
        assert rows(conn, dropped) == [(None, None)]


@pytest.mark.usefixtures("used")
def test_programs_get_the_numbers(database: Database, second: Path) -> None:
    command = ["--config", str(database.config_path), "--json", "parcels", "load", str(second), "--check"]
    done = CliRunner().invoke(cbmctl, [*command, "--accept-removals"])
    assert json.loads(done.stdout)["updated"] == {
        "version": 2,
        "gone_table": "public.parcels_2021_gone",
        "last_id": 20,
        "new": 4,
        "gone": 4,
        "scenes": 0,
        "cost": None,
    }


@pytest.mark.usefixtures("roles")
def test_the_reader_sees_what_is_gone(database: Database, first: Path, second: Path) -> None:
    owner = database.configured(connection={"dbuser": "cbm_owner", "dbpasswd": "only-for-tests"})
    apply(owner)
    with connect(owner, autocommit=True) as conn:
        load(conn, owner.tables, first, Options())
        use(conn)
        load(conn, owner.tables, second, Options(), accept_removals=True)
    with connect(database.configured(connection={"dbuser": "cbm_reader"}), autocommit=True) as conn:
        assert rows(conn, "SELECT count(*) FROM parcels_2021_gone") == [(4,)]


@pytest.mark.usefixtures("used")
def test_the_queries_in_the_technicians_guide(conn: psycopg.Connection, tables: Tables, second: Path) -> None:
    load(conn, tables, second, Options(), key="id", accept_removals=True)
    validity, series = [
        block for block in blocks("technician.md", "sql") if "parcel_history" in block or "lineage" in block
    ]
    found = conn.execute(validity.encode()).fetchall()
    assert [row[:3] for row in found] == sorted(
        (number, 1 if number <= N else 2, 2 if (number,) in rows(conn, GONE) else None)
        for number in range(1, N + 5)
    )
    ((old, new),) = rows(conn, "SELECT predecessor, successor FROM parcel_lineage ORDER BY 1, 2 LIMIT 1")
    conn.execute(
        "UPDATE dias_catalogue SET status = 'extracted'; TRUNCATE sigs;"
        " INSERT INTO sigs (pid, obsid, band, mean) SELECT ogc_fid, 1, 'B08', ogc_fid FROM ("
        " SELECT ogc_fid FROM parcels_2021 UNION ALL SELECT ogc_fid FROM parcels_2021_gone) p"
    )
    found = conn.execute(series.replace("42", str(new)).encode()).fetchall()
    assert {row[0] for row in found} == {new} | {
        pid for (pid,) in rows(conn, f"SELECT predecessor FROM parcel_lineage WHERE successor = {new}")
    }
    assert old in {row[0] for row in found}


GONE = "SELECT ogc_fid FROM parcels_2021_gone"
NUMBERS = "SELECT min(ogc_fid), max(ogc_fid) FROM parcels_2021"
