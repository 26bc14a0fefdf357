"""Workers that vanish: an attempt counts only where the scene may be to blame."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from cbmctl.database import connect
from cbmctl.queue import planning, tasks, vanished_workers
from tests.support.season import BANDS_10, Season
from tests.unit.worker.test_crashes import make_writes_fast, make_writes_slow, start_worker

pytestmark = pytest.mark.postgis

EXCUSES = "SELECT excuse FROM vanished_workers ORDER BY noticed_at, obsid"


@pytest.fixture
def scenes(season: Season) -> Season:
    """Three scenes with a task each, of which none is read here."""
    for day in (5, 6, 7):
        season.scene(day, product=False)
    config = season.database.configured(extraction={"s2": {"scl": False, "10": list(BANDS_10), "20": []}})
    with connect(config, autocommit=True) as conn:
        planning.plan(conn, config)
    return Season(season.database, config)


@contextmanager
def worker(season: Season) -> Iterator[psycopg.Connection]:
    with connect(season.config, autocommit=True) as conn:
        yield conn


def claim(season: Season, conn: psycopg.Connection, *days: int) -> tasks.Task | None:
    obsids = [day - 4 for day in days] or None
    return tasks.claim(conn, season.config, f"worker {conn.info.backend_pid}", obsids=obsids)


def attempt(season: Season, conn: psycopg.Connection, *days: int) -> int:
    task = claim(season, conn, *days)
    assert task is not None
    return task.attempt


def kill(season: Season, *connections: psycopg.Connection) -> None:
    with worker(season) as admin:
        for conn in connections:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", [conn.info.backend_pid])


def dies(season: Season, *days: int, change: str = "") -> int:
    """Have a worker die at a task; return which attempt that was."""
    victim = connect(season.config, autocommit=True)
    number = attempt(season, victim, *days)
    with season.database.connect() as conn:
        if change:
            conn.execute(f"UPDATE tasks SET {change} WHERE state = 'running'")  # type: ignore[call-overload]
    kill(season, victim)
    with worker(season) as other:
        vanished_workers.notice(other, season.config.tables, "other")
    return number


def long_ago(season: Season) -> None:
    """Nothing happens at the same time as what is on record."""
    with season.database.connect() as conn:
        conn.execute("UPDATE vanished_workers SET noticed_at = noticed_at - interval '1 minute'")
        conn.execute("UPDATE tasks SET claimed_at = claimed_at - interval '1 minute'")


@pytest.mark.parametrize(
    ("change", "excuse"),
    [("server_start = server_start - interval '1 hour'", "server"), ("host_boot = 'another'", "host")],
)
def test_restarts_of_server_and_host_are_not_the_scenes_fault(
    scenes: Season, change: str, excuse: str
) -> None:
    assert [dies(scenes, 5, change=change) for _ in range(4)] == [1] * 4
    with worker(scenes) as conn:
        assert attempt(scenes, conn, 5) == 1
    assert scenes.rows(EXCUSES) == [(excuse,)] * 4


def test_another_host_that_is_alive_has_not_been_restarted(scenes: Season) -> None:
    with worker(scenes) as there:
        assert attempt(scenes, there, 6) == 1
        assert dies(scenes, 5, change="host_boot = 'another'") == 1
        with worker(scenes) as conn:
            assert attempt(scenes, conn, 5) == 2


def test_a_worker_that_only_lost_its_connection_has_not_vanished(scenes: Season) -> None:
    for _ in range(3):
        line = connect(scenes.config, autocommit=True)
        task = tasks.claim(line, scenes.config, "the same", obsids=[1])
        assert task
        assert task.attempt == 1
        kill(scenes, line)
    with worker(scenes) as conn:
        assert tasks.claim(conn, scenes.config, "the same", obsids=[1]) is not None
    assert scenes.rows(EXCUSES) == [("connection",)] * 3


def test_workers_that_vanish_together_are_not_the_scenes_fault(scenes: Season) -> None:
    first, second = (connect(scenes.config, autocommit=True) for _ in range(2))
    assert (attempt(scenes, first, 5), attempt(scenes, second, 6)) == (1, 1)
    kill(scenes, first, second)
    with worker(scenes) as conn:
        assert (attempt(scenes, conn, 5), attempt(scenes, conn, 6)) == (1, 1)


def test_that_another_vanished_is_found_out_later(scenes: Season) -> None:
    first, second = (connect(scenes.config, autocommit=True) for _ in range(2))
    assert (attempt(scenes, first, 5), attempt(scenes, second, 6)) == (1, 1)
    kill(scenes, first)
    with worker(scenes) as conn:
        assert attempt(scenes, conn, 5) == 2, "taken over at once"
        kill(scenes, second)
        assert attempt(scenes, conn, 6) == 1
        assert scenes.rows("SELECT attempts FROM tasks ORDER BY obsid") == [(1,), (1,), (0,)]


def test_one_after_the_other_is_not_together(scenes: Season) -> None:
    """Also not where the first one had another task with it, and all of it happens within seconds."""
    victim = connect(scenes.config, autocommit=True)
    assert (attempt(scenes, victim, 5), attempt(scenes, victim, 6)) == (1, 1)
    kill(scenes, victim)
    assert [dies(scenes, 5), dies(scenes, 5)] == [2, 3]
    with worker(scenes) as conn:
        assert claim(scenes, conn, 5) is None
        assert scenes.rows("SELECT DISTINCT excuse FROM vanished_workers") == [(None,)]
        long_ago(scenes)
        assert claim(scenes, conn, 5) is None
    assert scenes.status(1) == "Worker vanished"


def test_scenes_that_kill_their_workers_are_tried_one_at_a_time(scenes: Season) -> None:
    """Else two of them might excuse each other for ever."""
    for _ in range(2):
        for day in (5, 6):
            dies(scenes, day)
            long_ago(scenes)
    with worker(scenes) as conn, worker(scenes) as other:
        assert attempt(scenes, conn, 5) == 3
        assert claim(scenes, other, 6) is None
        assert attempt(scenes, other, 7) == 1, "others are not held up"
        kill(scenes, conn)
        assert attempt(scenes, other, 6) == 3


def test_not_for_ever(scenes: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vanished_workers, "EXCUSES", 2)
    restarted = "server_start = server_start - interval '1 hour'"
    assert [dies(scenes, 5, change=restarted) for _ in range(5)] == [1, 1, 1, 2, 3]


def test_the_start_of_the_host_is_known(
    scenes: Season, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = vanished_workers.boot_id()
    assert known
    with worker(scenes) as conn:
        claim(scenes, conn)
    assert scenes.rows(
        "SELECT host_boot, server_start = pg_postmaster_start_time() FROM tasks WHERE state = 'running'"
    ) == [(known, True)]
    monkeypatch.setattr(vanished_workers, "BOOT_ID", tmp_path / "absent")
    assert vanished_workers.boot_id() is None


def test_processes_that_are_killed_together(
    season: Season, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    for day in (5, 6, 7):
        season.scene(day)
    with connect(season.config, autocommit=True) as conn:
        planning.plan(conn, season.config)
    make_writes_slow(season, 2)
    crew = [start_worker(season) for _ in range(2)]
    try:
        begun = "SELECT count(DISTINCT worker) FROM tasks WHERE state = 'running'"
        eventually(lambda: season.rows(begun) == [(2,)])
    finally:
        for member in crew:
            member.kill()
        for member in crew:
            member.communicate()
    make_writes_fast(season)
    season.extract()
    assert {excuse for (excuse,) in season.rows(EXCUSES)} == {"together"}
    assert season.rows("SELECT DISTINCT state, attempts FROM tasks") == [("done", 1)]
