"""Versions of one acquisition: which of them is for extraction."""

from dataclasses import replace as changed
from datetime import datetime
from pathlib import Path

import pytest
from shapely import box
from shapely.geometry import shape

from cbmctl.catalogue.record import Record, as_footprint
from cbmctl.catalogue.replace_versions import replace
from cbmctl.database import connect
from cbmctl.errors import UserError
from cbmctl.queue.find_scenes import find_scenes
from cbmctl.queue.planning import plan, plan_scenes
from tests.conftest import REPOSITORY
from tests.support.acquisitions import AGAIN, BETTER, ORIGINAL, PLACE, STRIP, enter, pairs, statuses, version
from tests.support.recorded_answers import recorded
from tests.support.season import Season

pytestmark = pytest.mark.postgis


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("newer", [BETTER, AGAIN])
def test_the_newest_is_for_extraction(season: Season, newer: Record, *, together: bool) -> None:
    if together:
        done = enter(season, newer, ORIGINAL)
    else:
        enter(season, ORIGINAL)
        done = enter(season, newer)
    assert done.versions.superseded == pairs((ORIGINAL, newer))
    assert statuses(season) == {ORIGINAL.reference: "superseded", newer.reference: "ingested"}
    again = enter(season, ORIGINAL, newer)
    assert (again.changed, again.known) == (False, 2)
    with connect(season.config, autocommit=True) as conn:
        assert plan(conn, season.config).created == 3  # the band sets of one scene
        with pytest.raises(
            UserError, match=f"{ORIGINAL.reference} is superseded by {newer.reference}\\. Extr"
        ):
            plan_scenes(conn, season.config, find_scenes(conn, season.config.tables, [ORIGINAL.reference]))


def test_an_older_one_that_comes_late_is_superseded(season: Season) -> None:
    enter(season, BETTER)
    assert enter(season, ORIGINAL).versions.superseded == pairs((ORIGINAL, BETTER))


def test_a_baseline_goes_before_the_time_of_processing(season: Season) -> None:
    late = version("04.00", "20250101T000000")
    assert set(enter(season, BETTER, ORIGINAL, late).versions.superseded) == set(
        pairs((ORIGINAL, BETTER), (late, BETTER))
    )


def test_both_halves_of_a_tile_are_kept(season: Season) -> None:
    other = STRIP.replace("S20210305T102917", "S20210305T103217")
    north, south = box(8, 47.48, 9, 48), box(8, 47, 9, 47.52)
    halves = [version(place=south), version(made="20210305T140000", strip=other, place=north)]
    for strips in (True, False):
        with season.database.connect() as conn:
            conn.execute("DELETE FROM dias_catalogue")
        given = [record if strips else changed(record, datastrip=None) for record in halves]
        assert not enter(season, *given).versions.superseded
        assert set(statuses(season).values()) == {"ingested"}
    # even where the outlines say the same place
    with season.database.connect() as conn:
        conn.execute("DELETE FROM dias_catalogue")
    assert not enter(
        season, *(changed(half, footprint=ORIGINAL.footprint) for half in halves)
    ).versions.superseded


def test_both_halves_supersede_what_was_cut_otherwise(season: Season) -> None:
    first = version("05.00", "20230301T010203", strip="x_S20210305T102900_y", place=box(8, 47, 9, 47.6))
    second = version("05.00", "20230301T020304", strip="x_S20210305T103300_y", place=box(8, 47.5, 9, 48))
    done = enter(season, ORIGINAL, first, second)
    assert done.versions.superseded == pairs((ORIGINAL, second), (ORIGINAL, first))
    assert list(statuses(season).values()).count("ingested") == 2


def test_a_delivery_that_covers_little_of_the_older_one_stands_beside_it(season: Season) -> None:
    assert not enter(season, ORIGINAL, changed(AGAIN, footprint=box(8, 47, 8.5, 48))).versions.superseded


def test_other_tiles_satellites_and_times_are_other_acquisitions(season: Season) -> None:
    others = [
        changed(BETTER, reference="a", tile="33UUU"),
        changed(BETTER, reference="b", sensor="2B"),
        changed(BETTER, reference="c", obstime=datetime(2021, 3, 5, 10, 29, 20)),
    ]
    assert not enter(season, ORIGINAL, *others).versions.superseded


def test_radar_that_was_delivered_twice(season: Season) -> None:
    first = Record(
        reference="S1A_20141031T095931__1A__20141019T095904_20141019T095931_CARD-COH12",
        card="c12",
        sensor="1A",
        obstime=datetime(2014, 10, 31, 9, 59, 31),
        path=None,
        footprint=PLACE,
        epsg=None,
        processed=datetime(2023, 8, 1),
    )
    second = changed(
        first, reference=first.reference.replace("__1A__", "__S1A_"), processed=datetime(2024, 11, 5)
    )
    assert enter(season, first, second).versions.superseded == pairs((first, second))
    # the archive pairs one acquisition with each slice of the other pass that it meets, however little
    others = [
        changed(
            first,
            reference=f"S1A_20141031T095931__1A__20141019T{pair}_CARD-COH12",
            processed=datetime(2025, 1, day),
        )
        for day, pair in enumerate(("095931_20141019T095956", "095956_20141019T100021"), start=1)
    ]
    assert not enter(season, *others).versions.superseded
    assert {statuses(season)[pair.reference] for pair in (second, *others)} == {"ingested"}


