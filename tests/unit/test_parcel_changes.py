"""What becomes of tasks when parcels come or go, step by step."""

from collections.abc import Iterator

import psycopg
import pytest

from cbmctl.database import connect
from cbmctl.queue.planning import plan
from cbmctl.queue.tasks import skip, unlock

from .changing import change
from .conftest import Season
from .rows import assert_rows, found, hists, sentinel2
from .test_deltas import NEW, do
from .working import claim

pytestmark = pytest.mark.postgis


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
    unlock(conn, task)
    assert season.rows("SELECT bandset, state, parcels_covered FROM tasks ORDER BY 1") == [
        ("10", "ready", None),
        ("20", "ready", None),
        ("scl", "ready", 1),
    ]
    do(season)
    assert_rows(found(season, scene), sentinel2(5, {100: NEW}))
    assert hists(season, scene).keys() == {100}
