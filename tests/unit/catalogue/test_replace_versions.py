"""What happens when a newer version of a scene comes late, that is extracted already."""

from dataclasses import replace as changed
from datetime import datetime

import pytest

from cbmctl.catalogue.replace_versions import offers, replace
from cbmctl.database import connect
from cbmctl.errors import UserError
from cbmctl.parcels.supersede import supersede
from cbmctl.queue import tasks
from cbmctl.queue.scene_changes import update_scenes
from tests.support.acquisitions import (
    BETTER,
    ORIGINAL,
    counted,
    enter,
    extracted_as,
    here,
    pairs,
    seen_once,
    statuses,
    version,
    watch,
    write,
)
from tests.support.catalogue_search import answered, command
from tests.support.datatakes import S2
from tests.support.season import Season

pytestmark = pytest.mark.postgis


@pytest.fixture
def extracted(season: Season) -> Season:
    """The original is extracted, both products are in the archive."""
    write(season, BETTER)
    extracted_as(season, ORIGINAL)
    return season


def test_a_newer_version_of_what_is_extracted_waits_to_be_taken_on(extracted: Season) -> None:
    season, newer = extracted, here(extracted, BETTER)
    for _ in range(2):
        assert enter(season, newer).versions.offered == pairs((ORIGINAL, BETTER))
        assert statuses(season) == {ORIGINAL.reference: "extracted", BETTER.reference: "offered"}
    before = season.rows("SELECT * FROM sigs ORDER BY 1, 2, 3")
    season.extract()
    assert season.rows("SELECT * FROM sigs ORDER BY 1, 2, 3") == before

    with connect(season.config, autocommit=True) as conn:
        assert tuple(replace(conn, season.config, check=True)) == pairs((ORIGINAL, BETTER))
        assert tuple(offers(conn, season.config)) == pairs((ORIGINAL, BETTER))
        assert tuple(replace(conn, season.config, [ORIGINAL.reference])) == pairs((ORIGINAL, BETTER))
        assert replace(conn, season.config) == []
        with pytest.raises(UserError, match="has no newer version in the catalogue"):
            replace(conn, season.config, [ORIGINAL.reference])
    assert not enter(season, newer).versions.offered  # a sync does not ask again
    assert counted(season) == [
        (ORIGINAL.reference, True, True, True),
        (BETTER.reference, False, False, False),
    ]

    season.extract()
    assert statuses(season) == {ORIGINAL.reference: "superseded", BETTER.reference: "extracted"}
    assert counted(season) == [
        (ORIGINAL.reference, False, False, False),
        (BETTER.reference, True, True, True),
    ]
    assert season.rows("SELECT count(*) FROM tasks WHERE obsid = (SELECT min(id) FROM dias_catalogue)") == [
        (0,)
    ]
    assert not enter(season, newer).changed


def test_offers_of_a_card_that_is_not_extracted_hold_up_nothing(extracted: Season) -> None:
    season, newer = extracted, here(extracted, BETTER)
    name = "S1A_IW_GRDH_1SDV_20210305T053224_20210305T053249_036864_0455C8_{}_CARD_BS"
    radar = [
        changed(
            newer,
            reference=name.format(end),
            card="bs",
            sensor="1A",
            tile=None,
            baseline=None,
            datastrip=None,
            obstime=datetime(2021, 3, 5, 5, 32, 24),
            processed=datetime(2021, 3, day),
        )
        for day, end in ((6, "0A1B"), (9, "0A1C"))
    ]
    enter(season, radar[0])
    with season.database.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET status = 'extracted' WHERE card = 'bs'")
    assert set(enter(season, radar[1], newer).versions.offered) == set(
        pairs((radar[0], radar[1]), (ORIGINAL, BETTER))
    )
    config = season.database.configured(extraction={"bs": {"bands": []}})
    told: list[str] = []
    with connect(config, autocommit=True) as conn:
        with pytest.raises(UserError, match="has no bands for card 'bs' of "):
            replace(conn, config, [radar[1].reference])
        assert tuple(replace(conn, config, note=told.append)) == pairs((ORIGINAL, BETTER))
        assert replace(conn, config, note=told.append) == []
    (line,) = set(told)
    assert line.startswith("left out: 1 newer scene of card 'bs', of which ")
    assert line.endswith("extracts no band: list bands in extraction.bs to have them replaced")
    assert statuses(season)[radar[1].reference] == "offered"
    result = command(season.database, "replace")
    assert (answered(result)["replaced"], result.stderr.strip()) == ([], line)


