"""What it costs to read new parcels of a scene that is extracted, as a share of extracting it.

Processor time of worker and PostgreSQL, without the start of the worker, which reads many scenes.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import LiteralString

import numpy as np
import psycopg

from benchmarks.figures import Figure
from benchmarks.measure import Cost, Tenant, tenant
from benchmarks.scenes import BANDS, BLOCK, TILE, Archive
from benchmarks.server import Server
from cbmctl.config import load_config
from cbmctl.database import connect
from cbmctl.pixels.index import PixelIndex
from cbmctl.pixels.statistics import needed_blocks
from cbmctl.queue.locks import lock_parcel_sets
from cbmctl.queue.parcel_changes import change_parcels
from cbmctl.scenes.reading import Reader
from cbmctl.scenes.sentinel2 import open_product
from cbmctl.worker.index_cache import Indexes

NUMBER, SHARE = 100_000, 100  # one parcel of a hundred is new
REPEATS, SCENES = 3, 10
# m from the tile's corner, within one JPEG 2000 tile at 10 m and at 20 m, and within the swath
PLACE = (2 * BLOCK * 10 + 1_000, 2 * BLOCK * 10 + 1_000, 3 * BLOCK * 10 - 1_000, 3 * BLOCK * 10 - 1_000)
SCATTERED = "SELECT ogc_fid FROM parcels_2021 ORDER BY hashint4(ogc_fid) LIMIT %(limit)s"
TOGETHER = """SELECT ogc_fid FROM parcels_2021 WHERE wkb_geometry @ ST_Transform(
    ST_MakeEnvelope(%(west)s, %(south)s, %(east)s, %(north)s, %(epsg)s), 25832) LIMIT %(limit)s"""


def figures(server: Server, archive: Archive, number: int, note: Callable[[str], None]) -> list[Figure]:
    """Extract a scene, then change parcels in two ways."""
    found = []
    with tenant(server, archive, number) as here:
        for product, decoded in ((archive.clear, True), (archive.plain, False)):
            here.catalogue(product, "s2")
            here.indexes(product, "s2")
            note(f"the first extraction with {number:,} parcels, then those that change")
            whole, start = _decoded(here) if decoded else _of_several(here)
            what = "CPU" if decoded else "all but decoding, CPU"
            for title, which in (("scattered", SCATTERED), ("in one JPEG 2000 tile", TOGETHER)):
                parts = []
                for _ in range(REPEATS if decoded else 1):
                    changed = change(here, which, number // SHARE)
                    parts.append((_cpu(here.work().cost) - start) / (1 if decoded else SCENES))
                part, blocks, read = sum(parts) / len(parts), touched(here, product), (0.0, 0.0)
                if not decoded:
                    read = reading(here, product, new=True), reading(here, product)
                limit = blocks + 0.05 if decoded else 0.15
                found.append(
                    Figure(
                        f"{changed:,} new parcels {title}: {what} / first extraction",
                        (part - read[0]) / (whole - read[1]), "",
                        0.05 if decoded and which is TOGETHER else limit,
                        note=f"{part - read[0]:.2f} s / {whole - read[1]:.2f} s;"
                             f" mean of {len(parts) if decoded else SCENES};"
                             f" {blocks:.1%} of the JPEG 2000 tiles, weighted by bands"
                             + ("" if decoded else
                                f"; without {read[0]:.2f} s and {read[1]:.2f} s for reading plain pixels"),
                    )
                )  # fmt: skip
    return found


def _decoded(here: Tenant) -> tuple[float, float]:
    """Extract the scene. Return the CPU time, and that of a worker's start, which is not in it."""
    first = _cpu(here.work().cost)
    start = _cpu(here.cbmctl("worker"))
    return first - start, start


def _of_several(here: Tenant) -> tuple[float, float]:
    """Do the same with several equal scenes; what a worker does once, at its first scene, is its start."""
    one = _cpu(here.work().cost)
    with psycopg.connect(here.dsn) as conn:
        conn.execute(
            """INSERT INTO dias_catalogue SELECT (jsonb_populate_record(d, jsonb_build_object(
                   'id', d.id + n, 'reference', d.reference || n, 'obstime', d.obstime + n * interval '1 day',
                   'status', 'ingested'))).*
               FROM dias_catalogue d, generate_series(1, %s) n""",
            [SCENES - 1],
        )
    here.cbmctl("extract", "plan")
    others = _cpu(here.work().cost)
    first = (others - one) / (SCENES - 2)
    return first, one - first


