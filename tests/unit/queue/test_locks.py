"""The order of locks: it is kept, by everybody, in every transaction."""

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

import cbmctl
from cbmctl.config import Tables
from cbmctl.queue import locks
from cbmctl.queue.locks import Lock

CODE = Path(cbmctl.__file__).parent
Take = Callable[[psycopg.Connection, Tables], object]
# Each with its place; `lock_datatake` and `lock_results` take two.
TAKEN: list[tuple[Lock, Take]] = [
    (Lock.PARCELS, locks.lock_parcel_sets),
    (Lock.VANISHED, locks.lock_vanished),
    (Lock.DATATAKE, lambda conn, tables: locks.lock_datatake(conn, tables, 1)),
    (Lock.QUEUE, locks.lock_queue),
    (Lock.RESULTS, locks.lock_results),
    (Lock.SCENES, lambda conn, tables: locks.lock_scenes(conn, tables, [1], [2])),
]


@pytest.mark.postgis
def test_in_order_they_are_taken(conn: psycopg.Connection, tables: Tables) -> None:
    with conn.transaction():
        for _, take in TAKEN:
            take(conn, tables)
    with conn.transaction():  # another one begins anew
        locks.lock_parcel_sets(conn, tables)


def take_all(conn: psycopg.Connection, tables: Tables, *these: Take) -> None:
    with conn.transaction():
        for take in these:
            take(conn, tables)


@pytest.mark.postgis
def test_out_of_order_they_are_refused(conn: psycopg.Connection, tables: Tables) -> None:
    for (_, take_first), (_, take_second) in pairwise(TAKEN):
        with pytest.raises(RuntimeError, match=r"[A-Z]+ is locked after [A-Z]+: see"):
            take_all(conn, tables, take_second, take_first)


@pytest.mark.postgis
def test_scenes_are_locked_once(conn: psycopg.Connection, tables: Tables) -> None:
    """Two sets of rows, one after the other, may meet those of another transaction in the other order."""
    scenes = TAKEN[-1][1]
    with pytest.raises(RuntimeError, match="SCENES is locked after SCENES"):
        take_all(conn, tables, scenes, scenes)
    # nobody else locks rows of the queue meanwhile
    take_all(conn, tables, locks.lock_queue, scenes, scenes)


def test_nobody_else_locks() -> None:
    waits = re.compile(r"LOCK TABLE|pg_(try_)?advisory_|FOR (NO KEY )?UPDATE(?! OF t SKIP|\s+SKIP)|FOR SHARE")
    found = [path.relative_to(CODE) for path in CODE.rglob("*.py") if waits.search(path.read_text())]
    # migrations and orders have a lock of their own, and take no other
    assert sorted(map(str, found)) == ["ordering/place.py", "queue/locks.py", "schema/__init__.py"]
