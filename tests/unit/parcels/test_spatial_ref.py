"""A coordinate system that the server does not know: its definition is added, and projects as it should."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest
from click.testing import CliRunner
from pyproj import Transformer
from pyproj.database import query_crs_info
from pyproj.enums import PJType

from cbmctl.cli import cbmctl, commands  # noqa: F401  (the commands register themselves)
from cbmctl.config import Config, Tables
from cbmctl.errors import UserError
from cbmctl.parcels.load import Options, load
from cbmctl.parcels.spatial_ref import LONGEST, definition, enter, is_lacking
from tests.conftest import Database
from tests.unit.parcels.test_places import squares, write

pytestmark = pytest.mark.postgis

LATVIA = 10306  # LKS-2020, since October 2026
AS_IS = Options(
    axes="as-is"
)  # EPSG puts north first, and with axes swapped the parcels would be in the Union, too
MIDDLES = [(500_000 + 200 * i, 300_000) for i in range(5)]


@pytest.fixture
def latvian(tmp_path: Path) -> Path:
    return write(tmp_path / "lks2020.gpkg", squares(*MIDDLES), f"EPSG:{LATVIA}")


@pytest.fixture
def owner(database: Database, roles: None) -> Iterator[psycopg.Connection]:  # noqa: ARG001
    """The owner with what the role `database` grants, and the schema of its own."""
    with database.connect(autocommit=True) as conn:
        conn.execute("GRANT INSERT ON spatial_ref_sys TO cbm_owner")
    as_owner = database.configured(connection={"dbuser": "cbm_owner", "dbpasswd": "only-for-tests"})
    result = CliRunner().invoke(cbmctl, ["--config", str(database.config_path), "schema", "apply"])
    assert result.exit_code == 0, result.output
    where = as_owner.connection
    with psycopg.connect(
        host=where.host,
        port=where.port,
        dbname=where.dbname,
        user=where.user,
        password=where.password,
        autocommit=True,
        prepare_threshold=None,
    ) as conn:
        yield conn


def known(conn: psycopg.Connection) -> bool:
    return conn.execute("SELECT FROM spatial_ref_sys WHERE srid = %s", [LATVIA]).fetchone() is not None


def test_the_owner_loads_parcels_of_a_new_system(
    database: Database, owner: psycopg.Connection, latvian: Path
) -> None:
    would = load(owner, database.config.tables, latvian, AS_IS, check_only=True)
    assert would.notes == (
        "EPSG:10306 (LKS-2020 / Latvia TM) is unknown to the server's PostGIS;"
        " its definition would be added to spatial_ref_sys.",
    )
    assert not known(owner)
    done = load(owner, database.config.tables, latvian, AS_IS)
    assert done.notes[0].endswith("its definition is added to spatial_ref_sys.")
    found = owner.execute(
        "SELECT ST_X(c), ST_Y(c) FROM parcels_2021,"
        " LATERAL ST_Transform(ST_Centroid(wkb_geometry), 32635) AS c ORDER BY 1"
    ).fetchall()
    right = Transformer.from_crs(LATVIA, 32635, always_xy=True).transform(*np.array(sorted(MIDDLES)).T)
    assert np.abs(np.array(found).T - right).max() < 0.001
    assert load(owner, database.config.tables, latvian, AS_IS).changed is False
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        owner.execute("UPDATE spatial_ref_sys SET srtext = '' WHERE srid = 25832")


def test_without_the_privilege_nothing_is_loaded(
    database: Database, owner: psycopg.Connection, latvian: Path
) -> None:
    with database.connect(autocommit=True) as conn:
        conn.execute("REVOKE INSERT ON spatial_ref_sys FROM cbm_owner")
    for check_only in (True, False):
        with pytest.raises(
            UserError, match=r"may not add it to spatial_ref_sys\. Run playbooks/database\.yml"
        ):
            load(owner, database.config.tables, latvian, Options(), check_only=check_only)
    assert not known(owner)
    assert owner.execute("SELECT to_regclass('parcels_2021')").fetchone() == (None,)


def test_a_failed_load_leaves_no_definition(conn: psycopg.Connection, tables: Tables, tmp_path: Path) -> None:
    path = write(tmp_path / "empty.gpkg", [*squares((500_000, 300_000)), *squares((500_200, 300_000))])
    with pytest.raises(UserError, match="has no parcels to load"):
        load(conn, tables, path, Options(crs=f"EPSG:{LATVIA}", where="name = 'none'"))
    assert not known(conn)


@pytest.mark.parametrize(
    ("srid", "reason"),
    [
        (5516, "its definition cannot be entered there. Reproject the file"),  # a projection of PROJ's own
        (10833, r"which shifts places by \d\.\d\d m"),  # a datum that this PROJ cannot shift
    ],
)
def test_what_the_server_would_project_wrongly_is_refused(
    conn: psycopg.Connection,
    config: Config,  # noqa: ARG001  (the schema)
    srid: int,
    reason: str,
) -> None:
    with conn.transaction(), pytest.raises(UserError, match=reason):
        enter(conn, srid)
    assert conn.execute("SELECT FROM spatial_ref_sys WHERE srid = %s", [srid]).fetchone() is None


def test_the_codes_that_postgis_lacks_are_listed(conn: psycopg.Connection) -> None:
    server = {
        code for (code,) in conn.execute("SELECT auth_srid FROM spatial_ref_sys WHERE auth_name = 'EPSG'")
    }
    kinds = [PJType.PROJECTED_CRS, PJType.GEOGRAPHIC_2D_CRS]
    ours = {int(info.code) for info in query_crs_info("EPSG", kinds, allow_deprecated=True)} - {900_913}
    assert {code for code in ours if is_lacking(code)} == ours - server
    assert not any(is_lacking(code) for code in server)


def test_inspect_says_so_without_a_database(latvian: Path) -> None:
    result = CliRunner().invoke(cbmctl, ["--json", "parcels", "inspect", "--axes", "as-is", str(latvian)])
    assert json.loads(result.stdout)["parcels"]["notes"] == [
        "EPSG:10306 (LKS-2020 / Latvia TM) is unknown to PostGIS 3.5."
        " `cbmctl parcels load` adds its definition to spatial_ref_sys."
    ]
    assert len(definition(LATVIA)[0]) < LONGEST


def test_the_reported_file(conn: psycopg.Connection, tables: Tables, testdata: Path) -> None:
    assert load(conn, tables, testdata / "reports/lks2020.gpkg", Options()).parcels == 3
    row = conn.execute(
        "SELECT ST_IsValid(ST_Transform(wkb_geometry, 4326)) FROM parcels_2021 LIMIT 1"
    ).fetchone()
    assert row == (True,)