def change(here: Tenant, which: LiteralString, limit: int) -> int:
    """Give some parcels another place, a metre to the east, as a file does; return how many."""
    tables = load_config(here.config).tables
    west, south, east, north = (
        TILE.ulx + PLACE[0], TILE.uly - PLACE[3], TILE.ulx + PLACE[2], TILE.uly - PLACE[1]
    )  # fmt: skip
    place = {"west": west, "south": south, "east": east, "north": north, "epsg": TILE.epsg, "limit": limit}
    with psycopg.connect(here.dsn) as conn:
        lock_parcel_sets(conn, tables)
        found = conn.execute(which, place).fetchall()
        gone = [pid for (pid,) in found]
        version, last = conn.execute(
            """INSERT INTO parcel_sets AS s (table_name, source, checksum, options, srid, parcels, version)
               SELECT 'public.parcels_2021', 'bench', '', '{}', 25832, count(*), 2 FROM parcels_2021
               ON CONFLICT (table_name) DO UPDATE SET version = s.version + 1
               RETURNING version, (SELECT max(ogc_fid) FROM parcels_2021)"""
        ).fetchone() or (2, 0)
        new = list(range(last + 1, last + 1 + len(gone)))
        moved = {"gone": gone, "new": new, "version": version}
        conn.execute(
            """INSERT INTO parcels_2021 SELECT n, ST_Translate(wkb_geometry, 1, 0)
               FROM parcels_2021 JOIN unnest(%(gone)s::integer[], %(new)s::integer[]) AS pair (g, n)
                   ON g = ogc_fid""",
            moved,
        )
        conn.execute("DELETE FROM parcels_2021 WHERE ogc_fid = ANY(%(gone)s)", moved)
        conn.execute(
            """INSERT INTO parcel_history (table_name, ogc_fid, since, until)
               SELECT 'public.parcels_2021', pid, 1, %(version)s FROM unnest(%(gone)s::integer[]) pid
               UNION ALL
               SELECT 'public.parcels_2021', pid, %(version)s, NULL FROM unnest(%(new)s::integer[]) pid
               ON CONFLICT (table_name, ogc_fid) DO UPDATE SET until = excluded.until""",
            moved,
        )
        change_parcels(conn, tables, version=version, new=new, gone=gone)
    return len(new)


def touched(here: Tenant, product: Path) -> float:
    """Return the share of what is decoded for all parcels that the last new ones touch, weighted by bands."""
    config = load_config(here.config)
    opened = open_product(config.eodata, str(product))
    decoded = {True: 0, False: 0}
    with connect(config, autocommit=True) as conn:
        indexes = Indexes(conn, config)
        for metres, *_ in BANDS.values():
            grid = opened.grid(metres)
            index, version = indexes.read(grid)
            delta = indexes.get(grid, after=version - 1)
            for new, which in ((False, index), (True, delta)):
                decoded[new] += _blocks(which)
    return decoded[True] / decoded[False]


def reading(here: Tenant, product: Path, *, new: bool = False) -> float:
    """Return the CPU time in which a worker reads what all parcels need, or only the new ones."""
    config, spent = load_config(here.config), 0.0
    opened = open_product(config.eodata, str(product))
    with connect(config, autocommit=True) as conn, Reader() as reader:
        indexes = Indexes(conn, config)
        for metres in (10, 20):
            scene = opened.scene([name for name, (size, *_) in BANDS.items() if size == metres], metres)
            index, version = indexes.read(scene.grid)
            if new:
                index = indexes.get(scene.grid, after=version - 1)
            start = time.process_time()
            for band in scene.bands:
                reader.release(reader.start(scene, band, index, np.ones(len(index), bool)).result())
            spent += time.process_time() - start
    return spent


def _blocks(index: PixelIndex) -> int:
    return int(needed_blocks(index, np.ones(len(index), bool), (BLOCK, BLOCK)).sum())


def _cpu(cost: Cost) -> float:
    return cost.cpu + cost.postgres
