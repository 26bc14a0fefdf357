"""A tenant for one measurement, and what a process costs: time, memory, and PostgreSQL's share."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
from psycopg import conninfo, sql

from benchmarks import BenchmarkError, parcels
from benchmarks.scenes import Archive
from benchmarks.server import REPOSITORY, Server

PARCELS = sql.Identifier("public", "parcels_2021")


@dataclass(frozen=True)
class Cost:
    """What a process took.

    Attributes:
        wall: seconds from its start to its end.
        cpu: seconds of user and system time, of it and of its children.
        rss: its peak resident memory, bytes.
        postgres: processor seconds of the server meanwhile.
        others: share of the machine that anything else took meanwhile, 0 to 1.
        started: when, seconds since 1970.
        output: what it printed.
    """

    wall: float
    cpu: float
    rss: int
    postgres: float
    others: float
    started: float
    output: str


@dataclass(frozen=True)
class Work:
    """What a worker took for its tasks.

    Attributes:
        cost: of the whole process.
        start: seconds from the start of the process to its first claim.
        wall: seconds from its first claim to its end.
        rows: written to sigs and hists.
    """

    cost: Cost
    start: float
    wall: float
    rows: int


@dataclass(frozen=True)
class Decoding:
    """Seconds that decoding alone takes; `others` as of its process's cost."""

    wall: float
    cpu: float
    others: float


@dataclass(frozen=True)
class Tenant:
    """A database with parcels and a configuration, and nothing in its catalogue."""

    server: Server
    dsn: str
    config: Path
    archive: Archive

    def cbmctl(self, *arguments: str, module: str = "cbmctl") -> Cost:
        """Run the command; BenchmarkError with what it said when it fails."""
        return spend([sys.executable, "-m", module, "--config", str(self.config), *arguments], self.server)

    def catalogue(self, product: Path, card: str) -> None:
        """Make a product the only one in catalogue and queue, and let sigs and hists be empty."""
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            conn.execute("TRUNCATE sigs, hists, tasks, dias_catalogue CASCADE")
        day = datetime.strptime("/".join(product.parts[-4:-1]), "%Y/%m/%d").date()
        days = str(day), str(day + timedelta(days=1))
        self.cbmctl("catalogue", "sync", "parcels_2021", *days, card, "--source", "archive")
        self.cbmctl("extract", "plan")
        for image in self.archive.images(product):
            warm(image)

    def indexes(self, product: Path, card: str) -> dict[str, dict[str, float]]:
        """Have the pixel indexes made that the product needs; see benchmarks.indexing."""
        command = [sys.executable, "-m", "benchmarks.indexing", str(self.config), card, str(product)]
        found: dict[str, dict[str, float]] = json.loads(spend(command, self.server).output)
        return found

    def work(self, module: str = "cbmctl") -> Work:
        """Let one worker empty the queue. BenchmarkError when a scene fails."""
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            conn.execute("VACUUM ANALYZE")
            conn.execute("CHECKPOINT")
        cost = self.cbmctl("worker", module=module)
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            row = conn.execute(
                """SELECT min(extract(epoch FROM claimed_at)), sum(rows), bool_and(state = 'done'),
                       min(reason)
                   FROM tasks"""
            ).fetchone()
        if row is None or row[0] is None or not row[2]:
            raise BenchmarkError(f"the worker did not do all of its tasks ({row and row[3]}): {cost.output}")
        start = float(row[0]) - cost.started
        return Work(cost, start, cost.wall - start, row[1])


@contextmanager
def tenant(server: Server, archive: Archive, number: int) -> Iterator[Tenant]:
    """A tenant with so many parcels, and a cache of its own; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="cbm-bench-"))
    try:
        with server.database(f"bench_{number}") as dsn:
            made = Tenant(server, dsn, configured(dsn, archive.root, folder), archive)
            made.cbmctl("schema", "apply")
            with psycopg.connect(dsn, autocommit=True) as conn:
                parcels.load(conn, PARCELS, parcels.make(number))
            made.cbmctl("aoi", "set", "parcels_2021", "--from-parcels")
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def spend(command: list[str], server: Server | None = None) -> Cost:
    """Run a process to its end and tell what it took.

    Raises:
        BenchmarkError: it ended with an error.
    """
    before, busy = server.cpu_seconds() if server else 0.0, _busy_seconds()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as complaints:
        started, clock = time.time(), time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=complaints, cwd=REPOSITORY)  # noqa: S603
        peak = _Peak(process.pid)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        wall = time.perf_counter() - clock
        busy, rss = _busy_seconds() - busy, peak.end()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        complaints.seek(0)
        output, complaint = out.read(), complaints.read()
    if process.returncode:
        raise BenchmarkError(f"{' '.join(command[1:])} ended with {process.returncode}: {complaint.strip()}")
    postgres = server.cpu_seconds() - before if server else 0.0
    cpu = usage.ru_utime + usage.ru_stime
    others = max(busy - cpu - postgres, 0.0) / wall / (os.cpu_count() or 1)
    return Cost(wall, cpu, rss, postgres, others, started, output)


def _busy_seconds() -> float:
    """Processor seconds that the machine has spent on anything so far, also those its host took from it."""
    user, nice, system, _idle, _wait, *rest = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    return sum(map(int, (user, nice, system, *rest))) / os.sysconf("SC_CLK_TCK")


class _Peak(threading.Thread):
    """Watches the peak memory of a process; the system's own figure at its end begins with its parent's."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._status, self._bytes, self._ended = Path(f"/proc/{pid}/status"), 0, threading.Event()
        self.start()

    def run(self) -> None:
        """Look ten times a second; the peak only ever grows."""
        while not self._ended.wait(0.1):
            try:
                text = self._status.read_text()
            except OSError:
                return
            if match := re.search(r"VmHWM:\s+(\d+) kB", text):
                self._bytes = max(self._bytes, int(match[1]) * 1024)

    def end(self) -> int:
        """Stop watching; return bytes."""
        self._ended.set()
        self.join()
        return self._bytes


def decoding(images: list[Path]) -> Decoding:
    """What decoding these images alone takes, in a process that does nothing else."""
    for image in images:
        warm(image)
    cost = spend([sys.executable, "-m", "benchmarks.decode", *map(str, images)])
    found = json.loads(cost.output)
    return Decoding(found["wall"], found["cpu"], cost.others)


def warm(path: Path) -> None:
    """Have a file in the page cache: storage is not what is measured."""
    with path.open("rb", buffering=0) as file:
        while file.read(2**24):
            pass


def configured(dsn: str, eodata: Path, folder: Path) -> Path:
    """Write a configuration into a folder, with the cache beside it; return its path."""
    where = conninfo.conninfo_to_dict(dsn)
    data = {
        "database": {
            "connection": {
                "host": where["host"],
                "port": int(str(where["port"])),
                "dbname": where["dbname"],
                "dbuser": where["user"],
                "dbpasswd": where["password"],
                "sslmode": "disable",
            },
            "tables": {"parcel_table": "public.parcels_2021"},
            "args": {"name": "parcels_2021", "startdate": "2021-01-01", "enddate": "2022-01-01"},
        },
        "eodata": str(eodata),
        "cache": str(folder / "cache"),
    }
    path = folder / "db_config.json"
    path.write_text(json.dumps(data))
    return path