def test_the_place_is_taken_in_the_transaction_of_the_last_rows(extracted: Season) -> None:
    season = extracted
    enter(season, here(season, BETTER))
    with connect(season.config, autocommit=True) as conn:
        replace(conn, season.config)
    watch(season)
    season.extract()
    assert seen_once(season)
    assert statuses(season) == {ORIGINAL.reference: "superseded", BETTER.reference: "extracted"}


@pytest.mark.parametrize("overlap", ["first", "all"])
def test_a_third_version_that_comes_while_the_second_is_extracted(extracted: Season, overlap: str) -> None:
    config = extracted.database.configured(extraction={"s2": S2 | {"overlap": overlap}})
    season = Season(extracted.database, config)
    season.extract()
    second, third = here(season, BETTER), here(season, version("05.10", "20240101T000000"))
    write(season, third, seed=7)
    enter(season, second)
    watch(season)
    with connect(config, autocommit=True) as conn:
        replace(conn, config)
        assert tasks.claim(conn, config, "worker")
        assert enter(season, third).versions.offered == pairs((ORIGINAL, third), (second, third))
    season.extract()
    expected = {ORIGINAL.reference: "superseded", second.reference: "extracted", third.reference: "offered"}
    assert statuses(season) == expected
    with connect(config, autocommit=True) as conn:
        assert tuple(replace(conn, config)) == pairs((second, third))
    season.extract()
    assert statuses(season) == expected | {second.reference: "superseded", third.reference: "extracted"}
    assert seen_once(season)


def test_an_offer_takes_the_place_of_what_failed_meanwhile(extracted: Season) -> None:
    season = extracted
    with season.database.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET status = 'inprogress'")
        conn.execute("UPDATE tasks SET state = 'running', parcels_covered = NULL WHERE bandset = '20'")
    assert enter(season, here(season, BETTER)).versions.offered == pairs((ORIGINAL, BETTER))
    ((old,),) = season.rows("SELECT id FROM dias_catalogue WHERE reference = %s", ORIGINAL.reference)
    for state, status in (("ready", "offered"), ("failed", "ingested")):
        with season.database.connect() as conn:
            conn.execute(
                "UPDATE tasks SET state = %s, reason_code = 'archive.unreadable',"
                " failed_status = 'Rio error', reason = 'x' WHERE bandset = '20'",
                [state],
            )
            update_scenes(conn, season.config.tables, [old])
        assert statuses(season)[BETTER.reference] == status
    assert statuses(season)[ORIGINAL.reference] == "superseded"
    assert season.tasks() == {}
    season.extract()
    assert counted(season) == [
        (ORIGINAL.reference, False, False, False),
        (BETTER.reference, True, True, True),
    ]
    assert not enter(season, here(season, BETTER)).changed


def test_two_extracted_versions_of_a_time_before_this_are_told_apart(extracted: Season) -> None:
    season = extracted
    with season.database.connect() as conn:
        conn.execute(
            """INSERT INTO dias_catalogue (obstime, reference, sensor, card, path, footprint)
               SELECT obstime, %s, sensor, card, %s, footprint FROM dias_catalogue""",
            [BETTER.reference, BETTER.path],
        )
    season.extract()
    assert [row[1:] for row in counted(season)] == [(True, True, True)] * 2
    enter(season, here(season, BETTER))
    assert counted(season) == [
        (ORIGINAL.reference, False, False, False),
        (BETTER.reference, True, True, True),
    ]


def test_new_parcels_leave_nothing_to_wait_for(extracted: Season) -> None:
    season = extracted
    enter(
        season, here(season, BETTER), changed(here(season, BETTER), reference="z", tile="33UUU", online=False)
    )
    assert sorted(statuses(season).values()) == ["extracted", "offered", "offline"]
    with season.database.connect() as conn:
        supersede(conn, season.config.tables, check_only=False, drop_statistics=True)
    assert statuses(season) == {
        ORIGINAL.reference: "superseded",
        BETTER.reference: "ingested",
        "z": "offline",
    }
    assert season.tasks() == {}, "nobody is to work on what is superseded"


def test_new_parcels_and_a_scene_that_went_offline(extracted: Season) -> None:
    with extracted.database.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET online = false")
        supersede(conn, extracted.config.tables, drop_statistics=True)
    assert (statuses(extracted), extracted.tasks()) == ({ORIGINAL.reference: "offline"}, {})
