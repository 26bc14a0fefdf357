"""The pipeline: claim -> read -> compute -> write, until the queue is empty.

While the last band of a task is being decoded, the next task is claimed and opened already, so that the
decoder never waits for statistics, and statistics cost no time of their own.
"""

import os
import secrets
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import psycopg

from cbmctl.archive.checksums import record
from cbmctl.archive.interface import Archive, ArchiveError
from cbmctl.archive.open_archive import open_archive
from cbmctl.config import Config
from cbmctl.database import NO_OUT_DB, DatabaseError, connect, query
from cbmctl.queue import tasks
from cbmctl.queue.locks import lock_datatake
from cbmctl.queue.progress import all_closed
from cbmctl.queue.tasks import Task
from cbmctl.reasons import NOT_WRITTEN, WORKER_ERROR, Reason
from cbmctl.scenes import SceneError
from cbmctl.scenes.reading import Reader, Reading
from cbmctl.worker.index_cache import Indexes
from cbmctl.worker.job import Job, open_job
from cbmctl.worker.stop_signal import Stop, StopRequested

POLL_S = 2.0
# What is reported of a task that was deleted meanwhile.
WITHDRAWN = "withdrawn; nothing is written"
# A database that restarts is back within a minute; workers wait for it this long.
RECONNECT_S, RECONNECT_EVERY_S = 120.0, 2.0
# An archive that is mounted anew is back within two minutes. So long may nothing be done for its sake.
ARCHIVE_S, ARCHIVE_EVERY_S = 300.0, 5.0
# A look at it takes no longer than this.
LOOK_S = 60.0


def work(
    config: Config,
    *,
    stop: Stop,
    note: Callable[[str], None],
    warn: Callable[[str], None] | None = None,
    obsids: Sequence[int] | None = None,
    threads: int | None = None,
) -> None:
    """Run tasks until none is left, also those of workers that die meanwhile, or until a signal comes.

    A connection that is lost is made anew; what the worker had begun is free again, for this worker too. An
    archive that is away is waited for, and no scene blamed for it.

    Args:
        config: the configuration.
        stop: asked for between steps.
        note: told what became of each task, in one line.
        warn: told of a lost connection or archive; `note` unless it is given.
        obsids: the scenes to work on; None means all.
        threads: how many parts of an image to decode at a time; as many as processors unless it is given.

    Raises:
        DatabaseError: the database cannot be reached, or did not come back in time.
        ArchiveError: the archive does not let us in, or did not come back in time.
    """
    with closing(open_archive(config.eodata, config.cache)) as archive:
        _work(config, archive, stop=stop, note=note, warn=warn or note, obsids=obsids, threads=threads)


def _work(
    config: Config,
    archive: Archive,
    *,
    stop: Stop,
    note: Callable[[str], None],
    warn: Callable[[str], None],
    obsids: Sequence[int] | None,
    threads: int | None,
) -> None:
    # on the host's network all containers have the host's name, and the same numbers of processes
    name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    lost: float | None = None
    conn: psycopg.Connection | None = None
    while True:
        try:
            with (
                connect(config, purpose=f"cbmctl worker {name}", autocommit=True) as conn,
                Reader(threads) as reader,
            ):
                lost = None
                indexes = Indexes(conn, config)
                _Worker(conn, config, name, archive, reader, indexes, stop, note, warn, obsids).run()
                return
        except StopRequested:
            return
        except (psycopg.OperationalError, DatabaseError) as error:
            if conn is None or not (conn.broken or isinstance(error, DatabaseError)):
                raise  # it was not there to begin with, or the server has answered: a full disk, a deadlock
            now = time.monotonic()
            if lost is None:
                lost = now
                warn(f"{NO_OUT_DB}: the connection was lost ({error}); waiting for the database")
            if now - lost > RECONNECT_S:
                raise DatabaseError(
                    "database.connection_lost",
                    f"{NO_OUT_DB}: the connection was lost ({error})",
                    "Run the worker again",
                ) from error
        try:
            with stop.interruptible():
                time.sleep(RECONNECT_EVERY_S)
        except StopRequested:
            return


