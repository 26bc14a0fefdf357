"""Scenes that the archive does not have at once: they wait, and are taken up when they come back."""

from dataclasses import replace as changed
from pathlib import Path
from shutil import rmtree

import pytest

from .acquisition import ORIGINAL, enter, here, statuses, write
from .conftest import Season

pytestmark = pytest.mark.postgis


@pytest.fixture
def evicted(season: Season) -> Season:
    """A scene that failed half done, because its product went meanwhile."""
    season.scene(5)
    assert ORIGINAL.path
    for folder in (season.config.eodata / ORIGINAL.path).rglob("R20m"):
        for image in folder.glob("*_B05_*"):
            image.unlink()
    season.extract()
    assert statuses(season) == {ORIGINAL.reference: "!S3 B05.jp2"}
    assert season.rows("SELECT FROM hists")
    rmtree(season.config.eodata / Path(ORIGINAL.path))
    return season


def untouched(season: Season) -> bool:
    """Whether nothing is left of what was tried."""
    left = season.rows(
        """SELECT FROM tasks UNION ALL SELECT FROM sigs UNION ALL SELECT FROM hists
           UNION ALL SELECT FROM dias_catalogue WHERE coalesce(reason, applied_offset::text) IS NOT NULL"""
    )
    return not left


@pytest.mark.parametrize("status", ["!S3 B05.jp2", "Rio error"])
def test_what_failed_because_it_went_offline_is_tried_again_once_it_is_back(
    evicted: Season, status: str
) -> None:
    season = evicted
    with season.database.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET status = %s", [status])
    back = here(season, ORIGINAL)
    gone = changed(back, online=False)
    assert enter(season, gone).completed == [ORIGINAL.reference]
    assert statuses(season) == {ORIGINAL.reference: "offline"}
    assert untouched(season)
    season.extract()
    assert not enter(season, gone).changed
    write(season, ORIGINAL)
    assert enter(season, back).completed == [ORIGINAL.reference]
    assert statuses(season) == {ORIGINAL.reference: "ingested"}
    season.extract()
    assert statuses(season) == {ORIGINAL.reference: "extracted"}


@pytest.mark.parametrize("again", [True, False])
def test_what_was_known_to_be_offline_before_it_failed(evicted: Season, *, again: bool) -> None:
    """It went while it was worked on, and the archive was asked in between."""
    season = evicted
    with season.database.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET online = false")
    back = here(season, ORIGINAL)
    if again:
        done = enter(season, changed(back, online=False))
        assert (done.completed, done.known) == ([ORIGINAL.reference], 0)
        assert statuses(season) == {ORIGINAL.reference: "offline"}
    assert enter(season, back).completed == [ORIGINAL.reference]
    assert statuses(season) == {ORIGINAL.reference: "ingested"}
    assert untouched(season)


@pytest.mark.parametrize(("status", "online"), [("!S3 B05.jp2", True), ("Parcel SQL", False)])
def test_what_failed_for_another_reason_stays_so(evicted: Season, status: str, *, online: bool) -> None:
    with evicted.database.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET status = %s", [status])
    enter(evicted, changed(here(evicted, ORIGINAL), online=online))
    assert statuses(evicted) == {ORIGINAL.reference: status}
