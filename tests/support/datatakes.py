"""Scenes of one datatake, whose tiles overlap, for tests."""

from ast import literal_eval
from collections import defaultdict
from collections.abc import Collection, Iterable
from shutil import rmtree
from signal import SIGTERM
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from shapely import MultiPolygon, Polygon, box, wkb

from cbmctl.catalogue.record import Record, as_footprint
from cbmctl.database import connect
from cbmctl.queue.find_scenes import find_scenes
from cbmctl.queue.planning import plan, plan_scenes
from cbmctl.worker.pipeline import work
from cbmctl.worker.stop_signal import Stop
from tests.support.products_s2 import LEFT, TOP, make_product, metadata
from tests.support.season import BANDS_10, BANDS_20, OFFSET, PARCELS, Season

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

    def plan(self, *, buffer_m: float = 0, **s2: Any) -> None:
        extraction = {"s2": S2 | s2, "parcels_buffer_m": buffer_m}
        self.config = self.season.database.configured(extraction=extraction)
        with connect(self.config, autocommit=True) as conn:
            plan(conn, self.config)

    def work(self, *names: str, tasks: int | None = None) -> list[str]:
        """Do what is to be done, or no more than so many tasks; return what was reported."""
        lines: list[str] = []
        stop = Stop()

        def note(line: str) -> None:
            lines.append(line)
            if len(lines) == tasks:
                stop.signal = SIGTERM

        work(
            self.config,
            stop=stop,
            note=note,
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


def holes(metres: int, tile: str, shape: Polygon, images: NDArray[Any]) -> NDArray[Any]:
    """The image without data where a parcel is."""
    epsg, (x, y), _ = TILES[tile]
    bounds = box(*shape.bounds)
    if epsg != 32632:
        bounds = Polygon([TO_ZONE.transform(*xy) for xy in bounds.exterior.coords])
    left, bottom, right, top = bounds.bounds
    rows = slice(max(int((y - top) // metres), 0), max(int((y - bottom) // metres) + 1, 0))
    columns = slice(max(int((left - x) // metres), 0), max(int((right - x) // metres) + 1, 0))
    changed = images.copy()
    changed[rows, columns] = 0
    return changed


def without(tile: str, pid: int, *bands: str) -> dict[str, NDArray[Any]]:
    """Images of a tile, as `enter` makes them, without data where a parcel is."""
    made = images(TILES[tile][2], sum(map(ord, tile)))
    return {
        band: holes(int(band.split("_")[1][:-1]), tile, (PARCELS | MORE)[pid], made[band])
        for band in (bands or tuple(made))
    }


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


def best(
    candidates: Rows, cut: dict[str, set[int]], order: Iterable[str], users: Collection[str] = ()
) -> Rows:
    """What the rule leaves of all rows, worked out one parcel at a time; `users`: products of users."""
    names, parcels = list(order), {pid for pid, _, _ in candidates}
    kept = {}
    for pid in parcels:

        def rank(name: str, pid: int = pid) -> tuple[Any, ...]:
            rows = {band: row for (p, n, band), row in candidates.items() if (p, n) == (pid, name)}
            hist = literal_eval(rows.pop("SCL", ("{}",))[0])
            seen = 0 if rows else sum(pixels for scl, pixels in hist.items() if scl != "0")
            official = name not in users and bool(rows or seen)
            return not official, not rows, -seen, pid in cut.get(name, set()), -len(rows), names.index(name)

        chosen = min({name for p, name, _ in candidates if p == pid}, key=rank)
        kept |= {key: row for key, row in candidates.items() if key[:2] == (pid, chosen)}
    return kept


def task_path(datatake: Datatake, name: str) -> str:
    ((path,),) = datatake.season.rows("SELECT path FROM dias_catalogue WHERE id = %s", datatake.ids[name])
    return str(path)


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
