"""The pipeline: claim -> read -> compute -> write, until the queue is empty."""

import os
import signal
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import psycopg

from cbmctl import tasks
from cbmctl.config import Config
from cbmctl.database import NO_OUT_DB, DatabaseError, connect, query
from cbmctl.extraction import Found, Indexes, extract, meets_parcels, parcel_indexes
from cbmctl.scenes import SceneError
from cbmctl.tasks import Task

POLL_S = 2.0
WORKER_ERROR = "Worker error"


class StopRequested(KeyboardInterrupt):
    """SIGTERM or SIGINT came: give the task back and end. On KeyboardInterrupt psycopg cancels its query."""


@dataclass
class Stop:
    """Turns SIGTERM and SIGINT into StopRequested, but never in the middle of a write."""

    signal: int | None = None
    _interruptible: bool = False

    def install(self) -> "Stop":
        """Take over both signals for this process."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._received)
        return self

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a signal, also one that came before, end this block at once."""
        self._interruptible = True
        try:
            if self.signal is not None:
                raise StopRequested
            yield
        finally:
            self._interruptible = False

    def _received(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        if self._interruptible:
            raise StopRequested


def work(config: Config, *, stop: Stop, note: Callable[[str], None]) -> None:
    """Run tasks until none is left, also those of workers that die meanwhile, or until a signal comes.

    Args:
        config: the configuration.
        stop: asked for between steps.
        note: told what became of each task, in one line.

    Raises:
        DatabaseError: the database cannot be reached, or the connection was lost; the task is free again.
    """
    name = f"{socket.gethostname()}:{os.getpid()}"
    try:
        with connect(config, purpose=f"cbmctl worker {name}", autocommit=True) as conn:
            _Worker(conn, config, name, parcel_indexes(conn, config), stop, note).run()
    except StopRequested:
        return
    except psycopg.OperationalError as error:
        raise DatabaseError(f"{NO_OUT_DB}: the connection was lost ({error}): run it again") from error


@dataclass(frozen=True)
class _Worker:
    conn: psycopg.Connection
    config: Config
    name: str
    indexes: Indexes
    stop: Stop
    note: Callable[[str], None]

    def run(self) -> None:
        while self.stop.signal is None:
            if task := tasks.claim(self.conn, self.config.tables, self.name):
                started = time.monotonic()
                outcome = self._process(task)
                tasks.unlock(self.conn, task)
                self.note(f"{task.reference} {task.bandset}: {outcome} ({time.monotonic() - started:.1f} s)")
            elif tasks.all_closed(self.conn, self.config.tables):
                return
            else:
                with self.stop.interruptible():
                    time.sleep(POLL_S)

    def _process(self, task: Task) -> str:
        """Do a task and say what became of it. Whatever a scene does, the others go on."""
        try:
            with self.stop.interruptible():
                found = (
                    extract(self.conn, self.config, task, self.indexes)
                    if meets_parcels(self.conn, self.config, task)
                    else None
                )
            if found is not None:
                return f"{self._write(task, found)} rows"
            tasks.skip_scene(self.conn, self.config.tables, task)
        except StopRequested:
            tasks.release(self.conn, self.config.tables, task)
            raise
        except SceneError as error:
            return self._fail(task, error.status, error.reason)
        except psycopg.Error as error:
            if self.conn.broken:
                raise
            return self._fail(
                task, NO_OUT_DB, f"the rows cannot be written: {error.diag.message_primary or error}"
            )
        except Exception as error:  # noqa: BLE001 - kept whole as the task's reason
            return self._fail(task, WORKER_ERROR, "".join(traceback.format_exception(error)).strip())
        return "no parcels"

    def _write(self, task: Task, found: Found) -> int:
        """Commit rows, task and status together: a worker may die at any instant."""
        with self.conn.transaction():
            rows = found.write()
            # the task before its scene, always: see cbmctl.planning
            tasks.finish(self.conn, self.config.tables, task, parcels=found.parcels, rows=rows)
            if found.applied_offset is not None:
                self.conn.execute(
                    query(
                        "UPDATE {catalogue} SET applied_offset = %s WHERE id = %s",
                        catalogue=self.config.tables.catalogue.sql,
                    ),
                    [found.applied_offset, task.obsid],
                )
        return rows

    def _fail(self, task: Task, status: str, reason: str) -> str:
        last = tasks.fail(self.conn, self.config.tables, task, status=status, reason=reason)
        verdict = "given up" if last else "to be tried again"
        return f"{status}: {reason} [attempt {task.attempt}, {verdict}]"
