"""Scenes for tests of the queue: versions, halves and neighbours of one datatake, and what each says."""

from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from psycopg import sql
from pyproj import Transformer
from shapely import MultiPolygon, Polygon, box, transform

from cbmctl.archive.open_archive import open_archive
from cbmctl.catalogue.record import Record, as_footprint
from cbmctl.config import Config
from cbmctl.config.extraction import Method
from cbmctl.database import connect
from cbmctl.queue.tasks import Task
from cbmctl.scenes.reading import Reader
from cbmctl.worker.index_cache import Indexes
from cbmctl.worker.job import open_job
from tests.support.datatakes import HERE, MORE, TILES, WEST, ZONE, holes, images
from tests.support.products_s2 import LEFT, TOP, make_product, metadata
from tests.support.season import OFFSET, PARCELS

FOLDER = "Sentinel-2/MSI/L2A/2021/03/05"
TAKEN = datetime(2021, 3, 5, 10, 29, 21)
EMPTY = "32TNT"
PLACES = TILES | {EMPTY: (32632, (LEFT + 20_000, TOP), 400)}
# Everything that is declared at some time, by number. At first: beside the others, one that two tiles cut.
FIRST: Mapping[int, Polygon] = dict(PARCELS) | MORE | {6: box(LEFT + 40, TOP - 430, LEFT + 190, TOP - 340)}
SHAPES: Mapping[int, Polygon] = FIRST | {
    14: box(LEFT + 100, TOP - 330, LEFT + 160, TOP - 290),
    # the two halves of 2, a part of 7 that overlaps it, and one where nothing was
    21: box(LEFT + 180, TOP - 200, LEFT + 240, TOP - 60),
    22: box(LEFT + 240, TOP - 200, LEFT + 300, TOP - 60),
    17: box(LEFT + 260, TOP - 370, LEFT + 360, TOP - 300),
    31: box(LEFT + 20_050, TOP - 250, LEFT + 20_200, TOP - 100),
}
ALL_SHAPES = "parcels_ever"
# Rows of a band set by parcel and band: the eight figures of `sigs`, or the classes of `hists`.
Rows = Mapping[tuple[int, str], object]


