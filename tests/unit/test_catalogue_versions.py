"""Versions of one acquisition: which is for extraction, and what happens when a newer one comes late."""

from dataclasses import replace as changed
from datetime import datetime
from pathlib import Path

import pytest
from shapely import box

from cbmctl.catalogue.find import find_scenes
from cbmctl.catalogue.record import Record, as_footprint
from cbmctl.catalogue.replace import offers, replace
from cbmctl.catalogue.sync import Synced, store
from cbmctl.catalogue.versions import Pair
from cbmctl.database import connect
from cbmctl.errors import UserError
from cbmctl.parcels.supersede import supersede
from cbmctl.planning import plan, plan_scenes
from cbmctl.settling import settle

from ..conftest import REPOSITORY
from .conftest import OFFSET, Season, pixels
from .products import make_product, metadata

pytestmark = pytest.mark.postgis

PLACE = box(8, 47, 9, 48)
STRIP = "S2A_OPER_MSI_L2A_DS_VGS1_20210305T135811_S20210305T102917_N04.00"


def version(
    baseline: str = "04.00",
    made: str = "20210305T135811",
    *,
    strip: str | None = STRIP,
    place: object = PLACE,
) -> Record:
    """One of the versions of an acquisition of 5 March 2021."""
    name = f"S2A_MSIL2A_20210305T102921_N{baseline.replace('.', '')}_R108_T32TMT_{made}.SAFE"
    return Record(
        reference=name,
        card="s2",
        sensor="2A",
        obstime=datetime(2021, 3, 5, 10, 29, 21),
        path=f"Sentinel-2/MSI/L2A/2021/03/05/{name}",
        footprint=as_footprint(place),  # type: ignore[arg-type]
        epsg=32632,
        tile="32TMT",
        baseline=baseline,
        datastrip=strip,
        processed=datetime.strptime(made, "%Y%m%dT%H%M%S"),
    )


ORIGINAL = version()
BETTER = version("05.00", "20230301T010203")
AGAIN = version(made="20210306T080000")


def enter(season: Season, *records: Record) -> Synced:
    with season.database.connect() as conn:
        return store(conn, season.config, records)


def statuses(season: Season) -> dict[str, str]:
    return dict(season.rows("SELECT reference, status FROM dias_catalogue"))  # type: ignore[arg-type]


def pairs(*pairs: tuple[Record, Record]) -> tuple[Pair, ...]:
    return tuple(Pair(old.reference, new.reference) for old, new in pairs)


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
        with pytest.raises(UserError, match=f"{ORIGINAL.reference} is superseded by {newer.reference}: extr"):
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
    assert done.versions.superseded == pairs((ORIGINAL, second))
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


def test_what_is_not_online_waits_and_supersedes_nothing(season: Season) -> None:
    done = enter(season, ORIGINAL, changed(BETTER, online=False))
    assert done.offline == [BETTER.reference]
    assert statuses(season) == {ORIGINAL.reference: "ingested", BETTER.reference: "offline"}
    with connect(season.config) as conn, pytest.raises(UserError, match="is not online: sync"):
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


@pytest.fixture
def extracted(season: Season, tmp_path: Path) -> Season:
    """The original is extracted, both products are in the archive."""
    footprint = season.rows("SELECT ST_AsText(wkb_geometry) FROM aois")[0][0]
    assert footprint
    scene = season.scene(5)
    xml = metadata(dict.fromkeys(range(13), OFFSET))
    assert BETTER.path
    make_product(
        tmp_path / "eodata", pixels(6), xml, name=BETTER.reference, folder=str(Path(BETTER.path).parent)
    )
    with season.database.connect() as conn:
        conn.execute(
            "UPDATE dias_catalogue SET tile = '32TMT', baseline = '04.00', datastrip = %s WHERE id = %s",
            [STRIP, scene],
        )
    season.extract()
    return season


def here(season: Season, record: Record) -> Record:
    """The same record with the footprint that the season's scenes have."""
    from shapely import wkb

    ((place,),) = season.rows("SELECT ST_AsBinary(footprint) FROM dias_catalogue LIMIT 1")
    return changed(record, footprint=wkb.loads(bytes(place)))


def counted(season: Season) -> list[tuple[object, ...]]:
    """References of scenes that clients count, with their rows; the others must have none."""
    return season.rows(
        """SELECT reference, status = 'extracted', (SELECT count(*) FROM sigs WHERE obsid = d.id) > 0,
               (SELECT count(*) FROM hists WHERE obsid = d.id) > 0
           FROM dias_catalogue d ORDER BY baseline"""
    )


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
        with pytest.raises(UserError, match="there is no newer version of"):
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


def test_the_place_is_taken_in_the_transaction_of_the_last_rows(extracted: Season) -> None:
    season = extracted
    enter(season, here(season, BETTER))
    with connect(season.config, autocommit=True) as conn:
        replace(conn, season.config)
    with season.database.connect() as conn:  # what every transaction of the worker leaves behind
        conn.execute(
            """CREATE TABLE seen (extracted bigint, doubles bigint);
               CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                   INSERT INTO seen SELECT count(*) FILTER (WHERE status = 'extracted'),
                       (SELECT count(*) FROM sigs s JOIN dias_catalogue d ON d.id = s.obsid
                        WHERE d.status = 'superseded') FROM dias_catalogue;
                   RETURN NULL; END $$;
               CREATE CONSTRAINT TRIGGER look AFTER UPDATE ON tasks DEFERRABLE INITIALLY DEFERRED
                   FOR EACH ROW EXECUTE FUNCTION look()"""
        )
    season.extract()
    assert set(season.rows("SELECT * FROM seen")) == {(1, 0)}


def test_an_offer_takes_the_place_of_what_failed_meanwhile(extracted: Season) -> None:
    season = extracted
    with season.database.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET status = 'inprogress'")
        conn.execute("UPDATE tasks SET state = 'running' WHERE bandset = '20'")
    assert enter(season, here(season, BETTER)).versions.offered == pairs((ORIGINAL, BETTER))
    ((old,),) = season.rows("SELECT id FROM dias_catalogue WHERE reference = %s", ORIGINAL.reference)
    for state, status in (("ready", "offered"), ("failed", "ingested")):
        with season.database.connect() as conn:
            conn.execute("UPDATE tasks SET state = %s, reason = 'Rio error: x' WHERE bandset = '20'", [state])
            settle(conn, season.config.tables, [old])
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


def test_an_older_version_is_not_taken_back(season: Season) -> None:
    enter(season, ORIGINAL, BETTER)
    with (
        connect(season.config) as conn,
        pytest.raises(UserError, match=f"{ORIGINAL.reference} is superseded by {BETTER.reference}, and the"),
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
