"""Areas of interest: from GeoJSON as people write it, or from the parcels."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
import shapely
from click.testing import CliRunner
from shapely.geometry import mapping

from cbmctl import aoi
from cbmctl.cli import cbmctl, commands  # noqa: F401  (the commands register themselves)
from cbmctl.config import Config
from cbmctl.errors import UserError
from cbmctl.parcels.load import Options, load
from tests.conftest import Database
from tests.unit.parcels.test_national import NATIONAL

ZURICH = shapely.box(8.4, 47.3, 8.6, 47.5)
ISLE = shapely.box(9.0, 47.0, 9.1, 47.1)


def written(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data))
    return path


def feature(geometry: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": {}, "geometry": geometry and mapping(geometry)}


def collection(*geometries: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": [feature(geometry) for geometry in geometries]}


@pytest.mark.parametrize(
    ("data", "area"),
    [
        (mapping(ZURICH), ZURICH),
        (mapping(shapely.force_3d(ZURICH, 400)), ZURICH),
        (feature(shapely.MultiPolygon([ZURICH, ISLE])), shapely.MultiPolygon([ZURICH, ISLE])),
        (collection(ZURICH, None), ZURICH),
        (collection(ZURICH, ISLE), shapely.MultiPolygon([ZURICH, ISLE])),
        (collection(ZURICH, shapely.affinity.translate(ZURICH, 0.1)), shapely.box(8.4, 47.3, 8.7, 47.5)),
        (
            mapping(ZURICH)
            | {"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}},
            ZURICH,
        ),
    ],
)
def test_geojson_as_people_write_it(tmp_path: Path, data: Any, area: Any) -> None:
    found = aoi.from_file(written(tmp_path / "aoi.geojson", data))
    assert found.equals(area)
    assert not found.has_z


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (mapping(shapely.Point(8, 47)), "holds a Point. An area is a Polygon or a MultiPolygon"),
        (collection(), "has no polygon. Write at least one Polygon"),
        (feature(None), "has no valid GeoJSON geometry"),
        ({"type": "Topology"}, "has no valid GeoJSON geometry"),
        ([1, 2], "has no valid GeoJSON geometry"),
        ({"type": "Polygon", "coordinates": [[[8, 47], [9]]]}, "has no valid GeoJSON geometry"),
        (
            mapping(shapely.box(2600000, 1200000, 2700000, 1300000)),
            r"such as 2.6e\+06, 1.2e\+06, which are not longitude",
        ),
        (
            mapping(shapely.Polygon([(8, 47), (9, 48), (9, 47), (8, 48)])),
            r"an invalid polygon \(Self-intersection",
        ),
        (
            mapping(ZURICH) | {"crs": {"type": "name", "properties": {"name": "EPSG:2056"}}},
            "is in EPSG:2056. Write",
        ),
    ],
)
def test_wrong_areas(tmp_path: Path, data: Any, sentence: str) -> None:
    path = written(tmp_path / "aoi.geojson", data)
    with pytest.raises(UserError, match=sentence) as error:
        aoi.from_file(path)
    assert str(error.value).startswith(str(path))


def test_no_file_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.geojson cannot be read \(No such file or directory\)"):
        aoi.from_file(tmp_path / "none.geojson")
    (tmp_path / "shape.geojson").write_bytes(b"\x00\x00\x27\x0a")
    with pytest.raises(UserError, match="is not GeoJSON"):
        aoi.from_file(tmp_path / "shape.geojson")
    (tmp_path / "latin.geojson").write_bytes('{"name": "Zürich"}'.encode("latin-1"))
    with pytest.raises(UserError, match="is not GeoJSON"):
        aoi.from_file(tmp_path / "latin.geojson")


def area_of(conn: psycopg.Connection, name: str) -> Any:
    row = conn.execute(
        "SELECT ST_AsBinary(wkb_geometry), ST_SRID(wkb_geometry) FROM aois WHERE name = %s", [name]
    )
    found = row.fetchone()
    assert found is None or found[1] == 4326
    return found and shapely.from_wkb(bytes(found[0]))


@pytest.mark.postgis
def test_set_and_again(conn: psycopg.Connection, config: Config) -> None:
    assert aoi.set_area(conn, config, "zh", ZURICH, check_only=True).changed
    assert area_of(conn, "zh") is None
    assert aoi.set_area(conn, config, "zh", ZURICH).changed
    for check_only in (True, False):
        assert not aoi.set_area(conn, config, "zh", ZURICH, check_only=check_only).changed
    both = shapely.MultiPolygon([ZURICH, ISLE])
    done = aoi.set_area(conn, config, "zh", both)
    assert (done.changed, done.bounds, done.kind) == (True, (8.4, 47.0, 9.1, 47.5), "MultiPolygon")
    assert area_of(conn, "zh").equals(both)


@pytest.mark.postgis
def test_the_extent_holds_every_parcel(conn: psycopg.Connection, config: Config, testdata: Path) -> None:
    with pytest.raises(UserError, match=r"does not exist\. Load it first"):
        aoi.from_parcels(conn, config)
    for name, _, _, layer in NATIONAL:
        load(conn, config.tables, testdata / "parcels/gsaa_by_country" / name, Options(layer=layer))
        found = aoi.from_parcels(conn, config)
        assert found.left_out == {}, name
        area = found.area
        assert aoi.from_parcels(conn, config).area.equals_exact(area), "the same parcels have the same extent"
        aoi.set_area(conn, config, "all", area)
        outside = conn.execute(
            "SELECT count(*) FROM parcels_2021 p, aois a"
            " WHERE NOT ST_CoveredBy(ST_Transform(p.wkb_geometry, 4326), a.wkb_geometry)"
        ).fetchone()
        assert outside == (0,), name


@pytest.mark.postgis
def test_the_extent_of_a_whole_country_is_bent_as_the_earth_is(
    conn: psycopg.Connection, config: Config
) -> None:
    # squares of 100 m along the sides of a box as large as France, in LAEA, where parallels are arcs
    conn.execute(
        """
        CREATE TABLE parcels_2021 AS
        SELECT row_number() OVER () AS ogc_fid,
            ST_Multi(ST_MakeEnvelope(x, y, x + 100, y + 100, 3035)) AS wkb_geometry
        FROM generate_series(3200000, 4300000, 5000) x, generate_series(2000000, 3100000, 5000) y
        WHERE x IN (3200000, 4300000) OR y IN (2000000, 3100000)
        """
    )
    aoi.set_area(conn, config, "fr", aoi.from_parcels(conn, config).area)
    assert conn.execute(
        "SELECT count(*), count(*) FILTER"
        " (WHERE ST_CoveredBy(ST_Transform(p.wkb_geometry, 4326), a.wkb_geometry))"
        " FROM parcels_2021 p, aois a"
    ).fetchone() == (880, 880)


@pytest.mark.postgis
def test_command(conn: psycopg.Connection, database: Database, config: Config, tmp_path: Path) -> None:  # noqa: ARG001
    path = written(tmp_path / "zh.geojson", feature(ZURICH))

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(cbmctl, ["--config", str(database.config_path), *arguments])

    would = run("--json", "aoi", "set", "zh", "--file", str(path), "--check")
    assert json.loads(would.stdout) == {
        "changed": True,
        "name": "zh",
        "bounds": [8.4, 47.3, 8.6, 47.5],
        "type": "Polygon",
        "left_out": [],
    }
    said = run("aoi", "set", "zh", "--file", str(path))
    assert said.stdout == "The area zh is set: 8.4000 to 8.6000 east, 47.3000 to 47.5000 north.\n"
    assert json.loads(run("--json", "aoi", "set", "zh", "--file", str(path)).stdout)["changed"] is False
    assert run("aoi", "set", "zh").exit_code == 2
    assert run("aoi", "set", "zh", "--file", str(path), "--from-parcels").exit_code == 2
    assert "Examples:" in run("aoi", "set", "--help").stdout
