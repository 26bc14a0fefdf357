"""What becomes of tasks when parcels come or go, step by step."""

from collections.abc import Iterator

import psycopg
import pytest
from shapely import box

from cbmctl.database import connect, query
from cbmctl.queue import overlap
from cbmctl.queue.parcel_changes import Delta, scenes_that_show
from cbmctl.queue.parcel_sets import GONE, any_gone
from cbmctl.queue.planning import plan
from cbmctl.queue.statements import names
from cbmctl.queue.tasks import skip, unlock
from tests.support.datatakes import S2
from tests.support.parcel_changes import change
from tests.support.products_s2 import LEFT, TOP
from tests.support.rows import assert_rows, found, hists, insert, sentinel2
from tests.support.season import PARCELS, Season
from tests.support.worker_steps import claim
from tests.unit.queue.test_deltas import NEW, NEXT, do

pytestmark = pytest.mark.postgis

LAST = box(LEFT + 170, TOP - 40, LEFT + 240, TOP - 5)


@pytest.fixture
def conn(season: Season) -> Iterator[psycopg.Connection]:
    with connect(season.config, autocommit=True) as connection:
        yield connection


def test_a_scene_without_parcels_gets_some_while_a_worker_closes_it(
    season: Season, conn: psycopg.Connection
) -> None:
    scene = season.scene(5)
    conn.execute("DELETE FROM parcels_2021 WHERE ogc_fid <> 9")
    plan(conn, season.config)
    task = claim(season, conn)
    change(season, 2, {100: NEW})
    skip(conn, season.config.tables, task)
    unlock(conn, season.config.tables, task)
    assert season.rows("SELECT bandset, state, parcels_covered FROM tasks ORDER BY 1") == [
        ("10", "ready", None),
        ("20", "ready", None),
        ("scl", "ready", 1),
    ]
    do(season)
    assert_rows(found(season, scene), sentinel2(5, {100: NEW}))
    assert hists(season, scene).keys() == {100}


def test_scenes_are_looked_up_by_an_index_and_each_once(season: Season, conn: psycopg.Connection) -> None:
    scenes = [season.scene(day, product=False) for day in range(1, 21)]
    conn.execute(
        """INSERT INTO tasks (obsid, bandset, bands, method, state, parcels_covered)
           SELECT id, 'scl', '{SCL}', '{}', 'done', 1 FROM dias_catalogue"""
    )
    east = LEFT + 30_000
    away = {100 + n: box(east + 60 * n, TOP, east + 60 * n + 50, TOP + 50) for n in range(500)}
    insert(season, away | {1000: NEW})
    with conn.transaction():
        conn.execute("SET LOCAL track_functions = 'all'")
        assert scenes_that_show(conn, season.config.tables, list(away)) == []
        calls = dict(
            conn.execute(
                """SELECT funcname::text, sum(calls)::integer FROM pg_stat_xact_user_functions
                   WHERE funcname IN ('st_buffer', 'st_intersects') GROUP BY 1"""
            ).fetchall()
        )
        assert calls == {"st_buffer": len(scenes)}
        assert scenes_that_show(conn, season.config.tables, [*away, 1000]) == scenes


def test_what_a_worker_of_an_earlier_version_has_closed_is_read_whole(
    season: Season, conn: psycopg.Connection
) -> None:
    scene = season.scene(5)
    season.extract()
    conn.execute("UPDATE tasks SET parcels_covered = NULL WHERE bandset = '10'")
    assert change(season, 2, {100: NEW}) == Delta(1, 3)
    assert season.rows("SELECT bandset, state, parcels_covered FROM tasks ORDER BY 1") == [
        ("10", "ready", None),
        ("20", "ready", 1),
        ("scl", "ready", 1),
    ]
    assert season.status(scene) == "inprogress"
    do(season)
    assert season.status(scene) == "extracted"
    assert_rows(found(season, scene), sentinel2(5, {1: PARCELS[1], 7: PARCELS[7], 100: NEW}))
    conn.execute("UPDATE tasks SET parcels_covered = NULL WHERE bandset = '20'")
    assert plan(conn, season.config).again == 1
    do(season)
    assert season.rows("SELECT DISTINCT state, parcels_covered FROM tasks") == [("done", 2)]