def test_radar_that_a_walk_and_a_service_tell_of(season: Season, testdata: Path) -> None:
    """A walk knows the upright frame of the image, a service the slanted outline."""
    features = [
        feature
        for card in ("BS", "COH6", "COH12")
        for feature in recorded(testdata, f"resto-search-CARD-{card}.json")["features"]
    ]
    assert len(features) >= 9
    for number, feature in enumerate(features):
        outline = as_footprint(shape(feature["geometry"]))
        first = Record(
            reference=f"S1A_IW_GRDH_1SDV_20240206T041137_20240206T041202_{number:06}_06574A_0000_CARD_BS",
            card="bs",
            sensor="1A",
            obstime=datetime(2024, 2, 6, 4, number),
            path=None,
            footprint=as_footprint(outline.envelope),
            epsg=32632,
        )
        name = first.reference.replace("_0000_", "_1234_")
        second = changed(first, reference=name, footprint=outline, published=datetime(2024, 5, 7))
        assert enter(season, first, second).versions.superseded == pairs((first, second))
        third = changed(first, reference=name.replace("_1234_", "_5678_"), published=datetime(2024, 6, 7))
        assert enter(season, third).versions.superseded == pairs((second, third))
        # a slice that ends earlier shows less, and stands beside
        short = changed(
            third,
            reference=third.reference.replace("T041202", "T041150"),
            footprint=as_footprint(outline & box(*outline.bounds[:2], *outline.centroid.coords[0])),
            published=datetime(2024, 7, 7),
        )
        assert not enter(season, short).versions.superseded
        # and so does a clip of one that ends when it does
        clip = changed(
            third,
            reference=name.replace("_1234_", "_89AB_"),
            footprint=as_footprint(box(*outline.centroid.coords[0], *outline.bounds[2:]) & outline),
            published=datetime(2024, 7, 8),
        )
        assert not enter(season, clip).versions.superseded
        fourth = changed(second, reference=name.replace("_1234_", "_9ABC_"), published=datetime(2024, 8, 7))
        assert pairs((third, fourth))[0] in enter(season, fourth).versions.superseded
        assert statuses(season)[fourth.reference] == "ingested"


def test_what_is_not_online_waits_and_supersedes_nothing(season: Season) -> None:
    done = enter(season, ORIGINAL, changed(BETTER, online=False))
    assert done.offline == [BETTER.reference]
    assert statuses(season) == {ORIGINAL.reference: "ingested", BETTER.reference: "offline"}
    with connect(season.config) as conn, pytest.raises(UserError, match=r"is not online\. Sync"):
        plan_scenes(conn, season.config, find_scenes(conn, season.config.tables, [BETTER.reference]))
    back = enter(season, BETTER)
    assert (back.completed, back.offline) == ([BETTER.reference], [])
    assert statuses(season) == {ORIGINAL.reference: "superseded", BETTER.reference: "ingested"}
    gone = enter(season, changed(BETTER, online=False))
    assert gone.versions.renewed == (ORIGINAL.reference,)
    assert statuses(season) == {ORIGINAL.reference: "ingested", BETTER.reference: "offline"}


def test_a_scene_that_failed_gives_way_at_once(season: Season) -> None:
    enter(season, ORIGINAL)
    with season.database.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET status = '!S3 subdir', reason = 'gone'")
    enter(season, BETTER)
    assert statuses(season) == {ORIGINAL.reference: "superseded", BETTER.reference: "ingested"}
    assert season.rows("SELECT count(*) FROM dias_catalogue WHERE reason IS NOT NULL") == [(0,)]


def test_an_older_version_is_not_taken_back(season: Season) -> None:
    enter(season, ORIGINAL, BETTER)
    with (
        connect(season.config) as conn,
        pytest.raises(UserError, match=f"{ORIGINAL.reference} is superseded by {BETTER.reference}, and a "),
    ):
        replace(conn, season.config, [ORIGINAL.reference])


def test_the_statement_for_parcels_in_two_tiles_picks_the_first_by_name(season: Season) -> None:
    text = (REPOSITORY / "docs/decisions/overlap.md").read_text()
    statement = text.split("```sql")[1].split("```")[0].rstrip(";\n ")
    enter(
        season,
        ORIGINAL,
        changed(ORIGINAL, reference="a", tile="33UUU"),
        changed(ORIGINAL, reference="b", tile="32TLT"),
    )
    with season.database.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET status = 'extracted'")
        conn.execute(
            "INSERT INTO sigs (pid, obsid, band, mean)"
            " SELECT pid, id, band, 1 FROM dias_catalogue,"
            " (VALUES (1), (2)) p (pid), (VALUES ('B04'), ('B08')) b (band)"
        )
    found = season.rows(f"SELECT pid, band, tile FROM ({statement}) s ORDER BY 1, 2")
    assert found == [(pid, band, "32TLT") for pid in (1, 2) for band in ("B04", "B08")]
