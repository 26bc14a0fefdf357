"""The Zürich season while its parcels change in five steps, and the queries of the existing clients."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pyogrio
import pytest
import shapely
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from tests.conftest import Database
from tests.support.client_queries import expect_public_ids, look, markers, series
from tests.support.parcel_loading import write
from tests.unit.worker.test_real_season import ZURICH, onboard

pytestmark = [pytest.mark.postgis, pytest.mark.thorough]

COUNTRY = replace(
    ZURICH,
    period=("2022-03-01", "2022-04-01"),
    bands={"scl": True, "10": ["B02", "B04"], "20": ["B8A", "B11"]},
)
Declared = dict[str, tuple[str, BaseGeometry]]  # crop and geometry by public id


def first(testdata: Path) -> Declared:
    _, _, geometries, _ = pyogrio.raw.read(testdata / "parcels" / COUNTRY.parcels)
    valid = shapely.make_valid(shapely.from_wkb(geometries))
    return {f"ZH{i:04d}": ("wheat", shape) for i, shape in enumerate(valid)}


def edit(file: Declared, seen: list[str], _: Declared) -> Declared:
    return file | {key: ("maize", file[key][1]) for key in seen[:5]}


def split(file: Declared, seen: list[str], _: Declared) -> Declared:
    """The largest parcel becomes a western and an eastern one; the western one keeps the id."""
    key = max(seen, key=lambda key: file[key][1].area)
    crop, shape = file[key]
    west, south, east, north = shape.bounds
    middle = (west + east) / 2
    parts = (
        shape.intersection(shapely.box(west, south, middle, north)),
        shape.intersection(shapely.box(middle, south, east, north)),
    )
    return file | {key: (crop, parts[0]), f"{key}b": (crop, parts[1])}


def merge(file: Declared, seen: list[str], _: Declared) -> Declared:
    one, other = seen[10:12]
    merged = {one: (file[one][0], shapely.union(file[one][1], file[other][1]))}
    return {key: value for key, value in file.items() if key != other} | merged


def remove(file: Declared, seen: list[str], _: Declared) -> Declared:
    return {key: file[key] for key in file if key not in seen[-3:]}


def add(file: Declared, seen: list[str], original: Declared) -> Declared:
    """A new parcel, and one that was removed."""
    crop, shape = file[seen[20]]
    return file | {"ZHnew": (crop, translate(shape, 15.0, 5.0)), seen[-1]: original[seen[-1]]}


STEPS: tuple[Callable[[Declared, list[str], Declared], Declared], ...] = (edit, split, merge, remove, add)
SEEN = "SELECT DISTINCT public_id FROM parcels_2022 JOIN sigs ON pid = ogc_fid ORDER BY 1"
STATUS = "SELECT DISTINCT status FROM dias_catalogue WHERE status <> 'superseded'"
BANDS = ("B04", "B8A")
BY_PLACE = """
    SELECT d.obstime, p.public_id, s.band, s.mean::text, s.count, h.hist::text
    FROM {parcels} p JOIN sigs s ON s.pid = p.ogc_fid JOIN dias_catalogue d ON d.id = s.obsid
    LEFT JOIN hists h ON h.pid = s.pid AND h.obsid = s.obsid ORDER BY 1, 2, 3
"""


def test_five_steps(database: Database, testdata: Path, tmp_path: Path) -> None:
    original = file = first(testdata)
    onboard(database, testdata, COUNTRY, written(tmp_path / "0.gpkg", file))
    with database.connect(autocommit=True) as conn:
        seen = [key for (key,) in look(conn, SEEN)]
        gone: list[Any] = []
        for number, step in enumerate(STEPS, 1):
            file, before = step(file, seen, original), look(conn, BY_PLACE, parcels="parcels_2022")
            path = written(tmp_path / f"{number}.gpkg", file)
            updated = run(database, "parcels", "load", str(path), "--key", "public_id")["updated"]
            assert (updated["scenes"] > 0) == (step in {split, merge, add})
            assert {status for (status,) in look(conn, STATUS)} == {"extracted"}, "while the delta is open"
            if step is not edit:
                run(database, "extract", "run")
            expect_clients_work(conn, file)
            now = look(conn, BY_PLACE, parcels="parcels_2022")
            assert len(set(before) - set(now)) <= len(before) / 10, "unchanged parcels keep their rows"
            if step is remove:
                gone = look(conn, BY_PLACE, parcels="parcels_2022_gone")
                assert gone
        assert set(gone) <= set(look(conn, BY_PLACE, parcels="parcels_2022_gone")), "kept as they were"
        run(database, "parcels", "load", str(path), "--again", "--drop-statistics")
        run(database, "extract", "run")
        assert now == look(conn, BY_PLACE, parcels="parcels_2022"), "an extraction from scratch"


def expect_clients_work(conn: psycopg.Connection, file: Declared) -> None:
    expect_public_ids(conn, "parcels_2022", file)
    markers(conn, "parcels_2022", BANDS)
    for (key,) in look(conn, SEEN)[:3]:
        assert series(conn, "parcels_2022", key, BANDS)


def written(path: Path, file: Declared) -> Path:
    return write(
        path,
        [shape for _, shape in file.values()],
        public_id=list(file),
        crop=[crop for crop, _ in file.values()],
    )


def run(database: Database, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "cbmctl", "--config", str(database.config_path), "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result
