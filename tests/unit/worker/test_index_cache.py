"""Indexes: of the parcels as they are now, and from memory or disk where these are still the same."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, LiteralString

import numpy as np
import psycopg
import pytest
import shapely
from affine import Affine
from shapely import box
from shapely.geometry.base import BaseGeometry

from cbmctl.config import Config
from cbmctl.database import connect
from cbmctl.pixels import Grid
from cbmctl.scenes import SceneError
from cbmctl.worker import index_cache
from cbmctl.worker.index_cache import KEPT_IN_MEMORY, Indexes
from tests.support.burnt_pixels import burnt, pixels
from tests.support.products_s2 import LEFT, TOP
from tests.support.season import PARCELS, Season

pytestmark = pytest.mark.postgis

GRID = Grid(32632, Affine(10, 0, LEFT, 0, -10, TOP), 40, 40)
NEAR = [1, 7]  # of PARCELS; the third is far away

Fetches = list[Grid]


@pytest.fixture
def conn(season: Season) -> Iterator[psycopg.Connection]:
    with connect(season.config, autocommit=True) as connection:
        yield connection


@pytest.fixture
def fetches(monkeypatch: pytest.MonkeyPatch) -> Fetches:
    """Every time that parcels are fetched from the database."""
    seen: Fetches = []
    fetch = Indexes._fetch

    def counted(self: Indexes, grid: Grid, after: int | None) -> Any:
        seen.append(grid)
        return fetch(self, grid, after)

    monkeypatch.setattr(Indexes, "_fetch", counted)
    return seen


def files(config: Config) -> list[Path]:
    return sorted((config.cache / "indexes").iterdir())


def test_from_the_database_then_from_memory_then_from_disk(
    season: Season, conn: psycopg.Connection, fetches: Fetches
) -> None:
    first = Indexes(conn, season.config)
    made = first.get(GRID)
    assert pixels(made) == burnt({pid: PARCELS[pid] for pid in NEAR}, GRID)
    assert len(files(season.config)) == len(fetches) == 1
    assert first.get(GRID) is made
    loaded = Indexes(conn, season.config).get(GRID)
    assert loaded is not made
    assert (loaded.grid, pixels(loaded)) == (made.grid, pixels(made))
    assert len(fetches) == 1


def test_each_buffer_has_its_own(season: Season, conn: psycopg.Connection, fetches: Fetches) -> None:
    found = Indexes(conn, season.config)
    for metres in (0.0, 7.5, 20.0):
        shrunk = {pid: PARCELS[pid].buffer(-metres, quad_segs=8) for pid in NEAR}
        assert pixels(found.get(GRID, buffer_m=metres)) == burnt(shrunk, GRID)
    nothing = found.get(GRID, buffer_m=200.0, touching=True)
    assert (len(nothing), sorted(nothing.empty.tolist())) == (0, NEAR)
    assert len(fetches) == len(files(season.config)) == 4


def test_each_grid_has_its_own(season: Season, conn: psycopg.Connection, fetches: Fetches) -> None:
    t = GRID.transform
    grids = [
        GRID,
        Grid(32632, t, 39, 40),
        Grid(32632, t, 40, 39),
        Grid(32632, t @ Affine.translation(0.25, 0), 40, 40),
        Grid(32632, t @ Affine.translation(0, 0.25), 40, 40),
        Grid(32632, t @ Affine.scale(2), 20, 20),
    ]
    found = Indexes(conn, season.config)
    for grid in grids:
        assert pixels(found.get(grid)) == burnt({pid: PARCELS[pid] for pid in NEAR}, grid)
    coarse = found.get(grids[-1], touching=True)
    assert len(fetches) == len(files(season.config)) == 7
    assert pixels(coarse) == pixels(found.get(grids[-1]))
    # the oldest ones are on disk only
    assert len(found._kept) == KEPT_IN_MEMORY
    again = found.get(GRID)
    assert pixels(again) == burnt({pid: PARCELS[pid] for pid in NEAR}, GRID)
    assert len(fetches) == 7


def test_slivers_are_added_where_they_are_asked_for(
    season: Season, conn: psycopg.Connection, fetches: Fetches
) -> None:
    coarse = Grid(32632, GRID.transform @ Affine.scale(2), 20, 20)
    sliver = box(LEFT + 4, TOP - 6, LEFT + 6, TOP - 4)
    insert(season, {3: sliver})
    for found in (Indexes(conn, season.config), Indexes(conn, season.config)):
        assert sorted(found.get(coarse).pids.tolist()) == NEAR
        assert found.get(coarse).empty.tolist() == [3]
        with_slivers = found.get(coarse, touching=True)
        assert sorted(with_slivers.pids.tolist()) == [1, 3, 7]
        assert (with_slivers.of(3).tolist(), with_slivers.empty.tolist()) == ([0], [])
    assert len(fetches) == 2


def insert(season: Season, shapes: dict[int, BaseGeometry]) -> None:
    with season.database.connect() as conn:
        for pid, shape in shapes.items():
            conn.execute(
                "INSERT INTO parcels_2021 VALUES (%s, ST_Multi(ST_GeomFromText(%s, 32632)))", [pid, shape.wkt]
            )


CHANGES: dict[str, LiteralString] = {
    "update": "UPDATE parcels_2021 SET wkb_geometry = ST_Translate(wkb_geometry, 15, 0) WHERE ogc_fid = 1",
    "delete": "DELETE FROM parcels_2021 WHERE ogc_fid = 1",
    "insert": "INSERT INTO parcels_2021 SELECT 2, wkb_geometry FROM parcels_2021 WHERE ogc_fid = 1",
    "renumber": "UPDATE parcels_2021 SET ogc_fid = 2 WHERE ogc_fid = 1",
    "swap": "UPDATE parcels_2021 SET ogc_fid = 8 - ogc_fid WHERE ogc_fid IN (1, 7)",
    "replace": "CREATE TABLE new (LIKE parcels_2021 INCLUDING ALL);"
    " INSERT INTO new SELECT ogc_fid + 20, wkb_geometry FROM parcels_2021; DROP TABLE parcels_2021;"
    " ALTER TABLE new RENAME TO parcels_2021",
    "reload": "CREATE TEMP TABLE kept AS"
    " SELECT ogc_fid, ST_Translate(wkb_geometry, 0, -30) FROM parcels_2021;"
    " TRUNCATE parcels_2021; INSERT INTO parcels_2021 SELECT * FROM kept",
    "rewrite": "ALTER TABLE parcels_2021 ALTER wkb_geometry TYPE geometry(MultiPolygon, 32632)"
    " USING ST_Translate(wkb_geometry, 0, -30)",
    "moved here": "UPDATE parcels_2021 SET wkb_geometry = ST_Translate(wkb_geometry, -50000 + 30, -50)"
    " WHERE ogc_fid = 9",
    "moved away": "UPDATE parcels_2021 SET wkb_geometry = ST_Translate(wkb_geometry, 50000, 0)"
    " WHERE ogc_fid = 7",
}


def test_parcels_that_changed_are_fetched_anew(
    season: Season, conn: psycopg.Connection, fetches: Fetches
) -> None:
    with season.database.connect(autocommit=True) as other:
        # without a key: the order of keys within one statement is the server's own
        other.execute("CREATE TABLE original (LIKE parcels_2021); INSERT INTO original TABLE parcels_2021")
    for change, statements in CHANGES.items():
        with season.database.connect(autocommit=True) as other:
            other.execute("DROP TABLE parcels_2021; CREATE TABLE parcels_2021 (LIKE original)")
            other.execute("INSERT INTO parcels_2021 TABLE original")
            found = Indexes(conn, season.config)
            before = pixels(found.get(GRID))
            fetches.clear()
            assert pixels(found.get(GRID)) == before
            assert not fetches
            other.execute(statements)
        now = season.rows("SELECT ogc_fid, ST_AsBinary(wkb_geometry) FROM parcels_2021")
        expected = burnt({pid: shapely.from_wkb(bytes(wkb)) for pid, wkb in now}, GRID)
        assert expected != before, change
        assert pixels(found.get(GRID)) == expected, change
        assert pixels(found.get(GRID)) == pixels(Indexes(conn, season.config).get(GRID)) == expected
        assert len(fetches) == 1, change


@pytest.mark.parametrize("change", ["rewrite", "replace"])
def test_a_table_that_is_being_changed_is_read_as_it_is_then(
    season: Season, conn: psycopg.Connection, eventually: Callable[[Callable[[], bool]], None], change: str
) -> None:
    with ThreadPoolExecutor(1) as pool, season.database.connect() as other:
        other.execute(CHANGES[change])
        found = pool.submit(Indexes(conn, season.config).get, GRID)
        eventually(lambda: season.rows("SELECT FROM pg_locks WHERE NOT granted") != [])
        other.commit()
        now = other.execute("SELECT ogc_fid, ST_AsBinary(wkb_geometry) FROM parcels_2021").fetchall()
        expected = burnt({pid: shapely.from_wkb(bytes(wkb)) for pid, wkb in now}, GRID)
        assert pixels(found.result()) == expected


def test_a_table_made_anew_with_the_same_parcels(
    season: Season, conn: psycopg.Connection, fetches: Fetches
) -> None:
    """Its rows are others, whatever they hold."""
    found = Indexes(conn, season.config)
    before = pixels(found.get(GRID))
    with season.database.connect(autocommit=True) as other:
        other.execute(
            """CREATE TABLE new (LIKE parcels_2021 INCLUDING ALL);
               INSERT INTO new SELECT * FROM parcels_2021;
               DROP TABLE parcels_2021;
               ALTER TABLE new RENAME TO parcels_2021"""
        )
    assert pixels(found.get(GRID)) == before
    assert len(fetches) == 2


def test_parcels_elsewhere_change_nothing(season: Season, conn: psycopg.Connection, fetches: Fetches) -> None:
    found = Indexes(conn, season.config)
    made = found.get(GRID)
    with season.database.connect(autocommit=True) as other:
        other.execute("DELETE FROM parcels_2021 WHERE ogc_fid = 9")
    assert found.get(GRID) is made
    assert len(fetches) == 1


def test_parcels_of_another_table_or_database_are_others(
    season: Season, conn: psycopg.Connection, fetches: Fetches
) -> None:
    Indexes(conn, season.config).get(GRID)
    with season.database.connect(autocommit=True) as other:
        other.execute("CREATE TABLE parcels_2022 AS SELECT * FROM parcels_2021 WHERE ogc_fid = 7")
    second = season.database.configured(tables={"parcel_table": "public.parcels_2022"})
    assert Indexes(conn, second).get(GRID).pids.tolist() == [7]
    elsewhere = replace(season.config, connection=replace(season.config.connection, dbname="another"))
    Indexes(conn, elsewhere).get(GRID)
    assert len(fetches) == len(files(season.config)) == 3


def in_its_place(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: os.truncate(path, path.stat().st_size - 30),
    "half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "a few bytes": lambda path: path.write_bytes(b"PK\3\4"),
    "other bytes": lambda path: path.write_bytes(bytes(range(256)) * 9),
    "text": lambda path: path.write_text("nothing\n"),
    "other arrays": lambda path: np.savez(path, pids=np.arange(3)),
    "gone": lambda path: path.unlink(),
    "a folder": in_its_place,
}


def test_a_broken_file_is_made_anew(season: Season, conn: psycopg.Connection, fetches: Fetches) -> None:
    before = pixels(Indexes(conn, season.config).get(GRID))
    (file,) = files(season.config)
    for damage, harm in DAMAGES.items():
        fetches.clear()
        harm(file)
        assert pixels(Indexes(conn, season.config).get(GRID)) == before, damage
        assert len(fetches) == 1, damage
        if damage != "a folder":
            assert pixels(Indexes(conn, season.config).get(GRID)) == before
            assert len(fetches) == 1, damage
            assert files(season.config) == [file]


def test_without_a_place_to_keep_it_an_index_is_made(
    season: Season, conn: psycopg.Connection, fetches: Fetches, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for cache in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        found = Indexes(conn, replace(season.config, cache=cache))
        made = found.get(GRID)
        assert pixels(made) == burnt({pid: PARCELS[pid] for pid in NEAR}, GRID)
        assert found.get(GRID) is made
    assert len(fetches) == 3


def test_a_full_disk_leaves_no_half_file(
    season: Season, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Any, **_arrays: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert sorted(Indexes(conn, season.config).get(GRID).pids.tolist()) == NEAR
    assert files(season.config) == []


def test_what_was_used_least_recently_goes(
    season: Season, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    grids = [Grid(32632, GRID.transform, height, 40) for height in (40, 41, 42)]
    Indexes(conn, season.config).get(grids[0])
    (first,) = files(season.config)
    monkeypatch.setattr(index_cache, "BYTES_ON_DISK", 2.5 * first.stat().st_size)
    Indexes(conn, season.config).get(grids[1])
    (second,) = set(files(season.config)) - {first}
    os.utime(first, (1000, 1000))
    os.utime(second, (2000, 2000))
    Indexes(conn, season.config).get(grids[0])  # read, so it is newer now
    Indexes(conn, season.config).get(grids[2])
    assert first in files(season.config)
    assert second not in files(season.config)
    assert len(files(season.config)) == 2


def test_no_parcels_in_the_image(season: Season, conn: psycopg.Connection) -> None:
    away = Grid(32632, Affine(10, 0, LEFT + 200_000, 0, -10, TOP), 40, 40)
    for found in (Indexes(conn, season.config), Indexes(conn, season.config)):
        for touching in (False, True):
            assert len(found.get(away, touching=touching)) == 0
            assert len(found.get(away, touching=touching)) == 0


def test_parcels_that_cannot_be_read(season: Season, conn: psycopg.Connection) -> None:
    found = Indexes(conn, season.config)
    with season.database.connect(autocommit=True) as other:
        other.execute("ALTER TABLE parcels_2021 RENAME TO gone")
    with pytest.raises(SceneError, match=r"public\.parcels_2021 cannot be read") as error:
        found.get(GRID)
    assert error.value.status == "Parcel SQL"
    with season.database.connect(autocommit=True) as other:
        other.execute("ALTER TABLE gone RENAME TO parcels_2021")
    assert sorted(found.get(GRID).pids.tolist()) == NEAR, "the connection is as good as before"
    with season.database.connect(autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [conn.info.backend_pid])
    with pytest.raises(psycopg.OperationalError):  # not the scene's fault
        found.get(GRID)


@pytest.mark.usefixtures("roles")
def test_the_writer_may_name_and_fetch(season: Season, conn: psycopg.Connection) -> None:
    """The name asks the server who it is, which not every function lets everybody."""
    conn.execute("GRANT SELECT ON parcels_2021 TO cbm_writer; SET ROLE cbm_writer")
    assert sorted(Indexes(conn, season.config).get(GRID).pids.tolist()) == NEAR
    conn.execute("RESET ROLE")
