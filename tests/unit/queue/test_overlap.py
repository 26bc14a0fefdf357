"""Parcels that several tiles of a datatake show: one observation, whichever is extracted first."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import permutations
from pathlib import Path

import psycopg
import pytest
from affine import Affine
from shapely import box

from cbmctl.database import connect
from cbmctl.pixels import Grid, PixelIndex
from cbmctl.queue import tasks
from cbmctl.queue.locks import lock_datatake
from cbmctl.queue.planning import plan
from cbmctl.queue.repair import repair
from cbmctl.queue.scene_changes import update_scenes
from tests.support.datatakes import HERE, S2, WEST, ZONE, Datatake, Rows, best, images, without
from tests.support.season import Season

pytestmark = pytest.mark.postgis


@pytest.fixture
def datatake(season: Season) -> Datatake:
    return Datatake(season)


@pytest.fixture
def three(datatake: Datatake) -> tuple[Datatake, Rows]:
    """Three tiles, of which the first lacks 20 m of parcel 1; all they would write, none extracted yet."""
    datatake.enter(WEST, **without(WEST, 1, "B05_20m"))
    for tile in (HERE, ZONE):
        datatake.enter(tile)
    datatake.plan(overlap="all")
    datatake.work()
    everything = datatake.found()
    with datatake.season.database.connect() as conn:
        conn.execute("DELETE FROM sigs")
        conn.execute("DELETE FROM hists")
        conn.execute("DELETE FROM tasks")
        conn.execute("UPDATE dias_catalogue SET status = 'ingested'")
    datatake.plan()
    return datatake, everything


def expected(everything: Rows) -> Rows:
    return best(everything, {WEST: {2, 5}, HERE: {3}}, (WEST, HERE, ZONE))


def test_the_order_makes_no_difference(three: tuple[Datatake, Rows]) -> None:
    datatake, everything = three
    wanted = expected(everything)
    assert {(pid, name) for pid, name, _ in everything} > {(pid, name) for pid, name, _ in wanted}
    for order in permutations((WEST, HERE, ZONE)):
        with datatake.season.database.connect() as conn:
            conn.execute("UPDATE dias_catalogue SET status = 'ingested'")
        datatake.plan()
        for name in order:
            datatake.work(name)
        assert datatake.found() == wanted, order
    assert {pid: set(scenes) for pid, scenes in datatake.where().items()} == {
        1: {HERE},  # the west lacks a band
        2: {HERE},  # the west cuts it
        3: {WEST},
        4: {WEST},
        5: {HERE},  # the same at 10 m and 20 m, though no centre of a pixel of 20 m is cut off
        7: {HERE},
    }
    assert not any(datatake.work())


def test_several_workers_at_once(three: tuple[Datatake, Rows]) -> None:
    datatake, everything = three
    for _ in range(3):
        with datatake.season.database.connect() as conn:
            conn.execute("UPDATE dias_catalogue SET status = 'ingested'")
        datatake.plan()
        with ThreadPoolExecutor(4) as pool:
            lines = [line for found in pool.map(lambda _: datatake.work(), range(4)) for line in found]
        assert all("rows" in line for line in lines), lines
        assert datatake.found() == expected(everything)


def test_two_workers_never_close_scenes_of_one_datatake_at_once(
    datatake: Datatake, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    """Else neither would see the other's rows, and a parcel would stay in both."""
    west, here = datatake.enter(WEST), datatake.enter(HERE)
    datatake.plan()
    with connect(datatake.config, autocommit=True) as other, ThreadPoolExecutor(1) as pool:
        with other.transaction():
            lock_datatake(other, datatake.config.tables, west)
            worker = pool.submit(datatake.work, HERE)
            eventually(
                lambda: (
                    datatake.season.rows("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
                    != []
                )
            )
            assert set(datatake.season.rows("SELECT rows FROM tasks WHERE obsid = %s", here)) == {(None,)}
        assert len(worker.result()) == 3


def test_a_worker_that_dies_makes_no_difference(three: tuple[Datatake, Rows]) -> None:
    datatake, everything = three
    for number in range(4):
        with connect(datatake.config, autocommit=True) as victim:
            assert tasks.claim(victim, datatake.config, "victim")
            if number == 3:  # in the middle of writing, with the datatake's lock
                scene = datatake.ids[WEST]
                with suppress(psycopg.OperationalError), victim.transaction():
                    update_scenes(victim, datatake.config.tables, [scene])
                    victim.execute("DELETE FROM sigs")
                    victim.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        datatake.work(*list(datatake.ids)[: number or 1])
    datatake.work()
    assert datatake.found() == expected(everything)


def test_a_scene_that_fails_takes_nothing(three: tuple[Datatake, Rows], tmp_path: Path) -> None:
    datatake, everything = three
    product = next((tmp_path / "eodata").glob(f"**/*_T{HERE}_*.SAFE"))
    image = next(product.glob("**/*_B05_20m.jp2"))
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 3])
    datatake.work()
    assert datatake.season.status(datatake.ids[HERE]) == "Rio error"
    rest = {key: row for key, row in everything.items() if key[1] != HERE}
    wanted = best(rest, {WEST: {2, 5}}, (WEST, ZONE))
    assert datatake.found() == wanted
    twice = "SELECT pid FROM {} GROUP BY pid HAVING count(DISTINCT obsid) > 1"
    assert datatake.season.rows(twice.format("hists")) == datatake.season.rows(twice.format("sigs")) == []
    image.write_bytes(whole)
    with connect(datatake.config, autocommit=True) as conn:
        repair(conn, datatake.config)
    assert datatake.found() == wanted, "until the scene is whole"
    datatake.work()
    assert datatake.found() == expected(everything)


