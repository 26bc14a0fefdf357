"""One task's computation: from a product and the parcels to rows, with no trace in the database yet."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from cbmctl.archive.checksums import Checksums, known_checks
from cbmctl.archive.interface import Archive, Held
from cbmctl.config import Config
from cbmctl.config.bandsets import BANDSETS
from cbmctl.database import one, query
from cbmctl.pixels.index import PixelIndex
from cbmctl.pixels.statistics import band_statistics, class_counts, strip_statistics
from cbmctl.queue.overlap import FOOTPRINT_MARGIN_DEGREES, held_by_better
from cbmctl.queue.parcel_sets import CAME, gone_since, names
from cbmctl.queue.tasks import Task
from cbmctl.reasons import DAMAGED, NO_FOOTPRINT, NO_PATH, PARCELS_UNREADABLE, UNREADABLE
from cbmctl.scenes import Band, Scene, SceneError, backscatter, coherence, sentinel2
from cbmctl.scenes.manifest import MANIFEST_FILE
from cbmctl.scenes.needed_files import CLASSES, files_of
from cbmctl.scenes.reading import Reader, Reading, read_needed
from cbmctl.worker.index_cache import Indexes, parcel_error
from cbmctl.worker.rows import replace_histograms, replace_signatures


@dataclass
class Job:
    """A task at work.

    Attributes:
        task: the task.
        scene: the opened product.
        index: the parcels on its grid; of a delta, those that are to be read.
        version: of the set of parcels that the index shows.
        active: (n,) which parcels of the index get rows, as far as is known yet.
        elsewhere: parcels that are left out, because another scene of the datatake has them.
        held: the product's files.
        checksums: the checks of these files.
        statistics: by band, (n, 8) [cbmctl.pixels.statistics].
        classes: (n, 12) pixels by SCL class; of the task 'scl'.
        gone: parcels that were removed since the index was made, and get nothing.
    """

    task: Task
    scene: Scene
    index: PixelIndex
    version: int
    active: NDArray[np.bool_]
    elsewhere: NDArray[np.int32]
    held: Held
    checksums: Checksums
    statistics: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    classes: NDArray[np.int32] | None = None
    gone: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))

    @property
    def parcels(self) -> int:
        """How many parcels the image shows."""
        return len(np.setdiff1d(self.index.pids, self.gone))

    @property
    def cut(self) -> NDArray[np.int32]:
        """Parcels that reach beyond an image of Sentinel-2, whose tiles overlap."""
        return np.setdiff1d(self.index.pids[self.index.cut & (self.task.card == "s2")], self.gone)

    @property
    def slivers(self) -> NDArray[np.int32]:
        """Parcels that hold no centre of a pixel."""
        return np.setdiff1d(self.index.empty, self.gone)

    @property
    def bands(self) -> tuple[Band, ...]:
        """The bands to be read: none where no parcel would get a row."""
        return self.scene.bands if self.active.any() else ()

    def start(self, reader: Reader, band: Band) -> Reading | None:
        """Begin to read a band; one that lies raw in its file is read when it is taken."""
        if band.raw:
            return None
        return reader.start(self.scene, band, self.index, self.active, self.checksums.require)

    def take(self, reader: Reader, band: Band, reading: Reading | None) -> None:
        """Wait for a band and compute every parcel.

        Raises:
            SceneError: the band cannot be read, is damaged, or holds what it should not.
        """
        positive = self.task.card == "bs"
        if reading is None:
            self.checksums.require(band.path)
            strips = reader.strips(self.scene, band, self.index)
            self.statistics[band.name] = strip_statistics(self.index, strips, self.active, positive=positive)
            self.checksums.release(band.path)
            return
        image = reading.result()
        self.checksums.release(band.path)
        try:
            if self.task.bandset == "scl":
                self.classes = class_counts(self.index, image)
            else:
                self.statistics[band.name] = band_statistics(
                    self.index, image, self.active, offset=band.offset, positive=positive
                )
        except ValueError as error:
            raise _unusable(self.scene, band, error) from error
        reader.release(image)

    def write(self, conn: psycopg.Connection, config: Config) -> int:
        """Write the rows in the caller's transaction, which has locked the datatake, and return how many."""
        obsid = self.task.obsid
        self.gone = np.asarray(gone_since(conn, config.tables, self.version), np.int32)
        self.elsewhere = np.setdiff1d(self.elsewhere, self.gone)
        there = ~np.isin(self.index.pids, self.gone)
        only = None if self.task.covered is None else self.index.pids
        if self.task.bandset == "scl":
            classes = np.empty((0, 0), np.int32) if self.classes is None else self.classes
            kept = np.flatnonzero(there[: len(classes)])
            return replace_histograms(
                conn, config.tables, obsid, self.index.pids[kept], classes[kept], only=only
            )
        kept = np.flatnonzero(self.active & there)
        order = kept[np.argsort(self.index.pids[kept])]
        found = {name: table[order] for name, table in self.statistics.items()}
        return replace_signatures(
            conn,
            config.tables,
            obsid,
            self.task.bandset,
            pids=self.index.pids[order],
            found=found,
            only=only,
        )


