"""`sigs` after a purge: rewritten by pg_repack in its own order and by parcel, while others read and write.

python -m benchmarks.maintenance    # as ./run bench --only maintain, without making scenes
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

import psycopg
from psycopg import conninfo

from benchmarks import BenchmarkError, queries
from benchmarks.figures import Figure, lines
from benchmarks.rows import BANDS_10, BANDS_20, Task, copy
from benchmarks.server import Server, started
from benchmarks.table import Bench, prepared

SCENES = 20  # of 560,000 rows
# 389 of 1024 observations of a parcel: the manual's 38 %
PURGE = "DELETE FROM sigs WHERE (hashtext(pid || ' ' || obsid) & 1023) < 389"
BY_PARCEL = "--order-by=pid,obsid,band"


@dataclass
class Others:
    """A worker that writes scenes one after the other, and an analyst who reads, during a rewrite.

    Attributes:
        scenes: seconds that each scene took.
        series: seconds that each series of a parcel took.
    """

    scenes: list[float] = field(default_factory=list)
    series: list[float] = field(default_factory=list)


def figures(server: Server) -> list[Figure]:
    """The lines of the table about maintenance."""
    with prepared(server, SCENES) as (bench, layout):
        bench.fill()
        bench.index(layout)
        bench.run("CREATE EXTENSION pg_repack")
        fresh, size = bench.reads(), _size(bench)
        with _others(server, bench) as alone:
            time.sleep(20)
        purge = bench.run(PURGE)
        vacuum, purged = bench.run("VACUUM (ANALYZE) sigs"), _size(bench)
        found = {}
        for title, order in (("as it is", "--no-order"), ("by parcel", BY_PARCEL)):
            with _others(server, bench) as others:
                seconds = _repack(server, order)
            bench.run("VACUUM (ANALYZE) sigs")
            found[title] = (seconds, others, _size(bench), bench.reads())
    seconds, during, compact, after = found["as it is"]
    clustering, _, _, clustered = found["by parcel"]
    rows = f"{SCENES * 0.56:.1f} million rows"
    return [
        Figure(f"purge of 38 % of {rows}", purge, "s", note=f"VACUUM (ANALYZE) after it: {vacuum:.1f} s"),
        Figure("sigs after VACUUM / before the purge, bytes", purged / size, ""),
        Figure("sigs after pg_repack / before the purge, bytes", compact / size, "",
               note=f"{seconds:.0f} s, with what others wrote meanwhile"),
        Figure("a scene written meanwhile / otherwise", median(during.scenes) / median(alone.scenes), "",
               note=f"{median(during.scenes):.1f} s / {median(alone.scenes):.1f} s"),
        Figure("longest wait for a parcel's series meanwhile", max(during.series), "s",
               note=f"median {1e3 * median(during.series):.1f} ms; otherwise at most"
                    f" {1e3 * max(alone.series):.0f} ms"),
        Figure("a scene's rows, order of scenes", after["scene_s"], "s", 2,
               note=f"before the purge {fresh['scene_s']} s; a series {after['series_ms']} ms, before"
                    f" {fresh['series_ms']} ms"),
        Figure("a scene's rows, order of parcels", clustered["scene_s"], "s", 2,
               note=f"a series {clustered['series_ms']} ms; pg_repack took {clustering:.0f} s"),
    ]  # fmt: skip


@contextmanager
def _others(server: Server, bench: Bench) -> Iterator[Others]:
    """Let others read and write; what they wrote is deleted at the end."""
    others, stop = Others(), threading.Event()
    dsn = conninfo.make_conninfo(server.dsn, dbname=bench.conn.info.dbname)
    threads = [threading.Thread(target=work, args=(dsn, others, stop)) for work in (_write, _read)]
    for thread in threads:
        thread.start()
    try:
        yield others
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        bench.run(f"DELETE FROM sigs WHERE obsid > {SCENES}")  # noqa: S608
    if not others.scenes or not others.series:
        raise BenchmarkError("nothing was read or written meanwhile: the rewrite was too short")


def _write(dsn: str, others: Others, stop: threading.Event) -> None:
    tasks = [Task(bands, 100_000) for bands in (BANDS_10, BANDS_20)]
    with psycopg.connect(dsn) as conn:
        while not stop.wait(1):
            begun = time.perf_counter()
            obsid = SCENES + 1 + len(others.scenes) % 5
            conn.execute("DELETE FROM sigs WHERE obsid = %s", [obsid])
            copy(conn, "sigs", [(task, obsid) for task in tasks])
            conn.commit()
            others.scenes.append(time.perf_counter() - begun)


def _read(dsn: str, others: Others, stop: threading.Event) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        while not stop.wait(0.1):
            begun = time.perf_counter()
            conn.execute(queries.SERIES, {"parcel": f"p{1 + len(others.series) * 7919 % 100_000}"}).fetchall()
            others.series.append(time.perf_counter() - begun)


def _repack(server: Server, order: str) -> float:
    command = ["pg_repack", "--dbname=bench_table", "--table=public.sigs", order, "--no-kill-backend"]
    begun = time.perf_counter()
    done = subprocess.run(  # noqa: S603
        ["docker", "exec", server.name, *command, "--wait-timeout=600"],  # noqa: S607
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode or "timeout" in done.stderr:
        raise BenchmarkError(f"pg_repack failed: {done.stderr.strip()}")
    return time.perf_counter() - begun


def _size(bench: Bench) -> int:
    return int(bench.values("SELECT pg_total_relation_size('sigs')")[0])


def main() -> None:
    """Print the table."""
    with started() as server:
        sys.stdout.write("\n".join(lines(figures(server), markdown=True)) + "\n")


if __name__ == "__main__":
    main()
