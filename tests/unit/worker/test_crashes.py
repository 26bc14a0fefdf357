"""Whatever dies, in whatever instant: the tables end as those of an undisturbed run, byte for byte."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import rasterio

from cbmctl.database import connect
from cbmctl.queue.planning import plan
from cbmctl.queue.repair import repair
from tests.support.effort import THOROUGH, drawing
from tests.support.products_s2 import image_file, write_image
from tests.support.season import Season, pixels

pytestmark = pytest.mark.postgis

WORKERS = 4
KILLS = int(os.environ.get("CBM_KILLS", "60" if THOROUGH else "6"))
DAYS = range(3, 15)
COPYING = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE query LIKE 'COPY \"public\".\"sigs\"%%' AND state = 'active' AND datname = current_database()"
)
TABLES = {
    "sigs": "SELECT * FROM sigs ORDER BY pid, obsid, band",
    "hists": "SELECT * FROM hists ORDER BY pid, obsid",
    "dias_catalogue": "SELECT * FROM dias_catalogue ORDER BY id",
}


def contents(season: Season) -> dict[str, bytes]:
    """Every byte of the tables that clients read, in PostgreSQL's own binary form."""
    found = {}
    with season.database.connect() as conn, conn.cursor() as cursor:
        for name, query in TABLES.items():
            with cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT binary)") as copy:
                found[name] = b"".join(bytes(part) for part in copy)
    return found


def undisturbed(season: Season) -> dict[str, bytes]:
    """The tables after a quiet run; then everything is as if it had never been."""
    season.extract()
    assert season.rows("SELECT DISTINCT status FROM dias_catalogue") == [("extracted",)]
    found = contents(season)
    with season.database.connect() as conn:
        conn.execute("TRUNCATE sigs, hists, tasks")
        conn.execute("UPDATE dias_catalogue SET status = 'ingested', applied_offset = NULL")
    return found


def make_writes_slow(season: Season, seconds: float, which: str = "NEW.pid = 7") -> None:
    """Make each task linger in the middle of its transaction, where a death would hurt most."""
    with season.database.connect(autocommit=True) as conn:
        conn.execute(
            f"""CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$;
                CREATE TRIGGER wait BEFORE INSERT ON sigs
                FOR EACH ROW WHEN ({which}) EXECUTE FUNCTION wait();
                CREATE TRIGGER wait BEFORE INSERT ON hists
                FOR EACH ROW WHEN ({which}) EXECUTE FUNCTION wait()"""
        )


def make_writes_fast(season: Season) -> None:
    with season.database.connect(autocommit=True) as conn:
        conn.execute("DROP FUNCTION wait() CASCADE")


def start_worker(season: Season) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "cbmctl", "--config", str(season.database.config_path), "worker"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def open_tasks(season: Season) -> int:
    return int(season.rows("SELECT count(*) FROM tasks WHERE state IN ('ready', 'running')")[0][0])


def test_workers_killed_at_random_instants(
    season: Season, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    for day in DAYS:
        season.scene(day)
    expected = undisturbed(season)
    chance = drawing()
    with connect(season.config, autocommit=True) as conn:
        plan(conn, season.config)
    killed = 0
    make_writes_slow(season, 0.1)
    crew = [start_worker(season) for _ in range(WORKERS)]
    try:
        for _ in range(KILLS):
            # not while Python starts: when there is something to lose
            eventually(lambda: len(at_work(season)) > 0 or not open_tasks(season))
            time.sleep(chance.uniform(0, 0.4))
            working = [member for member in crew if member.pid in at_work(season)]
            if not working:
                continue
            victim = chance.choice(working)
            victim.kill()
            victim.communicate()
            killed += 1
            crew[crew.index(victim)] = start_worker(season)
        for member in crew:
            output, _ = member.communicate(timeout=120)
            assert member.returncode == 0, output.decode()
    finally:
        for member in crew:
            member.kill()
            member.wait()
    assert killed >= 3
    make_writes_fast(season)
    # a task that three workers in a row died with is parked, for a person to look at
    parked = season.rows("SELECT count(*) FROM tasks WHERE state = 'failed'")[0][0]
    with connect(season.config, autocommit=True) as conn:
        assert len(repair(conn, season.config).scenes) <= parked
    season.extract()
    assert contents(season) == expected


def at_work(season: Season) -> set[int]:
    """Process ids of the workers that hold a task."""
    rows = season.rows(
        """SELECT DISTINCT split_part(application_name, ':', 2)::integer FROM pg_locks l
           JOIN pg_stat_activity a ON a.pid = l.pid
           WHERE locktype = 'advisory' AND application_name LIKE 'cbmctl worker %%'
             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
    )
    return {pid for (pid,) in rows}


def crash_database(season: Season) -> None:
    """Kill -9 one of the server's processes: it ends all sessions and recovers, as after a power cut."""
    with season.database.connect(autocommit=True) as conn:
        pid = conn.execute(COPYING).fetchone()
        assert pid
        with pytest.raises(psycopg.OperationalError):
            conn.execute(
                f"CREATE TEMPORARY TABLE out (line text); COPY out FROM PROGRAM 'kill -9 {pid[0]}; sleep 5'"
            )


def test_a_database_that_crashes_in_the_middle_of_a_copy(
    season: Season, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    for day in DAYS[:3]:
        season.scene(day)
    expected = undisturbed(season)
    with connect(season.config, autocommit=True) as conn:
        plan(conn, season.config)
    make_writes_slow(season, 3)
    worker = start_worker(season)
    try:
        eventually(lambda: bool(season.rows(COPYING)))
        crash_database(season)
        eventually(lambda: _answers(season))
        make_writes_fast(season)
        output, _ = worker.communicate(timeout=120)
    finally:
        worker.kill()
        worker.wait()
    assert worker.returncode == 0, output.decode()
    assert b"waiting for the database" in output
    assert contents(season) == expected


def _answers(season: Season) -> bool:
    try:
        season.rows("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _other_zone(file: Path) -> None:
    with rasterio.open(file) as dataset:
        values = dataset.read(1)
    file.unlink()
    write_image(file, values, 10.0, 32633)


@pytest.mark.parametrize(
    ("damage", "status"),
    [
        (_empty, "Rio error"),
        (Path.unlink, "!S3 B03.jp2"),
        (_truncate, "Rio error"),
        (_other_zone, "Rio error"),
    ],
)
def test_repair_brings_a_broken_scene_home(
    season: Season, damage: Callable[[Path], None], status: str
) -> None:
    obsids = [season.scene(day) for day in DAYS[:2]]
    expected = undisturbed(season)
    path = season.rows("SELECT path FROM dias_catalogue WHERE id = %s", obsids[0])[0][0]
    file = image_file(season.config.eodata, path, "B03_10m")
    whole = file.with_suffix(".kept")
    shutil.copy(file, whole)
    damage(file)
    season.extract()
    assert [season.status(obsid) for obsid in obsids] == [status, "extracted"]
    assert "B03" in season.rows("SELECT reason FROM dias_catalogue WHERE id = %s", obsids[0])[0][0]
    whole.replace(file)
    with connect(season.config, autocommit=True) as conn:
        assert len(repair(conn, season.config).scenes) == 1
    season.extract()
    assert contents(season) == expected
    with connect(season.config, autocommit=True) as conn:
        assert not repair(conn, season.config).changed


def test_pixels_of_the_season_differ_by_day() -> None:
    """Else the comparisons above would not notice scenes that were mixed up."""
    assert len({pixels(day)["B02_10m"].tobytes() for day in DAYS}) == len(DAYS)
