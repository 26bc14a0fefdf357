"""Parcels that several tiles of a datatake show: what becomes of them when scenes change."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copytree, rmtree

import psycopg
import pytest
from shapely import box

from cbmctl.catalogue.product_versions import arrange
from cbmctl.catalogue.replace_versions import replace
from cbmctl.catalogue.table import store
from cbmctl.database import connect
from cbmctl.errors import UserError
from cbmctl.parcels.supersede import supersede
from cbmctl.queue import tasks
from cbmctl.queue.locks import lock_datatake, lock_queue
from cbmctl.queue.planning import plan
from cbmctl.queue.repair import repair
from cbmctl.reasons import UNREADABLE
from cbmctl.worker import job
from tests.support.datatakes import HERE, WEST, ZONE, Datatake, both, records, task_path, without
from tests.support.parcel_changes import change
from tests.support.products_s2 import LEFT, TOP
from tests.support.season import Season

pytestmark = pytest.mark.postgis


@pytest.fixture
def datatake(season: Season) -> Datatake:
    return Datatake(season)


def test_what_a_scene_shows_no_longer_comes_back_from_its_neighbour(datatake: Datatake) -> None:
    before = both(datatake)
    datatake.enter(WEST, **without(WEST, 1))
    datatake.again(WEST)
    assert datatake.found() == {key: row for key, row in before.items() if key[1] == HERE}, "being worked on"
    datatake.work()
    assert datatake.where()[1] == {HERE: "stz"}
    rest = {key: row for key, row in before.items() if key[0] != 1}
    assert {key: row for key, row in datatake.found().items() if key[0] != 1} == rest


def test_a_scene_that_is_lost_gives_its_parcels_back(datatake: Datatake) -> None:
    both(datatake)
    ((path,),) = datatake.season.rows("SELECT path FROM dias_catalogue WHERE id = %s", datatake.ids[WEST])
    product = datatake.config.eodata / path
    copytree(product, kept := product.with_suffix(".kept"))
    rmtree(product)
    datatake.again(WEST)
    datatake.work()
    assert datatake.season.status(datatake.ids[WEST]).startswith("!S3")
    assert {pid: datatake.where()[pid] for pid in (1, 4)} == {1: {HERE: "stz"}, 4: {HERE: "st"}}
    kept.rename(product)
    with connect(datatake.config, autocommit=True) as conn:
        repair(conn, datatake.config)
    datatake.work()
    assert {pid: datatake.where()[pid] for pid in (1, 4)} == {1: {WEST: "stz"}, 4: {WEST: "st"}}


def test_repair_gives_parcels_back_at_once(datatake: Datatake) -> None:
    """A worker died at a scene that was to be done again; then the scene turns out to be broken."""
    both(datatake)
    datatake.again(WEST)
    with connect(datatake.config, autocommit=True) as victim:
        while task := tasks.claim(victim, datatake.config, "victim"):
            assert task.obsid == datatake.ids[WEST]
    rmtree(datatake.config.eodata / (task_path(datatake, WEST)))
    with connect(datatake.config, autocommit=True) as conn:
        for _ in range(2):
            repair(conn, datatake.config)
    datatake.work()
    assert {pid: datatake.where()[pid] for pid in (1, 4)} == {1: {HERE: "stz"}, 4: {HERE: "st"}}


@pytest.mark.parametrize("shown", [True, False])
def test_a_newer_version_of_the_scene_that_counts(datatake: Datatake, *, shown: bool) -> None:
    both(datatake)
    changes = {} if shown else without(WEST, 1)
    datatake.enter(WEST, name="newer", made="20210306T080000", **changes)
    with connect(datatake.config, autocommit=True) as conn:
        with conn.transaction():
            lock_queue(conn, datatake.config.tables)
            arranged = arrange(conn, datatake.config.tables, [Path(task_path(datatake, "newer")).name])
        assert len(arranged.offered) == 1
        replace(conn, datatake.config)
    datatake.work()
    assert datatake.season.status(datatake.ids[WEST]) == "superseded"
    assert datatake.where()[1] == ({"newer": "stz"} if shown else {HERE: "stz"})
    assert set(datatake.where()[4]) == {"newer"}


@pytest.mark.parametrize(("first", "second"), [(WEST, HERE), (HERE, WEST)])
def test_a_parcel_that_goes_while_a_tile_is_read_is_counted_once(
    datatake: Datatake, first: str, second: str
) -> None:
    """It stays where all of its rows are, whichever tile would be preferred."""
    datatake.enter(first)
    datatake.plan()
    datatake.work()
    before = datatake.found()
    datatake.enter(second)
    datatake.plan()
    datatake.work(second, tasks=2)
    half = "SELECT count(*) FROM hists WHERE pid = 1 AND obsid = %s"
    assert datatake.season.rows(half, datatake.ids[second]) == [(1,)]
    change(datatake.season, 2, gone=[1])
    datatake.work()
    assert datatake.where()[1] == {first: "stz"}
    found = datatake.found()
    assert {key: row for key, row in found.items() if key[0] == 1} == {
        key: row for key, row in before.items() if key[0] == 1
    }
    assert datatake.season.rows("SELECT count(*) FROM tasks WHERE 1 = ANY(elsewhere)") == [(0,)]
    datatake.again(second)
    datatake.work()
    assert datatake.found() == found


def test_a_tile_that_is_still_to_read_a_new_parcel_is_not_relied_on(datatake: Datatake) -> None:
    both(datatake)
    change(datatake.season, 2, {100: box(LEFT + 20, TOP - 390, LEFT + 120, TOP - 330)})
    config, state = datatake.config, "SELECT DISTINCT state, elsewhere @> '{100}' FROM tasks WHERE obsid = %s"
    with connect(config, autocommit=True) as slow:
        task = tasks.claim(slow, config, "slow", obsids=[datatake.ids[WEST]])
        assert task is not None
        assert task.bandset == "scl"
        datatake.work(WEST, tasks=2)
        datatake.work(HERE)
        assert ("done", True) not in datatake.season.rows(state, datatake.ids[HERE])
        tasks.fail(slow, config, task, UNREADABLE, "SCL: torn", lasting=True)
        tasks.unlock(slow, config.tables, task)
    assert {row[0] for row in datatake.season.rows(state, datatake.ids[HERE])} == {"done"}, "not read again"
    assert datatake.where()[100] == {HERE: "stz"}


def test_other_parcels_are_told_apart_anew(datatake: Datatake) -> None:
    before = both(datatake)
    with datatake.season.database.connect() as conn:
        supersede(conn, datatake.config.tables, drop_statistics=True)
    assert datatake.season.rows("SELECT count(cut) + count(elsewhere) FROM tasks") == [(0,)]
    datatake.work()
    assert datatake.found() == before


def test_a_late_neighbour_is_not_read_where_nothing_is_to_be_had(
    datatake: Datatake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with datatake.season.database.connect() as conn:
        conn.execute("DELETE FROM parcels_2021 WHERE ogc_fid NOT IN (1, 9)")
    datatake.enter(WEST)
    datatake.plan()
    datatake.work()
    datatake.enter(HERE)
    datatake.plan()
    started: list[str] = []
    start = job.Job.start
    monkeypatch.setattr(
        job.Job,
        "start",
        lambda job, reader, band: started.append(band.name) or start(job, reader, band),
    )
    lines = datatake.work()
    assert len(lines) == 3
    assert started == ["SCL"]
    assert datatake.where() == {1: {WEST: "stz"}}
    # what was left out unread comes back as well
    datatake.enter(WEST, **without(WEST, 1))
    datatake.again(WEST)
    datatake.work()
    assert datatake.where() == {1: {HERE: "stz"}}


def test_syncs_plans_repairs_and_workers_at_once(datatake: Datatake) -> None:
    """Whoever takes several locks takes them in one order: nobody waits for another in a circle."""
    both(datatake)
    with connect(datatake.config, autocommit=True) as conn:
        known = records(datatake)
        store(conn, datatake.config, known)
    datatake.enter(ZONE)
    datatake.enter(WEST, name="newer", made="20210306T080000")
    with connect(datatake.config, autocommit=True) as conn:
        newer = records(datatake)
        assert len(store(conn, datatake.config, newer).versions.offered) == 1
        replace(conn, datatake.config)
        plan(conn, datatake.config)
        for name in (WEST, HERE):
            datatake.again(name)
    left = threading.Event()

    def others(what: Callable[[psycopg.Connection], object]) -> int:
        times = 0
        with connect(datatake.config, autocommit=True) as conn:
            while not left.is_set():
                what(conn)
                times += 1
        return times

    with ThreadPoolExecutor(5) as pool:
        busy = [
            pool.submit(others, lambda conn: store(conn, datatake.config, newer)),
            pool.submit(others, lambda conn: plan(conn, datatake.config)),
            pool.submit(others, lambda conn: repair(conn, datatake.config)),
        ]
        try:
            lines = [line for found in pool.map(lambda _: datatake.work(), range(2)) for line in found]
        finally:
            left.set()
        assert all(done.result() > 3 for done in busy)
    assert lines
    assert all("rows" in line for line in lines), lines
    assert datatake.season.status(datatake.ids[WEST]) == "superseded"
    assert datatake.where()[1] == {"newer": "stz"}
    assert datatake.where()[2] == {HERE: "stz"}


def test_new_parcels_wait_for_a_worker_that_writes(
    datatake: Datatake, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    obsid, tables = datatake.enter(WEST), datatake.config.tables
    datatake.plan()
    with (
        connect(datatake.config, autocommit=True) as worker,
        connect(datatake.config) as loader,
        ThreadPoolExecutor(1) as pool,
    ):
        task = tasks.claim(worker, datatake.config, "worker")
        assert task
        with worker.transaction():
            lock_datatake(worker, tables, obsid)
            worker.execute("INSERT INTO hists VALUES (1, %s, '{}')", [obsid])
            load = pool.submit(supersede, loader, tables, drop_statistics=False)
            eventually(lambda: datatake.season.rows("SELECT FROM pg_locks WHERE NOT granted") != [])
            tasks.finish(worker, tables, task, parcels=1, rows=1)
        with pytest.raises(UserError, match="1 rows"):
            load.result()
