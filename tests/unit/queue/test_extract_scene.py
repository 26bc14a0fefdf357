"""`extract --scene`: a scene is extracted anew, whatever it has been, and no other."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from cbmctl.database import connect
from cbmctl.errors import UserError
from cbmctl.queue import tasks
from cbmctl.queue.find_scenes import find_scenes
from cbmctl.queue.planning import Planned, plan, plan_scenes
from cbmctl.reasons import UNREADABLE
from cbmctl.worker.pipeline import work
from cbmctl.worker.stop_signal import Stop
from tests.support.season import BANDS_10, BANDS_20, Season

pytestmark = pytest.mark.postgis

FIFTH = "S2A_MSIL2A_20210305T102921_N0400_R108_T32TMT_20210305T135811.SAFE"
SIXTH = FIFTH.replace("20210305", "20210306")
ALL_READY = {"ready": 3, "running": 0, "done": 0, "failed": 0}


@pytest.fixture
def conn(season: Season) -> Iterator[psycopg.Connection]:
    with connect(season.config, autocommit=True) as connection:
        yield connection


def planned(season: Season, *references: str, check: bool = False) -> Planned:
    with connect(season.config, autocommit=True) as conn:
        scenes = find_scenes(conn, season.config.tables, references)
        return plan_scenes(conn, season.config, scenes, check=check)


def run(season: Season, *arguments: str, code: int = 0) -> Any:
    """Return what the command says in JSON, or its complaint."""
    command = [sys.executable, "-m", "cbmctl", "--config", str(season.database.config_path), "--json"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


@pytest.fixture
def extracted(season: Season, conn: psycopg.Connection) -> list[int]:
    """Two scenes that are extracted, and one more that waits."""
    scenes = [season.scene(day) for day in (5, 6)]
    plan(conn, season.config)
    work(season.config, stop=Stop(), note=lambda _line: None)
    assert {season.status(scene) for scene in scenes} == {"extracted"}
    season.scene(7)
    plan(conn, season.config)
    return scenes


def statistics(season: Season) -> list[tuple[Any, ...]]:
    return season.rows("SELECT * FROM sigs ORDER BY obsid, pid, band")


def test_a_scene_is_planned_whole_and_alone(season: Season, extracted: list[int]) -> None:
    before, others = season.tasks(), season.rows("SELECT * FROM tasks WHERE obsid <> %s", extracted[0])
    would = planned(season, FIFTH, check=True)
    assert season.tasks() == before
    assert planned(season, FIFTH) == would
    assert (would.created, would.again, would.dropped, would.counts) == (0, 3, 0, ALL_READY)
    assert season.rows("SELECT * FROM tasks WHERE obsid <> %s", extracted[0]) == others
    assert season.rows("SELECT DISTINCT state, attempts FROM tasks WHERE obsid = %s", extracted[0]) == [
        ("ready", 0)
    ]
    assert season.status(extracted[0]) == "inprogress"
    assert len(statistics(season)) == 12, "rows stay until they are replaced"
    assert not planned(season, FIFTH).changed, "it is in the queue already"


@pytest.mark.parametrize("status", ["extracted", "No parcels", "Rio error", "final", "inprogress"])
def test_whatever_its_status_place_and_date(season: Season, status: str) -> None:
    scene = season.scene(5, product=False, shift=5)
    season.database.configured(args={"startdate": "2021-06-01", "name": "nowhere"})
    with season.database.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET status = %s", [status])
    assert planned(season, FIFTH).created == 3
    assert season.status(scene) == ("inprogress" if status == "inprogress" else "ingested")


def test_a_card_of_which_nothing_is_extracted(season: Season, conn: psycopg.Connection) -> None:
    season.scene(5, product=False)
    conn.execute("UPDATE dias_catalogue SET card = 'c12'")
    assert planned(season, FIFTH).created == 1
    config = season.database.configured(extraction={"c12": {"bands": []}})
    with pytest.raises(
        UserError, match=f"db_config.json has no bands for card 'c12' of {FIFTH}. List bands in"
    ):
        plan_scenes(conn, config, find_scenes(conn, config.tables, [FIFTH]))


def test_what_a_worker_is_at_is_left_to_it(season: Season, conn: psycopg.Connection) -> None:
    scene = season.scene(5, product=False)
    planned(season, FIFTH)
    task = tasks.claim(conn, season.config, "live")
    assert task is not None
    assert not planned(season, FIFTH).changed
    assert season.tasks()[scene, "scl"] == "running"
    # with bands that are new to it, it is done again after that
    config = season.database.configured(extraction={"s2": {"10": ["B02"], "20": []}})
    with connect(config, autocommit=True) as other:
        changed = plan_scenes(other, config, {FIFTH: scene})
    assert (changed.again, changed.dropped) == (1, 1)
    assert season.tasks() == {(scene, "scl"): "running", (scene, "10"): "ready"}


def test_a_task_that_waits_or_was_left_is_fresh_again(season: Season, conn: psycopg.Connection) -> None:
    scene = season.scene(5, product=False)
    planned(season, FIFTH)
    with connect(season.config, autocommit=True) as victim:
        assert tasks.claim(victim, season.config, "victim")
        waiting = tasks.claim(victim, season.config, "victim")
        assert waiting is not None
        tasks.fail(victim, season.config, waiting, UNREADABLE, "it is torn")
        conn.execute("SELECT pg_terminate_backend(%s, 5000)", [victim.info.backend_pid])
    assert planned(season, FIFTH).again == 2
    assert season.rows("SELECT DISTINCT state, attempts, not_before, worker FROM tasks") == [
        ("ready", 0, None, None)
    ]
    assert season.status(scene) == "ingested"


def test_the_command(season: Season, extracted: list[int]) -> None:
    before = statistics(season)
    with season.database.connect() as conn:
        conn.execute("UPDATE sigs SET mean = 0 WHERE obsid = %s", [extracted[0]])
        conn.execute("INSERT INTO sigs (pid, obsid, band) VALUES (99, %s, 'B02')", [extracted[0]])
        conn.execute("UPDATE sigs SET mean = 0 WHERE obsid = %s", [extracted[1]])
    expected = {"changed": True, "created": 0, "again": 3, "dropped": 0, "kept": 0, "running": 0, "failed": 0}
    would = run(season, "extract", "--scene", FIFTH, "--check")
    assert would == expected | {"pending": 3, "done": 0}
    assert run(season, "extract", "--scene", FIFTH) == expected | {"pending": 0, "done": 3}
    assert [row for row in statistics(season) if row[1] == extracted[0]] == [
        row for row in before if row[1] == extracted[0]
    ]
    assert season.rows("SELECT DISTINCT mean FROM sigs WHERE obsid = %s", extracted[1]) == [(0,)]
    assert season.status(extracted[0]) == "extracted"
    assert season.rows("SELECT DISTINCT state FROM tasks WHERE obsid NOT IN (%s, %s)", *extracted) == [
        ("ready",)
    ], "of another scene, nothing is begun"


def test_without_a_command_extract_runs(season: Season, extracted: list[int]) -> None:
    assert run(season, "extract", "--check")["pending"] == 3
    done = run(season, "extract", "--workers", "1")
    assert (done["pending"], done["done"]) == (0, 9)
    assert run(season, "extract")["changed"] is False
    assert extracted


def test_a_scene_that_fails_tells_why(season: Season) -> None:
    season.database.configured(
        extraction={"s2": {"scl": False, "10": ["B08"], "20": []}, "retry_seconds": []}
    )
    season.scene(5)
    command = [sys.executable, "-m", "cbmctl", "--config", str(season.database.config_path), "extract"]
    done = subprocess.run([*command, "--scene", FIFTH], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "0 tasks ready, 0 running, 0 done, 1 failed."
    assert done.stdout.splitlines()[1].startswith(f"failed: {FIFTH} (10): !S3 B08.jp2: ")


def test_a_worker_for_some_scenes(season: Season, conn: psycopg.Connection) -> None:
    scenes = [season.scene(day) for day in (5, 6, 7)]
    plan(conn, season.config)
    assert run(season, "worker", "--quiet", "--scene", FIFTH, "--scene", SIXTH)["tasks"] == 6
    assert [season.status(scene) for scene in scenes] == ["extracted", "extracted", "ingested"]


def test_an_unknown_scene(season: Season) -> None:
    season.scene(5, product=False)
    for command in (["extract"], ["extract", "run"], ["worker"], ["repair"]):
        error = run(season, *command, "--scene", FIFTH.replace("32TMT", "32TMS"), code=1)
        assert error == (
            f"cbmctl: public.dias_catalogue has no scene '{FIFTH.replace('32TMT', '32TMS')}'. Name {FIFTH}.\n"
        )
    assert season.tasks() == {}


def test_bands_are_those_of_the_configuration(season: Season) -> None:
    season.scene(5, product=False)
    planned(season, FIFTH)
    assert season.rows("SELECT bandset, bands FROM tasks ORDER BY bandset") == [
        ("10", list(BANDS_10)),
        ("20", list(BANDS_20)),
        ("scl", ["SCL"]),
    ]
