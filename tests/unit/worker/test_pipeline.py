"""The worker on small real products: its rows are numpy's, and its death costs nothing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.transform import from_origin

from cbmctl.cli import Context, worker_processes
from cbmctl.cli.output import Output
from cbmctl.database import connect
from cbmctl.errors import UserError
from cbmctl.queue import tasks
from cbmctl.queue.planning import plan
from cbmctl.worker.pipeline import work
from cbmctl.worker.stop_signal import Stop
from tests.support.products_s2 import LEFT, TOP, image_file
from tests.support.season import BANDS_10, BANDS_20, OFFSET, PARCELS, Season, pixels

pytestmark = pytest.mark.postgis

Row = tuple[Any, ...]


def members(pid: int, resolution: int) -> NDArray[np.bool_]:
    """The parcel's pixels, by GDAL on the whole image."""
    size = 400 // resolution
    mask = rasterize(
        [PARCELS[pid]],
        (size, size),
        transform=from_origin(LEFT, TOP, resolution, resolution),
        all_touched=False,
    )
    return mask.astype(bool)


def expected_sigs(obsid: int, day: int) -> list[Row]:
    """Compute every statistic with numpy, one parcel and band at a time."""
    rows = []
    for pid in (1, 7):
        for bands, resolution in ((BANDS_10, 10), (BANDS_20, 20)):
            for band in bands:
                stored = pixels(day)[f"{band}_{resolution}m"].astype(np.float64)
                values = np.maximum(stored + OFFSET, 1)[members(pid, resolution)]
                figures = (
                    len(values),
                    values.mean(),
                    values.std(),
                    values.min(),
                    values.max(),
                    *np.percentile(values, (25, 50, 75)),
                )
                rows.append((pid, obsid, band, *(float(np.float32(figure)) for figure in figures)))
    return sorted(rows)


def expected_hists(obsid: int, day: int) -> list[Row]:
    rows = []
    for pid in (1, 7):
        classes, counts = np.unique(pixels(day)["SCL_20m"][members(pid, 20)], return_counts=True)
        rows.append((pid, obsid, dict(zip(map(str, classes.tolist()), counts.tolist(), strict=True))))
    return rows


def found_sigs(season: Season) -> list[Row]:
    # float8 shows every digit of a real
    figures = ", ".join(
        f'"{name}"::float8' for name in ("count", "mean", "std", "min", "max", "p25", "p50", "p75")
    )
    return season.rows(f"SELECT pid, obsid, band, {figures} FROM sigs ORDER BY obsid, pid, band")


def test_rows_are_numpys(season: Season) -> None:
    days = {season.scene(day): day for day in (5, 6)}
    lines = season.extract()
    assert len(lines) == 6
    assert found_sigs(season) == [row for obsid, day in days.items() for row in expected_sigs(obsid, day)]
    assert season.rows("SELECT pid, obsid, hist FROM hists ORDER BY obsid, pid") == [
        row for obsid, day in days.items() for row in expected_hists(obsid, day)
    ]
    assert season.rows("SELECT DISTINCT status, applied_offset FROM dias_catalogue") == [
        ("extracted", OFFSET)
    ]
    assert season.rows("SELECT bandset, sum(parcels), sum(rows) FROM tasks GROUP BY 1 ORDER BY 1") == [
        ("10", 4, 8),
        ("20", 4, 4),
        ("scl", 4, 4),
    ]


def test_values_as_stored(season: Season) -> None:
    season.database.configured(
        extraction={"s2": {"scl": False, "10": ["B02"], "20": [], "reflectance": "as-stored"}}
    )
    config = season.database.configured()
    season.scene(5)
    with connect(config, autocommit=True) as conn:
        plan(conn, config)
    work(config, stop=Stop(), note=lambda _line: None)
    low = pixels(5)["B02_10m"][members(1, 10)].min()
    assert season.rows('SELECT "min" FROM sigs WHERE pid = 1') == [(float(low),)]
    assert season.rows("SELECT applied_offset FROM dias_catalogue") == [(0,)]


def test_a_second_extraction_replaces_the_first(season: Season) -> None:
    scene = season.scene(5)
    season.extract()
    with season.database.connect(autocommit=True) as conn:
        conn.execute("UPDATE dias_catalogue SET status = 'ingested'")
        conn.execute("UPDATE sigs SET mean = 0")
        # of a parcel that is gone, and of another card: the one must go, the other must stay
        conn.execute(
            "INSERT INTO sigs (pid, obsid, band) VALUES (99, %s, 'B02'), (99, %s, 'VVb')", [scene, scene]
        )
    season.extract()
    assert season.rows("SELECT pid, band FROM sigs WHERE pid = 99") == [(99, "VVb")]
    with season.database.connect(autocommit=True) as conn:
        conn.execute("DELETE FROM sigs WHERE pid = 99")
    assert found_sigs(season) == expected_sigs(scene, 5)


