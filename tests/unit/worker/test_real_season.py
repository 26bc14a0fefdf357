"""A Member State's season through the commands: every row in the database against a plain computation."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from shapely import box

from cbmctl.parcels.files.read_delivery import read
from cbmctl.pixels import Grid
from tests.conftest import Database
from tests.support.parcel_loading import in_file_order
from tests.support.products_s2 import image_file
from tests.unit.worker.test_real_data import BANDS, Parcels, covered, plainly, quartered, read_parcels

pytestmark = pytest.mark.postgis

FIGURES = ("count", "mean", "std", "min", "max", "p25", "p50", "p75")
EXACT = [0, 3, 4, 5, 6, 7]  # all but mean and std, which may differ by the last bit


@dataclass(frozen=True)
class Country:
    """What an inventory says of a Member State, and what is known of its data.

    `twice`: rows of parcels that two scenes of one instant show, left out in one of them.
    """

    parcels: str
    year: int
    period: tuple[str, str]
    bands: dict[str, Any]
    offset: int
    scenes: int
    superseded: int
    twice: int


ZURICH = Country(
    "ch_zurich/ZH_Polygons_2020_ESCH_EPSG32632.shp",
    2022,
    ("2022-03-01", "2022-08-01"),
    {"scl": True, "10": list(BANDS[10]), "20": list(BANDS[20])},
    -1000,
    37,
    1,  # of three versions that are there twice; the newer clips of the others show half of the older ones
    246,  # rows of parcels that both of two such versions show; official products keep theirs
)
DENMARK = Country(
    "dk_gsaa2016/marker2016_small.shp",
    2016,
    ("2016-07-01", "2016-08-01"),
    {"scl": False, "10": list(BANDS[10]), "20": []},
    0,
    1,
    0,
    0,
)


@pytest.mark.parametrize("country", [ZURICH, DENMARK], ids=["zurich", "denmark"])
def test_every_row_is_what_numpy_says(database: Database, testdata: Path, country: Country) -> None:
    file = testdata / "parcels" / country.parcels
    onboard(database, testdata, country, file)
    with database.connect() as conn:
        numbers = [row[0] for row in in_file_order(conn, read(file), f"parcels_{country.year}")]
        parcels = [(numbers[fid], shape) for fid, shape in read_parcels(file)]
        scenes = conn.execute(
            """SELECT id, path, status, applied_offset, obstime FROM dias_catalogue
               ORDER BY obstime, tile, baseline LIKE '99.%', baseline DESC, processed DESC, reference"""
        ).fetchall()
        figures = ", ".join(f'"{figure}"::float8' for figure in FIGURES)
        sigs = keyed(conn, f"SELECT obsid, pid, band, {figures} FROM sigs", keys=3)
        hists = keyed(conn, "SELECT obsid, pid, hist FROM hists", keys=2)
    assert len(scenes) == country.scenes
    superseded = {obsid for obsid, _, status, *_ in scenes if status == "superseded"}
    assert len(superseded) == country.superseded
    expected, expected_hists, ranks = {}, {}, {}
    for number, (obsid, path, status, applied, obstime) in enumerate(scenes):
        if obsid in superseded:
            continue
        assert status == "extracted"
        assert applied == country.offset
        rows = {
            (obsid, *key): values
            for resolution in (10, 20)
            if country.bands[str(resolution)]
            for key, values in signatures(testdata, path, parcels, resolution, country.offset).items()
        }
        classes = histograms(testdata, path, parcels) if country.bands["scl"] else {}
        bands = Counter(pid for _, pid, _ in rows)
        cut = reaching_out(testdata, path, parcels)
        for pid in bands.keys() | classes.keys():
            seen = sum(pixels for name, pixels in classes.get(pid, {}).items() if name != "0")
            unofficial = "_N99" in path or not (bands[pid] or seen)
            rank = unofficial, not bands[pid], 0 if bands[pid] else -seen, pid in cut, -bands[pid], number
            ranks.setdefault((obstime, pid), []).append((rank, obsid))
        expected |= rows
        expected_hists |= {(obsid, pid): found for pid, found in classes.items()}
    best = {(min(found)[1], pid) for (_, pid), found in ranks.items()}
    twice = sum(key[:2] not in best for key in (*expected, *expected_hists))
    assert twice == country.twice
    expected = {key: values for key, values in expected.items() if key[:2] in best}
    assert sigs.keys() == expected.keys()
    for key, values in expected.items():
        found, wanted = np.array(sigs[key], np.float32), np.array(values, np.float32)
        assert (found[EXACT] == wanted[EXACT]).all(), key
        np.testing.assert_array_max_ulp(found[1:3], wanted[1:3], maxulp=1)
    assert {key: found[0] for key, found in hists.items()} == {
        key: found for key, found in expected_hists.items() if key in best
    }
    assert sigs
    assert bool(hists) == country.bands["scl"]


def reaching_out(testdata: Path, path: str, parcels: Parcels) -> set[int]:
    """Parcels whose outline reaches beyond the images."""
    bounds = []
    for file in (testdata / "eodata" / path).glob("GRANULE/*/IMG_DATA/*/*.jp2"):
        with rasterio.open(file) as dataset:
            bounds.append(box(*dataset.bounds))
    shared = shapely.intersection_all(bounds)
    return {pid for pid, shape in parcels if not box(*shape.bounds).within(shared)}


def onboard(database: Database, testdata: Path, country: Country, file: Path) -> None:
    """Do what the playbooks do, with the same commands."""
    table, (start, end) = f"parcels_{country.year}", country.period
    database.configured(
        tables={"parcel_table": f"public.{table}"},
        args={"name": table, "startdate": start, "enddate": end},
        eodata=str(testdata / "eodata"),
        extraction={"s2": country.bands | {"reflectance": "harmonised"}},
    )
    for arguments in (
        ("schema", "apply"),
        ("parcels", "load", str(file)),
        ("aoi", "set", table, "--from-parcels"),
        ("catalogue", "sync", table, start, end, "s2", "--source", "archive"),
        ("parcels", "rasterise"),
        ("extract", "run"),
    ):
        command = [
            sys.executable,
            "-m",
            "cbmctl",
            "--config",
            str(database.config_path),
            "--json",
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["changed"]


def keyed(conn: Any, statement: str, *, keys: int) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Fetch rows by their first columns; a key that comes twice is a fault of its own."""
    found = conn.execute(statement).fetchall()
    by_key = {row[:keys]: row[keys:] for row in found}
    assert len(by_key) == len(found)
    return by_key


def signatures(
    testdata: Path, path: str, parcels: Parcels, resolution: int, offset: int
) -> dict[tuple[int, str], tuple[float, ...]]:
    files = [image_file(testdata / "eodata", path, f"{band}_{resolution}m") for band in BANDS[resolution]]
    found, _ = plainly(parcels, files, offset)
    return {
        (pid, band): figures
        for pid, bands in found.items()
        for band, figures in zip(BANDS[resolution], bands, strict=True)
    }


def histograms(testdata: Path, path: str, parcels: Parcels) -> dict[int, dict[str, int]]:
    with rasterio.open(image_file(testdata / "eodata", path, "SCL_20m")) as dataset:
        image, transform = dataset.read(1), dataset.transform
    grid, found = Grid(32632, transform, *image.shape), {}
    for pid, parcel in parcels:
        inside, _ = covered(parcel, image.shape, transform)
        values = image.ravel()[inside] if len(inside) else image[quartered(parcel, grid)]
        classes, counts = np.unique(values, return_counts=True)
        if len(classes):
            found[pid] = {str(name): int(count) for name, count in zip(classes, counts, strict=True)}
    return found
