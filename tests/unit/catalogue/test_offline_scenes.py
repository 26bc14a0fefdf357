"""Scenes that the archive does not have at once: they wait, and are taken up when they come back."""

from dataclasses import replace as changed
from pathlib import Path
from shutil import rmtree

import pytest

from tests.support.acquisitions import ORIGINAL, enter, here, statuses, write
from tests.support.season import Season

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


def left(season: Season) -> list[tuple[object, ...]]:
    """What is still to be done, and what there is."""
    return season.rows(
        """SELECT (SELECT array_agg(bandset || ' ' || state ORDER BY bandset) FROM tasks),
               (SELECT array_agg(DISTINCT band ORDER BY band) FROM sigs), (SELECT count(*) > 0 FROM hists),
               reason FROM dias_catalogue"""
    )


# of a scene whose 20 m images went while it was worked on
HALF_DONE = [(["10 done", "scl done"], ["B02", "B03"], True, None)]


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
    assert left(season) == HALF_DONE
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
    assert left(season) == HALF_DONE


@pytest.mark.parametrize(
    ("status", "code", "online"),
    [("!S3 B05.jp2", "archive.file_missing", True), ("Parcel SQL", "parcels.unreadable", False)],
)
def test_what_failed_for_another_reason_stays_so(
    evicted: Season, status: str, code: str, *, online: bool
) -> None:
    with evicted.database.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET status = %s, reason_code = %s", [status, code])
    enter(evicted, changed(here(evicted, ORIGINAL), online=online))
    assert statuses(evicted) == {ORIGINAL.reference: status}


def test_what_was_extracted_long_ago_stays_when_it_goes_offline(season: Season) -> None:
    """A band is added to a season that the archive has moved away meanwhile."""
    season.scene(5)
    few, more = ({"10": bands, "20": ["B05"]} for bands in (["B02"], ["B02", "B03"]))
    season.extract(season.database.configured(extraction={"s2": few}))
    before = (
        season.rows("SELECT * FROM sigs ORDER BY pid, band"),
        season.rows("SELECT * FROM hists ORDER BY pid"),
    )
    assert all(before)
    rmtree(season.config.eodata / Path(ORIGINAL.path or ""))
    (season.config.eodata / "Sentinel-2" / "other").mkdir(parents=True)
    config = season.database.configured(extraction={"s2": more})
    season.extract(config)
    assert statuses(season) == {ORIGINAL.reference: "!S3 subdir"}
    gone = changed(here(season, ORIGINAL), online=False)
    enter(season, gone)
    assert statuses(season) == {ORIGINAL.reference: "offline"}
    # neither another plan nor another sync takes it up, or away
    season.extract(config)
    assert not enter(season, gone).changed
    assert statuses(season) == {ORIGINAL.reference: "offline"}
    assert before == (
        season.rows("SELECT * FROM sigs ORDER BY pid, band"),
        season.rows("SELECT * FROM hists ORDER BY pid"),
    )
    write(season, ORIGINAL)
    enter(season, here(season, ORIGINAL))
    assert statuses(season) == {ORIGINAL.reference: "ingested"}
    season.extract(config)
    assert statuses(season) == {ORIGINAL.reference: "extracted"}
    assert season.rows("SELECT DISTINCT band FROM sigs ORDER BY 1") == [("B02",), ("B03",), ("B05",)]
