"""`maintain purge`: as if the scenes had been extracted with more cloud classes; nothing is read again."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
import pytest
from click.testing import CliRunner, Result

from cbmctl.cli import cbmctl
from cbmctl.database import connect
from cbmctl.maintenance.purge import purge
from cbmctl.queue.cloudy_rows import purge_scene
from cbmctl.queue.planning import plan
from tests.support.datatakes import HERE, S2, WEST, Datatake, without
from tests.support.effort import THOROUGH
from tests.support.season import Season

pytestmark = pytest.mark.postgis


def command(season: Season, *arguments: str, as_json: bool = True) -> Result:
    options = ["--config", str(season.database.config_path), *(["--json"] if as_json else [])]
    return CliRunner().invoke(cbmctl, [*options, "maintain", "purge", *arguments])


def done(season: Season, *arguments: str) -> dict[str, Any]:
    result = command(season, *arguments)
    assert result.exception is None, result.exception
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def clouded(tile: str, *pids: int) -> dict[str, Any]:
    """The classes of a tile whose parcels are fully cloudy: classes 8 and 9."""
    classes = np.full_like(without(tile, 1, "SCL_20m")["SCL_20m"], 4)
    for pid in pids:
        hidden = without(tile, pid, "SCL_20m")["SCL_20m"] == 0
        classes[hidden] = 9
        classes[hidden & (np.arange(classes.shape[1]) % 2 == 0)] = 8
    return {"SCL_20m": classes}


def state(season: Season) -> list[Any]:
    return [
        season.rows("SELECT * FROM sigs ORDER BY pid, obsid, band"),
        season.rows("SELECT pid, obsid, hist::text FROM hists ORDER BY pid, obsid"),
        season.rows(
            "SELECT obsid, bandset, state, bands, method, parcels, rows, slivers, cut, elsewhere,"
            " elsewhere_seen FROM tasks ORDER BY obsid, bandset"
        ),
        season.rows("SELECT id, status FROM dias_catalogue ORDER BY id"),
    ]


@pytest.fixture
def datatake(season: Season) -> Datatake:
    """Two tiles of a datatake; parcels 1 and 2 are fully cloudy where they are seen."""
    made = Datatake(season)
    made.enter(WEST, **clouded(WEST, 1, 2))
    made.enter(HERE, **clouded(HERE, 1, 2))
    return made


def test_a_purged_season_equals_one_extracted_with_these_classes(datatake: Datatake) -> None:
    season = datatake.season
    datatake.plan(cloud_classes=[8, 9])
    datatake.work()
    wanted = state(season)
    with season.database.connect() as conn:
        conn.execute("DELETE FROM tasks; DELETE FROM sigs; DELETE FROM hists")
        conn.execute("UPDATE dias_catalogue SET status = 'ingested'")
    datatake.plan(cloud_classes=[9])
    datatake.work()
    before = state(season)
    assert len(before[0]) > len(wanted[0])
    rows = len(before[0]) - len(wanted[0])

    season.database.configured(
        extraction={"s2": {"10": ["B02", "B03"], "20": ["B05"], "cloud_classes": [8, 9]}}
    )
    would = done(season, "--check")
    assert (would["changed"], would["rows"], would["scenes"]) == (True, rows, 2)
    assert state(season) == before, "--check changed something"
    assert done(season) == would | {"check": False}
    after = state(season)
    assert after[:2] == wanted[:2]
    assert [row[:7] for row in after[2]] == [row[:7] for row in wanted[2]], "tasks and their methods"
    assert after[3] == wanted[3]

    with connect(datatake.config, autocommit=True) as conn:
        conn.execute("UPDATE dias_catalogue SET status = 'ingested' WHERE id = %s", [datatake.ids[WEST]])
    datatake.plan(cloud_classes=[8, 9])
    assert {line.split(":")[0].split("_T")[1][:5] for line in datatake.work()} == {WEST}
    again = state(season)
    assert again[:2] == after[:2], "what was purged does not come back when its neighbour is extracted again"
    after = again
    shutil.rmtree(season.config.eodata)
    datatake.plan(cloud_classes=[8, 9])
    assert datatake.work() == [], "nothing is read again"
    assert state(season) == after
    assert done(season) == would | {
        "check": False,
        "changed": False,
        "scenes": 0,
        "rows": 0,
        "bytes": 0,
        "purged": 2,
    }


def test_what_another_tile_classed_otherwise_comes_back_if_that_tile_is_extracted(season: Season) -> None:
    """The purge reads no image, so that the tile that has a parcel decides for both."""
    made = Datatake(season)
    made.enter(WEST, **clouded(WEST, 1))
    made.enter(HERE, **clouded(HERE))
    made.plan(cloud_classes=[8, 9])
    made.work()
    wanted = made.found()
    assert (1, HERE, "B02") in wanted
    with season.database.connect() as conn:
        conn.execute("DELETE FROM tasks; DELETE FROM sigs; DELETE FROM hists")
        conn.execute("UPDATE dias_catalogue SET status = 'ingested'")
    made.plan(cloud_classes=[9])
    made.work()
    made.config = season.database.configured(extraction={"s2": S2 | {"cloud_classes": [8, 9]}})
    assert done(season)["changed"]
    assert not [key for key in made.found() if key[0] == 1 and key[2] != "SCL"]
    made.again(HERE)
    made.work()
    assert made.found() == wanted


def test_a_purge_goes_on_where_it_was_interrupted(datatake: Datatake) -> None:
    season = datatake.season
    datatake.plan(cloud_classes=[], overlap="all")
    datatake.work()
    config = season.database.configured(
        extraction={"s2": {"10": ["B02", "B03"], "20": ["B05"], "cloud_classes": [8, 9], "overlap": "all"}}
    )

    def interrupting(_label: str, _length: int) -> Any:
        def step(_steps: int) -> None:
            raise KeyboardInterrupt

        return step

    with connect(config, autocommit=True) as conn, pytest.raises(KeyboardInterrupt):
        purge(conn, config, progress=interrupting)
    rest = done(season)
    assert (rest["scenes"], rest["purged"]) == (1, 1)
    assert rest["rows"] > 0
    assert season.rows("SELECT count(*) FROM sigs WHERE pid IN (1, 2)") == [(0,)]
    assert season.rows("SELECT count(*) FROM hists WHERE pid = 1") != [(0,)]


def test_scenes_extracted_by_hand_are_purged_and_open_ones_left(season: Season) -> None:
    by_hand, open_one, other = (season.scene(day, product=False) for day in (1, 2, 3))
    with connect(season.config, autocommit=True) as conn:
        plan(conn, season.config)
    with season.database.connect() as conn:
        conn.execute("DELETE FROM tasks WHERE obsid = %s", [by_hand])
        conn.execute("UPDATE dias_catalogue SET status = 'extracted'")
        conn.execute("UPDATE tasks SET state = 'done' WHERE obsid = %s", [other])
        conn.execute(
            "UPDATE tasks SET method = jsonb_set(method, '{cloud_classes}', '[3, 9]') WHERE obsid = %s",
            [other],
        )
        for pid, hist in enumerate(('{"9": 5}', '{"9": 5, "4": 1}', "{}", '{"0": 5}', '{"19": 5}')):
            conn.execute("""INSERT INTO hists SELECT %s, id, %s FROM dias_catalogue""", [pid, hist])
            conn.execute(
                "INSERT INTO sigs (pid, obsid, band) SELECT %s, id, 'B02' FROM dias_catalogue", [pid]
            )
    told = done(season)
    assert (told["scenes"], told["rows"], told["unfinished"], told["other"]) == (1, 1, 1, 1)
    left = season.rows("SELECT obsid, pid FROM sigs ORDER BY 1, 2")
    assert left == [
        (scene, pid)
        for scene in (by_hand, open_one, other)
        for pid in range(5)
        if (scene, pid) != (by_hand, 0)
    ]
    assert season.rows("SELECT count(*) FROM hists") == [(15,)]
    assert not done(season)["changed"]
    shown = command(season, as_json=False).stdout
    assert "1 scene skipped: unfinished tasks or no histograms." in shown
    assert "1 scene skipped: extracted with other classes" in shown


KILLS = 200 if THOROUGH else 4
SCENES, PARCELS = 12, 900
FILL = f"""
    TRUNCATE sigs, hists, tasks, dias_catalogue CASCADE;
    INSERT INTO dias_catalogue (id, obstime, reference, sensor, card, status)
    SELECT id, '2021-03-05'::timestamp + id * interval '1 day', id::text, '2A', 's2', 'extracted'
    FROM generate_series(1, {SCENES}) id;
    INSERT INTO hists
    SELECT pid, id, json_build_object(CASE WHEN (pid + id) % 3 = 0 THEN '9' ELSE '4' END, 4)
    FROM generate_series(1, {SCENES}) id, generate_series(1, {PARCELS}) pid;
    INSERT INTO sigs (pid, obsid, band)
    SELECT pid, obsid, band FROM hists, unnest('{{B02,B05}}'::bpchar[]) band;
    INSERT INTO tasks (obsid, bandset, state, bands, rows, method)
    SELECT id, bandset, 'done', '{{}}', {PARCELS}, '{{"cloud_classes": []}}'
    FROM generate_series(1, {SCENES}) id, unnest('{{scl,10,20}}'::text[]) bandset
