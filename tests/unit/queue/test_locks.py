"""The order of locks: it is kept, by everybody, in every transaction."""

import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import product
from pathlib import Path

import psycopg
import pytest

import cbmctl
from cbmctl.config import TableName, Tables
from cbmctl.queue import locks
from cbmctl.queue.locks import Lock
from tests.conftest import Database

CODE = Path(cbmctl.__file__).parent
Take = Callable[[psycopg.Connection, Tables], object]
Eventually = Callable[[Callable[[], bool]], None]
PARCELS = [TableName("public", "parcels_2021"), TableName("public", "parcels_2021_gone")]
# Each with its places, first to last.
TAKEN: list[tuple[tuple[Lock, ...], Take]] = [
    ((Lock.PARCELS,), locks.lock_parcel_sets),
    ((Lock.VANISHED,), locks.lock_vanished),
    ((Lock.DATATAKE, Lock.QUEUE), lambda conn, tables: locks.lock_datatake(conn, tables, 1)),
    ((Lock.QUEUE,), locks.lock_queue),
    ((Lock.QUEUE, Lock.RESULTS), locks.lock_results),
    (
        (Lock.PARCEL_TABLES,),
        lambda conn, tables: locks.lock_parcel_tables(conn, tables, PARCELS, queue=False),
    ),
    (
        (Lock.QUEUE, Lock.PARCEL_TABLES),
        lambda conn, tables: locks.lock_parcel_tables(conn, tables, PARCELS, queue=True),
    ),
    ((Lock.QUEUE, Lock.SCENES), lambda conn, tables: locks.lock_archived_scenes(conn, tables, [1])),
    ((Lock.SCENES,), lambda conn, tables: locks.lock_scenes(conn, tables, [1], [2])),
    ((Lock.READER,), locks.lock_parcel_table_shared),
]
# They hold the queue as a whole, so that it may be locked again after them.
WHOLE = (3, 4, 6)


@pytest.fixture(autouse=True)
def parcels(request: pytest.FixtureRequest) -> None:
    if "conn" in request.fixturenames:
        request.getfixturevalue("conn").execute(
            "CREATE TABLE parcels_2021 (); CREATE TABLE parcels_2021_gone ()"
        )


def in_order(first: int, second: int) -> bool:
    """Whether the second of TAKEN may follow the first."""
    places = [place for place in TAKEN[second][0] if first not in WHOLE or place is not Lock.QUEUE]
    if Lock.READER in (*TAKEN[first][0], *places):
        return False
    last = TAKEN[first][0][-1]
    scenes_twice = last is Lock.SCENES and Lock.SCENES in places and first not in WHOLE
    return all(place >= last for place in places) and not scenes_twice


@pytest.mark.postgis
def test_in_order_they_are_taken(conn: psycopg.Connection, tables: Tables) -> None:
    with conn.transaction():
        for _, take in TAKEN[:-1]:
            if take is not TAKEN[7][1]:
                take(conn, tables)
    with conn.transaction():  # another one begins anew
        locks.lock_parcel_sets(conn, tables)


def take_all(conn: psycopg.Connection, tables: Tables, *these: Take) -> None:
    with conn.transaction():
        for take in these:
            take(conn, tables)


@pytest.mark.postgis
def test_any_two_are_taken_in_order_or_refused(conn: psycopg.Connection, tables: Tables) -> None:
    for first, second in product(range(len(TAKEN)), repeat=2):
        takes = TAKEN[first][1], TAKEN[second][1]
        if in_order(first, second):
            take_all(conn, tables, *takes)
        else:
            with pytest.raises(RuntimeError, match=r"[A-Z_]+ is locked after [A-Z_]+: see"):
                take_all(conn, tables, *takes)


def test_every_lock_is_among_them() -> None:
    """But not the session's lock of `lock_archives`, which is tried for some seconds only."""
    known = {name for name in vars(locks) if name.startswith("lock_")} - {"lock_space", "lock_archives"}
    called = Path(__file__).read_text()
    assert {name for name in known if f"locks.{name}" not in called} == set()
    assert {place for places, _ in TAKEN for place in places} == set(Lock)


def waits(database: Database, conn: psycopg.Connection) -> bool:
    """Whether a connection waits for a lock."""
    with database.connect() as looking:
        statement = "SELECT FROM pg_locks WHERE NOT granted AND pid = %s"
        return bool(looking.execute(statement, [conn.info.backend_pid]).fetchall())


