"""Loads and workers that are killed while parcels change: rows end as of an extraction with the last file."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from shapely import Polygon, box

from cbmctl.database import connect
from cbmctl.parcels.load import Options, load
from cbmctl.parcels.quality import assess
from cbmctl.parcels.rasterise import rasterise
from cbmctl.queue.repair import repair
from tests.conftest import Eventually
from tests.support.effort import THOROUGH, drawing
from tests.support.parcel_loading import write
from tests.support.products_s2 import LEFT, TOP
from tests.support.season import PARCELS, Season
from tests.unit.worker.test_crashes import (
    at_work,
    make_writes_fast,
    make_writes_slow,
    open_tasks,
    start_worker,
)

pytestmark = pytest.mark.postgis

WORKERS = 3 if THOROUGH else 2
KILLS = int(os.environ.get("CBM_KILLS", "200" if THOROUGH else "4"))
DAYS = range(3, 7)
# `cbmctl parcels load`, killed some seconds after its n-th statement began.
VICTIM = """
import os, signal, sys, threading
import psycopg

step, seconds = int(sys.argv[1]), float(sys.argv[2])
steps = 0

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def watched(owner, name):
    whole = getattr(owner, name)
    def call(*arguments, **named):
        global steps
        steps += 1
        if steps == step:
            threading.Timer(seconds, die).start()
        return whole(*arguments, **named)
    setattr(owner, name, call)

for owner, *names in (
    (psycopg.Cursor, "execute", "executemany"), (psycopg.Copy, "__exit__"), (psycopg.Transaction, "__exit__"),
):
    for name in names:
        watched(owner, name)
