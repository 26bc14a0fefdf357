"""The parcels as pixels of an image's grid: fetched from PostGIS, and remembered in memory and on disk.

An index is kept under a name made of the grid and of every row version of the parcels in it, so that one that
was made of other parcels is never found, however they were changed.
"""

import zipfile
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Any

import psycopg
import shapely

from cbmctl.config import Config
from cbmctl.database import one, query
from cbmctl.parcels.projection import projected
from cbmctl.pixels.grid import Grid
from cbmctl.pixels.index import PixelIndex
from cbmctl.queue import parcel_sets
from cbmctl.queue.locks import lock_parcel_table_shared
from cbmctl.reasons import PARCELS_UNREADABLE
from cbmctl.scenes import SceneError

FORMAT = 2  # of the files; another number, and all are made anew
# An index of 100,000 parcels takes 30 MB at 10 m and 15 MB at 20 m. A tile of Sentinel-2 needs three.
KEPT_IN_MEMORY = 4
# It shares a disk with the database. What was used last stays; an index of Sentinel-1 fits one scene only.
BYTES_ON_DISK = 4 * 2**30
# The sides of an image become curves in the parcels' projection.
_PIECES = 50


class Indexes:
    """Finds, makes and keeps pixel indexes."""

    def __init__(self, conn: psycopg.Connection, config: Config) -> None:
        """Use a connection in autocommit mode."""
        self._conn, self._config = conn, config
        self._kept: dict[str, PixelIndex] = {}

    def get(
        self, grid: Grid, *, touching: bool = False, buffer_m: float = 0.0, after: int | None = None
    ) -> PixelIndex:
        """Return the index of the parcels on a grid; the arguments are those of `read`."""
        return self.read(grid, touching=touching, buffer_m=buffer_m, after=after)[0]

    def read(
        self, grid: Grid, *, touching: bool = False, buffer_m: float = 0.0, after: int | None = None
    ) -> tuple[PixelIndex, int]:
        """Return the index of the parcels on a grid, and the version of the set of parcels.

        Args:
            grid: an image's.
            touching: with slivers, as `PixelIndex.touching` adds them.
            buffer_m: metres by which the parcels are shrunk.
            after: only parcels that came after this version of the set; None means all.

        Raises:
            SceneError: the parcels cannot be read (PARCELS_UNREADABLE).
        """
        try:
            with self._conn.transaction():
                # what is named and what is fetched must be the same
                self._conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                lock_parcel_table_shared(self._conn, self._config.tables)
                name, version = self._name(grid, touching, buffer_m, after)
                index = self._kept.pop(name, None)
                if index is None:  # an empty one is one too
                    index = self._load(name, grid)
                if index is None:
                    pids, parcels = self._fetch(grid, after)
        except psycopg.Error as error:
            raise parcel_error(self._conn, self._config, error) from error
        if index is None:
            # in the projection of the image, where a metre is a metre
            parcels = shapely.buffer(parcels, -buffer_m, quad_segs=8) if buffer_m else parcels
            index = PixelIndex.build(pids, parcels, grid)
            index = index.touching(pids, parcels) if touching else index
            self._save(name, index)
        self._kept[name] = index
        if len(self._kept) > KEPT_IN_MEMORY:
            self._kept.pop(next(iter(self._kept)))
        return index, version

    def _name(self, grid: Grid, touching: bool, buffer_m: float, after: int | None) -> tuple[str, int]:
        version, *versions = one(
            self._conn,
            query(
                """SELECT {version}, (SELECT system_identifier FROM pg_control_system()),
                       %(table)s::regclass::oid::bigint, count(*), sum(ogc_fid),
                       sum(hashint8extended(xmin::text::bigint << 31 # ogc_fid, 0)),
                       sum(hashfloat8extended(ST_XMin(wkb_geometry), ogc_fid)),
                       sum(hashfloat8extended(ST_YMax(wkb_geometry), ogc_fid))
                   FROM {asked} WHERE wkb_geometry && {box}""",
                **self._names(after),
            ),
            self._place(grid) | {"covered": after},
        )
        where = self._config.connection
        known = (
            FORMAT,
            where.host,
            where.port,
            where.dbname,
            *versions,
            grid.epsg,
            tuple(grid.transform),
            grid.height,
            grid.width,
            touching,
            buffer_m,
        )
        return sha256(repr(known).encode()).hexdigest()[:32], version

    def _fetch(self, grid: Grid, after: int | None) -> tuple[Sequence[int], Any]:
        """Fetch pids and geometries, in the grid's CRS, of the parcels that may have pixels there."""
        rows = self._conn.execute(
            query(
                """SELECT ogc_fid, ST_AsBinary({projected})
                   FROM {asked} WHERE wkb_geometry && {box}""",
                projected=projected(self._config.tables.parcels, grid.epsg),
                **self._names(after),
            ),
            self._place(grid) | {"covered": after},
            binary=True,
        ).fetchall()
        return [pid for pid, _ in rows], shapely.from_wkb([wkb for _, wkb in rows])

    def _names(self, after: int | None) -> dict[str, psycopg.sql.Composable]:
        known = parcel_sets.names(self._config.tables)
        # OFFSET 0: the planner takes the box for small, and would look up each parcel in it
        came = query(
            """(SELECT xmin, ogc_fid, wkb_geometry FROM {parcels} WHERE ogc_fid IN ({came}) OFFSET 0) came""",
            came=query(parcel_sets.CAME, **known),
            **known,
        )
        box = query(
            """ST_Transform(
                ST_Segmentize(ST_MakeEnvelope(%(left)s, %(bottom)s, %(right)s, %(top)s, %(epsg)s), %(step)s),
                Find_SRID(%(schema)s, %(name)s, 'wkb_geometry'))"""
        )
        return known | {
            "box": box,
            "version": query(parcel_sets.VERSION, **known),
            "asked": known["parcels"] if after is None else came,
        }

    def _place(self, grid: Grid) -> dict[str, Any]:
        left, bottom, right, top = grid.bounds
        parcels = self._config.tables.parcels
        return {
            "left": left,
            "bottom": bottom,
            "right": right,
            "top": top,
            "epsg": grid.epsg,
            "step": max(right - left, top - bottom) / _PIECES,
            "schema": parcels.schema,
            "name": parcels.name,
            "table": str(parcels),
        }

    def _load(self, name: str, grid: Grid) -> PixelIndex | None:
        path = self._path(name)
        try:
            index = PixelIndex.load(path, grid)
            path.touch()  # what is used is kept
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None  # not there, or broken: made anew
        return index

    def _save(self, name: str, index: PixelIndex) -> None:
        path = self._path(name)
        with suppress(OSError):  # without a place to keep it, it is made again next time
            path.parent.mkdir(parents=True, exist_ok=True)
            index.save(path)
            # also what a worker that was killed left half written: it is never touched again
            kept = sorted(path.parent.iterdir(), key=lambda file: file.stat().st_mtime, reverse=True)
            for size, file in zip(accumulate(file.stat().st_size for file in kept), kept, strict=True):
                if size > BYTES_ON_DISK:
                    file.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._config.cache / "indexes" / f"{name}.npz"


def parcel_error(conn: psycopg.Connection, config: Config, error: psycopg.Error) -> Exception:
    """Tell a wrong parcel table, which is the scene's problem, from a lost connection, which is not."""
    if conn.broken:
        return error
    return SceneError(
        PARCELS_UNREADABLE, f"{config.tables.parcels} cannot be read: {error.diag.message_primary or error}"
    )