def open_job(
    conn: psycopg.Connection, config: Config, task: Task, indexes: Indexes, archive: Archive
) -> Job | None:
    """Open a task's product and find the parcels to be read; None when none is in the scene's footprint.

    The product's files are held until the job's `held` is closed.

    Raises:
        SceneError: the product or the parcels cannot be used.
        ArchiveError: the archive cannot.
    """
    if not _meets_parcels(conn, config, task):
        return None
    if task.path is None:
        raise SceneError(NO_PATH, f"the catalogue has no path for {task.reference}: sync it again")
    files = files_of(task.bandset, task.bands, classes=bool(task.method.cloud_classes))
    held = archive.hold(task.path, f"{files}|{re.escape(MANIFEST_FILE)}")
    try:
        checksums = _checksums(conn, config, task, held, held.root / task.path)
        held = replace(held, close=partial(_close, checksums, held))
        checksums.require_metadata(files)
        scene = _opened(held.root, task.path, task, checksums, files)
        index, version = indexes.read(
            scene.grid,
            touching=task.bandset == "scl",
            buffer_m=task.method.buffer_m,
            after=task.covered,
        )
        active = np.ones(len(index), bool) if task.method.edge == "keep" else ~index.beyond
        elsewhere = _elsewhere(conn, config, task, index.pids[active])
        active &= ~np.isin(index.pids, elsewhere)
        if task.method.cloud_classes and active.any():
            active &= ~np.isin(index.pids, _cloudy(held.root, task.path, task, indexes, checksums))
    except BaseException:
        held.close()
        raise
    return Job(task, scene, index, version, active, elsewhere, held, checksums)


def _checksums(conn: psycopg.Connection, config: Config, task: Task, held: Held, folder: Path) -> Checksums:
    """Return the checks of a product. A copy is always compared: it may have been damaged on its way."""
    on = config.extraction.checksums
    known = known_checks(conn, config.tables, task.obsid) if on and not held.copied else None
    return Checksums(folder, held, known, on=on)


def _close(checksums: Checksums, held: Held) -> None:
    checksums.release()
    held.close()


def _opened(root: Path, path: str, task: Task, checksums: Checksums, files: str) -> Scene:
    """Open a product; if that fails because of a damaged file, fetch that again and open it once more."""
    opener = _OPENERS[task.card]
    try:
        return opener(root, path, task)
    except SceneError as error:
        if error.cause not in (UNREADABLE, DAMAGED) or not checksums.healed(files):
            raise
        return opener(root, path, task)


def _sentinel2(root: Path, path: str, task: Task) -> Scene:
    product = sentinel2.open_product(root, path)
    harmonise = task.method.reflectance == "harmonised"
    scene = product.scene(task.bands, BANDSETS[task.bandset].resolution, harmonise=harmonise)
    return scene if task.bandset != "scl" else Scene(scene.name, scene.grid, scene.bands)


def _coherence(root: Path, path: str, task: Task) -> Scene:
    return coherence.open_coherence(root, path, task.bands)


_OPENERS: Mapping[str, Callable[[Path, str, Task], Scene]] = {
    "s2": _sentinel2,
    "bs": lambda root, path, task: backscatter.open_backscatter(root, path, task.bands),
    "c6": _coherence,
    "c12": _coherence,
}


def _elsewhere(
    conn: psycopg.Connection, config: Config, task: Task, pids: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Return the parcels whose rows would only be given up again. SCL is read whole and costs little."""
    if task.method.overlap != "first" or task.bandset == "scl":
        return np.empty(0, np.int32)
    return np.asarray(held_by_better(conn, config.tables, task.obsid, pids.tolist()), np.int32)


def _cloudy(root: Path, path: str, task: Task, indexes: Indexes, checksums: Checksums) -> NDArray[np.int32]:
    """Return the parcels whose SCL pixels are all of the method's cloud classes."""
    scene = sentinel2.open_product(root, path).scene(*CLASSES)
    checksums.require(scene.bands[0].path)
    # not older than the index of the task's own grid: what that has is there, or gone
    index = indexes.get(scene.grid, touching=True, buffer_m=task.method.buffer_m, after=task.covered)
    image = read_needed(scene, scene.bands[0], index)
    checksums.release(scene.bands[0].path)
    try:
        counts = class_counts(index, image)
    except ValueError as error:
        raise _unusable(scene, scene.bands[0], error) from error
    others = np.delete(counts, task.method.cloud_classes, axis=1)
    return index.pids[~others.any(axis=1)]


def _meets_parcels(conn: psycopg.Connection, config: Config, task: Task) -> bool:
    """Whether any parcel that is to be read lies in the scene's footprint."""
    known = names(config.tables)
    came = query("p.ogc_fid IN ({came})", came=query(CAME, **known))
    statement = query(
        """SELECT (SELECT footprint IS NULL FROM {catalogue} WHERE id = %(obsid)s),
               EXISTS (SELECT FROM {parcels}), EXISTS (
               SELECT FROM {parcels} p
               WHERE ST_Intersects(p.wkb_geometry, (
                   SELECT ST_Transform(
                       ST_Buffer(footprint, %(margin)s), Find_SRID(%(schema)s, %(name)s, 'wkb_geometry'))
                   FROM {catalogue} WHERE id = %(obsid)s)) AND {which})""",
        which=query("true") if task.covered is None else came,
        catalogue=config.tables.catalogue.sql,
        **known,
    )
    parameters: dict[str, Any] = {
        "margin": FOOTPRINT_MARGIN_DEGREES,
        "schema": config.tables.parcels.schema,
        "name": config.tables.parcels.name,
        "obsid": task.obsid,
        "covered": task.covered,
    }
    try:
        nowhere, any_parcels, meets = one(conn, statement, parameters)
    except psycopg.Error as error:
        raise parcel_error(conn, config, error) from error
    # neither is a word about the scene's parcels, so neither may become 'No parcels'
    if nowhere:
        raise SceneError(NO_FOOTPRINT, f"the catalogue has no footprint for {task.reference}: sync it again")
    if not any_parcels:
        raise SceneError(PARCELS_UNREADABLE, f"{config.tables.parcels} is empty: load the parcels")
    return bool(meets)


def _unusable(scene: Scene, band: Band, error: Exception) -> SceneError:
    return SceneError(UNREADABLE, f"{band.path.name} of {scene.name} cannot be used: {error}")
