"""`repair`: what is half done becomes as good as new, and nothing else is touched."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from cbmctl.cli import cbmctl
from cbmctl.config import Config
from cbmctl.database import connect
from cbmctl.errors import UserError
from cbmctl.queue import tasks
from cbmctl.queue.repair import repair
from cbmctl.queue.scene_changes import update_scenes
from cbmctl.reasons import FAILURES
from cbmctl.schema import apply
from cbmctl.worker.pipeline import work
from cbmctl.worker.stop_signal import Stop
from tests.conftest import Database
from tests.support.half_done_scenes import (
    REFERENCE,
    S2,
    claim,
    fail,
    finish,
    planned,
    repaired,
    rows,
    tried_once,
)
from tests.support.season import BANDS_10, Season

pytestmark = pytest.mark.postgis


@pytest.fixture
def quick(season: Season) -> Season:
    return tried_once(season)


@pytest.fixture
def conn(season: Season) -> Iterator[psycopg.Connection]:
    with connect(season.config, autocommit=True) as connection:
        yield connection


def extract(season: Season) -> None:
    planned(season)
    work(season.config, stop=Stop(), note=lambda _line: None)


def everything(season: Season) -> list[Any]:
    return [
        season.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in ("dias_catalogue", "tasks", "sigs")
    ] + [season.rows("SELECT pid, obsid FROM hists ORDER BY 1, 2")]


def by_hand(season: Season, statuses: tuple[tuple[str, str], ...]) -> dict[str, int]:
    """What somebody has left who worked by the manual: a scene of each card and status, rows, no task."""
    with season.database.connect() as conn:
        for day, (card, status) in enumerate(statuses, 1):
            scene = season.scene(day, product=False)
            change = "UPDATE dias_catalogue SET card = %s, status = %s, reference = %s WHERE id = %s"
            conn.execute(change, [card, status, status, scene])
            conn.execute(
                "INSERT INTO sigs (pid, obsid, band) VALUES (1, %s, 'B2'), (1, %s, 'VVb')", [scene, scene]
            )
            conn.execute("INSERT INTO hists VALUES (1, %s, '{}')", [scene])
    return {status: scene for scene, status in season.rows("SELECT id, reference FROM dias_catalogue")}


def test_a_database_of_the_manual(season: Season) -> None:
    bad = (
        "inprogress",
        "!S3 VV.img",
        "!S3 B08.jp2",
        *sorted({reason.status for reason in FAILURES} - {"!S3"}),
    )
    good = ("ingested", "extracted", "No parcels", "final")
    scenes = by_hand(season, tuple((("s2", "bs", "c12")[len(word) % 3], word) for word in (*bad, *good)))
    before = everything(season)
    would = repaired(season, check=True)
    assert everything(season) == before
    done = repaired(season)
    assert done == would
    assert {scene.before for scene in done.scenes} == set(bad)
    assert {(scene.after, scene.sigs, scene.hists, scene.tasks) for scene in done.scenes} == {
        ("ingested", 2, 1, 0)
    }
    assert {season.status(scenes[word]) for word in bad} == {"ingested"}
    assert {word: season.status(scenes[word]) for word in good} == {word: word for word in good}
    assert {obsid for obsid, _ in rows(season)} == {scenes[word] for word in good}
    again = repaired(season)
    assert (again.changed, again.scenes, again.live) == (False, (), ())


def test_a_scene_of_the_manual_that_was_planned_already(season: Season) -> None:
    scene = by_hand(season, (("s2", "inprogress"),))["inprogress"]
    with season.database.connect() as conn:
        conn.execute("INSERT INTO sigs (pid, obsid, band) VALUES (1, %s, 'B02')", [scene])
    planned(season)
    (done,) = repaired(season).scenes
    assert (done.after, done.sigs, done.hists, done.tasks) == ("ingested", 1, 1, 0)
    assert set(season.tasks().values()) == {"ready"}
    assert not repaired(season).changed


def test_a_failed_scene_keeps_what_is_done(quick: Season, conn: psycopg.Connection) -> None:
    scene, other = quick.scene(5, product=False), quick.scene(6, product=False)
    planned(quick)
    fail(quick, conn, claim(quick, conn, "10"))
    conn.execute("INSERT INTO sigs (pid, obsid, band) VALUES (1, %s, 'B02'), (1, %s, 'VVb')", [scene, scene])
    conn.execute("UPDATE dias_catalogue SET applied_offset = -1000")
    finish(quick, conn, claim(quick, conn, "10"))
    assert quick.status(scene) == "inprogress"
    (done,) = repaired(quick).scenes
    assert done.reference == REFERENCE
    assert (done.before, done.after, done.sigs, done.hists, done.tasks) == (
        "inprogress",
        "inprogress",
        1,
        0,
        1,
    )
    assert done.reason == "line 1\nB02.jp2 is torn"
    assert rows(quick) == [(scene, "SCL"), (scene, "VVb"), (other, "B02"), (other, "B03"), (other, "SCL")]
    assert quick.rows("SELECT id, applied_offset, reason FROM dias_catalogue ORDER BY id") == [
        (scene, None, None),
        (other, -1000, None),
    ]
    assert quick.rows(
        "SELECT DISTINCT state, attempts, reason, worker, not_before, rows FROM tasks WHERE state = 'ready'"
    ) == [("ready", 0, None, None, None, None)]
    assert not repaired(quick).changed


def test_a_dead_workers_scene(season: Season, conn: psycopg.Connection) -> None:
    scene = season.scene(5, product=False)
    planned(season)
    with connect(season.config, autocommit=True) as victim:
        claim(season, victim, "10")
        live = repaired(season)
        assert (live.changed, live.live) == (False, (REFERENCE,))
        conn.execute("SELECT pg_terminate_backend(%s, 5000)", [victim.info.backend_pid])
    (done,) = repaired(season).scenes
    assert (done.before, done.after, done.reason) == ("inprogress", "inprogress", "the worker host:1 is gone")
    assert season.tasks() == {(scene, "scl"): "done", (scene, "10"): "ready", (scene, "20"): "ready"}
    assert season.rows("SELECT DISTINCT attempts, worker FROM tasks WHERE state = 'ready'") == [(0, None)]
    assert not repaired(season).changed


def test_a_task_that_waits_for_its_next_attempt_waits_no_longer(
    season: Season, conn: psycopg.Connection
) -> None:
    season.scene(5, product=False)
    config = season.database.configured(extraction={"s2": S2, "retry_seconds": [3600]})
    season = replace(season, config=config)
    planned(season)
    fail(season, conn, claim(season, conn, "20"))
    assert tasks.claim(conn, season.config, "too early") is None
    (done,) = repaired(season).scenes
    assert (done.tasks, done.reason) == (1, "line 1\nB02.jp2 is torn")
    task = tasks.claim(conn, season.config, "now")
    assert task is not None
    assert (task.bandset, task.attempt) == ("20", 1)


def test_whole_rows_that_only_wait_to_be_replaced_stay(season: Season) -> None:
    scenes = [season.scene(day) for day in (5, 6)]
    extract(season)
    before = everything(season)[2:]
    config = season.database.configured(extraction={"s2": S2 | {"reflectance": "as-stored"}})
    season = replace(season, config=config)
    planned(season)
    assert {season.status(scene) for scene in scenes} == {"inprogress"}
    assert not repaired(season).changed
    assert everything(season)[2:] == before


def test_only_the_scenes_that_are_named(quick: Season, conn: psycopg.Connection) -> None:
    scenes = [quick.scene(day, product=False) for day in (5, 6)]
    planned(quick)
    for _ in scenes:
        fail(quick, conn, claim(quick, conn, "20"))
    assert {quick.status(scene) for scene in scenes} == {"Rio error"}
    assert [scene.reference for scene in repaired(quick, REFERENCE).scenes] == [REFERENCE]
    assert [quick.status(scene) for scene in scenes] == ["inprogress", "Rio error"]
    before = everything(quick)
    for unknown, near in (
        (REFERENCE.replace("135811", "135812"), f"Name {REFERENCE} or S2A_MSIL2A_20210306T"),
        (REFERENCE.removesuffix(".SAFE"), f"Name {REFERENCE} or S2A_MSIL2A_20210306T"),
        ("20210305t102921 t32tmt", f"Name {REFERENCE} or S2A_MSIL2A_20210306T"),
        ("20210305", f"Name {REFERENCE}"),
        ("%", "Name one that cbmctl catalogue sync has entered"),
    ):
        with pytest.raises(UserError) as error:
            repaired(quick, REFERENCE, unknown)
        assert f"public.dias_catalogue has no scene '{unknown}'. {near}" in str(error.value)
    assert everything(quick) == before


def test_a_band_set_that_is_not_wanted_any_more_is_forgotten(quick: Season, conn: psycopg.Connection) -> None:
    scene = quick.scene(5, product=False)
    planned(quick)
    fail(quick, conn, claim(quick, conn, "20"))
    assert quick.status(scene) == "Rio error"
    config = quick.database.configured(extraction={"s2": S2 | {"20": []}})
    (done,) = repaired(replace(quick, config=config)).scenes
    assert (done.before, done.after) == ("Rio error", "extracted")
    assert (scene, "20") not in quick.tasks()


def test_a_task_of_an_older_version_becomes_what_is_configured(
    quick: Season, conn: psycopg.Connection
) -> None:
    quick.scene(5, product=False)
    planned(quick)
    fail(quick, conn, claim(quick, conn, "10"))
    conn.execute("UPDATE tasks SET bands = NULL, method = NULL WHERE state = 'failed'")
    assert repaired(quick).changed
    task = tasks.claim(conn, quick.config, "test")
    assert task is not None
    assert (task.bands, task.method) == (BANDS_10, quick.config.extraction.methods["10"])


def test_repaired_scenes_are_extracted_to_the_end(quick: Season, conn: psycopg.Connection) -> None:
    scenes = [quick.scene(day) for day in (5, 6, 7)]
    extract(quick)
    expected = everything(quick)[2:]
    with conn.transaction():
        # one that failed, one that was left half done, and one that was done by hand
        conn.execute("DELETE FROM sigs WHERE band = 'B02' AND pid = 1")
        conn.execute(
            "UPDATE tasks SET state = 'failed', parcels_covered = NULL, reason_code = 'archive.unreadable',"
            " failed_status = 'Rio error', reason = 'x' WHERE bandset = '10'"
        )
        conn.execute(
            "UPDATE tasks SET state = 'running', parcels_covered = NULL WHERE obsid = %s", [scenes[1]]
        )
        conn.execute("DELETE FROM tasks WHERE obsid = %s", [scenes[2]])
        update_scenes(conn, quick.config.tables, scenes[:2])
        conn.execute("UPDATE dias_catalogue SET status = 'inprogress' WHERE id = %s", [scenes[2]])
    assert len(repaired(quick).scenes) == 3
    assert quick.status(scenes[1]) == quick.status(scenes[2]) == "ingested"
    extract(quick)
    assert {quick.status(scene) for scene in scenes} == {"extracted"}
    assert everything(quick)[2:] == expected
    assert not repaired(quick).changed


@pytest.mark.usefixtures("roles")
@pytest.mark.parametrize("role", ["cbm_owner", "cbm_writer"])
def test_who_may_repair(database: Database, role: str) -> None:
    def config(user: str) -> Config:
        return database.configured(connection={"dbuser": user, "dbpasswd": "only-for-tests"})

    apply(config("cbm_owner"))
    with database.connect() as conn:
        conn.execute(
            """INSERT INTO dias_catalogue (id, obstime, reference, sensor, card, status) VALUES
                   (1, '2021-03-05', 'a', '2A', 's2', 'Rio error'), (2, '2021-03-06', 'b', '2A', 's2', 'x');
               INSERT INTO tasks (obsid, bandset, bands, method, state, reason_code, failed_status, reason)
               VALUES (2, '10', '{}', '{}', 'failed', 'worker.error', 'Worker error', 'x');
               INSERT INTO sigs (pid, obsid, band) VALUES (1, 1, 'B02'), (1, 2, 'B02');
               INSERT INTO hists VALUES (1, 1, '{}')"""
        )
    with connect(config(role), autocommit=True) as conn:
        done = repair(conn, config(role))
    assert [(scene.reference, scene.after, scene.sigs, scene.hists) for scene in done.scenes] == [
        ("a", "ingested", 1, 1),
        ("b", "ingested", 1, 0),
    ]


def test_the_command(quick: Season, conn: psycopg.Connection) -> None:
    def call(*arguments: str) -> str:
        result = CliRunner().invoke(cbmctl, ["--config", str(quick.database.config_path), *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    scenes = [quick.scene(day, product=False) for day in (5, 6, 7)]
    planned(quick)
    fail(quick, conn, claim(quick, conn, "20"))
    conn.execute("INSERT INTO sigs (pid, obsid, band) VALUES (1, %s, 'B05')", [scenes[0]])
    assert claim(quick, conn, "20").obsid == scenes[1]
    expected = {
        "changed": True,
        "check": True,
        "scenes": [
            {
                "reference": REFERENCE,
                "card": "s2",
                "before": "Rio error",
                "after": "inprogress",
                "reason": "line 1\nB02.jp2 is torn",
                "tasks": 1,
                "sigs": 1,
                "hists": 0,
            }
        ],
        "live": ["S2A_MSIL2A_20210306T102921_N0400_R108_T32TMT_20210306T135811.SAFE"],
    }
    assert json.loads(call("--json", "repair", "--check")) == expected
    assert json.loads(call("--json", "repair", "--check", "--scene", REFERENCE)) == expected | {"live": []}
    assert call("repair", "--check").splitlines()[-2] == "1 scene would be repaired."
    assert call("repair").splitlines() == [
        f"{REFERENCE}: was Rio error (B02.jp2 is torn); 1 row of sigs and 0 of hists removed",
        "1 scene repaired. Run cbmctl extract.",
        "1 scene is being extracted and is not changed.",
    ]
    assert claim(quick, conn, "20").obsid == scenes[0]
    assert call("repair").splitlines() == [
        "Nothing to repair.",
        "2 scenes are being extracted and are not changed.",
    ]
