"""Queries of the existing clients after each kind of change of the parcels."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from shapely import Polygon, box, union

from cbmctl.database import connect
from cbmctl.parcels.load import Loaded, Options, load
from tests.support.client_queries import Rows, expect_public_ids, look, markers, series
from tests.support.parcel_loading import write
from tests.support.products_s2 import LEFT, TOP
from tests.support.season import Season

pytestmark = pytest.mark.postgis

Declared = dict[str, tuple[str, Polygon]]  # crop and geometry by public id
BANDS = ("B02", "B05")
DAYS = (3, 4)


def square(number: int, size: int = 80) -> Polygon:
    """One of nine squares within the image, which do not touch."""
    x, y = LEFT + 20 + 120 * (number % 3), TOP - 20 - 120 * (number // 3)
    return box(x, y - size, x + size, y)


FIRST: Declared = {f"k{number}": ("wheat", square(number)) for number in range(8)}


def edit(file: Declared) -> Declared:
    return file | {"k0": ("maize", file["k0"][1])}


def split(file: Declared) -> Declared:
    """The western half keeps the id."""
    west, south, east, north = file["k1"][1].bounds
    parts = [box(west, south, west + 40, north), box(west + 40, south, east, north)]
    return file | {"k1": ("wheat", parts[0]), "k1b": ("wheat", parts[1])}


def merge(file: Declared) -> Declared:
    """Both halves become one parcel again, with the id of the western one."""
    both = union(file["k1"][1], file["k1b"][1])
    return {key: value for key, value in file.items() if key != "k1b"} | {"k1": ("wheat", both)}


def remove(file: Declared) -> Declared:
    return {key: value for key, value in file.items() if key != "k5"}


def add(file: Declared) -> Declared:
    """A new parcel, and the removed one again."""
    return file | {"k8": ("oats", square(8)), "k5": FIRST["k5"]}


def change(season: Season, path: Path, file: Declared) -> Loaded:
    """Load a file and extract what is new."""
    shapes, crops = [shape for _, shape in file.values()], [crop for crop, _ in file.values()]
    write(path, shapes, crs="EPSG:32632", public_id=list(file), crop=crops)
    with connect(season.config, autocommit=True) as conn:
        done = load(conn, season.config.tables, path, Options(), key="public_id", accept_removals=True)
    season.extract()
    return done


@pytest.fixture
def reader(season: Season) -> Iterator[psycopg.Connection]:
    with season.database.connect(autocommit=True) as conn:
        yield conn


def every_series(reader: psycopg.Connection, file: Declared) -> dict[str, Rows]:
    return {key: series(reader, "parcels_2021", key, BANDS) for key in file}


def test_clients_work_after_each_change(season: Season, reader: psycopg.Connection, tmp_path: Path) -> None:
    for day in DAYS:
        season.scene(day)
    file = FIRST
    change(season, tmp_path / "0.gpkg", file)
    now = first = every_series(reader, file)
    steps: tuple[Callable[[Declared], Declared], ...] = (edit, split, merge, remove, add)
    for number, step in enumerate(steps, 1):
        before, earlier, file = now, file, step(file)
        updated = change(season, tmp_path / f"{number}.gpkg", file).updated
        assert updated is not None, "in place"
        assert (updated.scenes > 0) == (step in {split, merge, add})
        expect_public_ids(reader, "parcels_2021", file)
        found = markers(reader, "parcels_2021", BANDS)
        assert len(found) == len(file) * len(DAYS), "every parcel at every instant"
        now = every_series(reader, file)
        for key, (_, shape) in file.items():
            assert len(now[key]) == len(DAYS) * len(BANDS)
            if key in earlier:
                assert (now[key] == before[key]) == shape.equals(earlier[key][1])
        assert dict(look(reader, "SELECT public_id, crop FROM parcels_2021")) == {
            key: crop for key, (crop, _) in file.items()
        }
        if step is remove:
            assert series(reader, "parcels_2021_gone", "k5", BANDS) == before["k5"], "by ptype=gone"
    assert [now[key] for key in ("k1", "k5")] == [first[key] for key in ("k1", "k5")], "the same places again"
