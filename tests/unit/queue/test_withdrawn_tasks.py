"""A task that is deleted while a worker is at it: the worker writes nothing and goes on."""

import pytest

from cbmctl.database import connect
from cbmctl.queue.planning import plan
from cbmctl.worker.pipeline import work
from cbmctl.worker.stop_signal import Stop
from tests.support.products_s2 import image_file
from tests.support.rows import cut, folder
from tests.support.season import Season

pytestmark = pytest.mark.postgis

EVENTS = {
    "deleted": "DELETE FROM dias_catalogue WHERE id = {0}",
    "superseded": "DELETE FROM tasks WHERE obsid = {0}; UPDATE dias_catalogue SET status = 'superseded'"
    " WHERE id = {0}",
    "planned anew": "DELETE FROM tasks WHERE obsid = {0}; INSERT INTO tasks (obsid, bandset, bands, method)"
    " SELECT {0}, bandset, bands, method FROM tasks WHERE bandset = '10'",
}


@pytest.mark.parametrize("broken", [False, True], ids=["whole", "broken"])
@pytest.mark.parametrize("event", EVENTS)
def test_a_worker_whose_task_is_gone_writes_nothing(season: Season, event: str, *, broken: bool) -> None:
    gone, stays = season.scene(3), season.scene(5)
    if broken:
        cut(0.8)(image_file(season.config.eodata, folder(season, gone), "B02_10m"))
    lines: list[str] = []
    with connect(season.config, autocommit=True) as conn:
        plan(conn, season.config)

        def note(line: str) -> None:
            lines.append(line)
            if "_20210305T102921_" in line and " scl: " in line:
                # with this one done, the worker has begun with 10 m of the other scene
                assert season.tasks()[gone, "10"] == "running"
                conn.execute(EVENTS[event].format(gone))  # type: ignore[call-overload]
                conn.execute("DELETE FROM hists WHERE obsid = %s", [gone])

        work(season.config, stop=Stop(), note=note)
    assert "10: withdrawn" in lines[2], lines
    assert season.status(stays) == "extracted"
    there = season.rows("SELECT obsid, count(*) FROM sigs GROUP BY obsid ORDER BY obsid")
    assert there == [
        *([(gone, 4)] if event == "planned anew" and not broken else []),
        (stays, 6),
    ]
    if event == "superseded":
        assert season.status(gone) == "superseded"
