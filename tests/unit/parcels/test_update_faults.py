"""An update of parcels is one transaction: it dies without a trace, and workers go on meanwhile."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cbmctl.cli import cbmctl, commands  # noqa: F401  (the commands register themselves)
from cbmctl.config import Config
from cbmctl.parcels.load import Options, load
from cbmctl.parcels.quality import assess
from cbmctl.parcels.rasterise import rasterise
from cbmctl.queue import locks
from tests.conftest import Database
from tests.support.effort import THOROUGH
from tests.support.parcel_loading import rows, write
from tests.support.parcel_updates import N, halves, run
from tests.unit.parcels.test_rasterise import prepare

pytestmark = pytest.mark.postgis


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
