"""docs/schema.md is what the migrations and the commands that create tables make of an empty database."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyogrio
import pytest
import shapely
from click.testing import CliRunner

from cbmctl.cli import cbmctl
from tests.conftest import REPOSITORY, Database
from tests.support import schema_page

PAGE = REPOSITORY / "docs" / "schema.md"
LATER = "season_2022"
LOGIN = {"dbuser": "cbm_owner", "dbpasswd": "only-for-tests"}
SCENE = "S2A_MSIL2A_20210305T103021_N0214_R108_T32UNF_20210305T134215.SAFE"


@pytest.fixture
def owners(database: Database) -> Iterator[Path]:
    """The configuration of the owner; owner, writer and reader are made as the role `database` does."""
    with database.connect(autocommit=True) as conn:
        for role in schema_page.ROLES:
            conn.execute(f"DROP ROLE IF EXISTS {role}".encode())
            conn.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{LOGIN['dbpasswd']}'".encode())
        conn.execute(f"GRANT ALL ON SCHEMA public TO cbm_owner; CREATE SCHEMA {LATER}".encode())
        conn.execute(f"ALTER SCHEMA {LATER} OWNER TO cbm_owner".encode())
        database.configured(connection=LOGIN)
        yield database.config_path
        for role in schema_page.ROLES:
            conn.execute(f"DROP OWNED BY {role} CASCADE".encode())
            conn.execute(f"DROP ROLE {role}".encode())


def run(config: Path, *words: str) -> None:
    result = CliRunner().invoke(cbmctl, ["--config", str(config), *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def parcels(path: Path, *places: int) -> str:
    """Write a parcels file with a square at each of the places."""
    squares = [shapely.box(500_000 + x, 6_000_000, 500_150 + x, 6_000_150) for x in places]
    columns = {"name": [str(x) for x in places], "geom": pa.array(shapely.to_wkb(squares), pa.binary())}
    pyogrio.write_arrow(
        pa.table(columns),
        path,
        layer="parcels",
        driver="GPKG",
        geometry_name="geom",
        geometry_type="Unknown",
        crs="EPSG:25832",
    )
    return str(path)


def later_season(config: Path) -> Path:
    """Write the configuration of a second season."""
    data = json.loads(config.read_text())
    names = {
        "parcel_table": "parcels_2022",
        "catalog_table": "dias_catalogue",
        "sigs_table": "sigs",
        "hists_table": "hists",
    }
    data["database"]["tables"] = {option: f"{LATER}.{name}" for option, name in names.items()}
    path = config.with_name("db_config.2022.json")
    path.write_text(json.dumps(data))
    return path


def generated(database: Database, config: Path, folder: Path) -> str:
    run(config, "schema", "apply")
    run(later_season(config), "schema", "apply")
    with database.connect() as conn:
        migrated = [row[1] for row in conn.execute(schema_page.TABLES, ["public"]).fetchall()]
        # a scene with statistics: a changed parcels file then updates the table
        conn.execute(
            """INSERT INTO dias_catalogue (obstime, reference, sensor, card, status, tile, epsg, footprint)
               VALUES ('2021-03-05', %s, '2A', 's2', 'extracted', '32UNF', 32632,
                   ST_MakeEnvelope(8, 53, 10, 55, 4326))""",
            [SCENE],
        )
    run(config, "parcels", "load", parcels(folder / "first.gpkg", *range(0, 4000, 200)))
    run(config, "aoi", "set", "parcels_2021", "--from-parcels")
    with database.connect() as conn:
        conn.execute("INSERT INTO sigs SELECT ogc_fid, 1, 'B02' FROM parcels_2021")
    run(config, "parcels", "rasterise")
    run(config, "parcels", "quality")
    run(config, "parcels", "load", parcels(folder / "second.gpkg", *range(200, 4000, 200)))
    with database.connect() as conn:
        return schema_page.page(conn, migrated, LATER)


@pytest.mark.postgis
def test_the_page_shows_the_schema(
    request: pytest.FixtureRequest, database: Database, owners: Path, tmp_path: Path
) -> None:
    page = generated(database, owners, tmp_path)
    if request.config.getoption("--renew"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page, f"run {schema_page.RENEW}"


def test_the_page_names_the_newest_migration() -> None:
    versions = REPOSITORY / "extraction" / "cbmctl" / "schema" / "versions"
    newest = max(path.name[:4] for path in versions.glob("[0-9]*.py"))
    assert f"The version of the schema is `{newest}`" in PAGE.read_text(), f"run {schema_page.RENEW}"
