"""Everything that happens to the queue, as its users and its faults make it happen."""

import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from cbmctl.archive.open_archive import open_archive
from cbmctl.catalogue.replace_versions import replace
from cbmctl.catalogue.table import store
from cbmctl.config import Config
from cbmctl.database import connect
from cbmctl.errors import UserError
from cbmctl.maintenance.purge import Purged, purge
from cbmctl.parcels.supersede import supersede
from cbmctl.queue import vanished_workers
from cbmctl.queue.find_scenes import find_scenes
from cbmctl.queue.locks import lock_parcel_sets
from cbmctl.queue.parcel_changes import change_parcels
from cbmctl.queue.planning import plan, plan_scenes
from cbmctl.queue.repair import repair
from cbmctl.scenes.reading import Reader
from cbmctl.worker.index_cache import Indexes
from cbmctl.worker.pipeline import _Worker
from cbmctl.worker.stop_signal import Stop
from tests.support.queue_scenes import FIRST, FOLDER, SCENES, Declared, Made
from tests.support.season import Season


@dataclass
class Hand:
    """A worker: its connection, and the task that it has begun."""

    name: str
    conn: psycopg.Connection
    reader: Reader
    worker: Any
    begun: Any = None


@dataclass
class Events:
    """A queue, its workers and its archive, and what can happen to them."""

    season: Season
    pristine: Path
    config: Config
    conn: psycopg.Connection
    declared: Declared = field(default_factory=Declared)
    hands: list[Hand] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    _names: int = 0

    # the catalogue

    def catalogue(self, *names: str, online: bool = True) -> None:
        """A search finds scenes that are new, or have come online, or gone."""
        records = [changed(SCENES[name].record, online=online) for name in names]
        store(self.conn, self.config, records)

    def replace(self, *names: str) -> bool:
        """An operator accepts newer versions."""
        return self._asked(
            lambda: replace(self.conn, self.config, [SCENES[n].record.reference for n in names])
        )

    # planning

    def configure(self, *, buffer_m: float = 0, **s2: Any) -> None:
        self.config = self.season.database.configured(extraction={"s2": s2, "parcels_buffer_m": buffer_m})
        for hand in self.hands:
            hand.worker.config = self.config

    def plan(self) -> None:
        plan(self.conn, self.config)

    def ask(self, name: str) -> bool:
        """An operator wants a scene extracted whole."""
        scenes = find_scenes(self.conn, self.config.tables, [SCENES[name].record.reference])
        return self._asked(lambda: plan_scenes(self.conn, self.config, scenes))

    def set_ingested(self, name: str) -> None:
        """Somebody sets the status by hand, as the manual does."""
        self.conn.execute(
            "UPDATE dias_catalogue SET status = 'ingested' WHERE reference = %s",
            [SCENES[name].record.reference],
        )

    def delete(self, name: str) -> None:
        """Somebody deletes a scene by hand, with what there is of it."""
        with self.conn.transaction():
            for table in ("sigs", "hists"):
                self.conn.execute(
                    f"DELETE FROM {table} USING dias_catalogue WHERE id = obsid AND reference = %s",
                    [SCENES[name].record.reference],
                )
            self.conn.execute(
                "DELETE FROM dias_catalogue WHERE reference = %s", [SCENES[name].record.reference]
            )

    def repair(self, *names: str) -> None:
        repair(self.conn, self.config, [SCENES[name].record.reference for name in names])

    def drop_statistics(self, shapes: Collection[int]) -> bool:
        """Other parcels are loaded, and the statistics of the former ones given up."""

        def load() -> None:
            with self.conn.transaction():
                supersede(self.conn, self.config.tables, drop_statistics=True)
                self.declared.version += 1
                self.declared.load(self.conn, shapes)

        return self._asked(load)

    def change_parcels(self, shapes: Collection[int]) -> None:
        """A file with other parcels is loaded; the statistics of those that stay are kept."""
        with self.conn.transaction():
            lock_parcel_sets(self.conn, self.config.tables)
            new, gone = self.declared.change(self.conn, shapes)
            change_parcels(self.conn, self.config.tables, version=self.declared.version, new=new, gone=gone)

    def purge(self) -> Purged:
        """An operator deletes the rows of parcels that were seen through cloud of the configured classes."""
        return purge(self.conn, self.config)

    # workers

    def hire(self, number: int) -> None:
        for _ in range(number):
            self.hands.append(self._hand())

    def idle(self) -> list[Hand]:
        return [hand for hand in self.hands if hand.begun is None]

    def busy(self) -> list[Hand]:
        return [hand for hand in self.hands if hand.begun is not None]

    def begin(self, hand: Hand) -> None:
        """A worker claims the next task and begins to read it; what needs no reading it does at once."""
        if hand.begun is None:
            hand.begun = hand.worker._begin()

    def carry_out(self, hand: Hand) -> None:
        """A worker does its task, and claims the next one meanwhile."""
        if hand.begun is not None:
            begun, hand.begun = hand.begun, None
            hand.begun = hand.worker._carry_out(begun)

    def release(self, hand: Hand) -> None:
        """A worker is stopped, and gives its task back."""
        if hand.begun is not None:
            begun, hand.begun = hand.begun, None
            hand.worker._give_back(begun)

    def die(self, hand: Hand, *, reconnects: bool = False, writing: bool = False) -> None:
        """A worker is killed, or only its connection, perhaps in the middle of its last transaction."""
        if writing and hand.begun is not None:
            job = hand.begun.job
            write = job.write

            def torn(conn: psycopg.Connection, config: Config) -> int:
                rows: int = write(conn, config)
                self._terminate(conn)
                return rows

            job.write = torn
            try:
                self.carry_out(hand)
            except psycopg.OperationalError:
                assert hand.conn.broken
            else:  # the task failed before it wrote anything
                assert hand.begun is None or hand.begun.job is not job
        if hand.begun is not None:
            if hand.begun.reading:
                hand.begun.reading.cancel()
            hand.begun.job.held.close()
        if not hand.conn.broken:
            self._terminate(hand.conn)
        self._let_go(hand)
        fresh = self._hand(hand.name if reconnects else None)
        self.hands[self.hands.index(hand)] = fresh

    def work_off(self) -> None:
        """Workers go on until there is nothing left to be done now."""
        for hand in self.hands:
            while hand.begun is not None:
                self.carry_out(hand)
        hand = self.hands[0]
        for _ in range(500):
            self.begin(hand)
            if hand.begun is None:
                return
            self.carry_out(hand)
        raise AssertionError("the queue has no end")

    # the archive

    def damage(self, name: str, band: str | None) -> None:
        """An image of a product is cut, or the product is there no more."""
        made = SCENES[name]
        self._product(made).unlink(missing_ok=True)
        if band is None:
            return
        copy = self.pristine.parent / "damaged" / band / made.record.reference
        if not copy.exists():
            original = self.pristine / FOLDER / made.record.reference
            shutil.copytree(original, copy)
            image = next(copy.glob(f"**/*_{band}.jp2"))
            image.write_bytes(image.read_bytes()[: image.stat().st_size // 3])
        self._product(made).symlink_to(copy)

    def mend(self, *names: str) -> None:
        for name in names:
            self._product(SCENES[name]).unlink(missing_ok=True)
            self._product(SCENES[name]).symlink_to(self.pristine / FOLDER / SCENES[name].record.reference)

    # what is there

    def rows(self, query: str) -> list[dict[str, Any]]:
        with self.conn.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query).fetchall()  # type: ignore[arg-type]

    def start_over(self) -> None:
        """As if nothing had ever happened."""
        for hand in self.hands:
            if hand.begun is not None:
                if hand.begun.reading:
                    hand.begun.reading.cancel()
                hand.begun.job.held.close()
            self._let_go(hand)
        self.hands, self.lines = [], []
        self.conn.execute(
            "TRUNCATE dias_catalogue, tasks, sigs, hists, vanished_workers, file_checks, archived_scenes,"
            " parcel_sets RESTART IDENTITY"
        )
        self.declared = Declared()
        self.declared.load(self.conn, FIRST)
        self.mend(*SCENES)

    def _product(self, made: Made) -> Path:
        return self.season.config.eodata / FOLDER / made.record.reference

    def _asked(self, what: Callable[[], object]) -> bool:
        """Whether it was done, or refused in one sentence."""
        try:
            what()
        except UserError:
            return False
        return True

    def _hand(self, name: str | None = None) -> Hand:
        self._names += 1
        name = name or f"worker {self._names}"
        conn, reader = connect(self.config, autocommit=True), Reader(1)
        archive = open_archive(self.config.eodata, self.config.cache)
        indexes = Indexes(conn, self.config)
        note = self.lines.append
        worker = _Worker(conn, self.config, name, archive, reader, indexes, Stop(), note, note, None)
        return Hand(name, conn, reader, worker)

    def _let_go(self, hand: Hand) -> None:
        hand.conn.close()
        hand.reader.__exit__(None, None, None)
        hand.worker.archive.close()

    def _terminate(self, conn: psycopg.Connection) -> None:
        self.conn.execute("SELECT pg_terminate_backend(%s, 5000)", [conn.info.backend_pid])


def never_together(monkeypatch: Any) -> None:
    """Workers that vanish one after the other have nothing to do with each other."""
    monkeypatch.setattr(vanished_workers, "TOGETHER_S", 0.0)
