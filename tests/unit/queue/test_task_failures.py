"""Tasks that fail, and tasks whose workers vanish: how often they are tried, and what a scene says then."""

import psycopg
import pytest

from cbmctl.database import connect
from cbmctl.queue import planning, progress, tasks
from cbmctl.queue.repair import repair
from cbmctl.reasons import UNREADABLE, file_missing
from tests.support.season import Season
from tests.support.worker_steps import claim, finish, impatient, kill, line, plan

pytestmark = pytest.mark.postgis


def test_a_dead_workers_task_is_free_at_once(season: Season) -> None:
    scene = season.scene(5, product=False)
    plan(season)
    dead = connect(season.config, autocommit=True)
    lost = claim(season, dead)
    kill(season, dead)
    with line(season) as conn:
        assert season.tasks()[scene, "scl"] == "running"
        again = claim(season, conn)
        assert (again.obsid, again.bandset, again.attempt) == (lost.obsid, lost.bandset, 2)
        with pytest.raises(psycopg.OperationalError):
            finish(season, dead, lost)
        finish(season, conn, again)
    assert season.tasks()[scene, "scl"] == "done"


def test_a_task_that_alone_kills_its_workers_is_parked(season: Season) -> None:
    scene = season.scene(5, product=False)
    season = impatient(season, **{"10": [], "20": []})
    plan(season)
    with line(season) as conn:
        tasks.fail(conn, season.config, claim(season, conn), UNREADABLE, "it is torn")
    for attempt in (2, 3):
        victim = connect(season.config, autocommit=True)
        assert claim(season, victim).attempt == attempt
        kill(season, victim)
    with line(season) as conn:
        assert tasks.claim(conn, season.config, "survivor") is None
        assert not progress.all_closed(conn, season.config.tables), "others may turn out to have died as well"
        conn.execute("UPDATE vanished_workers SET noticed_at = noticed_at - interval '10 s'")
        conn.execute("UPDATE tasks SET claimed_at = claimed_at - interval '10 s'")
        assert tasks.claim(conn, season.config, "survivor") is None
        assert progress.all_closed(conn, season.config.tables)
        assert conn.execute("SELECT FROM pg_locks WHERE locktype = 'advisory'").fetchone() is None
    assert season.rows("SELECT status, reason FROM dias_catalogue WHERE id = %s", scene) == [
        (
            "Worker vanished",
            "the worker of this task alone vanished in attempt 3, the last; memory may be"
            " too small for this scene (journalctl -k); before that, Rio error: it is torn",
        )
    ]
    with line(season) as conn:
        (repaired,) = repair(conn, season.config).scenes
        assert (repaired.before, repaired.after) == ("Worker vanished", "ingested")
        assert claim(season, conn).attempt == 1


def test_three_attempts_then_the_manuals_word_and_the_reason(season: Season) -> None:
    scene, other = season.scene(5, product=False), season.scene(6, product=False)
    season = impatient(season)
    plan(season)
    reason = "it is not there, " + "although it was looked for everywhere, " * 10
    with line(season) as conn:
        order = []
        for _ in range(4):
            task = claim(season, conn)
            order.append(task.obsid)
            if task.obsid == scene:
                last = tasks.fail(conn, season.config, task, file_missing("B02.jp2"), reason)
                tasks.unlock(conn, season.config.tables, task)
                assert last is (task.attempt == 3)
            else:
                finish(season, conn, task)
        assert order == [scene, other, scene, scene], "a failure goes to the end of its line"
        assert season.status(scene) == "inprogress"
        for _ in range(4):
            finish(season, conn, claim(season, conn))
    assert season.status(other) == "extracted"
    assert season.rows("SELECT status, reason_code, reason FROM dias_catalogue WHERE id = %s", scene) == [
        ("!S3 B02.jp2", "archive.file_missing", reason)
    ]
    assert plan(season).changed is False


def test_the_reason_of_a_failed_task_stays_while_another_is_done_again(season: Season) -> None:
    scene = season.scene(5, product=False)
    season = impatient(season, **{"20": []})
    plan(season)
    with line(season) as conn:
        tasks.fail(conn, season.config, claim(season, conn), UNREADABLE, "it is torn", lasting=True)
        finish(season, conn, claim(season, conn))
    season = impatient(season, **{"10": ["B02"], "20": []})
    assert plan(season).again == 1
    with line(season) as conn:
        claim(season, conn)
    assert season.rows("SELECT status, reason FROM dias_catalogue WHERE id = %s", scene) == [
        ("inprogress", "it is torn")
    ]