@dataclass(frozen=True)
class Made:
    """A product: its record, and what its images do not show.

    Attributes:
        part: rows of the image with data, as shares of its height.
        blind: by parcel, bands without data there; no bands mean cloud.
    """

    name: str
    tile: str
    baseline: str = "04.00"
    made: str = "20210305T135811"
    strip: str = "20210305T102917"
    part: tuple[float, float] = (0, 1)
    blind: tuple[tuple[int, tuple[str, ...]], ...] = ()

    @cached_property
    def record(self) -> Record:
        epsg, (x, y), side = PLACES[self.tile]
        first, last = self.part
        place = box(x, y - last * side, x + side, y - first * side)
        degrees = Transformer.from_crs(epsg, 4326, always_xy=True).transform
        version = self.baseline.replace(".", "")
        reference = f"S2A_MSIL2A_20210305T102921_N{version}_R108_T{self.tile}_{self.made}.SAFE"
        return Record(
            reference=reference,
            card="s2",
            sensor="2A",
            obstime=TAKEN,
            path=f"{FOLDER}/{reference}",
            footprint=as_footprint(transform(place, degrees, interleaved=False)),
            epsg=epsg,
            tile=self.tile,
            baseline=self.baseline,
            datastrip=f"S2A_OPER_MSI_L2A_DS_VGS1_{self.made}_S{self.strip}_N{self.baseline}",
            processed=datetime.strptime(self.made, "%Y%m%dT%H%M%S"),
        )

    @property
    def official(self) -> bool:
        return not self.baseline.startswith("99")

    @property
    def cut(self) -> set[int]:
        """The shapes that reach beyond the image."""
        epsg, (x, y), side = PLACES[self.tile]
        project = Transformer.from_crs(32632, epsg, always_xy=True).transform
        image = box(x, y - side, x + side, y)
        return {p for p, s in SHAPES.items() if not image.contains(transform(s, project, interleaved=False))}

    def write(self, root: Path) -> None:
        """Put the product into an archive."""
        epsg, corner, side = PLACES[self.tile]
        shown = images(side, sum(map(ord, self.name)))
        for band in shown:
            image = shown[band]
            metres = int(band.split("_")[1][:-1])
            image[: int(self.part[0] * side) // metres] = 0
            image[int(self.part[1] * side) // metres :] = 0
            for pid, bands in self.blind:
                if band in bands:
                    image = holes(metres, self.tile, FIRST[pid], image)
                elif not bands and band == "SCL_20m":
                    clear = holes(metres, self.tile, FIRST[pid], np.ones_like(image))
                    image = np.where(clear, image, 9).astype(np.uint8)
            shown[band] = image
        xml = metadata(dict.fromkeys(range(13), OFFSET))
        reference = self.record.reference
        make_product(root, shown, xml, name=reference, folder=FOLDER, epsg=epsg, corner=corner)


SCENES = {
    made.name: made
    for made in (
        Made("west", WEST, strip="20210305T102800", blind=((1, ("B05_20m",)),)),
        # the west again, cut otherwise, so that both parts replace it together
        Made("west north", WEST, "05.00", "20230301T010203", "20210305T102900", (0, 0.55)),
        Made("west south", WEST, "05.00", "20230301T020304", "20210305T103300", (0.45, 1)),
        Made("here", HERE, blind=((7, ()), (4, ("B02_10m",)))),
        Made("here newer", HERE, "05.00", "20230301T030405", blind=((1, ("SCL_20m", "B03_10m")), (2, ()))),
        Made("here newest", HERE, "05.10", "20230401T030405"),
        Made("here by a user", HERE, "99.99", "20240101T000000"),
        Made("zone", ZONE, blind=((2, ()),)),
        Made("empty", EMPTY),
    )
}
BY_REFERENCE = {made.record.reference: made for made in SCENES.values()}


@dataclass
class Declared:
    """The set of parcels: their shapes by id, since which version they are there, and those that are gone."""

    version: int = 1
    shapes: dict[int, int] = field(default_factory=lambda: {shape: shape for shape in FIRST})
    since: dict[int, int] = field(default_factory=dict)
    gone: dict[int, int] = field(default_factory=dict)
    last: int = 100

    def load(self, conn: psycopg.Connection, shapes: Collection[int]) -> None:
        """Load others as if nothing had been there: at first by the number of the shape, then by new ones."""
        numbers = {shape: self.last + i for i, shape in enumerate(sorted(shapes), 1)}
        self.shapes = {numbers[shape] if self.version > 1 else shape: shape for shape in shapes}
        self.since, self.gone, self.last = {}, {}, max(self.last, *self.shapes)
        conn.execute("DELETE FROM parcels_2021")
        conn.execute("DELETE FROM parcel_history")
        insert(conn, "parcels_2021", {pid: SHAPES[shape] for pid, shape in self.shapes.items()})
        store_version(conn, self.version)

    def change(self, conn: psycopg.Connection, shapes: Collection[int]) -> tuple[list[int], list[int]]:
        """Load others in place of those that are there; return the ids of what is new and of what is gone."""
        self.version += 1
        gone = [pid for pid, shape in self.shapes.items() if shape not in shapes]
        new = {}
        for shape in sorted(set(shapes) - set(self.shapes.values())):
            self.last += 1
            new[self.last] = shape
        self.gone |= {pid: self.shapes.pop(pid) for pid in gone}
        self.shapes |= new
        self.since |= dict.fromkeys(new, self.version)
        store_changes(conn, self.version, {pid: SHAPES[shape] for pid, shape in new.items()}, gone)
        return list(new), gone


def store_changes(
    conn: psycopg.Connection, version: int, new: Mapping[int, Polygon], gone: Collection[int]
) -> None:
    """Change the table of parcels and its history, as a file with other parcels does."""
    conn.execute("DELETE FROM parcels_2021 WHERE ogc_fid = ANY(%s)", [list(gone)])
    insert(conn, "parcels_2021", new)
    conn.execute(
        """INSERT INTO parcel_history (table_name, ogc_fid, since, until)
           SELECT 'public.parcels_2021', pid, 1, %(version)s FROM unnest(%(gone)s::integer[]) pid
           UNION ALL
           SELECT 'public.parcels_2021', pid, %(version)s, NULL FROM unnest(%(new)s::integer[]) pid
           ON CONFLICT (table_name, ogc_fid) DO UPDATE SET until = excluded.until""",
        {"version": version, "gone": list(gone), "new": list(new)},
    )
    store_version(conn, version)


def store_version(conn: psycopg.Connection, version: int) -> None:
    conn.execute(
        """INSERT INTO parcel_sets AS s (table_name, source, checksum, options, srid, parcels, version)
           SELECT 'public.parcels_2021', 'p.gpkg', 'c', '{}', 32632, count(*), %s FROM parcels_2021
           ON CONFLICT (table_name) DO UPDATE SET version = excluded.version""",
        [version],
    )


def insert(conn: psycopg.Connection, table: str, shapes: Mapping[int, Polygon]) -> None:
    for pid, shape in shapes.items():
        conn.execute(
            sql.SQL("INSERT INTO {} VALUES (%s, ST_GeomFromText(%s, 32632))").format(sql.Identifier(table)),
            [pid, MultiPolygon([shape]).wkt],
        )


@dataclass(frozen=True)
class Said:
    """What a scene says in a band set when no other scene is there.

    Attributes:
        rows: the rows.
        cut: parcels that reach beyond the image, as a task keeps them.
        slivers: parcels without a pixel.
    """

    rows: Rows
    cut: list[int]
    slivers: list[int]


class Truth:
    """What each product has to say of every shape, computed once and without the queue."""

    def __init__(self, config: Config) -> None:
        """Read products of the archive in `config`, which nothing damages."""
        self._config = config
        self._known: dict[object, Said] = {}

    def said(
        self,
        made: Made,
        shapes: Mapping[int, int],
        bandset: str,
        bands: tuple[str, ...],
        method: Mapping[str, Any],
    ) -> Said:
        """Work it out for parcels, given by their shapes; the scene must be catalogued."""
        plain = replace(Method(**{**method, "cloud_classes": tuple(method["cloud_classes"])}), overlap="all")
        key = (made.name, bandset, bands, plain)
        if key not in self._known:
            self._known[key] = self._compute(made, bandset, bands, plain)
        known, pids = self._known[key], {shape: pid for pid, shape in shapes.items()}
        return Said(
            {(pids[shape], band): row for (shape, band), row in known.rows.items() if shape in pids},
            sorted(pids[shape] for shape in known.cut if shape in pids),
            sorted(pids[shape] for shape in known.slivers if shape in pids),
        )

    def _compute(self, made: Made, bandset: str, bands: tuple[str, ...], method: Method) -> Said:
        config, record = self._config, made.record
        with (
            connect(config, autocommit=True) as conn,
            closing(open_archive(config.eodata, config.cache)) as archive,
            Reader(1) as reader,
        ):
            row = conn.execute("SELECT id FROM dias_catalogue WHERE reference = %s", [record.reference])
            ((obsid,),) = row.fetchall()
            task = Task(obsid, "s2", bandset, bands, method, 1, record.reference, record.path)
            job = open_job(conn, config, task, Indexes(conn, config), archive)
            if job is None:
                return Said({}, [], [])
            with closing(job.held):
                for band in job.bands:
                    job.take(reader, band, job.start(reader, band))
        pids = job.index.pids.tolist()
        rows: dict[tuple[int, str], object] = {}
        if job.classes is not None:
            for pid, counts in zip(pids, job.classes.tolist(), strict=False):
                rows[pid, "SCL"] = {str(scl): number for scl, number in enumerate(counts) if number}
        for band, table in job.statistics.items():
            rows |= {(pids[i], band): tuple(table[i].tolist()) for i in np.flatnonzero(job.active)}
        return Said(rows, sorted(job.cut.tolist()), sorted(job.index.empty.tolist()))


def rank(made: Made) -> tuple[Any, ...]:
    """The order of tiles by name; of one tile, the newer product first."""
    newer = [-int(made.official), -float(made.baseline), -int(made.made.replace("T", ""))]
    return made.tile, *newer, made.record.reference
