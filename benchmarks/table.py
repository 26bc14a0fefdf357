"""The layout of `sigs`, measured on a table that already holds fifty million rows.

python -m benchmarks.table          # the layout that `cbmctl schema apply` makes
python -m benchmarks.table --all    # and those it was chosen from; takes an hour
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import numpy as np
import psycopg

from benchmarks import queries
from benchmarks.figures import Figure
from benchmarks.layouts import ALTERNATIVES, PARTITIONS, Layout
from benchmarks.measure import configured
from benchmarks.rows import BANDS_10, BANDS_20, Task, copy
from benchmarks.server import Server, started
from cbmctl.config import load_config
from cbmctl.schema import apply

SCENES = 90  # of 560,000 rows: 50.4 million
PARCELS = 100_000
RARE, ABSENT = "B8A", "VVb"  # a band of one scene, and one of none
FIRST_DAY, RHYTHM = datetime(2021, 1, 1), timedelta(days=4)
SAMPLE = 50  # parcels whose series are asked for
Figures = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """A database with a catalogue, parcels, and a table `sigs` to be filled."""

    server: Server
    conn: psycopg.Connection
    scenes: int = SCENES
    parcels: int = PARCELS

    def layout(self) -> Layout:
        """The layout that the table has."""
        rows = self.conn.execute(
            """SELECT format('ALTER TABLE sigs ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)),
                   conname
               FROM pg_constraint WHERE conrelid = 'sigs'::regclass AND contype = 'p'
               UNION ALL
               SELECT pg_get_indexdef(indexrelid), null FROM pg_index
               WHERE indrelid = 'sigs'::regclass AND NOT indisprimary"""
        ).fetchall()
        return Layout("own", "of the schema", tuple(row[0] for row in rows), cluster=rows[0][1])

    def fill(self, *, partitioned: bool = False, by_band: bool = False) -> None:
        """Make `sigs` anew without key and indexes, and fill it as extraction does, scene by scene."""
        columns = "LIKE sigs_model INCLUDING DEFAULTS"
        self.run("DROP TABLE IF EXISTS sigs")
        if partitioned:
            self.run(f"CREATE TABLE sigs ({columns}) PARTITION BY RANGE (obsid)")
            self._partition("sigs")
        else:
            self.run(f"CREATE TABLE sigs ({columns})")
        tasks = [Task(bands, self.parcels, by_band=by_band) for bands in (BANDS_10, BANDS_20)]
        for obsid in range(1, self.scenes + 1):
            copy(self.conn, "sigs", [(task, obsid) for task in tasks])
            if obsid == self.scenes // 2:
                copy(self.conn, "sigs", [(Task((RARE,), self.parcels // 50), obsid)])
        self.run("VACUUM (ANALYZE) sigs")

    def index(self, layout: Layout) -> Figures:
        """Make key and indexes; return the seconds each took, and bytes per row."""
        seconds = [round(self.run(statement), 1) for statement in layout.statements]
        self.run("VACUUM (ANALYZE) sigs")
        return {"index_s": seconds} | self.sizes()

    def bare(self) -> None:
        """Take key and indexes off."""
        for statement in self.values(
            """SELECT format('ALTER TABLE sigs DROP CONSTRAINT %I', conname) FROM pg_constraint
               WHERE conrelid = 'sigs'::regclass AND contype = 'p'"""
        ):
            self.run(statement)
        for statement in self.values(
            """SELECT format('DROP INDEX %s', indexrelid::regclass) FROM pg_index
               WHERE indrelid = 'sigs'::regclass"""
        ):
            self.run(statement)
        self.run("VACUUM sigs")

    def sizes(self) -> Figures:
        """Bytes per row of the heap and of each index."""
        rows = self.conn.execute(
            """WITH tables AS (SELECT 'sigs'::regclass AS oid
                   UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = 'sigs'::regclass)
               SELECT 'heap', sum(pg_relation_size(oid)) FROM tables
               UNION ALL
               SELECT regexp_replace(indexrelid::regclass::text, '^sigs(_p\\d+)?_', ''),
                   sum(pg_relation_size(indexrelid))
               FROM tables JOIN pg_index ON indrelid = oid GROUP BY 1"""
        ).fetchall()
        total = sum(len(Task(bands, self.parcels).rows) for bands in (BANDS_10, BANDS_20)) * self.scenes
        return {f"bytes_{name}": round(float(size) / total, 1) for name, size in rows}

    def reads(self) -> Figures:
        """How long clients wait, everything in memory."""
        rng = np.random.default_rng(5)
        pids = rng.choice(np.arange(1, self.parcels + 1), SAMPLE + 205, replace=False).tolist()
        series = [self.timed(queries.SERIES, {"parcel": f"p{pid}"}) for pid in pids[: SAMPLE + 5]][5:]
        middle = self.scenes // 2
        weeks = {"start": _day(middle), "end": _day(middle + max(self.scenes // 9, 1))}
        return {
            "series_ms": round(1e3 * statistics.median(series), 2),
            "series_worst_ms": round(1e3 * max(series), 2),
            "scene_s": round(self.best(queries.SCENE, {"obsid": middle}), 2),
            "peers_s": round(self.best(queries.PEERS, weeks), 2),
            "markers_ms": round(1e3 * self.best(queries.MARKERS, {"pids": pids[-200:]}), 1),
            "averages_s": round(self.best(queries.AVERAGES, weeks), 2),
            "band_s": round(self.best(queries.BAND, {"band": "B08"}), 2),
            "rare_ms": round(1e3 * self.best(queries.BAND, {"band": RARE}), 1),
            "absent_ms": round(1e3 * self.best(queries.BAND, {"band": ABSENT}), 1),
        }

    def empty(self, layout: Layout) -> Figures:
        """COPY of two scenes, 1.12 million rows, into an empty table with all its indexes."""
        self.run("DROP TABLE IF EXISTS fresh")
        self.run(
            "CREATE TABLE fresh (LIKE sigs INCLUDING ALL)"
            + " PARTITION BY RANGE (obsid)" * layout.partitioned
        )
        if layout.partitioned:
            self._partition("fresh")
        scenes = [(Task(bands, self.parcels), obsid) for obsid in (1, 2) for bands in (BANDS_10, BANDS_20)]
        self.run("CHECKPOINT")
        before, start = self.server.cpu_seconds(), time.perf_counter()
        rows = copy(self.conn, "fresh", scenes)
        wall, cpu = time.perf_counter() - start, self.server.cpu_seconds() - before
        self.run("DROP TABLE fresh")
        return {"empty_krows": round(rows / wall / 1e3), "empty_krows_cpu": round(rows / cpu / 1e3)}

    def growth(self, *, by_band: bool = False) -> Figures:
        """Three more scenes, each task in its transaction, as a worker writes it; then they go again.

        The first one after a checkpoint pays for copies of the pages it changes.
        """
        tasks = [Task(bands, self.parcels, by_band=by_band) for bands in (BANDS_10, BANDS_20)]
        found: dict[str, list[float]] = {"krows": [], "krows_cpu": [], "wal_mb": []}
        self.run("CHECKPOINT")
        for obsid in range(self.scenes + 1, self.scenes + 4):
            lsn, before, start, rows = self._lsn(), self.server.cpu_seconds(), time.perf_counter(), 0
            for task in tasks:
                with self.conn.transaction():
                    self.conn.execute(
                        "DELETE FROM sigs WHERE obsid = %s AND band = ANY('{B02,B05}'::bpchar[])", [obsid]
                    )
                    rows += copy(self.conn, "sigs", [(task, obsid)])
            wall, cpu = time.perf_counter() - start, self.server.cpu_seconds() - before
            found["krows"].append(round(rows / wall / 1e3))
            found["krows_cpu"].append(round(rows / cpu / 1e3))
            found["wal_mb"].append(round((self._lsn() - lsn) / 1e6))
        start = time.perf_counter()
        self.conn.execute("DELETE FROM sigs WHERE obsid = %s", [self.scenes + 1])
        seconds = round(time.perf_counter() - start, 2)
        self.conn.execute("DELETE FROM sigs WHERE obsid > %s", [self.scenes])
        return {f"grow_{name}": values for name, values in found.items()} | {"delete_scene_s": seconds}

    def run(self, statement: str) -> float:
        """Execute; return seconds."""
        start = time.perf_counter()
        self.conn.execute(statement)
        return time.perf_counter() - start

    def values(self, statement: LiteralString) -> list[Any]:
        """The first column."""
        return [row[0] for row in self.conn.execute(statement).fetchall()]

    def timed(self, statement: LiteralString, parameters: dict[str, Any]) -> float:
        """Execute and take all rows; return seconds."""
        start = time.perf_counter()
        if statement.startswith("COPY"):
            with self.conn.cursor().copy(statement, parameters) as stream:
                for _ in stream:
                    pass
        else:
            self.conn.execute(statement, parameters).fetchall()
        return time.perf_counter() - start

    def best(self, statement: LiteralString, parameters: dict[str, Any]) -> float:
        """The better of two times: the first may have had to fetch pages."""
        return min(self.timed(statement, parameters) for _ in range(2))

    def _lsn(self) -> int:
        return int(self.values("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")[0])

    def _partition(self, table: str) -> None:
        """As many scenes each; the last one also takes what comes later."""
        bounds = [round(i * (self.scenes + 6) / PARTITIONS) for i in range(PARTITIONS)] + [2**31 - 1]
        for i in range(PARTITIONS):
            bound = f"FROM ({bounds[i]}) TO ({bounds[i + 1]})"
            self.run(f"CREATE TABLE {table}_p{i} PARTITION OF {table} FOR VALUES {bound}")


@contextmanager
def prepared(server: Server, scenes: int = SCENES) -> Iterator[tuple[Bench, Layout]]:
    """A database as `cbmctl schema apply` makes it, with parcels and a catalogue; and its layout of sigs."""
    with (
        server.database("bench_table") as dsn,
        tempfile.TemporaryDirectory() as folder,
        psycopg.connect(dsn, autocommit=True) as conn,
    ):
        apply(load_config(configured(dsn, Path(folder), Path(folder))))
        conn.execute(
            """CREATE TABLE parcels_2021 AS
               SELECT i AS ogc_fid, 'p' || i AS parcel_id FROM generate_series(1, %s) i""",
            [PARCELS],
        )
        conn.execute("ALTER TABLE parcels_2021 ADD PRIMARY KEY (ogc_fid)")
        conn.execute("CREATE UNIQUE INDEX ON parcels_2021 (parcel_id)")
        conn.execute(
            """INSERT INTO dias_catalogue (obstime, reference, sensor, card, status)
               SELECT %s + i * %s, 'scene ' || i, '2A', 's2', 'extracted' FROM generate_series(1, %s) i""",
            [FIRST_DAY, RHYTHM, scenes + 10],
        )
        bench = Bench(server, conn, scenes)
        layout = bench.layout()
        conn.execute("CREATE TABLE sigs_model (LIKE sigs)")
        conn.execute("ANALYZE")
        yield bench, layout


def figures(server: Server) -> list[Figure]:
    """The lines of the table about the table."""
    with prepared(server) as (bench, layout):
        bench.fill()
        sizes = bench.index(layout)
        reads, empty, growth = bench.reads(), bench.empty(layout), bench.growth()
    first, *others = growth["grow_krows"]
    heap, total = sizes["bytes_heap"], sum(size for name, size in sizes.items() if name.startswith("bytes"))
    rows = f"{bench.scenes * 0.56:.1f} million rows"
    return [
        Figure("COPY into an empty sigs with its indexes", empty["empty_krows"], "k rows/s", 200, least=True,
               note=f"{empty['empty_krows_cpu']} k rows per CPU second of PostgreSQL"),
        Figure(f"COPY of one more scene into {rows}", statistics.mean(others), "k rows/s",
               note=f"the first after a checkpoint: {first}; WAL a scene {growth['grow_wal_mb'][-1]} MB, "
                    f"first {growth['grow_wal_mb'][0]} MB"),
        Figure("a parcel's series there, median of 50", reads["series_ms"], "ms", 20,
               note=f"worst {reads['series_worst_ms']} ms"),
        Figure("a scene's rows there", reads["scene_s"], "s", 2),
        Figure("bytes per row", total, "B", note=f"heap {heap}, indexes {total - heap:.1f}"),
        Figure("peers of a parcel by one band and weeks", reads["peers_s"], "s"),
        Figure("markers of 200 parcels", reads["markers_ms"], "ms"),
        Figure("averages of ten scenes", reads["averages_s"], "s"),
        Figure("one band of everything", reads["band_s"], "s",
               note=f"a band of one scene {reads['rare_ms']} ms, one that is absent {reads['absent_ms']} ms"),
    ]  # fmt: skip


def compare(server: Server, names: str, scenes: int) -> Iterator[tuple[str, Figures]]:
    """Measure alternatives; `+` also after CLUSTER, `%` with the rows of a task band by band."""
    chosen = [ALTERNATIVES[name] for name in names if name in ALTERNATIVES]
    with prepared(server, scenes) as (bench, own):
        for partitioned in (False, True):
            layouts = [layout for layout in chosen if layout.partitioned == partitioned]
            layouts += [own] if not partitioned else []
            if layouts:
                bench.fill(partitioned=partitioned)
            for layout in layouts:
                sizes = bench.index(layout)
                yield layout.title, sizes | bench.reads() | bench.empty(layout) | bench.growth()
                bench.bare()
        if "%" in names:
            bench.fill(by_band=True)
            bench.index(own)
            yield "rows band by band", bench.reads() | bench.growth(by_band=True)
            bench.bare()
        if "+" in names:
            bench.fill()
            for layout in (own, *chosen):
                if not layout.partitioned:
                    bench.index(layout)
                    seconds = bench.run(f"CLUSTER sigs USING {layout.cluster}")
                    bench.run("VACUUM (ANALYZE) sigs")
                    found = {"cluster_s": round(seconds)} | bench.sizes() | bench.reads() | bench.growth()
                    yield f"{layout.title}, after CLUSTER", found
                    bench.bare()


def _day(number: int) -> datetime:
    return FIRST_DAY + number * RHYTHM


def main() -> None:
    """Print a line of JSON for each layout."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="every alternative, also clustered")
    parser.add_argument(
        "--layouts", default="", help="only these of benchmarks.layouts, + clustered, %% band by band"
    )
    parser.add_argument("--scenes", type=int, default=SCENES)
    options = parser.parse_args()
    names = "".join(ALTERNATIVES) + "+%" if options.all else options.layouts
    with started() as server:
        for title, found in compare(server, names, options.scenes):
            line = {"layout": title, "load": round(os.getloadavg()[0], 1)} | found
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
