"""Where parcels lie: strays are kept out of the area, degrees are no metres, swapped axes are found."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyogrio
import pytest
import shapely
from click.testing import CliRunner
from pyproj import Transformer

from cbmctl import aoi
from cbmctl.cli import cbmctl, commands  # noqa: F401  (the commands register themselves)
from cbmctl.config import Config
from cbmctl.errors import UserError
from cbmctl.parcels.files.parcel_table import parse
from cbmctl.parcels.files.read_delivery import read
from cbmctl.parcels.geometry_check import check
from cbmctl.parcels.load import Options, load
from cbmctl.parcels.places import strays
from cbmctl.report.observations import Observations, read_map
from tests.conftest import Database
from tests.support.parcel_loading import rows

FIELD = 100.0
REAL = ("dk_gsaa2016/marker2016_small.shp", "ch_zurich/ZH_Polygons_2020_ESCH_EPSG32632.shp")


def boxes(*middles: tuple[float, float], size: float = FIELD) -> Any:
    points = np.array(middles, float)
    return np.hstack([points - size / 2, points + size / 2])


def block(n: int = 40, x: float = 500_000, y: float = 6_200_000) -> list[tuple[float, float]]:
    return [(x + 200 * i, y) for i in range(n)]


def write(path: Path, geometries: list[Any], crs: str = "EPSG:25832") -> Path:
    table = pa.table(
        {
            "name": [f"p{i}" for i in range(len(geometries))],
            "geom": pa.array(shapely.to_wkb(geometries), pa.binary()),
        }
    )
    pyogrio.write_arrow(
        table, path, layer="p", driver="GPKG", geometry_name="geom", geometry_type="Unknown", crs=crs
    )
    return path


def squares(*middles: tuple[float, float], size: float = FIELD) -> list[Any]:
    return [shapely.box(*box) for box in boxes(*middles, size=size)]


@pytest.mark.parametrize(
    ("stray", "reason"),
    [
        ((0.0, 0.0), "x=0 y=0, x and y are missing, or are degrees"),
        ((9.1, 55.1), "x=9.1 y=55.1, x and y are missing, or are degrees"),
        ((500_000.0, 620_000.0), "outside the area of EPSG:25832"),  # a digit lost
        ((500_000.0, 6_900_000.0), "far from all other parcels"),
        ((1e300, 6_200_000.0), "outside the area of EPSG:25832"),
    ],
)
def test_a_parcel_where_no_other_is_is_a_stray(stray: tuple[float, float], reason: str) -> None:
    found = strays(boxes(*block(), stray), 25832)
    assert list(found) == [40]
    assert reason in found[40]


def test_a_parcel_with_one_wrong_corner_is_a_stray() -> None:
    found = strays(np.vstack([boxes(*block()), [[0, 0, 500_000, 6_200_000]]]), 25832)
    assert list(found) == [40]
    assert "a corner is wrong" in found[40]


def test_strays_among_degrees_are_found() -> None:
    degrees = [(9 + i / 100, 55.0) for i in range(40)]
    found = strays(boxes(*degrees, *[(0.0, 0.0)] * 5, (500_000, 6_200_000), (9, 5.5), size=0.001), 4258)
    assert sorted(found) == list(range(40, 47))


def test_every_stray_is_found_wherever_it_lies() -> None:
    odd = [(0.0, 0.0), (9.1, 55.1), (0.0, 0.0), (500_000.0, 0.0), (9.3, 55.2)]
    assert sorted(strays(boxes(*odd, *block(60)), 32632)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("srid", "parts"),
    [
        # Denmark's code is used on Bornholm too, 3 degrees outside its area; the sea between is 130 km wide
        (25832, [block(400), block(30, 700_000, 6_120_000), block(5, 865_000, 6_120_000)]),
        # an archipelago is a region of its own, however far: Spain and the Canary Islands in degrees
        (4258, [[(-5 + i / 100, 40.0) for i in range(400)], [(-15.5 + i / 100, 28.2) for i in range(20)]]),
        # ten parcels of a large country, as in a sample
        (3067, [[(300_000 + 20_000 * i, 6_700_000 + 110_000 * i) for i in range(10)]]),
        (3006, [block(2), block(2, 500_000, 7_400_000)]),
        (25832, [block(1)]),
        (25832, [[]]),
    ],
)
def test_parcels_that_a_country_may_have_are_no_strays(srid: int, parts: list[Any]) -> None:
    size = 0.001 if srid == 4258 else FIELD
    middles = [middle for part in parts for middle in part]
    assert strays(boxes(*middles, size=size) if middles else np.empty((0, 4)), srid) == {}


def test_real_parcels_have_no_strays(testdata: Path) -> None:
    for name in REAL:
        findings = check(read(testdata / "parcels" / name))
        assert findings.of("stray") == [], name


@pytest.mark.parametrize(
    ("middle", "name"), [((0.0, 0.0), "stray.gpkg"), ((9.1, 55.1), "stray_degrees.gpkg")]
)
@pytest.mark.postgis
def test_strays_are_loaded_and_reported_but_not_in_the_area(
    conn: psycopg.Connection, config: Config, tmp_path: Path, middle: tuple[float, float], name: str
) -> None:
    size = 0.001 if middle[0] else FIELD
    path = write(tmp_path / name, [*squares(*block()), *squares(middle, size=size)])
    done = load(conn, config.tables, path, Options())
    assert done.parcels == 41
    assert [finding["feature"] for finding in done.findings["stray"]] == [41]
    extent = aoi.from_parcels(conn, config)
    stray = rows(conn, "SELECT ogc_fid FROM parcels_2021 ORDER BY ST_YMin(wkb_geometry) LIMIT 1")
    assert [(number,) for number in extent.left_out] == stray
    west, south, east, north = extent.area.bounds
    assert 8.9 < west < east < 9.3
    assert 55.9 < south < north < 56.0


@pytest.mark.postgis
def test_the_map_of_the_report_leaves_strays_out(
    conn: psycopg.Connection, config: Config, tmp_path: Path
) -> None:
    path = write(tmp_path / "stray.gpkg", [*squares(*block()), *squares((0, 0))])
    load(conn, config.tables, path, Options())
    none, no = np.empty(0), np.empty(0, bool)
    seen = Observations(none.astype(np.int64), none.astype("datetime64[s]"), none, none, no, no)
    drawn = read_map(conn, config, seen)
    assert drawn.pid.tolist() == list(range(2, 42)), "the first is at the origin"


@pytest.mark.parametrize("name", ["stray.gpkg", "stray_degrees.gpkg"])
def test_the_reported_strays(testdata: Path, name: str) -> None:
    findings = check(read(testdata / "reports" / name))
    assert len(findings.of("stray")) == 1
    assert findings.bounds
    west, south, east, north = findings.bounds
    assert east - west < 0.5
    assert north - south < 0.5


@pytest.mark.postgis
def test_the_area_names_what_it_leaves_out(database: Database, config: Config, tmp_path: Path) -> None:
    path = write(tmp_path / "stray.gpkg", [*squares(*block()), *squares((0, 0))])
    with database.connect(autocommit=True) as conn:
        load(conn, config.tables, path, Options())
        conn.execute("DELETE FROM parcel_sets")  # also of a table that was loaded by hand
    arguments = ["--config", str(database.config_path), "--json", "aoi", "set", "dk", "--from-parcels"]
    result = CliRunner().invoke(cbmctl, arguments)
    assert result.exit_code == 0, result.output
    assert [left["ogc_fid"] for left in json.loads(result.stdout)["left_out"]] == [1]
    assert "1 stray parcel left out of the area: ogc_fid 1 (x=0 y=0" in result.stderr


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:3035", "EPSG:2169", "EPSG:28992", "EPSG:2180"])
@pytest.mark.parametrize("middle", [(6.1, 49.7), (49.7, 6.1)])
def test_degrees_are_not_taken_for_metres(tmp_path: Path, crs: str, middle: tuple[float, float]) -> None:
    x, y = middle
    path = write(tmp_path / "d.gpkg", squares(*[(x + i / 100, y) for i in range(9)], size=0.001), crs)
    with pytest.raises(UserError, match=r"these look like degrees, but EPSG:\d+ .* is not in degrees\. Set"):
        read(path)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:4258"])
def test_metres_are_not_taken_for_degrees(tmp_path: Path, crs: str) -> None:
    path = write(tmp_path / "m.gpkg", squares(*block(3)), crs)
    with pytest.raises(UserError, match=r"these are not degrees, but EPSG:\d+ .* is in degrees\. Set"):
        read(path)


@pytest.mark.parametrize(
    ("crs", "middle", "size"),
    [
        ("EPSG:32632", (500.0, 6200.0), 0.1),  # kilometres, near 4.5° E 0° N
        ("EPSG:4326", (100.0, 50.0), 50.0),  # metres of a local system
        ("EPSG:2169", (80_000.0, 100_000.0), 0.001),
    ],
)
def test_another_unit_is_seen_from_the_size_of_parcels(
    tmp_path: Path, crs: str, middle: tuple[float, float], size: float
) -> None:
    path = write(tmp_path / "unit.gpkg", squares(*[middle] * 3, size=size), crs)
    with pytest.raises(
        UserError, match=r"would be \S+ m wide in EPSG:\d+ .*in another unit\. Correct the file"
    ):
        read(path)


@pytest.mark.parametrize("name", REAL)
def test_real_metres_are_not_degrees(testdata: Path, name: str) -> None:
    with pytest.raises(UserError, match="these are not degrees"):
        read(testdata / "parcels" / name, crs="EPSG:4326")


@pytest.mark.parametrize(
    ("crs", "place"),
    [
        *(
            (crs, place)
            for crs in (3035, 4258)
            for place in ((9.5, 48.5), (2.4, 47.0), (20.0, 52.0), (-4, 40))
        ),
        (3346, (24.0, 55.0)),
        (3301, (26.0, 58.5)),
    ],
)
def test_swapped_axes_are_recognised_by_where_parcels_would_lie(
    tmp_path: Path, crs: int, place: tuple[float, float]
) -> None:
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(*place)
    size = 0.001 if crs == 4258 else FIELD
    right = write(tmp_path / "right.gpkg", squares((x, y), size=size), f"EPSG:{crs}")
    read(right)
    swapped = write(tmp_path / "swapped.gpkg", squares((y, x), size=size), f"EPSG:{crs}")
    with pytest.raises(UserError, match="--axes swapped"):
        read(swapped)
    here, there = read(swapped, axes="swapped"), read(right)
    assert shapely.equals(parse(here.geometry.to_pylist()), parse(there.geometry.to_pylist())).all()


def test_swapping_right_axes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "right.gpkg", squares(*block()))
    with pytest.raises(UserError, match="Its axes are swapped: leave out --axes swapped"):
        read(path, axes="swapped")


def test_as_is_takes_coordinates_that_look_swapped(tmp_path: Path) -> None:
    path = write(tmp_path / "iceland.gpkg", squares((2_800_000, 4_500_000)), "EPSG:3035")
    with pytest.raises(UserError, match="outside the European Union"):
        read(path)
    assert read(path, axes="as-is").srid == 3035


@pytest.mark.parametrize(
    ("crs", "middle", "places"),
    [
        (
            "EPSG:2180",
            (640_000, 300_000),
            ("longitude 20.98, latitude 50.55", "longitude 15.98, latitude 53.59"),
        ),
        (
            "EPSG:3844",
            (600_000, 330_000),
            ("longitude 26.26, latitude 44.46", "longitude 22.77, latitude 46.88"),
        ),
    ],
)
def test_a_doubtful_order_of_axes_is_a_note_of_every_load(
    tmp_path: Path, crs: str, middle: tuple[float, float], places: tuple[str, str]
) -> None:
    path = write(tmp_path / "doubtful.gpkg", squares(middle), crs)
    (note,) = read(path).notes
    here, there = places
    assert f"around {here}" in note
    assert f"with --axes swapped they would lie around {there}" in note
    assert [read(path, axes=axes).notes for axes in ("as-is", "swapped")] == [(), ()]
    assert read(write(tmp_path / "clear.gpkg", squares(*block(3)))).notes == ()


def test_swapping_is_no_advice_if_it_leads_out_of_the_union(tmp_path: Path) -> None:
    path = write(tmp_path / "utm.gpkg", squares(*block(3)))  # swapped, EPSG:3035 has them in Egypt
    with pytest.raises(
        UserError, match=r"outside the area of EPSG:3035 .*\. Correct the file, or set the EPSG code"
    ):
        read(path, crs="EPSG:3035")


def test_a_refusal_names_the_place_of_the_parcels_that_it_is_about(tmp_path: Path) -> None:
    missing = write(tmp_path / "zero.gpkg", [*squares(*block(4)), *[shapely.box(0, 0, 1, 1)] * 4])
    degrees = write(tmp_path / "d.gpkg", squares(*block(3), *[(9, 55)] * 4, size=0.001))
    outside = write(tmp_path / "out.gpkg", squares(*block(3), *[(500_000, 620_000)] * 5))
    with pytest.raises(UserError, match="around x=1 y=0: the coordinates of 50% of the parcels are missing"):
        read(missing)
    with pytest.raises(UserError, match=r"around x=9\S* y=5[45]\S*: these look like degrees"):
        read(degrees)
    with pytest.raises(UserError, match=r"around x=500\d* y=6\d*, outside the area of EPSG:25832"):
        read(outside)


def test_inspect_says_where_parcels_lie(tmp_path: Path) -> None:
    path = write(tmp_path / "poland.gpkg", squares((500_000, 400_000)), "EPSG:2180")
    result = CliRunner().invoke(cbmctl, ["parcels", "inspect", str(path)])
    assert "longitude 19.0000 to 19.0000, latitude 51.46" in result.stdout
    assert "with --axes swapped they would lie around longitude 17.5" in result.stdout
    right = write(tmp_path / "denmark.gpkg", squares(*block()))
    result = CliRunner().invoke(cbmctl, ["--json", "parcels", "inspect", str(right)])
    assert json.loads(result.stdout)["parcels"]["bounds"] == [9.0, 55.94531, 9.12489, 55.94538]
    assert json.loads(result.stdout)["parcels"]["swapped_place"] is None


def test_the_reported_gml_with_east_before_north(testdata: Path) -> None:
    path = testdata / "reports/gml_3035_east_north/gsaa.gml"
    with pytest.raises(UserError, match=r"outside the European Union.*latitude 4.*--axes swapped"):
        read(path)
    findings = check(read(path, axes="swapped"))
    assert findings.parcels == 3
    assert findings.bounds
    assert findings.bounds[:2] == pytest.approx((12.4, 48.2), abs=0.5)