def test_a_scene_without_parcels_is_not_even_opened(season: Season) -> None:
    empty = season.scene(5, product=False, shift=0.3)
    assert len(season.extract()) == 1
    assert season.status(empty) == "No parcels"
    assert season.rows("SELECT count(*), sum(rows) FROM tasks WHERE state = 'done'") == [(3, 0)]


@pytest.mark.parametrize(
    ("damage", "status", "code", "reason"),
    [
        ("product", "!S3 subdir", "archive.product_missing", "is not in the archive"),
        ("band", "!S3 B02.jp2", "archive.file_missing", "lacks B02"),
        ("bytes", "Rio error", "archive.unreadable", "cannot be read"),
        ("parcels", "Parcel SQL", "parcels.unreadable", "public.parcels_2021 cannot be read"),
        ("path", "!S3 subdir", "catalogue.no_path", "the catalogue has no path"),
    ],
)
def test_a_broken_scene_gets_its_word_and_the_others_go_on(
    season: Season, damage: str, status: str, code: str, reason: str
) -> None:
    broken, whole = season.scene(5, product=damage != "product"), season.scene(6)
    path = season.rows("SELECT path FROM dias_catalogue WHERE id = %s", broken)[0][0]
    with season.database.connect(autocommit=True) as conn:
        if damage == "band":
            image_file(season.config.eodata, path, "B02_10m").unlink()
        if damage == "bytes":
            image_file(season.config.eodata, path, "B02_10m").write_bytes(b"")
        if damage == "path":
            conn.execute("UPDATE dias_catalogue SET path = NULL WHERE id = %s", [broken])
        if damage == "parcels":
            conn.execute("ALTER TABLE parcels_2021 RENAME TO parcels_gone")
    season.extract()
    found = season.rows("SELECT status, reason_code, reason FROM dias_catalogue WHERE id = %s", broken)[0]
    assert found[:2] == (status, code)
    assert reason in found[2]
    assert season.status(whole) == (status if damage == "parcels" else "extracted")


def test_a_scene_without_footprint_is_not_one_without_parcels(season: Season) -> None:
    scene = season.scene(5)
    season.extract()
    with season.database.connect(autocommit=True) as conn:
        conn.execute("UPDATE tasks SET state = 'ready', parcels_covered = NULL")
        conn.execute("UPDATE dias_catalogue SET footprint = NULL")
    before = found_sigs(season)
    work(season.config, stop=Stop(), note=lambda _line: None)
    assert season.status(scene) == "No extent"
    assert found_sigs(season) == before


def test_an_empty_parcel_table_is_an_error_of_the_table(season: Season) -> None:
    scene = season.scene(5)
    with season.database.connect(autocommit=True) as conn:
        conn.execute("DELETE FROM parcels_2021")
    season.extract()
    assert season.status(scene) == "Parcel SQL"


def test_an_error_that_is_not_the_lines_ends_the_worker(
    season: Season, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk comes as the same class as a lost connection; waiting would not mend it."""

    def full(*_: object, **__: object) -> None:
        raise psycopg.errors.DiskFull("no space left on device")

    monkeypatch.setattr("cbmctl.queue.tasks.claim", full)
    with pytest.raises(psycopg.errors.DiskFull):
        work(season.config, stop=Stop(), note=lambda _line: None)


def test_workers_that_are_killed_in_vain_end_the_run(season: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    season.scene(5)
    with connect(season.config, autocommit=True) as conn:
        plan(conn, season.config)
    monkeypatch.setattr(worker_processes, "_command", lambda *_: ["sh", "-c", "kill -9 $$"])
    monkeypatch.setattr(Stop, "install", lambda stop: stop)  # signals stay pytest's
    context = Context(season.database.config_path, Output(as_json=True))
    with pytest.raises(UserError, match="workers were killed before a task was completed"):
        worker_processes.run_crew(context, season.config, 2, 3, None)


def test_a_failed_claim_leaves_no_lock(season: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    season.scene(5)

    def deadlock(*_: object) -> None:
        raise psycopg.errors.DeadlockDetected("deadlock detected")

    with connect(season.config, autocommit=True) as conn:
        plan(conn, season.config)
        with monkeypatch.context() as patch:
            patch.setattr("cbmctl.queue.tasks._start", deadlock)
            with pytest.raises(psycopg.errors.DeadlockDetected):
                tasks.claim(conn, season.config, "a")
        assert season.rows("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]
        with connect(season.config, autocommit=True) as other:
            assert tasks.claim(other, season.config, "b")


def test_a_failed_write_leaves_no_rows(season: Season) -> None:
    scene = season.scene(5)
    with season.database.connect(autocommit=True) as conn:
        conn.execute("ALTER TABLE sigs ADD CHECK (band <> 'B03')")
    season.extract()
    assert season.rows("SELECT DISTINCT band FROM sigs") == [("B05",)]
    assert season.status(scene) == "No out db"


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
