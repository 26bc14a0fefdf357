"""A changed file while there are statistics: the parcel table is updated in place."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from cbmctl.cli import cbmctl, commands  # noqa: F401  (the commands register themselves)
from cbmctl.config import Config, Tables
from cbmctl.database import connect
from cbmctl.errors import UserError
from cbmctl.parcels.load import Options, load
from cbmctl.parcels.quality import assess
from cbmctl.parcels.rasterise import rasterise
from cbmctl.queue import locks
from cbmctl.schema import apply
from tests.conftest import Database
from tests.support.effort import THOROUGH
from tests.support.parcel_loading import fields, rows, write
from tests.support.parcel_updates import N, first_file, halves, load_and_use, run, second_file
from tests.unit.docs.test_recipes import blocks
from tests.unit.parcels.test_changes import use
from tests.unit.parcels.test_rasterise import prepare

pytestmark = pytest.mark.postgis


@pytest.fixture
def drawn() -> list[Any]:
    return fields(N)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return first_file(tmp_path)


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return second_file(tmp_path)


@pytest.fixture
def used(conn: psycopg.Connection, tables: Tables, first: Path) -> dict[int, int]:
    return load_and_use(conn, tables, first)


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
    # nobody has used the numbers
    assert load(conn, tables, second, Options()).changed
    assert rows(conn, "SELECT min(ogc_fid), max(ogc_fid) FROM parcels_2021") == [(1, 20)]
    assert rows(conn, "SELECT version, last_id FROM parcel_sets") == [(4, 44)]


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


DERIVED = {
    "parcels_2021_32632_10_rast": "pid, rast::text",
    "parcels_2021_32632_20_rast": "pid, rast::text",
    "parcels_2021_quality": "*",
}


def test_rasters_and_flags_follow_in_the_same_transaction(
    conn: psycopg.Connection, config: Config, first: Path, second: Path
) -> None:
    def derived() -> dict[str, list[tuple[Any, ...]]]:
        return {
            name: sorted(rows(conn, f"SELECT {columns} FROM {name}")) for name, columns in DERIVED.items()
        }

    prepare(conn, config, first, "32UNF")
    use_first_scene(conn)
    rasterise(conn, config)
    assess(conn, config)
    conn.execute("CREATE TABLE parcels_2021_32633_10_rast (pid integer, rast raster)")  # outdated
    load(conn, config.tables, second, Options(), accept_removals=True)
    assert not any(table.changed for table in rasterise(conn, config))
    assert not assess(conn, config).changed
    found = derived()
    for name in DERIVED:
        conn.execute(f"COMMENT ON TABLE {name} IS 'outdated'".encode())
    rasterise(conn, config)
    assess(conn, config)
    assert derived() == found
    assert len(found["parcels_2021_32632_10_rast"]) == N


def use_first_scene(conn: psycopg.Connection) -> None:
    conn.execute("INSERT INTO sigs (pid, obsid, band, count) SELECT 1, min(id), 'B02', 9 FROM dias_catalogue")


class Mortal(psycopg.Connection[Any]):
    """A connection that breaks after some statements.

    Attributes:
        left: so many statements.
    """

    left = 10_000

    def execute(self, *arguments: Any, **named: Any) -> psycopg.Cursor[Any]:
        self.left -= 1
        if self.left < 0:
            self.close()
        return super().execute(*arguments, **named)


def test_a_load_that_dies_has_changed_nothing(
    database: Database, conn: psycopg.Connection, config: Config, first: Path, second: Path
) -> None:
    """At any of its statements; every day at a few."""
    prepare(conn, config, first, "32UNF")
    use_first_scene(conn)
    rasterise(conn, config)
    assess(conn, config)
    before = everything(conn)
    with Mortal.connect(database.dsn, autocommit=True) as counting:
        load(counting, config.tables, second, Options(), accept_removals=True, check_only=True)
        checked = 10_000 - counting.left
    kills = range(1000) if THOROUGH else range(1, 1000, checked // 2)
    for left in kills:
        victim = Mortal.connect(database.dsn, autocommit=True)
        victim.left = left
        try:
            load(victim, config.tables, second, Options(), accept_removals=True)
        except psycopg.OperationalError:
            assert everything(conn) == before
            continue
        break
    assert left > checked
    assert everything(conn) != before
    assert rows(conn, "SELECT version, parcels FROM parcel_sets") == [(2, 20)]


def everything(conn: psycopg.Connection) -> dict[str, list[Any]]:
    """The rows of all tables, and their comments."""
    names = rows(
        conn,
        "SELECT c.oid::regclass::text, obj_description(c.oid) FROM pg_class c JOIN pg_namespace n"
        " ON n.oid = relnamespace WHERE relkind = 'r' AND nspname = 'public' AND relname NOT LIKE 'spatial%'",
    )
    return {name: [comment, *sorted(rows(conn, f"SELECT t::text FROM {name} t"))] for name, comment in names}


def test_workers_go_on_while_columns_are_added(
    database: Database, conn: psycopg.Connection, used: dict[int, int], drawn: list[Any], tmp_path: Path
) -> None:
    del used
    conn.execute(
        "INSERT INTO tasks (obsid, bandset, bands, method, state) VALUES (1, '10', '{B02}', '{}', 'running')"
    )
    path = write(
        tmp_path / "more.gpkg", halves(drawn[0]) + drawn[1:], id=list(range(N + 1)), farm=["f"] * (N + 1)
    )
    with database.connect() as worker:
        worker.execute("SELECT pg_advisory_lock(%s, 1)", [0x43424D00 + 1])
        done = run(database, "load", str(path))
    assert done.exit_code == 0, done.output
    assert rows(conn, "SELECT count(farm) FROM parcels_2021") == [(N + 1,)]


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize("more", [[], ["--keep-statistics"]])
def test_a_reader_that_stays_does_not_stop_the_workers(
    database: Database, drawn: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    monkeypatch.setattr(locks, "TABLE_PATIENCE_S", 0.2)
    monkeypatch.setattr(locks, "TABLE_PAUSE_S", 0.0)
    path = write(tmp_path / "more.gpkg", drawn, id=list(range(N)), farm=["f"] * N)
    with ThreadPoolExecutor(1) as pool, database.connect(application_name="psql") as reader:
        reader.execute("SELECT count(*) FROM parcels_2021")
        refused = pool.submit(run, database, "load", str(path), *more).result(60)
        assert str(refused.exception) == (
            "public.parcels_2021 cannot be changed, because other transactions are open (process"
            f" {reader.info.backend_pid} of {reader.info.user}, psql). Nothing was changed. End these"
            " transactions, then load again."
        )
    done = run(database, "load", str(path), *more)
    assert done.exit_code == 0, done.output


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
