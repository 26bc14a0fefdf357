"""A changed file that reaches into the next UTM zone: catalogue, rasters and quality flags follow."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
import shapely
from click.testing import CliRunner

from cbmctl.cli import cbmctl
from tests.conftest import Database
from tests.support.catalogue_search import PERIOD, answered
from tests.support.odata_server import Catalogue, serve
from tests.support.parcel_loading import fields, rows, write
from tests.support.recorded_answers import sentinel2

pytestmark = [pytest.mark.postgis, pytest.mark.usefixtures("hasty")]

# both published long before the file changed
PUBLISHED = {"PublicationDate": "2024-02-18T00:00:00.000Z"}
WEST, EAST = shapely.box(11, 53, 12, 55), shapely.box(12.05, 53, 13, 55)


def run(database: Database, *arguments: str) -> dict[str, Any]:
    return answered(CliRunner().invoke(cbmctl, ["--config", str(database.config_path), "--json", *arguments]))


def sync(database: Database, url: str) -> dict[str, Any]:
    card = ("s2", "S2MSI2A", "--source", "odata", "--since", "last")
    return run(database, "catalogue", "sync", "parcels_2021", *PERIOD, *card, "--url", url)


def rasterise(database: Database) -> dict[str, bool]:
    made = run(database, "parcels", "rasterise")["tables"]
    return {table["table"].removeprefix("public.parcels_2021_"): table["changed"] for table in made}


def in_table(conn: psycopg.Connection, table: str, pid: str = "pid") -> list[int]:
    return [number for (number,) in rows(conn, f"SELECT DISTINCT {pid} FROM {table} ORDER BY 1")]


@pytest.mark.usefixtures("config")
def test_a_parcel_in_the_next_zone(
    database: Database, conn: psycopg.Connection, testdata: Path, tmp_path: Path
) -> None:
    database.configured(
        args={"startdate": PERIOD[0], "enddate": PERIOD[1]}, extraction={"s2": {"10": ["B02"]}}
    )
    here, there = fields(2, shift=190_000), fields(1, shift=205_000)  # at 11.9 and 12.1° E
    first = write(tmp_path / "first.gpkg", here, key=[1, 2])
    second = write(tmp_path / "second.gpkg", [*here, *there], key=[1, 2, 3])
    west = sentinel2(testdata, 1, "32UNF", GeoFootprint=shapely.geometry.mapping(WEST), **PUBLISHED)
    east = sentinel2(testdata, 2, "33UVA", GeoFootprint=shapely.geometry.mapping(EAST), **PUBLISHED)
    area = ("aoi", "set", "parcels_2021", "--from-parcels")
    with serve(Catalogue([west, east])) as url:
        run(database, "parcels", "load", str(first))
        assert run(database, *area)["changed"]
        assert sync(database, url)["added"] == [west["Name"]]
        assert sync(database, url)["published_since"] > "2024-03", "only what is new"
        zone_32 = {"32632_10_rast", "32632_20_rast"}
        assert rasterise(database) == dict.fromkeys(zone_32, True)
        run(database, "parcels", "quality")
        conn.execute("INSERT INTO sigs (pid, obsid, band, count) SELECT 1, id, 'B02', 9 FROM dias_catalogue")

        updated = run(database, "parcels", "load", str(second))["updated"]
        assert (updated["last_id"], updated["new"], updated["gone"]) == (2, 1, 0)
        for name in zone_32:
            assert in_table(conn, f"parcels_2021_{name}") == [1, 2, 3], "in the transaction of the load"

        assert run(database, *area)["changed"]
        answer = sync(database, url)
        assert (answer["published_since"], answer["added"]) == (None, [east["Name"]]), "the whole period"
        zone_33 = {"32633_10_rast", "32633_20_rast"}
        assert rasterise(database) == dict.fromkeys(zone_32, False) | dict.fromkeys(zone_33, True)
        for name in zone_33:
            assert in_table(conn, f"parcels_2021_{name}") == [1, 2, 3]
        run(database, "parcels", "quality")
        assert {epsg: pid for pid, epsg in rows(conn, FLAGS)} == {32632: [1, 2, 3], 32633: [1, 2, 3]}

        assert not run(database, *area)["changed"]
        assert sync(database, url)["published_since"] > "2024-03"


FLAGS = "SELECT array_agg(DISTINCT ogc_fid ORDER BY ogc_fid), epsg FROM parcels_2021_quality GROUP BY epsg"
