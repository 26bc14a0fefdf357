"""Two seasons of a database at once: the same numbers of scenes and parcels, and nothing in common."""

from dataclasses import replace

import psycopg
import pytest
from psycopg import conninfo
from shapely import MultiPolygon
from shapely.affinity import translate

from cbmctl.config import TableName, Tables
from cbmctl.database import connect
from cbmctl.errors import UserError
from cbmctl.queue import locks, progress, tasks
from cbmctl.queue.locks import LOCK_SPACE, lock_space
from cbmctl.queue.planning import plan
from cbmctl.queue.repair import repair
from cbmctl.schema import apply
from tests.conftest import Eventually
from tests.support.season import PARCELS, Season
from tests.support.second_season import SCHEMA, later
from tests.support.worker_steps import claim, line
from tests.unit.worker.test_crashes import (
    contents,
    make_writes_fast,
    make_writes_slow,
    start_worker,
    undisturbed,
)

pytestmark = pytest.mark.postgis


@pytest.fixture
def second(season: Season) -> Season:
    """The next season of the same database: the same ids of other parcels, from October on."""
    season.database.configured(args={"startdate": "2020-10-01", "enddate": "2022-01-01"})
    config = later(season.database, startdate="2021-10-01", enddate="2023-01-01")
    apply(config)
    dsn = conninfo.make_conninfo(season.database.dsn, options=f"-c search_path={SCHEMA},public")
    database = replace(season.database, dsn=dsn, config=config, config_path=config.source)
    with database.connect() as conn:
        conn.execute(
            f"CREATE TABLE {SCHEMA}.parcels_2021"
            " (ogc_fid integer PRIMARY KEY, wkb_geometry geometry(MultiPolygon, 32632))"
        )
        for pid, polygon in PARCELS.items():
            conn.execute(
                "INSERT INTO parcels_2021 VALUES (%s, ST_GeomFromText(%s, 32632))",
                [pid, MultiPolygon([translate(polygon, 12, -8)]).wkt],
            )
    return Season(database, config)


def both(season: Season, second: Season) -> tuple[Season, Season]:
    """Three scenes each, with the ids 1 to 3; one of December is in both catalogues, under another id."""
    first = replace(season, config=season.database.configured())
    assert [first.scene(5, month=8), first.scene(6, month=11), first.scene(7, month=12)] == [1, 2, 3]
    assert [second.scene(day, month=12, product=day != 7) for day in (7, 8, 9)] == [1, 2, 3]
    return first, second


def test_workers_of_both_at_the_same_time(season: Season, second: Season, eventually: Eventually) -> None:
    seasons = both(season, second)
    alone = [undisturbed(each) for each in seasons]
    assert alone[0]["sigs"] != alone[1]["sigs"]
    for each in seasons:
        with connect(each.config, autocommit=True) as conn:
            assert plan(conn, each.config).created == 9
        make_writes_slow(each, 0.1)
    crew = [start_worker(each) for each in seasons for _ in range(2)]
    try:
        # at some instant both work on scenes of the same number
        eventually(
            lambda: bool(
                season.rows(
                    """SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND database = (
                           SELECT oid FROM pg_database WHERE datname = current_database())
                       GROUP BY classid::bigint & 255, objid
                       HAVING count(DISTINCT classid) = 2"""
                )
            )
        )
        for worker in crew:
            output, _ = worker.communicate(timeout=120)
            assert worker.returncode == 0, output.decode()
    finally:
        for worker in crew:
            worker.kill()
            worker.wait()
    assert [contents(each) for each in seasons] == alone
    names = "SELECT reference FROM dias_catalogue WHERE status = 'extracted' AND obstime::date = %s"
    shared = [each.rows(names, "2021-12-07") for each in seasons]
    assert len(shared[0]) == 1
    assert shared[0] == shared[1]
    for each in seasons:
        make_writes_fast(each)
        with connect(each.config, autocommit=True) as conn:
            assert not plan(conn, each.config).changed
            assert repair(conn, each.config).scenes == ()


def test_a_season_sees_only_its_own_workers(season: Season, second: Season) -> None:
    seasons = both(season, second)
    for each in seasons:
        with connect(each.config, autocommit=True) as conn:
            plan(conn, each.config)
    with line(seasons[0]) as conn, line(second) as other:
        mine, theirs = claim(seasons[0], conn), claim(second, other)
        assert (mine.obsid, mine.bandset) == (theirs.obsid, theirs.bandset) == (1, "scl")
        assert mine.reference != theirs.reference
        tasks.unlock(conn, seasons[0].config.tables, mine)  # as if the worker had vanished
        found = [progress.read(other, each.config).running_tasks for each in seasons]
        assert [[task["alive"] for task in running] for running in found] == [[False], [True]]
        assert claim(seasons[0], conn).obsid == 1, "it is free again"


def test_locks_of_a_season(season: Season, second: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    first, other = season.config.tables, second.config.tables
    assert lock_space(first) == LOCK_SPACE == 0x43424D00, "workers of earlier versions use it"
    assert lock_space(other) != LOCK_SPACE
    assert lock_space(other) & 0xFF == 0
    with season.database.connect(autocommit=True) as worker, line(season) as conn:
        # as version 0.9 has it
        worker.execute("SELECT pg_advisory_lock(%s, 1)", [0x43424D00 + 2])
        assert not locks.try_task(conn, first, "10", 1)
        assert locks.try_task(conn, other, "10", 1)
        with conn.transaction():
            locks.lock_vanished(conn, first)
            with worker.transaction():
                locks.lock_vanished(worker, other)
        locks.lock_archives(conn, first)
        locks.lock_archives(worker, other)
        monkeypatch.setattr(locks, "ARCHIVE_PATIENCE_S", 1)
        with pytest.raises(UserError, match="Another cbmctl maintain archive"):
            locks.lock_archives(worker, first)


def test_keys_of_any_season_are_valid(tables: Tables, conn: psycopg.Connection) -> None:
    spaces = set()
    for year in range(2000, 2200):
        own = replace(tables, catalogue=TableName(f"season_{year}", "dias_catalogue"))
        spaces.add(lock_space(own))
        assert locks.try_task(conn, own, "c12", 2**31 - 1)
        locks.unlock_task(conn, own, "c12", 2**31 - 1)
    assert len(spaces | {LOCK_SPACE}) == 201
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
    assert conn.execute(held).fetchone() == (0,)