sys.argv = ["cbmctl", *sys.argv[3:]]
from cbmctl.cli import cbmctl
cbmctl.main(standalone_mode=False)
print("steps:", steps, file=sys.stderr)
"""

Figures = dict[tuple[Any, ...], tuple[object, ...]]
SIGS = """SELECT {name}, obsid, band, "count", mean, std, "min", "max", p25, p50, p75
    FROM {parcels} p JOIN sigs s ON s.pid = p.ogc_fid"""
HISTS = "SELECT {name}, obsid, 'SCL', hist::text FROM {parcels} p JOIN hists h ON h.pid = p.ogc_fid"
DERIVED = {
    name: f"SELECT {{name}}, {columns} FROM parcels_2021 p JOIN {name} d ON d.{pid} = p.ogc_fid"
    for name, pid, columns in (
        ("parcels_2021_32632_10_rast", "pid", "rast::text"),
        ("parcels_2021_32632_20_rast", "pid", "rast::text"),
        (
            "parcels_2021_quality",
            "ogc_fid",
            "epsg, resolution, pixels, full_pixels, lost, overlap, usable, sliver",
        ),
    )
}
PLACE = "ST_AsBinary(ST_Normalize(p.wkb_geometry))"


class Declared:
    """The parcels files of a season.

    Attributes:
        version: of the parcel set.
        current: the last file: geometry by key.
    """

    def __init__(self, folder: Path, chance: random.Random) -> None:
        """Begin with the parcels of the fixture."""
        self.version = 1
        self.current: dict[str, Polygon] = {f"k{pid}": shape for pid, shape in PARCELS.items()}
        self._gone: list[Polygon] = []
        self._folder, self._chance = folder, chance

    def file(self) -> Path:
        """Write the last file, with as many parcels of one geometry as there are keys for it."""
        n = len(self.current)
        more = {f"note{self.version // 5}": ["n"] * n} if self.version % 5 == 0 else {}
        return write(
            self._folder / f"{self.version}.gpkg",
            list(self.current.values()),
            crs="EPSG:32632",
            key=list(self.current),
            crop=[f"crop {self._chance.randrange(3)}" for _ in range(n)],
            **more,
        )

    def change(self) -> Path:
        """The next file: one parcel is gone, another one came, one came back or has another key."""
        self.version += 1
        key = self._chance.choice([key for key in self.current if key != "k9"])
        left = self.current.pop(key)
        # sometimes under the key of the one that is gone
        self.current[self._chance.choice([key, f"n{self.version}"])] = parcel(self.version)
        if self._gone and self._chance.random() < 0.3:
            self.current[f"b{self.version}"] = self._gone.pop(0)
        self._gone.append(left)
        if self._chance.random() < 0.3:
            renamed = self._chance.choice(list(self.current))
            self.current[f"r{self.version}"] = self.current.pop(renamed)
        return self.file()


def parcel(number: int) -> Polygon:
    """Return one of many overlapping parcels within the image; no two are equal."""
    x, y = LEFT + 20 + 37 * number % 250, TOP - 20 - 53 * number % 250
    return box(x, y - 110, x + 110 - number / 10, y)


def figures(season: Season, name: str, parcels: str = "parcels_2021") -> Figures:
    """Return the rows of parcels, by an expression of the parcel, scene and band."""
    return {
        tuple(row[:3]): tuple(row[3:])
        for statement in (SIGS, HISTS)
        for row in season.rows(statement.format(name=name, parcels=parcels))
    }


def figures_of_gone(season: Season) -> Figures:
    if season.rows("SELECT to_regclass('parcels_2021_gone')") == [(None,)]:
        return {}
    return figures(season, "p.ogc_fid", "parcels_2021_gone")


def derived(season: Season) -> dict[str, list[Any]]:
    return {name: sorted(season.rows(query.format(name=PLACE))) for name, query in DERIVED.items()}


def version(season: Season) -> int:
    ((found,),) = season.rows("SELECT version FROM parcel_sets")
    return int(found)


def loader(season: Season, file: Path, step: int, seconds: float) -> subprocess.Popen[str]:
    """Begin to load a file; it dies some seconds after a statement."""
    config = ["--config", str(season.database.config_path)]
    options = ["--key", "key", "--accept-removals"]
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            VICTIM,
            str(step),
            str(seconds),
            *config,
            "parcels",
            "load",
            str(file),
            *options,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def begin(season: Season, file: Path) -> None:
    """Load and extract the first file, and make its raster tables and quality flags."""
    with connect(season.config, autocommit=True) as conn:
        load(conn, season.config.tables, file, Options(), key="key")
        season.extract()
        rasterise(conn, season.config)
        assess(conn, season.config)


def test_loads_and_workers_killed_while_parcels_change(
    season: Season, tmp_path: Path, eventually: Eventually
) -> None:
    for day in DAYS:
        season.scene(day)
    chance = drawing()
    declared = Declared(tmp_path, chance)
    begin(season, declared.file())
    make_writes_slow(season, 0.1, f"NEW.pid > {len(declared.current)}")
    killed, steps, gone = 0, 100, Figures()
    crew = [start_worker(season) for _ in range(WORKERS)]
    try:
        while killed < KILLS:
            file = declared.change()
            while version(season) < declared.version:
                before = figures(season, "p.ogc_fid")
                victim = loader(season, file, chance.randrange(1, steps * 5 // 4), chance.uniform(0, 0.03))
                _, said = victim.communicate(timeout=120)
                assert victim.returncode in (0, -signal.SIGKILL), said
                killed += victim.returncode != 0
                if victim.returncode == 0:
                    steps = int(said.rpartition("steps:")[2])
                eventually(lambda: idle(season))
                expect_nothing_or_all(season)
            went = figures_of_gone(season)
            assert all(went[key] == value for key, value in gone.items()), "as when they went"
            pids = {pid for (pid,) in season.rows("SELECT ogc_fid FROM parcels_2021_gone")}
            assert all(went[key] == value for key, value in before.items() if key[0] in pids), "as before"
            gone = went
            # not while Python starts: when there is something to lose
            eventually(lambda: busy(season, crew))
            time.sleep(chance.uniform(0, 0.3))
            if working := [member for member in crew if member.pid in at_work(season)]:
                worker = chance.choice(working)
                worker.kill()
                worker.wait()
                killed += 1
    finally:
        for member in crew:
            member.kill()
            member.wait()
    make_writes_fast(season)
    with connect(season.config, autocommit=True) as conn:
        repair(conn, season.config)
    season.extract()
    assert season.rows("SELECT DISTINCT state, parcels_covered >= parcels_asked FROM tasks") == [
        ("done", True)
    ]
    assert season.rows("SELECT DISTINCT status FROM dias_catalogue") == [("extracted",)]
    expect_as_from_scratch(season, file, gone)


def expect_nothing_or_all(season: Season) -> None:
    """Everything is of one version: each scene is asked for it, and each parcel has its rasters and flags."""
    assert season.rows("SELECT DISTINCT parcels_asked FROM tasks") == season.rows(
        "SELECT version FROM parcel_sets"
    )
    declared = season.rows("SELECT ogc_fid FROM parcels_2021 ORDER BY 1")
    for resolution in (10, 20):
        rasters = season.rows(f"SELECT pid FROM parcels_2021_32632_{resolution}_rast ORDER BY 1")
        assert rasters == declared
    assert season.rows("SELECT DISTINCT ogc_fid FROM parcels_2021_quality ORDER BY 1") == declared


def busy(season: Season, crew: list[subprocess.Popen[bytes]]) -> bool:
    """Whether a worker is at work, or nothing is left to do; a worker that has ended is replaced."""
    crew[:] = [member if member.poll() is None else start_worker(season) for member in crew]
    return len(at_work(season)) > 0 or not open_tasks(season)


def idle(season: Season) -> bool:
    """Whether no load is connected: a killed one is noticed a little later."""
    loads = """SELECT count(*) FROM pg_stat_activity
        WHERE application_name LIKE 'cbmctl parcels%%' AND datname = current_database()"""
    return season.rows(loads) == [(0,)]


def expect_as_from_scratch(season: Season, file: Path, gone: Figures) -> None:
    """Rows of gone parcels are as they were; the rest is as the last file alone would make it."""
    assert figures_of_gone(season) == gone
    found, others = figures(season, PLACE), derived(season)
    count = "SELECT (SELECT count(*) FROM sigs), (SELECT count(*) FROM hists)"
    assert sum(season.rows(count)[0]) == len(found) + len(gone), "no row of another parcel"
    with connect(season.config, autocommit=True) as conn:
        assert not any(table.changed for table in rasterise(conn, season.config))
        assert not assess(conn, season.config).changed
        load(conn, season.config.tables, file, Options(), key="key", drop_statistics=True, again=True)
        season.extract()
        assert found == figures(season, PLACE), "as of an extraction from scratch"
        rasterise(conn, season.config)
        assess(conn, season.config)
    assert others == derived(season)