"""
SESSIONS = "FROM pg_stat_activity WHERE application_name = 'cbmctl maintain purge'"


def test_killed_at_any_instant_a_scene_is_purged_whole_or_not_at_all(
    season: Season, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    """With the rows of each scene goes its record; the next run does the rest."""
    path, rng, kills = str(season.database.config_path), np.random.default_rng(4), 0

    def counted() -> list[tuple[Any, ...]]:
        return season.rows(
            """SELECT obsid, min(t.rows), (method -> 'cloud_classes')::text,
                   (SELECT count(*) FROM sigs s WHERE s.obsid = t.obsid)
               FROM tasks t WHERE bandset <> 'scl' GROUP BY obsid, method ORDER BY obsid"""
        )

    whole = [(obsid, PARCELS, "[]", 2 * PARCELS) for obsid in range(1, SCENES + 1)]
    purged = [(obsid, 2 * PARCELS // 3, "[9]", 4 * PARCELS // 3) for obsid in range(1, SCENES + 1)]
    while kills < KILLS:
        with season.database.connect() as conn:
            conn.execute(FILL.encode())
        assert counted() == whole
        while counted() != purged:
            command = [sys.executable, "-m", "cbmctl", "--config", path, "maintain", "purge"]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                eventually(
                    lambda process=process: (
                        bool(season.rows(f"SELECT {SESSIONS}")) or process.poll() is not None
                    )
                )
                try:
                    assert process.wait(rng.uniform(0, 0.2)) == 0
                except subprocess.TimeoutExpired:
                    process.kill()
                    kills += 1
            eventually(lambda: not season.rows(f"SELECT {SESSIONS}"))
            assert {*counted()} <= {*whole, *purged}
    assert season.rows("SELECT count(*) FROM hists") == [(SCENES * PARCELS,)]


def test_a_purge_and_readers_do_not_wait_for_each_other(season: Season) -> None:
    """Each scene is a transaction, whose locks let everybody read, and which waits for no reader."""
    season.database.configured(extraction={"s2": {"cloud_classes": [9]}})
    with season.database.connect() as conn:
        conn.execute(FILL.encode())
    whole, cloudy = 2 * PARCELS, 2 * PARCELS // 3

    def seen(conn: psycopg.Connection) -> dict[int, int]:
        """The rows of each scene, for somebody who reads everything that a purge writes."""
        statement = """SELECT id, (SELECT count(*) FROM sigs WHERE obsid = id)
            FROM dias_catalogue JOIN tasks ON obsid = id JOIN hists h USING (obsid)
            WHERE bandset = '10' AND h.pid = 1"""
        return dict(conn.execute(statement).fetchall())

    with (
        connect(season.database.config, autocommit=True) as conn,
        season.database.connect() as before,
        season.database.connect(autocommit=True) as reader,
    ):
        before.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert seen(before) == dict.fromkeys(range(1, SCENES + 1), whole)
        for each in (conn, reader):
            each.execute("SET lock_timeout = '5s'")
        with conn.transaction():
            assert purge_scene(conn, season.config.tables, 1, [9]) == cloudy
            assert seen(reader) == seen(before)
        done = [1]

        def steps(_label: str, _length: int) -> Callable[[int], None]:
            def step(_steps: int) -> None:
                done.append(len(done) + 1)
                assert seen(reader) == seen(before) | dict.fromkeys(done, whole - cloudy)

            return step

        assert purge(conn, season.database.config, progress=steps).scenes == SCENES - 1
        assert len(done) == SCENES
        assert seen(before) == dict.fromkeys(range(1, SCENES + 1), whole)


@pytest.mark.parametrize(
    ("classes", "arguments", "sentence"),
    [
        ([9], ("--classes", "8,9"), "--classes 8,9: the configuration has cloud_classes 9"),
        ([9], ("--classes", "8,x", "--check"), "--classes: '8,x' is not a list of SCL classes"),
        ([9], ("--classes", "12", "--check"), "--classes: '12' is not a list of SCL classes"),
        ([], (), "extraction.s2.cloud_classes is empty"),
    ],
)
def test_bad_input(season: Season, classes: list[int], arguments: tuple[str, ...], sentence: str) -> None:
    season.database.configured(extraction={"s2": {"cloud_classes": classes}})
    result = command(season, *arguments)
    assert result.exit_code == 1
    assert sentence in str(result.exception)


def test_other_classes_can_be_previewed(season: Season) -> None:
    assert done(season, "--check", "--classes", "10,8,9,9")["classes"] == [8, 9, 10]
