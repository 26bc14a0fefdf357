"""Parcels that several tiles of a datatake show: one observation, whichever is extracted first."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import permutations
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import numpy as np
import psycopg
import pytest
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from shapely import MultiPolygon, Polygon, box, wkb

from cbmctl import extraction, tasks
from cbmctl.catalogue.find import find_scenes
from cbmctl.catalogue.record import Record, as_footprint
from cbmctl.catalogue.replace import replace
from cbmctl.catalogue.sync import store
from cbmctl.catalogue.versions import arrange, lock
from cbmctl.database import connect
from cbmctl.parcels.supersede import supersede
from cbmctl.pixels import Grid, PixelIndex
from cbmctl.planning import plan, plan_scenes
from cbmctl.repair import repair
from cbmctl.settling import settle
from cbmctl.stopping import Stop
from cbmctl.worker import work

from .conftest import BANDS_10, BANDS_20, OFFSET, Season
from .products import LEFT, TOP, make_product, metadata

pytestmark = pytest.mark.postgis

# Beside the parcels 1 and 7: one that the tile in the west cuts, one in the west alone, and slivers.
MORE = {
    2: box(LEFT + 180, TOP - 200, LEFT + 300, TOP - 60),
    3: box(LEFT - 150, TOP - 300, LEFT - 40, TOP - 200),
    4: box(LEFT + 61, TOP - 309, LEFT + 69, TOP - 301),
    # whole in the west but for a strip that no centre of a pixel lies in
    5: box(LEFT + 120, TOP - 300, LEFT + 203, TOP - 260),
}
WEST, HERE, ZONE = "32TLT", "32TMT", "33TUN"
TO_ZONE = Transformer.from_crs(32632, 32633, always_xy=True)
_X, _Y = TO_ZONE.transform(LEFT - 300, TOP + 200)
# name: CRS, corner and side in metres
TILES: dict[str, tuple[int, tuple[float, float], int]] = {
    WEST: (32632, (LEFT - 200, TOP), 400),
    HERE: (32632, (LEFT, TOP), 400),
    ZONE: (32633, (_X // 20 * 20, _Y // 20 * 20), 1200),
}
S2 = {"10": list(BANDS_10), "20": list(BANDS_20)}
Rows = dict[tuple[int, str, str], tuple[Any, ...]]


def images(side: int, seed: int) -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(seed)
    found: dict[str, NDArray[Any]] = {
        f"{band}_{metres}m": random.integers(1001, 9000, (side // metres, side // metres), dtype=np.uint16)
        for bands, metres in ((BANDS_10, 10), (BANDS_20, 20))
        for band in bands
    }
    return found | {"SCL_20m": random.integers(3, 9, (side // 20, side // 20), dtype=np.uint8)}


class Datatake:
    """Scenes of one instant, with products, in a database."""

    def __init__(self, season: Season) -> None:
        self.season = season
        self.config = season.config
        self.ids: dict[str, int] = {}
        with season.database.connect() as conn:
            for pid, polygon in MORE.items():
                conn.execute(
                    "INSERT INTO parcels_2021 VALUES (%s, ST_GeomFromText(%s, 32632))",
                    [pid, MultiPolygon([polygon]).wkt],
                )

    def enter(
        self, tile: str, *, name: str | None = None, made: str = "20210305T135811", **changes: Any
    ) -> int:
        """Enter a scene and write its product; `changes` replaces images. `name` tells its halves apart."""
        name = name or tile
        reference = f"S2A_MSIL2A_20210305T102921_N0400_R108_T{tile}_{made}.SAFE"
        epsg, corner, side = TILES[tile]
        folder = "Sentinel-2/MSI/L2A/2021/03/05"
        rmtree(self.config.eodata / folder / reference, ignore_errors=True)
        make_product(
            self.config.eodata,
            images(side, sum(map(ord, name))) | changes,
            metadata(dict.fromkeys(range(13), OFFSET)),
            name=reference,
            folder=folder,
            epsg=epsg,
            corner=corner,
        )
        if name not in self.ids:
            ((self.ids[name],),) = self.season.rows(
                """INSERT INTO dias_catalogue (
                       obstime, reference, sensor, card, path, tile, baseline, processed, footprint)
                   SELECT '2021-03-05 10:29:21', %s, '2A', 's2', %s, %s, '04.00', %s::timestamp, ST_Transform(
                       ST_MakeEnvelope(x, y - s, x + s, y, e), 4326)
                   FROM (VALUES (%s::float8, %s::float8, %s::float8, %s)) v (x, y, s, e) RETURNING id""",
                reference,
                f"{folder}/{reference}",
                tile,
                made.replace("T", " "),
                *corner,
                side,
                epsg,
            )
        return self.ids[name]

    def plan(self, **s2: Any) -> None:
        self.config = self.season.database.configured(extraction={"s2": S2 | s2})
        with connect(self.config, autocommit=True) as conn:
            plan(conn, self.config)

    def work(self, *names: str) -> list[str]:
        lines: list[str] = []
        work(
            self.config,
            stop=Stop(),
            note=lines.append,
            obsids=[self.ids[name] for name in names] or None,
        )
        return lines

    def again(self, name: str) -> None:
        ((reference,),) = self.season.rows(
            "SELECT reference FROM dias_catalogue WHERE id = %s", self.ids[name]
        )
        with connect(self.config, autocommit=True) as conn:
            plan_scenes(conn, self.config, find_scenes(conn, self.config.tables, [reference]))

    def found(self) -> Rows:
        """Rows by parcel, scene and band; a histogram is one too. Only scenes that count."""
        assert self.season.rows(
            "SELECT (SELECT count(*) FROM sigs) = coalesce(sum(rows) FILTER (WHERE bandset <> 'scl'), 0)"
            " AND (SELECT count(*) FROM hists) = coalesce(sum(rows) FILTER (WHERE bandset = 'scl'), 0)"
            " FROM tasks"
        ) == [(True,)], "tasks say how many rows there are"
        names = {obsid: name for name, obsid in self.ids.items()}
        rows = self.season.rows(
            """SELECT s.* FROM sigs s JOIN dias_catalogue d ON d.id = obsid WHERE status = 'extracted'"""
        )
        found: Rows = {(pid, names[obsid], band): tuple(rest) for pid, obsid, band, *rest in rows}
        rows = self.season.rows(
            "SELECT h.* FROM hists h JOIN dias_catalogue d ON d.id = obsid WHERE status = 'extracted'"
        )
        return found | {(pid, names[obsid], "SCL"): (str(hist),) for pid, obsid, hist in rows}

    def where(self) -> dict[int, dict[str, str]]:
        """By parcel and scene, which band sets there are."""
        found: dict[int, dict[str, str]] = defaultdict(dict)
        letters = {"SCL": "s", BANDS_10[0]: "t", BANDS_20[0]: "z"}
        for pid, name, band in sorted(self.found(), key=str):
            if band in letters:
                found[pid][name] = "".join(sorted(found[pid].get(name, "") + letters[band]))
        return dict(found)


@pytest.fixture
def datatake(season: Season) -> Datatake:
    return Datatake(season)


def holes(metres: int, tile: str, pid: int, images: NDArray[Any]) -> NDArray[Any]:
    """The image without data where a parcel is."""
    epsg, (x, y), _ = TILES[tile]
    shape = MORE.get(pid) or PARCELS_HERE[pid]
    bounds = box(*shape.bounds)
    if epsg != 32632:
        bounds = Polygon([TO_ZONE.transform(*xy) for xy in bounds.exterior.coords])
    left, bottom, right, top = bounds.bounds
    rows = slice(max(int((y - top) // metres), 0), int((y - bottom) // metres) + 1)
    columns = slice(max(int((left - x) // metres), 0), int((right - x) // metres) + 1)
    changed = images.copy()
    changed[rows, columns] = 0
    return changed


PARCELS_HERE = {1: box(LEFT + 23, TOP - 177, LEFT + 161, TOP - 42)}


def without(tile: str, pid: int, *bands: str) -> dict[str, NDArray[Any]]:
    """Images of a tile, as `enter` makes them, without data where a parcel is."""
    made = images(TILES[tile][2], sum(map(ord, tile)))
    return {
        band: holes(int(band.split("_")[1][:-1]), tile, pid, made[band]) for band in (bands or tuple(made))
    }


def best(candidates: Rows, cut: dict[str, set[int]], order: Iterable[str]) -> Rows:
    """What the rule leaves of all rows, worked out one parcel at a time."""
    names, parcels = list(order), {pid for pid, _, _ in candidates}
    kept = {}
    for pid in parcels:

        def rank(name: str, pid: int = pid) -> tuple[Any, ...]:
            bands = {band for p, n, band in candidates if (p, n) == (pid, name)} - {"SCL"}
            return not bands, pid in cut.get(name, set()), -len(bands), names.index(name)

        chosen = min({name for p, name, _ in candidates if p == pid}, key=rank)
        kept |= {key: row for key, row in candidates.items() if key[:2] == (pid, chosen)}
    return kept


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


def test_a_worker_that_dies_makes_no_difference(three: tuple[Datatake, Rows]) -> None:
    datatake, everything = three
    for number in range(4):
        with connect(datatake.config, autocommit=True) as victim:
            assert tasks.claim(victim, datatake.config, "victim")
            if number == 3:  # in the middle of writing, with the datatake's lock
                scene = datatake.ids[WEST]
                with suppress(psycopg.OperationalError), victim.transaction():
                    settle(victim, datatake.config.tables, [scene])
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


def both(datatake: Datatake, **changes: Any) -> Rows:
    """Two tiles, extracted; parcels 1 and 4 are in both and counted in the first."""
    datatake.enter(WEST, **changes)
    datatake.enter(HERE)
    datatake.plan()
    datatake.work()
    found = datatake.found()
    assert datatake.where() == {
        1: {WEST: "stz"},
        2: {HERE: "stz"},
        3: {WEST: "stz"},
        4: {WEST: "st"},
        5: {HERE: "stz"},
        7: {HERE: "stz"},
    }
    return found


def test_what_a_scene_shows_no_longer_comes_back_from_its_neighbour(datatake: Datatake) -> None:
    before = both(datatake)
    datatake.enter(WEST, **without(WEST, 1))
    datatake.again(WEST)
    assert datatake.found() == {key: row for key, row in before.items() if key[1] == HERE}, "being worked on"
    datatake.work()
    assert datatake.where()[1] == {HERE: "stz"}
    rest = {key: row for key, row in before.items() if key[0] != 1}
    assert {key: row for key, row in datatake.found().items() if key[0] != 1} == rest


def test_a_scene_that_is_lost_gives_its_parcels_back(datatake: Datatake) -> None:
    both(datatake)
    ((path,),) = datatake.season.rows("SELECT path FROM dias_catalogue WHERE id = %s", datatake.ids[WEST])
    product = datatake.config.eodata / path
    copytree(product, kept := product.with_suffix(".kept"))
    rmtree(product)
    datatake.again(WEST)
    datatake.work()
    assert datatake.season.status(datatake.ids[WEST]).startswith("!S3")
    assert {pid: datatake.where()[pid] for pid in (1, 4)} == {1: {HERE: "stz"}, 4: {HERE: "st"}}
    kept.rename(product)
    with connect(datatake.config, autocommit=True) as conn:
        repair(conn, datatake.config)
    datatake.work()
    assert {pid: datatake.where()[pid] for pid in (1, 4)} == {1: {WEST: "stz"}, 4: {WEST: "st"}}


def test_repair_gives_parcels_back_at_once(datatake: Datatake) -> None:
    """A worker died at a scene that was to be done again; then the scene turns out to be broken."""
    both(datatake)
    datatake.again(WEST)
    with connect(datatake.config, autocommit=True) as victim:
        while task := tasks.claim(victim, datatake.config, "victim"):
            assert task.obsid == datatake.ids[WEST]
    rmtree(datatake.config.eodata / (task_path(datatake, WEST)))
    with connect(datatake.config, autocommit=True) as conn:
        for _ in range(2):
            repair(conn, datatake.config)
    datatake.work()
    assert {pid: datatake.where()[pid] for pid in (1, 4)} == {1: {HERE: "stz"}, 4: {HERE: "st"}}


def task_path(datatake: Datatake, name: str) -> str:
    ((path,),) = datatake.season.rows("SELECT path FROM dias_catalogue WHERE id = %s", datatake.ids[name])
    return str(path)


@pytest.mark.parametrize("shown", [True, False])
def test_a_newer_version_of_the_scene_that_counts(datatake: Datatake, *, shown: bool) -> None:
    both(datatake)
    changes = {} if shown else without(WEST, 1)
    datatake.enter(WEST, name="newer", made="20210306T080000", **changes)
    with connect(datatake.config, autocommit=True) as conn:
        with conn.transaction():
            lock(conn, datatake.config.tables)
            arranged = arrange(conn, datatake.config.tables, [Path(task_path(datatake, "newer")).name])
        assert len(arranged.offered) == 1
        replace(conn, datatake.config)
    datatake.work()
    assert datatake.season.status(datatake.ids[WEST]) == "superseded"
    assert datatake.where()[1] == ({"newer": "stz"} if shown else {HERE: "stz"})
    assert set(datatake.where()[4]) == {"newer"}


def test_other_parcels_are_told_apart_anew(datatake: Datatake) -> None:
    before = both(datatake)
    with datatake.season.database.connect() as conn:
        supersede(conn, datatake.config.tables, drop_statistics=True)
    assert datatake.season.rows("SELECT count(cut) + count(elsewhere) FROM tasks") == [(0,)]
    datatake.work()
    assert datatake.found() == before


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


def test_a_late_neighbour_is_not_read_where_nothing_is_to_be_had(
    datatake: Datatake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with datatake.season.database.connect() as conn:
        conn.execute("DELETE FROM parcels_2021 WHERE ogc_fid NOT IN (1, 9)")
    datatake.enter(WEST)
    datatake.plan()
    datatake.work()
    datatake.enter(HERE)
    datatake.plan()
    started: list[str] = []
    start = extraction.Job.start
    monkeypatch.setattr(
        extraction.Job,
        "start",
        lambda job, reader, band: started.append(band.name) or start(job, reader, band),
    )
    lines = datatake.work()
    assert len(lines) == 3
    assert started == ["SCL"]
    assert datatake.where() == {1: {WEST: "stz"}}
    # what was left out unread comes back as well
    datatake.enter(WEST, **without(WEST, 1))
    datatake.again(WEST)
    datatake.work()
    assert datatake.where() == {1: {HERE: "stz"}}


def test_a_parcel_is_cut_by_its_outline_at_every_resolution() -> None:
    """The outline alone, not the pixels, so that 10 m and 20 m agree."""
    parcels = [box(-over, 30, 50, 70) for over in (-1, 0, 0.5, 4, 7, 15)] + [box(30, 30, 60, 60)]
    for metres in (10, 20):
        grid = Grid(32632, Affine(metres, 0, 0, 0, -metres, 100), 100 // metres, 100 // metres)
        index = PixelIndex.build(range(len(parcels)), parcels, grid)
        assert sorted(index.pids[index.cut].tolist()) == [2, 3, 4, 5]


def test_syncs_plans_repairs_and_workers_at_once(datatake: Datatake) -> None:
    """Whoever takes several locks takes them in one order: nobody waits for another in a circle."""
    both(datatake)
    with connect(datatake.config, autocommit=True) as conn:
        known = records(datatake)
        store(conn, datatake.config, known)
    datatake.enter(ZONE)
    datatake.enter(WEST, name="newer", made="20210306T080000")
    with connect(datatake.config, autocommit=True) as conn:
        newer = records(datatake)
        assert len(store(conn, datatake.config, newer).versions.offered) == 1
        replace(conn, datatake.config)
        plan(conn, datatake.config)
        for name in (WEST, HERE):
            datatake.again(name)
    left = threading.Event()

    def others(what: Callable[[psycopg.Connection], object]) -> int:
        times = 0
        with connect(datatake.config, autocommit=True) as conn:
            while not left.is_set():
                what(conn)
                times += 1
        return times

    with ThreadPoolExecutor(5) as pool:
        busy = [
            pool.submit(others, lambda conn: store(conn, datatake.config, newer)),
            pool.submit(others, lambda conn: plan(conn, datatake.config)),
            pool.submit(others, lambda conn: repair(conn, datatake.config)),
        ]
        try:
            lines = [line for found in pool.map(lambda _: datatake.work(), range(2)) for line in found]
        finally:
            left.set()
        assert all(done.result() > 3 for done in busy)
    assert lines
    assert all("rows" in line for line in lines), lines
    assert datatake.season.status(datatake.ids[WEST]) == "superseded"
    assert datatake.where()[1] == {"newer": "stz"}
    assert datatake.where()[2] == {HERE: "stz"}


def records(datatake: Datatake) -> list[Record]:
    """What a sync would find of the scenes that are there."""
    rows = datatake.season.rows(
        """SELECT reference, obstime, path, ST_AsBinary(footprint), tile, processed FROM dias_catalogue"""
    )
    return [
        Record(
            reference=reference,
            card="s2",
            sensor="2A",
            obstime=obstime,
            path=path,
            footprint=as_footprint(wkb.loads(bytes(outline))),
            epsg=TILES[tile][0],
            tile=tile,
            baseline="04.00",
            processed=processed,
        )
        for reference, obstime, path, outline, tile, processed in rows
    ]