@dataclass
class _Begun:
    """A task whose first band is being read."""

    job: Job
    reading: Reading | None
    since: float = field(default_factory=time.monotonic)


@dataclass
class _Worker:
    conn: psycopg.Connection
    config: Config
    name: str
    archive: Archive
    reader: Reader
    indexes: Indexes
    stop: Stop
    note: Callable[[str], None]
    warn: Callable[[str], None]
    obsids: Sequence[int] | None
    # since the archive's first error after the last task that ended
    stuck: float | None = None

    def run(self) -> None:
        begun: _Begun | None = None
        while self.stop.signal is None:
            try:
                if begun := begun or self._begin():
                    begun = self._carry_out(begun)
                    continue
            except ArchiveError as error:
                begun = None
                self._await_archive(error)
                continue
            if all_closed(self.conn, self.config.tables, self.obsids):
                return
            with self.stop.interruptible():
                time.sleep(POLL_S)
        if begun:
            self._give_back(begun)

    def _begin(self, *, ahead: bool = False) -> _Begun | None:
        """Claim the next task with something to read, and begin with that; None when none is free.

        `ahead`, while another task is at work, a task that has failed before is left alone: if it ends this
        process, it is not to take the other with it.
        """
        while self.stop.signal is None:
            task = tasks.claim(self.conn, self.config, self.name, fresh_only=ahead, obsids=self.obsids)
            if task is None:
                return None
            since = time.monotonic()
            with self._answering_for(task, since):
                with self.stop.interruptible():
                    job = open_job(self.conn, self.config, task, self.indexes, self.archive)
                    if job and (begun := self._started(job, since)):
                        return begun
                if job is None:
                    tasks.skip(self.conn, self.config.tables, task)
                    self._done(task, "no parcels" if task.covered is None else "no new parcels", since)
                else:
                    self._done(task, f"{self._write(job)} rows", since)
        return None

    def _started(self, job: Job, since: float) -> _Begun | None:
        """Begin with a task's first band; None where it has none that anybody needs."""
        try:
            if job.bands:
                return _Begun(job, job.start(self.reader, job.bands[0]), since)
        except BaseException:
            job.held.close()
            raise
        job.held.close()
        return None

    def _carry_out(self, begun: _Begun) -> _Begun | None:
        """Do a task; return the next one, begun meanwhile. Whatever a scene does, the others go on."""
        job, task = begun.job, begun.job.task
        readings = [begun.reading]
        following: _Begun | None = None
        try:
            with self._answering_for(task, begun.since):
                for number, band in enumerate(job.bands):
                    if number + 1 < len(job.scene.bands):
                        with self.stop.interruptible():
                            readings.append(job.start(self.reader, job.scene.bands[number + 1]))
                    elif task.attempt == 1:
                        following = self._look_ahead()
                    with self.stop.interruptible():
                        job.take(self.reader, band, readings.pop(0))
                self._done(task, f"{self._write(job)} rows", begun.since)
        except (StopRequested, ArchiveError):
            if following:
                self._give_back(following)
            raise
        except psycopg.Error:
            if following:
                following.job.held.close()  # the task itself is free with the connection
            raise
        finally:
            for reading in readings:
                if reading:
                    reading.cancel()
            job.held.close()
        return following

    def _look_ahead(self) -> _Begun | None:
        """Begin the next task. What goes wrong with claiming it is not this task's fault."""
        try:
            return self._begin(ahead=True)
        except psycopg.Error:
            if self.conn.broken:
                raise
        except ArchiveError:
            pass
        return None  # it is claimed again after this one, and the error told then

    @contextmanager
    def _answering_for(self, task: Task, since: float) -> Iterator[None]:
        """Turn what goes wrong with a task into its outcome."""
        try:
            yield
        except (StopRequested, ArchiveError):
            tasks.release(self.conn, self.config.tables, task)
            raise
        except tasks.Withdrawn:
            self._done(task, WITHDRAWN, since)
        except SceneError as error:
            self._require_archive(task, error)
            self._fail(task, error.cause, error.reason, since, lasting=error.lasting)
        except psycopg.Error as error:
            if self.conn.broken:
                raise
            reason = f"the rows cannot be written: {error.diag.message_primary or error}"
            self._fail(task, NOT_WRITTEN, reason, since)
        except Exception as error:  # noqa: BLE001 - kept whole as the task's reason
            self._fail(task, WORKER_ERROR, "".join(traceback.format_exception(error)).strip(), since)

    def _require_archive(self, task: Task, error: SceneError) -> None:
        """Give a task back, and raise ArchiveError, where not the scene is to blame but the whole archive."""
        if not error.cause.archive:
            return
        since = time.monotonic() if error.since is None else error.since
        try:
            with self.stop.interruptible():
                self.archive.check(LOOK_S)
        except (StopRequested, ArchiveError) as away:
            tasks.release(self.conn, self.config.tables, task)
            if isinstance(away, ArchiveError):
                away.since = since
            raise

    def _await_archive(self, error: ArchiveError) -> None:
        """Wait for an archive that is away. Raises ArchiveError when that is of no use, or takes too long.

        An archive that can be used again is no end of it: its products may still not be had, or the disk be
        full. Only a task that ends is. What the error itself took is part of the wait.
        """
        if self.stuck is None:
            self.stuck = time.monotonic() if error.since is None else error.since
            if not error.lasting:
                self.warn(f"{error} Waiting for it.")
        end = self.stuck + ARCHIVE_S
        while not error.lasting and (left := end - time.monotonic()) > 0:
            with self.stop.interruptible():
                time.sleep(min(ARCHIVE_EVERY_S, left))
                look = min(LOOK_S, end - time.monotonic())
                if look <= 0:
                    break
                try:
                    self.archive.check(look)
                except ArchiveError as still:
                    # a look that was cut short says less than what is known
                    if look == LOOK_S or still.lasting:
                        error = still
                else:
                    return
        raise error

    def _write(self, job: Job) -> int:
        """Commit rows, task and status together: a worker may die at any instant."""
        with self.conn.transaction():
            lock_datatake(self.conn, self.config.tables, job.task.obsid)
            rows = job.write(self.conn, self.config)
            tasks.finish(
                self.conn,
                self.config.tables,
                job.task,
                parcels=job.parcels,
                rows=rows,
                version=job.version,
                slivers=job.slivers.tolist(),
                cut=job.cut.tolist(),
                elsewhere=job.elsewhere.tolist(),
            )
            record(self.conn, self.config.tables, job.task.obsid, job.checksums.new.values())
            if job.scene.applied_offset is not None:
                self.conn.execute(
                    query(
                        "UPDATE {catalogue} SET applied_offset = %s WHERE id = %s",
                        catalogue=self.config.tables.catalogue.sql,
                    ),
                    [job.scene.applied_offset, job.task.obsid],
                )
        return rows

    def _fail(self, task: Task, cause: Reason, reason: str, since: float, *, lasting: bool = False) -> None:
        try:
            last = tasks.fail(self.conn, self.config, task, cause, reason, lasting=lasting)
        except tasks.Withdrawn:
            self._done(task, WITHDRAWN, since)
            return
        except psycopg.Error:
            if not self.conn.broken:
                # else nobody could take it while this connection lives
                tasks.unlock(self.conn, self.config.tables, task)
            raise
        verdict = "given up" if last else "to be tried again"
        self._done(task, f"{cause.status}: {reason} [attempt {task.attempt}, {verdict}]", since)

    def _give_back(self, begun: _Begun) -> None:
        if begun.reading:
            begun.reading.cancel()
        begun.job.held.close()
        tasks.release(self.conn, self.config.tables, begun.job.task)

    def _done(self, task: Task, outcome: str, since: float) -> None:
        self.stuck = None
        tasks.unlock(self.conn, self.config.tables, task)
        self.note(f"{task.reference} {task.bandset}: {outcome} ({time.monotonic() - since:.1f} s)")