@pytest.mark.postgis
def test_what_is_tried_again_is_in_order(
    database: Database, conn: psycopg.Connection, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The locks of an attempt are let go before the next one, and are no reason to refuse that."""
    monkeypatch.setattr(locks, "TABLE_PATIENCE_S", 0.1)
    with database.connect() as reader:
        reader.execute("SELECT FROM parcels_2021_gone")
        monkeypatch.setattr(locks.time, "sleep", lambda _seconds: reader.rollback())
        with conn.transaction():
            locks.lock_parcel_sets(conn, tables)
            locks.lock_parcel_tables(conn, tables, PARCELS, queue=True)
            locks.lock_queue(conn, tables)


@pytest.mark.postgis
def test_a_deadlock_with_a_reader_is_tried_again(
    database: Database,
    conn: psycopg.Connection,
    tables: Tables,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client reads the parcels after another table that is locked after them."""
    conn.execute("SET deadlock_timeout = '2s'")

    def lock() -> None:
        with conn.transaction():
            locks.lock_parcel_tables(conn, tables, PARCELS, queue=True)

    with ThreadPoolExecutor(2) as pool, database.connect() as reader:
        reader.execute("SET deadlock_timeout = '60s'")
        reader.execute("SELECT FROM parcels_2021_gone")
        reads: list[Future[object]] = []

        def end_reading(_seconds: float) -> None:
            reads[0].result(60)
            reader.rollback()

        monkeypatch.setattr(locks.time, "sleep", end_reading)
        locked = pool.submit(lock)
        eventually(lambda: waits(database, conn))
        reads.append(pool.submit(reader.execute, "SELECT FROM parcels_2021"))
        locked.result(60)


@pytest.mark.postgis
def test_a_claim_and_the_lock_of_all_results_do_not_wait_for_each_other(
    database: Database, conn: psycopg.Connection, tables: Tables, eventually: Eventually
) -> None:
    """A worker locks the row of a task before it writes it."""
    conn.execute(
        """INSERT INTO dias_catalogue (id, obstime, reference, sensor, card)
           VALUES (1, '2021-03-05', 'A', '2A', 's2');
           INSERT INTO tasks (obsid, bandset, bands, method) VALUES (1, '10', '{B02}', '{}')"""
    )

    def replace() -> None:
        with conn.transaction():
            locks.lock_results(conn, tables)
            conn.execute("UPDATE tasks SET attempts = attempts + 10")

    with ThreadPoolExecutor(1) as pool, database.connect() as worker:
        worker.execute("SELECT FROM tasks FOR UPDATE SKIP LOCKED")
        done = pool.submit(replace)
        eventually(lambda: waits(database, conn))
        worker.execute("UPDATE tasks SET attempts = attempts + 1")
        worker.commit()
        done.result(60)
    assert conn.execute("SELECT attempts FROM tasks").fetchall() == [(11,)]


@pytest.mark.postgis
def test_scenes_are_locked_once(conn: psycopg.Connection, tables: Tables) -> None:
    """Two sets of rows, one after the other, may meet those of another transaction in the other order."""
    scenes = TAKEN[8][1]
    with pytest.raises(RuntimeError, match="SCENES is locked after SCENES"):
        take_all(conn, tables, scenes, scenes)
    # nobody else locks rows of the queue meanwhile
    take_all(conn, tables, locks.lock_queue, scenes, scenes)


def test_nobody_else_locks() -> None:
    waits = re.compile(r"LOCK TABLE|pg_(try_)?advisory_|FOR (NO KEY )?UPDATE(?! OF t SKIP|\s+SKIP)|FOR SHARE")
    found = [path.relative_to(CODE) for path in CODE.rglob("*.py") if waits.search(path.read_text())]
    # migrations and orders have a lock of their own, and take no other
    assert sorted(map(str, found)) == ["ordering/place.py", "queue/locks.py", "schema/__init__.py"]


def test_who_alters_tables_is_known() -> None:
    """ALTER, DROP and TRUNCATE wait for readers, and let none begin; whoever uses them locks in order."""
    alters = re.compile(r"\b(ALTER TABLE|DROP TABLE|DROP TRIGGER|DROP INDEX|TRUNCATE|CLUSTER|VACUUM FULL) ")
    files = [path for path in CODE.rglob("*.py") if path.parts[-3:-1] != ("schema", "versions")]
    found = {path.relative_to(CODE).as_posix() for path in files if alters.search(path.read_text())}
    locked = {"queue/locks.py", "parcels/supersede.py", "parcels/replace_table.py", "parcels/update.py"}
    # called by `update.apply`, which has locked the table, or says which statement to run by hand
    of_update = {"parcels/gone_parcels.py", "parcels/edits.py"}
    # tables that nobody else knows yet, and those of pg_repack
    own = {
        "parcels/fill_table.py",
        "queue/delta_cost.py",
        "queue/parcel_changes.py",
        "maintenance/rewrite.py",
    }
    # the only lock of a transaction that holds PARCELS
    rasters = {"parcels/rasterise.py"}
    assert found == locked | of_update | own | rasters
