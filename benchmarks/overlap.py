"""What it costs that a parcel of several tiles is counted once: the last transaction of a scene.

python -m benchmarks.overlap        # two tiles that share all parcels or a tenth, and a datatake of twelve
"""

import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import psycopg

from benchmarks.figures import Figure, lines
from benchmarks.measure import configured
from benchmarks.rows import BANDS_10, BANDS_20, Task, copy
from benchmarks.server import Server, started
from cbmctl.config import Config, load_config
from cbmctl.queue.overlap import settle_overlaps
from cbmctl.schema import apply

PARCELS = 100_000
SEASON = 15  # scenes that are there already: 8 million rows
TENTH = PARCELS - PARCELS // 10
FIRST_DAY = datetime(2021, 1, 1)
# a degree of parcels for each tile, one after the other
_PARCELS = """
    CREATE TABLE parcels_2021 AS SELECT pid AS ogc_fid,
        ST_Expand(ST_SetSRID(ST_MakePoint(pid / %(tile)s::float8, 50.5), 4326), 0.0001) AS wkb_geometry
    FROM generate_series(1, %(number)s) pid;
    SELECT Populate_Geometry_Columns('parcels_2021'::regclass);
    CREATE INDEX ON parcels_2021 USING gist (wkb_geometry)"""
_TASKS = """
    INSERT INTO tasks (obsid, bandset, state, bands, method, parcels, rows)
    SELECT %(obsid)s, bandset, 'done', bands, '{"overlap": "first"}', %(parcels)s, n FROM (VALUES
        ('scl', ARRAY['SCL'], %(hists)s), ('10', %(ten)s, %(rows_ten)s), ('20', %(twenty)s, %(rows_twenty)s)
    ) AS t (bandset, bands, n)"""


@dataclass
class Bench:
    """A catalogue that scenes are entered into, each extracted as soon as it is there."""

    conn: psycopg.Connection
    config: Config
    scenes: int = 0

    def enter(self, instant: datetime, first: int) -> tuple[int, float]:
        """Enter a scene with the parcels from `first` on; return its id and the seconds of writing rows."""
        self.scenes += 1
        tasks = [Task(bands, PARCELS) for bands in (BANDS_10, BANDS_20)]
        for task in tasks:
            task.rows["pid"] += first
        with self.conn.transaction():
            self.conn.execute(
                """INSERT INTO dias_catalogue (id, obstime, reference, sensor, card, status, tile, footprint)
                   VALUES (%s, %s, %s, '2A', 's2', 'extracted', %s, ST_MakeEnvelope(%s, 50, %s, 51, 4326))""",
                [
                    self.scenes,
                    instant,
                    f"scene {self.scenes}",
                    f"T{self.scenes:04}",
                    first / PARCELS,
                    first / PARCELS + 1,
                ],
            )
            self.conn.execute(
                _TASKS,
                {
                    "obsid": self.scenes,
                    "parcels": PARCELS,
                    "hists": PARCELS,
                    "ten": list(BANDS_10),
                    "twenty": list(BANDS_20),
                    "rows_ten": len(tasks[0].rows),
                    "rows_twenty": len(tasks[1].rows),
                },
            )
            begun = time.perf_counter()
            copy(self.conn, "sigs", [(task, self.scenes) for task in tasks])
            self.conn.execute(
                """INSERT INTO hists SELECT pid, %s, '{"4": 80, "5": 20}'
                   FROM generate_series(%s::integer + 1, %s) pid""",
                [self.scenes, first, first + PARCELS],
            )
            return self.scenes, time.perf_counter() - begun

    def settle(self, obsid: int) -> tuple[float, int]:
        """Settle a scene; return the seconds and the rows that went."""
        before = self._rows()
        begun = time.perf_counter()
        with self.conn.transaction():
            settle_overlaps(self.conn, self.config.tables, [obsid])
        return time.perf_counter() - begun, before - self._rows()

    def _rows(self) -> int:
        row = self.conn.execute("SELECT sum(rows) FROM tasks").fetchone()
        return int(row[0]) if row else 0

    def case(self, title: str, firsts: list[int], limit: float | None = None) -> Figure:
        """A datatake of tiles; the one whose settling takes longest counts."""
        instant = FIRST_DAY + timedelta(days=200 + self.scenes)
        written, settled, gone = 0.0, [], 0
        for first in firsts:
            obsid, seconds = self.enter(instant, first)
            written += seconds
            took, went = self.settle(obsid)
            settled.append(took)
            gone += went
        mean = written / len(firsts)
        return Figure(
            f"{title}: seconds of settling a scene / of writing it",
            max(settled) / mean,
            "",
            limit,
            note=f"{max(settled):.2f} s / {mean:.2f} s; all scenes {sum(settled):.1f} s / {written:.1f} s;"
            f" {gone:,} rows went",
        )


def figures(server: Server) -> list[Figure]:
    """Fill a season and measure."""
    with server.database("bench_overlap") as dsn, tempfile.TemporaryDirectory() as folder:
        config = load_config(configured(dsn, Path("/nowhere"), Path(folder)))
        apply(config)
        with psycopg.connect(dsn, autocommit=True) as conn:
            bench = Bench(conn, config)
            for statement in _PARCELS.split(";"):
                parameters = {"tile": PARCELS, "number": 12 * PARCELS} if "%" in statement else None
                conn.execute(statement, parameters)
            for number in range(SEASON):
                bench.enter(FIRST_DAY + timedelta(days=number), 0)
            conn.execute("VACUUM ANALYZE")
            found = [bench.case("one tile of a datatake", [0])]
            conn.execute("CHECKPOINT")
            found.append(bench.case("two tiles, a tenth of 100,000 parcels in both", [0, TENTH], 0.5))
            found.append(bench.case("two tiles, all of 100,000 parcels in both", [0, 0]))
            found.append(bench.case("twelve tiles in a row", [number * TENTH for number in range(12)]))
        return found


def main() -> None:
    """Print the table."""
    with started() as server:
        sys.stdout.write("\n".join(lines(figures(server), markdown=False)) + "\n")


if __name__ == "__main__":
    main()
