"""Workers as processes: whose death costs nothing, and whose end on a signal loses nothing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cbmctl.cli import Context, worker_processes
from cbmctl.cli.output import Output
from cbmctl.database import connect
from cbmctl.errors import UserError
from cbmctl.queue.planning import plan
from cbmctl.worker.stop_signal import Stop
from tests.support.expected_rows import expected_sigs, found_sigs
from tests.support.season import Season

pytestmark = pytest.mark.postgis


def test_workers_that_are_killed_in_vain_end_the_run(season: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    season.scene(5)
    with connect(season.config, autocommit=True) as conn:
        plan(conn, season.config)
    monkeypatch.setattr(worker_processes, "_command", lambda *_: ["sh", "-c", "kill -9 $$"])
    monkeypatch.setattr(Stop, "install", lambda stop: stop)  # signals stay pytest's
    context = Context(season.database.config_path, Output(as_json=True))
    with pytest.raises(UserError, match="workers were killed before a task was completed"):
        worker_processes.run_crew(context, season.config, 2, 3, None)


def command(season: Season, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "cbmctl", "--config", str(season.database.config_path), "--json", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def slow_writes(season: Season) -> None:
    """Make a task last: its first row waits, in the middle of the transaction."""
    with season.database.connect(autocommit=True) as conn:
        conn.execute(
            """CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN PERFORM pg_sleep(1); RETURN NEW; END $$;
               CREATE TRIGGER wait BEFORE INSERT ON sigs
               FOR EACH ROW WHEN (NEW.pid = 1) EXECUTE FUNCTION wait()"""
        )


def writing(season: Season) -> Callable[[], bool]:
    return lambda: bool(
        season.rows(
            "SELECT FROM pg_stat_activity WHERE query LIKE 'COPY%%sigs%%' AND state = 'active'"
            " AND datname = current_database()"
        )
    )


def oom_score_adj(pid: int | str) -> int:
    """How much sooner than others the kernel ends a process if memory runs out."""
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


@pytest.mark.parametrize("arguments", [("worker",), ("extract", "run", "--workers", "1")])
def test_the_kernel_ends_workers_before_the_database(
    season: Season, eventually: Callable[[Callable[[], bool]], None], arguments: tuple[str, ...]
) -> None:
    season.scene(5)
    slow_writes(season)
    with connect(season.config, autocommit=True) as conn:
        plan(conn, season.config)
    process = command(season, *arguments)
    try:
        eventually(writing(season))
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        workers = [str(process.pid)] if arguments == ("worker",) else children
        # 100 is what the processes of the database have
        assert [oom_score_adj(pid) for pid in workers] == [1000]
        if arguments != ("worker",):
            assert oom_score_adj(process.pid) == oom_score_adj("self"), "it replaces workers that were killed"
    finally:
        process.terminate()
        process.communicate(timeout=120)


def test_kill_9_in_the_middle_loses_and_doubles_nothing(
    season: Season, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    days = {season.scene(day): day for day in (5, 6)}
    slow_writes(season)
    with connect(season.config, autocommit=True) as conn:
        plan(conn, season.config)
    victim = command(season, "worker")
    try:
        eventually(writing(season))
    finally:
        os.kill(victim.pid, signal.SIGKILL)
        victim.communicate()
    assert season.rows("SELECT count(*) FROM sigs") == [(0,)]
    assert season.rows("SELECT count(*) FROM tasks WHERE state = 'running'") == [(2,)]  # one ahead
    with season.database.connect(autocommit=True) as conn:
        conn.execute("DROP TRIGGER wait ON sigs")
    season.extract()
    assert found_sigs(season) == [row for obsid, day in days.items() for row in expected_sigs(obsid, day)]
    assert season.rows("SELECT count(*) FROM hists") == [(4,)]
    assert season.rows("SELECT DISTINCT status FROM dias_catalogue") == [("extracted",)]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_worker_ends_what_it_writes_and_gives_the_rest_back(
    season: Season, eventually: Callable[[Callable[[], bool]], None], number: int, code: int
) -> None:
    season.scene(5)
    slow_writes(season)
    with connect(season.config, autocommit=True) as conn:
        plan(conn, season.config)
    worker = command(season, "worker")
    eventually(writing(season))
    worker.send_signal(number)
    _, errors = worker.communicate(timeout=120)
    assert worker.returncode == code, errors
    assert b"Traceback" not in errors
    assert season.rows("SELECT bandset, state, attempts FROM tasks ORDER BY bandset") == [
        ("10", "done", 1),
        ("20", "ready", 0),
        ("scl", "done", 1),
    ]


def test_extract_run_does_it_all(season: Season) -> None:
    days = {season.scene(day): day for day in (5, 6, 7)}
    season.scene(8, product=False)
    run = command(season, "extract", "run", "--workers", "2")
    out, errors = run.communicate(timeout=120)
    assert run.returncode == 0, errors
    counts = {"pending": 0, "running": 0, "done": 9, "failed": 3}
    assert json.loads(out) == {"changed": True, "created": 12, "again": 0, "dropped": 0, "kept": 0, **counts}
    assert found_sigs(season) == [row for obsid, day in days.items() for row in expected_sigs(obsid, day)]
    out, _ = command(season, "extract", "run").communicate(timeout=120)
    assert json.loads(out)["changed"] is False
    out, _ = command(season, "status").communicate(timeout=120)
    status = json.loads(out)
    assert status["scenes"] == [
        {"card": "s2", "status": "!S3 subdir", "count": 1},
        {"card": "s2", "status": "extracted", "count": 3},
    ]
    assert status["tasks"]["scl"] == {"ready": 0, "running": 0, "done": 3, "failed": 1}
    assert (status["parcels"], status["sigs"], status["hists"]) == (3, 18, 6)
    assert {task["status"] for task in status["failed_tasks"]} == {"!S3 subdir"}