def test_only_shared_parcels_are_looked_up_in_the_history(season: Season, conn: psycopg.Connection) -> None:
    scene = season.scene(5)
    season.extract()
    conn.execute(
        """INSERT INTO parcel_history (table_name, ogc_fid, since)
           SELECT 'public.parcels_2021', pid, 2 FROM generate_series(1, 5000) pid;
           UPDATE tasks SET state = 'ready', parcels_covered = 1 WHERE bandset = '20'"""
    )
    conn.execute("ANALYZE parcel_history")
    parameters = {"ids": [scene], "extracted": [scene], "official": [scene], "busy": [], "pids": [1, 7]}
    with conn.transaction():
        conn.execute(
            query(overlap._JUDGED, seen=overlap._SEEN, **names(season.config.tables)),
            parameters | {"gone": []},
        )
        assert conn.execute(
            """SELECT (seq_tup_read + idx_tup_fetch)::integer FROM pg_stat_xact_user_tables
               WHERE relname = 'parcel_history'"""
        ).fetchone() == (2,)


def test_deltas_stay_deltas_if_only_the_overlap_changes_and_are_tried_again_with_more_parcels(
    season: Season, conn: psycopg.Connection
) -> None:
    scene = season.scene(5)
    season.extract()
    change(season, 2, {100: NEW})
    conn.execute(
        """UPDATE tasks SET (state, reason_code, failed_status, reason)
           = ('failed', 'archive.unreadable', 'Rio error', 'B05: torn') WHERE bandset = '20'"""
    )
    config = season.database.configured(extraction={"s2": S2 | {"overlap": "all"}})
    planned = plan(conn, config)
    assert (planned.kept, planned.again) == (3, 0)
    assert season.rows("SELECT state, parcels_covered FROM tasks ORDER BY bandset") == [
        ("ready", 1),
        ("failed", 1),
        ("ready", 1),
    ]
    assert season.status(scene) == "extracted"
    assert change(season, 3, {101: NEXT}) == Delta(1, 1)
    assert season.rows("SELECT DISTINCT state, parcels_asked, parcels_covered, reason FROM tasks") == [
        ("ready", 3, 1, None)
    ]
    do(season)
    assert_rows(found(season, scene), sentinel2(5, {1: PARCELS[1], 7: PARCELS[7], 100: NEW, 101: NEXT}))
    change(season, 4, {102: LAST})
    # another method is one of all parcels; histograms are the same by either
    config = season.database.configured(extraction={"s2": S2 | {"overlap": "all", "edge": "keep"}})
    assert plan(conn, config).again == 2
    assert season.rows("SELECT bandset, parcels_covered FROM tasks ORDER BY bandset") == [
        ("10", None),
        ("20", None),
        ("scl", 3),
    ]


@pytest.mark.parametrize("gone", [0, 10])
def test_parcels_that_are_gone_are_found_by_an_index(
    conn: psycopg.Connection, season: Season, gone: int
) -> None:
    """Each task that is closed asks for them, however many parcels are new."""
    conn.execute(
        """INSERT INTO parcel_history (table_name, ogc_fid, since, until)
           SELECT 'public.parcels_2021', pid, 2, CASE WHEN pid <= %s THEN 3 END
           FROM generate_series(1, 20000) pid""",
        [gone],
    )
    conn.execute("ANALYZE parcel_history")
    explain = query("EXPLAIN {gone}", gone=query(GONE, **names(season.config.tables)))
    steps = "\n".join(line for (line,) in conn.execute(explain))
    assert "parcel_history_gone_idx" in steps, steps
    assert any_gone(conn, season.config.tables) is (gone > 0)
