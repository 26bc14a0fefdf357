"""A season of a million parcels in a server whose memory is a sixth of `sigs`: does the order of ids matter?

The same rows twice: with ids that follow space, as `cbmctl parcels load` gives them, and scattered ones. Each
scene shows a tenth of the parcels, its neighbours in space.

python -m benchmarks.scale    # as ./run bench --only scale, without making scenes
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure, lines
from benchmarks.rows import BANDS_10, BANDS_20, Task, copy
from benchmarks.server import started
from benchmarks.table import PARCELS, SCENES, Bench, prepared

GRANULES = 10
MORE = 3  # scenes are written to the full table; the first one pays for pages since the checkpoint
SAMPLE = 200  # parcels whose series are read, each for the first time
MEMORY_MB = 1024  # of the server; 50.4 million rows take 5.8 GB
SERIES = "SELECT * FROM sigs WHERE pid = %(pid)s ORDER BY obsid, band"


def figures(note: Callable[[str], None]) -> list[Figure]:
    """Fill a table in both ways, write more scenes, and read series."""
    total = PARCELS * GRANULES
    scattered = np.random.default_rng(11).permutation(total).astype(np.int32) + 1
    found, rows = {}, 0
    for title, ids in (("follow space", None), ("are scattered", scattered)):
        with started(memory_mb=MEMORY_MB) as server, prepared(server) as (bench, layout):
            note(f"50 million rows of a million parcels whose ids {title}")
            bench.run("CREATE TABLE sigs_filled (LIKE sigs_model INCLUDING DEFAULTS)")
            bench.run("DROP TABLE sigs")
            bench.run("ALTER TABLE sigs_filled RENAME TO sigs")
            rows = sum(_write(bench, obsid, ids) for obsid in range(1, SCENES + 1))
            bench.index(layout)
            found[title] = (_growth(bench, ids), _series(bench, total))
    (near, far), (near_ms, far_ms) = zip(*found.values(), strict=True)
    size = f"{rows / 1e6:.1f} million rows of {total:,} parcels, {MEMORY_MB / 1024:.0f} GB of memory"
    return [
        Figure("one more scene, ids that follow space / scattered ids", near / far, "times", 1.5, least=True,
               note=f"{near:.0f} k rows/s / {far:.0f} k rows/s; {size}"),
        Figure("a parcel's series read for the first time, scattered ids / ids that follow space",
               far_ms / near_ms, "times", note=f"{far_ms:.2f} ms / {near_ms:.2f} ms, medians of {SAMPLE}"),
    ]  # fmt: skip


def _write(bench: Bench, obsid: int, ids: NDArray[np.int32] | None) -> int:
    """Write the rows of a scene in the order of their ids, as a worker does."""
    first = (obsid % GRANULES) * PARCELS
    number = 0
    for bands in (BANDS_10, BANDS_20):
        task = Task(bands, PARCELS)
        pids: NDArray[Any] = task.rows["pid"].astype(np.int32) + first
        if ids is not None:
            pids = ids[pids - 1]
            task.rows = task.rows[np.argsort(pids, kind="stable")]
            pids = np.sort(pids, kind="stable")
        task.rows["pid"] = pids
        with bench.conn.transaction():
            number += copy(bench.conn, "sigs", [(task, obsid)])
    return number


def _growth(bench: Bench, ids: NDArray[np.int32] | None) -> float:
    """Return thousands of rows a second of further scenes; the first after the checkpoint does not count."""
    bench.run("CHECKPOINT")
    rates = []
    for obsid in range(SCENES + 1, SCENES + 2 + MORE):
        start = time.perf_counter()
        rates.append(_write(bench, obsid, ids) / (time.perf_counter() - start) / 1e3)
    return statistics.mean(rates[1:])


def _series(bench: Bench, total: int) -> float:
    """Return the median milliseconds of a parcel's series that nobody has read before."""
    pids = np.random.default_rng(7).choice(np.arange(1, total + 1), SAMPLE, replace=False).tolist()
    return statistics.median(1e3 * bench.timed(SERIES, {"pid": pid}) for pid in pids)


def main() -> None:
    """Print the lines."""
    found = figures(lambda text: sys.stderr.write(f"{text}\n") and None)
    sys.stdout.write("\n".join(lines(found, markdown=False)) + "\n")


if __name__ == "__main__":
    main()
