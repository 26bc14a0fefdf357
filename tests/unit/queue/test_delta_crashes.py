"""Workers that are killed while parcels change: rows end as those of an extraction with the last parcels."""

import os
import random
import time
from collections.abc import Callable, Collection

import pytest
from shapely import Polygon, box

from cbmctl.database import connect
from cbmctl.queue.repair import repair
from tests.support.effort import THOROUGH
from tests.support.parcel_changes import change
from tests.support.products_s2 import LEFT, TOP
from tests.support.season import Season
from tests.unit.worker.test_crashes import (
    at_work,
    make_writes_fast,
    make_writes_slow,
    open_tasks,
    start_worker,
)

pytestmark = pytest.mark.postgis

WORKERS = 3
KILLS = int(os.environ.get("CBM_KILLS", "200" if THOROUGH else "4"))
# between two changes
KILLS_AT_ONCE = 2
DAYS = range(3, 7)


def parcel(number: int) -> Polygon:
    """Return one of many overlapping parcels within the image."""
    x, y = LEFT + 20 + 37 * number % 250, TOP - 20 - 53 * number % 250
    return box(x, y - 110, x + 110, y)


def rows(season: Season, pids: Collection[int]) -> dict[tuple[int, int, str], tuple[object, ...]]:
    """Return the rows of parcels, by parcel, scene and band."""
    found: dict[tuple[int, int, str], tuple[object, ...]] = {
        (pid, obsid, band): tuple(figures)
        for pid, obsid, band, *figures in season.rows("SELECT * FROM sigs WHERE pid = ANY(%s)", list(pids))
    }
    hists = season.rows("SELECT pid, obsid, hist FROM hists WHERE pid = ANY(%s)", list(pids))
    return found | {(pid, obsid, "SCL"): (str(hist),) for pid, obsid, hist in hists}


def test_workers_killed_while_parcels_change(
    season: Season, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    for day in DAYS:
        season.scene(day)
    season.extract()
    chance = random.Random()  # noqa: S311 - no secret
    make_writes_slow(season, 0.1, "NEW.pid > 100")
    killed, version, current = 0, 1, [1, 7]
    gone: dict[tuple[int, int, str], tuple[object, ...]] = {}
    crew = [start_worker(season) for _ in range(WORKERS)]
    try:
        while killed < KILLS:
            version += 1
            leaves = current.pop(chance.randrange(len(current)))
            current.append(100 + version)
            change(season, version, {100 + version: parcel(version)}, [leaves])
            gone |= rows(season, [leaves])
            for _ in range(KILLS_AT_ONCE):
                crew = [member if member.poll() is None else start_worker(season) for member in crew]
                # not while Python starts: when there is something to lose
                eventually(lambda: len(at_work(season)) > 0 or not open_tasks(season))
                time.sleep(chance.uniform(0, 0.3))
                if working := [member for member in crew if member.pid in at_work(season)]:
                    victim = chance.choice(working)
                    victim.kill()
                    victim.wait()
                    killed += 1
    finally:
        for member in crew:
            member.kill()
            member.wait()
    make_writes_fast(season)
    with connect(season.config, autocommit=True) as conn:
        repair(conn, season.config)
    season.extract()
    assert season.rows("SELECT DISTINCT state, parcels_covered >= parcels_asked FROM tasks") == [
        ("done", True)
    ]
    assert season.rows("SELECT DISTINCT status FROM dias_catalogue") == [("extracted",)]
    there = {pid for (pid,) in season.rows("SELECT pid FROM sigs UNION SELECT pid FROM hists")}
    assert rows(season, there - set(current)) == gone, "as they were when their parcels went"
    found = rows(season, current)
    with season.database.connect() as conn:
        conn.execute("TRUNCATE sigs, hists, tasks")
        conn.execute("UPDATE dias_catalogue SET status = 'ingested'")
    season.extract()
    assert found == rows(season, current), "as of an extraction from scratch"
