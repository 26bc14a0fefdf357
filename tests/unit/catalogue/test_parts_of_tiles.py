"""Tiles in two datastrips, or cut otherwise when processed again: clients see each parcel once, always."""

from shutil import rmtree

import pytest

from cbmctl.catalogue.product_versions import Pair
from cbmctl.catalogue.record import Record
from cbmctl.catalogue.replace_versions import replace
from cbmctl.database import connect
from cbmctl.queue.planning import plan
from cbmctl.queue.repair import repair
from tests.support.acquisitions import cut, enter, pairs, seen_once, statuses, version, watch, write
from tests.support.datatakes import S2
from tests.support.season import Season

pytestmark = pytest.mark.postgis

FIRST, SECOND, OTHER = "20210305T102900", "20210305T103300", "20210305T102800"
WHOLE = cut(version(), "whole", OTHER)
A = cut(version(made="20210305T135900"), "north", FIRST)
B = cut(version(made="20210305T140000"), "south", SECOND)
# of the new ones the south is processed last
NORTH = cut(version("05.00", "20230301T010203"), "north", FIRST)
SOUTH = cut(version("05.00", "20230301T020304"), "south", SECOND)
BROKEN = "!S3 subdir"


@pytest.fixture(params=["first", "all"])
def season(request: pytest.FixtureRequest, season: Season) -> Season:
    """Parcels of which two tiles or halves have one observation each, or all."""
    config = season.database.configured(extraction={"s2": S2 | {"overlap": request.param}})
    for record, part in ((WHOLE, "whole"), (A, "north"), (B, "south"), (NORTH, "north")):
        write(season, record, part=part)
    return Season(season.database, config)


def extracted(season: Season, *records: Record) -> None:
    """Have old scenes extracted and the new ones catalogued, which changes nothing until somebody asks."""
    enter(season, *records)
    season.extract()
    assert statuses(season) == {record.reference: "extracted" for record in records}
    watch(season)
    enter(season, NORTH, SOUTH)
    season.extract()
    assert [statuses(season)[record.reference] for record in (NORTH, SOUTH)] == ["offered"] * 2


def replaced(season: Season, *references: str) -> tuple[Pair, ...]:
    with connect(season.config, autocommit=True) as conn:
        return tuple(replace(conn, season.config, references))


def mended(season: Season) -> None:
    """The product that was missing is there, and its scene is extracted."""
    write(season, SOUTH, part="south")
    with connect(season.config, autocommit=True) as conn:
        assert [scene.reference for scene in repair(conn, season.config).scenes] == [SOUTH.reference]
    season.extract()


def test_each_half_takes_the_place_of_its_own(season: Season) -> None:
    extracted(season, A, B)
    assert set(replaced(season)) == set(pairs((A, NORTH), (B, SOUTH)))
    season.extract()
    expected = {A: "superseded", NORTH: "extracted", B: "extracted", SOUTH: BROKEN}
    assert statuses(season) == {record.reference: status for record, status in expected.items()}
    mended(season)
    assert sorted(statuses(season).values()) == ["extracted"] * 2 + ["superseded"] * 2
    assert seen_once(season)


@pytest.mark.parametrize("named", [None, WHOLE, NORTH, SOUTH])
def test_what_was_cut_otherwise_counts_until_all_parts_are_there(
    season: Season, named: Record | None
) -> None:
    extracted(season, WHOLE)
    asked = [named.reference] if named else []
    assert set(replaced(season, *asked)) == set(pairs((WHOLE, NORTH), (WHOLE, SOUTH)))
    season.extract()
    expected = {WHOLE.reference: "extracted", NORTH.reference: "inprogress", SOUTH.reference: BROKEN}
    assert statuses(season) == expected
    assert season.rows("SELECT reason FROM dias_catalogue WHERE status = 'inprogress'") == [
        ("done; waits for another part of what it replaces",)
    ]
    assert not enter(season, NORTH, SOUTH).changed
    with connect(season.config, autocommit=True) as conn:
        assert not plan(conn, season.config).changed
    assert statuses(season) == expected
    assert replaced(season) == ()
    mended(season)
    assert statuses(season) == {
        WHOLE.reference: "superseded",
        NORTH.reference: "extracted",
        SOUTH.reference: "extracted",
    }
    assert seen_once(season)
    assert not season.rows(
        "SELECT FROM tasks t JOIN dias_catalogue d ON d.id = obsid WHERE status = 'superseded'"
    )


def test_what_was_cut_otherwise_fails_while_one_part_is_there(season: Season) -> None:
    """Then clients see that part; the old scene goes as soon as the other part is there."""
    extracted(season, WHOLE)
    replaced(season)
    season.extract()
    rmtree(season.config.eodata / str(WHOLE.path))
    with season.database.connect() as conn:
        conn.execute(
            """UPDATE tasks SET state = 'ready', attempts = 0, parcels_covered = NULL FROM dias_catalogue
               WHERE id = obsid AND status = 'extracted'"""
        )
    season.extract()
    assert statuses(season) == {
        WHOLE.reference: BROKEN,
        NORTH.reference: "extracted",
        SOUTH.reference: BROKEN,
    }
    write(season, SOUTH, part="south")
    with connect(season.config, autocommit=True) as conn:
        repair(conn, season.config, [SOUTH.reference])
    season.extract()
    assert statuses(season)[WHOLE.reference] == "superseded"