def test_a_long_word_fits_and_its_reason_is_whole(season: Season) -> None:
    scene = season.scene(5, product=False)
    config = season.database.configured(extraction={"retry_seconds": []})
    with line(season) as conn:
        planning.plan(conn, config)
        for bandset in ("scl", "10", "20"):
            task = claim(season, conn)
            cause = file_missing("a_band_of_a_very_long_name.tif")
            if bandset == "scl":
                finish(season, conn, task)
            else:
                assert tasks.fail(conn, config, task, cause, f"{bandset} m are\nnot there")
                tasks.unlock(conn, season.config.tables, task)
    assert season.rows("SELECT status, reason FROM dias_catalogue WHERE id = %s", scene) == [
        ("!S3 a_band_of_a_very_lon", "10 m are\nnot there")
    ]


def test_a_failure_waits_longer_each_time(season: Season) -> None:
    scene = season.scene(5, product=False)
    config = season.database.configured(extraction={"s2": {"10": [], "20": []}, "retry_seconds": [30, 300]})
    with line(season) as conn:
        planning.plan(conn, config)
        for attempt, pause in ((1, 30), (2, 300)):
            task = claim(season, conn)
            assert task.attempt == attempt
            assert not tasks.fail(conn, config, task, UNREADABLE, "it is torn")
            tasks.unlock(conn, season.config.tables, task)
            assert season.rows(
                "SELECT round(extract(epoch FROM not_before - now()) / 10)::integer * 10 FROM tasks"
            ) == [(pause,)]
            assert tasks.claim(conn, config, "too early") is None
            assert not progress.all_closed(conn, config.tables)
            conn.execute("UPDATE tasks SET not_before = now() - interval '1 ms'")
        task = claim(season, conn)
        assert season.rows("SELECT not_before FROM tasks") == [(None,)]
        assert tasks.fail(conn, config, task, UNREADABLE, "it is torn")
    assert season.rows("SELECT state, not_before FROM tasks") == [("failed", None)]
    assert season.status(scene) == "Rio error"


def test_a_dead_workers_task_does_not_wait(season: Season) -> None:
    season.scene(5, product=False)
    config = season.database.configured(extraction={"s2": {"10": [], "20": []}, "retry_seconds": [0, 3600]})
    with line(season) as conn:
        planning.plan(conn, config)
        task = claim(season, conn)
        tasks.fail(conn, config, task, UNREADABLE, "it is torn")
        tasks.unlock(conn, season.config.tables, task)
        victim = connect(config, autocommit=True)
        assert claim(season, victim).attempt == 2
        kill(season, victim)
        assert claim(season, conn).attempt == 3


def test_only_what_nobody_has_tried(season: Season) -> None:
    scene, other = season.scene(5, product=False), season.scene(6, product=False)
    season = impatient(season, **{"10": [], "20": []})
    plan(season)
    victim = connect(season.config, autocommit=True)
    assert claim(season, victim, fresh_only=True).obsid == scene
    kill(season, victim)
    with line(season) as conn:
        first = claim(season, conn, fresh_only=True)
        assert first.obsid == other
        tasks.fail(conn, season.config, first, UNREADABLE, "it is torn")
        tasks.unlock(conn, season.config.tables, first)
        assert tasks.claim(conn, season.config, "test", fresh_only=True) is None
        assert {(task.obsid, task.attempt) for task in (claim(season, conn), claim(season, conn))} == {
            (scene, 2),
            (other, 2),
        }


def test_what_is_ready_again_before_its_worker_let_go_is_not_taken(season: Season) -> None:
    season.scene(5, product=False)
    season = impatient(season, **{"10": [], "20": []})
    plan(season)
    with line(season) as conn, line(season) as other:
        task = claim(season, conn)
        tasks.fail(conn, season.config, task, UNREADABLE, "it is torn")
        assert tasks.claim(other, season.config, "other") is None
        tasks.unlock(conn, season.config.tables, task)
        assert claim(season, other).attempt == 2
