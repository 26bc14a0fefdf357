"""Parcel files of which the second changes the first, and the command that loads them."""

from pathlib import Path
from typing import Any

import psycopg
import shapely
from click.testing import CliRunner, Result

from cbmctl.cli import cbmctl, commands  # noqa: F401  (the commands register themselves)
from cbmctl.config import Tables
from cbmctl.parcels.load import Options, load
from tests.conftest import Database
from tests.support.parcel_loading import fields, rows, write
from tests.unit.parcels.test_changes import use

N = 20


def run(database: Database, *arguments: str) -> Result:
    return CliRunner().invoke(cbmctl, ["--config", str(database.config_path), "parcels", *arguments])


def halves(parcel: Any) -> list[Any]:
    west, south, east, north = parcel.bounds
    return [shapely.box(west, south, west + 75, north), shapely.box(west + 75, south, east, north)]


def first_file(folder: Path) -> Path:
    return write(folder / "first.gpkg", fields(N), id=list(range(N)), crop=["a"] * N)


def second_file(folder: Path) -> Path:
    """The parcel 0 split, 1 and 2 merged, 3 gone, 4 with another crop, and a new one far away."""
    drawn = fields(N)
    file = [*halves(drawn[0]), shapely.union_all(drawn[1:3]), *drawn[4:], fields(1, shift=9_000)[0]]
    ids = [0, 100, 101, *range(4, N), 102]
    return write(folder / "second.gpkg", file, id=ids, crop=["a", "a", "a", "b", *["a"] * (N - 4)])


def load_and_use(conn: psycopg.Connection, tables: Tables, file: Path) -> dict[int, int]:
    """Load a file, and add statistics; return the number of each id."""
    load(conn, tables, file, Options(), key="id")
    use(conn)
    return dict(rows(conn, "SELECT id, ogc_fid FROM parcels_2021"))