def test_every_tile_on_request_and_back(three: tuple[Datatake, Rows]) -> None:
    """Back is done without reading a scene; there, only what gave rows up is read."""
    datatake, everything = three
    datatake.work()
    assert datatake.found() == expected(everything)
    datatake.plan(overlap="all")
    lines = datatake.work()
    assert len(lines) == 8, "not the 20 m of the tile in the west, which gave none up"
    assert datatake.found() == everything
    config = datatake.season.database.configured(extraction={"s2": S2})
    for check in (True, False):
        with connect(config, autocommit=True) as conn:
            planned = plan(conn, config, check=check)
        assert (planned.changed, planned.kept, planned.again) == (True, 9, 0)
        assert datatake.found() == (everything if check else expected(everything))
    datatake.plan()
    assert datatake.work() == []
    assert datatake.found() == expected(everything)


def test_bands_that_are_asked_for_no_longer_are_told_apart_as_well(three: tuple[Datatake, Rows]) -> None:
    datatake, everything = three
    datatake.plan(overlap="all")
    datatake.work()
    assert datatake.found() == everything
    datatake.plan(**{"20": []})
    assert datatake.work() == []
    assert datatake.found() == expected(everything)


def test_with_edges_kept_the_whole_parcel_goes_first(datatake: Datatake) -> None:
    datatake.enter(WEST)
    datatake.enter(HERE)
    datatake.plan(edge="keep")
    datatake.work()
    assert datatake.where()[2] == {HERE: "stz"}, "also cut parcels have rows, but a whole one is better"
    assert datatake.where()[3] == {WEST: "stz"}
    datatake.enter(HERE, **without(HERE, 2))
    datatake.again(HERE)
    datatake.work()
    assert datatake.where()[2] == {WEST: "stz"}, "a part that is seen is better than a whole that is not"


def test_the_halves_of_a_tile_are_one_observation_as_well(datatake: Datatake) -> None:
    first = images(400, sum(map(ord, HERE)))
    for image in first.values():
        image[: len(image) // 2] = 0
    datatake.enter(HERE, **first)
    datatake.enter(HERE, name="north", made="20210305T140000")
    datatake.plan()
    datatake.work()
    assert datatake.where()[1] == {"north": "stz"}
    assert datatake.where()[7] == {"north": "stz"}, "of two that show it whole, the newer one"


@pytest.mark.parametrize("made", ["20210305T120000", "20210305T140000"])
def test_a_half_that_shows_nothing_does_not_stand_for_one_that_saw_cloud(
    datatake: Datatake, made: str
) -> None:
    """Neither has statistics, and the newer product says of parcel 1 only that it was not observed."""
    north, south = images(400, 1), images(400, 2)
    north["SCL_20m"][:10], south["SCL_20m"][:] = 9, 0
    for image in south.values():
        image[: len(image) * 7 // 10] = 0
    datatake.enter(HERE, name="north", **north)
    datatake.enter(HERE, name="south", made=made, **south)
    with datatake.season.database.connect() as conn:
        # two halves, neither of them a version of the other
        conn.execute(
            "UPDATE dias_catalogue SET datastrip ="
            " format('S2A_OPER_MSI_L2A_DS_VGS1_20210305T135811_S20210305T10292%s_N04.00', id)"
        )
    datatake.plan()
    datatake.work()
    assert datatake.where()[1] == {"north": "s"}
    ((hist,),) = datatake.season.rows("SELECT hist FROM hists WHERE pid = 1")
    assert set(hist) == {"9"}


@pytest.mark.parametrize("order", [(WEST, HERE), (HERE, WEST)])
def test_a_users_own_processing_counts_where_no_official_product_saw_anything(
    datatake: Datatake, order: tuple[str, str]
) -> None:
    """Also one whose tile comes first by name, and that has statistics where the official one saw cloud."""
    official = without(HERE, 4)
    official["SCL_20m"][:10] = 9
    datatake.enter(WEST)
    datatake.enter(HERE, **official)
    with datatake.season.database.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET baseline = '99.99' WHERE id = %s", [datatake.ids[WEST]])
    datatake.plan()
    for tile in order:
        datatake.work(tile)
    datatake.work()
    assert datatake.where() == {
        1: {HERE: "s"},
        2: {HERE: "s"},
        3: {WEST: "stz"},
        4: {WEST: "st"},
        5: {HERE: "stz"},
        7: {HERE: "stz"},
    }


def test_a_parcel_is_cut_by_its_outline_at_every_resolution() -> None:
    """The outline alone, not the pixels, so that 10 m and 20 m agree."""
    parcels = [box(-over, 30, 50, 70) for over in (-1, 0, 0.5, 4, 7, 15)] + [box(30, 30, 60, 60)]
    for metres in (10, 20):
        grid = Grid(32632, Affine(metres, 0, 0, 0, -metres, 100), 100 // metres, 100 // metres)
        index = PixelIndex.build(range(len(parcels)), parcels, grid)
        assert sorted(index.pids[index.cut].tolist()) == [2, 3, 4, 5]
