"""Worker processes on this machine: started, watched, replaced when one is killed, ended together."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

import psycopg

from cbmctl.cli import Context
from cbmctl.config import Config
from cbmctl.database import DatabaseError, connect
from cbmctl.errors import UserError
from cbmctl.queue.progress import counts
from cbmctl.worker.stop_signal import Stop, StopRequested

LOOK_EVERY_S = 1.0
# A task that kills its worker is parked after a few; workers that die and get nowhere have another cause.
DEATHS_IN_VAIN = 10

Counts = Mapping[str, int]


def run_crew(
    context: Context, config: Config, workers: int, left: int, scenes: Mapping[str, int] | None
) -> Counts:
    """Keep workers at it, and show their progress, until nothing is left.

    Args:
        context: to print with.
        config: the configuration.
        workers: how many.
        left: tasks to be done.
        scenes: the scenes to work on, reference to id; None means all.

    Returns:
        Tasks by state at the end.

    Raises:
        UserError: all workers have given up; why is in the lines they wrote. Or they are killed in vain.
    """
    stop = Stop().install()
    command = _command(config, workers, list(scenes or []))
    crew = [_start(command) for _ in range(workers)]
    try:
        with (
            _Watch(config, list(scenes.values()) if scenes else None) as watch,
            context.output.progress("Extracting", left) as progress,
        ):
            shown = deaths = 0
            while True:
                alive = [member for member in crew if member.poll() is None]
                if counts := watch.counts(patient=bool(alive)):
                    closed = left - still_open(counts)
                    if closed > shown:
                        progress(closed - shown)
                        shown, deaths = closed, 0
                    if not still_open(counts):
                        return counts
                # one that was killed (memory) is replaced; the queue limits how often a task is tried
                killed = [member for member in crew if (member.returncode or 0) < 0]
                deaths += len(killed)
                _give_up_if_in_vain(deaths - workers)
                crew = alive + [_start(command) for _ in killed]
                if not crew:
                    raise UserError(
                        "worker.none_left",
                        "Tasks are left, but no worker is running",
                        "See the lines above, then run the command again",
                    )
                with stop.interruptible():
                    _wait(crew[0])
    except StopRequested:
        if stop.signal == signal.SIGINT:
            raise
        sys.exit(128 + (stop.signal or signal.SIGTERM))
    finally:
        for member in crew:
            member.terminate()
        for member in crew:
            member.wait()


def still_open(counts: Counts) -> int:
    """Return how many tasks are neither done nor failed."""
    return counts["ready"] + counts["running"]


def _give_up_if_in_vain(deaths: int) -> None:
    if deaths > DEATHS_IN_VAIN:
        raise UserError(
            "worker.killed_too_often",
            f"More than {DEATHS_IN_VAIN} workers were killed before a task was completed",
            (
                "Check whether the memory ran out (journalctl -k), then run the command again with fewer"
                " --workers"
            ),
            about="--workers",
        )


class _Watch:
    """Counts tasks, also over a restart of the database, which workers wait for."""

    def __init__(self, config: Config, obsids: Sequence[int] | None) -> None:
        self._config, self._obsids = config, obsids
        self._conn: psycopg.Connection | None = None

    def __enter__(self) -> "_Watch":
        return self

    def __exit__(self, *_: object) -> None:
        if self._conn:
            self._conn.close()

    def counts(self, *, patient: bool) -> Counts | None:
        """Return tasks by state; None when the database is away and the caller is patient.

        Raises:
            DatabaseError, psycopg.OperationalError: it is away, and the caller is not patient.
        """
        try:
            if self._conn is None:
                self._conn = connect(self._config, purpose="cbmctl extract run", autocommit=True)
            return counts(self._conn, self._config.tables, self._obsids)
        except (DatabaseError, psycopg.OperationalError):
            if not patient:
                raise
            self._conn = None
            return None


def _command(config: Config, workers: int, references: Sequence[str]) -> list[str]:
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    # the file is already that of the season, so $CBM_SEASON must not count
    command = [sys.executable, "-m", "cbmctl", "--config", str(config.source), "--season", ""]
    command += ["worker", "--quiet", "--threads", str(threads)]
    return command + [argument for reference in references for argument in ("--scene", reference)]


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    # its own session: Ctrl-C reaches only this process, which passes it on
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)  # noqa: S603


def _wait(member: subprocess.Popen[bytes]) -> None:
    try:
        member.wait(LOOK_EVERY_S)
    except subprocess.TimeoutExpired:
        return
