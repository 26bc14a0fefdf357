"""Several seasons in one database: each has its own tables, and a migration of one changes no other."""

import re
from pathlib import Path

import alembic.command
import psycopg
import pytest
import sqlalchemy
from alembic.config import Config as AlembicConfig
from psycopg import conninfo

from cbmctl import schema
from cbmctl.database import connect, explain
from cbmctl.errors import NotSetUpError, UserError
from cbmctl.queue.locks import lock_parcel_sets
from cbmctl.schema import apply
from tests.conftest import REPOSITORY, Database
from tests.support.second_season import SCHEMA, definitions, later, stored

GUIDE = REPOSITORY / "docs/operator.md"
SCRIPTS = Path(schema.__file__).parent
HEAD = max(path.name[:4] for path in (SCRIPTS / "versions").glob("[0-9]*.py"))
SHARED = ("aois", "orders", "orders_id_seq", "order_items", "spatial_ref_sys", "cbm_schema")
# Of PostGIS and pg_repack.
OTHERS = ("geography_columns", "geometry_columns", "raster_columns", "raster_overviews")

# Of version 0003; the same numbers in both seasons.
ROWS = """
    INSERT INTO dias_catalogue (id, obstime, reference, sensor, card, status, reason, footprint) VALUES
        (1, '2021-12-05 10:30:21.5', 'S2A_MSIL2A_20211205T103021_N0301_R108_T32TMT_20211205T134215.SAFE',
         '2A', 's2', 'Rio error', 'Rio error: B02: torn', public.ST_MakeEnvelope(8, 47, 9, 48, 4326)),
        (2, '2021-12-06 05:34:21.5', 'S1A_IW_GRDH_1SDV_20211206T053421_20211206T053446_040869_04DA3F_6C06',
         '1A', 'bs', 'ingested', NULL, public.ST_MakeEnvelope(8, 47, 9, 48, 4326));
    INSERT INTO sigs (pid, obsid, band) VALUES (1, 1, 'B02'), (1, 1, 'B05');
    INSERT INTO hists (pid, obsid, hist) VALUES (1, 1, '{"4": 10}');
    INSERT INTO tasks (obsid, bandset, state, rows) VALUES (1, 'scl', 'done', 1), (1, '10', 'done', 1);
    INSERT INTO tasks (obsid, bandset, state, rows, reason) VALUES (1, '20', 'failed', 1, 'Rio error: torn');
    INSERT INTO parcel_sets (table_name, source, checksum, options, srid, parcels, findings)
        VALUES ('p', 'p.gpkg', 'c', '{}', 25832, 9, '{"stray": [{"ogc_fid": 41, "reason": "far"}]}');
"""


def at(database: Database, revision: str, name: str) -> None:
    """Make the schema of a season as it was, with rows."""
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=database.connect)
    with engine.begin() as outer:
        outer.execute(sqlalchemy.text(f"CREATE SCHEMA IF NOT EXISTS {name}"))
        alembic_config = AlembicConfig(attributes={"connection": outer, "schema": name})
        alembic_config.set_main_option("script_location", str(SCRIPTS))
        alembic.command.upgrade(alembic_config, revision)
    engine.dispose()
    with database.connect() as conn:
        conn.execute(f"SET search_path = {name}")
        conn.execute(ROWS)


def test_migrations_name_no_schema_but_of_what_seasons_share() -> None:
    shared = {"aois", "orders", "order_items", "order_items_once_idx"}
    postgis = {"geometry", "GeometryType", "ST_X", "ST_Centroid"}
    for path in (SCRIPTS / "versions").glob("[0-9]*.py"):
        assert set(re.findall(r"public\.(\w+)", path.read_text())) <= shared | postgis, path.name


def test_statements_name_no_table_without_the_schema_of_its_season() -> None:
    tables = (
        "aois|archived_scenes|catalogue_syncs|cbm_schema|completeness|dias_catalogue|file_checks|hists|order_items"
        "|orders|parcel_history|parcel_lineage|parcel_sets|rejected_products|restored_files|sigs|tasks"
        "|vanished_workers"
    )
    bare = re.compile(rf"\b((FROM|JOIN|INTO|UPDATE|TABLE) ({tables})\b|public\.)")
    package = SCRIPTS.parent
    found = [
        f"{path.relative_to(package)}: {line.strip()}"
        for path in package.rglob("*.py")
        if path.parent.name != "versions"
        for line in path.read_text().splitlines()
        if bare.search(line)
    ]
    assert found == []


@pytest.mark.postgis
def test_a_season_beside_one_with_rows(database: Database) -> None:
    at(database, "0003", "public")
    apply(database.config)
    config = later(database)
    with database.connect(autocommit=True) as conn:
        conn.execute("INSERT INTO aois VALUES ('a', ST_MakeEnvelope(8, 47, 9, 48, 4326))")
        before = definitions(conn, "public"), stored(conn, "public")
        would = apply(config, check=True)
        assert (would.changed, would.before, would.after) == (True, None, HEAD)
        assert conn.execute("SELECT to_regnamespace(%s)", [SCHEMA]).fetchone() == (None,), "--check"
        assert apply(config) == would
        assert not apply(config).changed
        assert not apply(database.config).changed
        assert (definitions(conn, "public"), stored(conn, "public")) == before
        own = definitions(conn, SCHEMA, without=["cbm_schema"])
        assert own == definitions(conn, "public", without=[*SHARED, *OTHERS])
        assert "dias_catalogue r footprint" in own
        assert "sigs index sigs_pidx" in own
        # nothing of the season refers to the tables of the other
        found = conn.execute(
            """SELECT DISTINCT refobjid::regclass::text
               FROM pg_depend d
               LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
               LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND d.objid = k.oid
               JOIN pg_class mine ON mine.oid = coalesce(r.ev_class, k.conrelid, d.objid)
               JOIN pg_class other ON other.oid = d.refobjid AND d.refclassid = 'pg_class'::regclass
               WHERE mine.relnamespace = %s::regnamespace AND other.relnamespace = 'public'::regnamespace""",
            [SCHEMA],
        ).fetchall()
        assert found == [("order_items",)], "the view completeness shows what is on order"


@pytest.mark.postgis
def test_an_upgrade_of_a_season_changes_no_other(database: Database) -> None:
    at(database, "0003", "public")
    apply(database.config)
    with database.connect() as conn:
        # what the migrations would change again
        conn.execute(
            "UPDATE dias_catalogue SET obstime = obstime + interval '0.5 s', reason = 'Rio error: torn'"
        )
        conn.execute("UPDATE tasks SET bands = NULL, method = '{}'")
        conn.execute("UPDATE parcel_sets SET findings = %s", ['[{"ogc_fid": 1}]'])
    at(database, "0003", SCHEMA)
    with database.connect(autocommit=True) as conn:
        before = definitions(conn, "public"), stored(conn, "public")
        assert apply(later(database)).before == "0003"
        assert (definitions(conn, "public"), stored(conn, "public")) == before
        assert conn.execute(
            f"SELECT obstime::text, reason_code, relative_orbit, tile FROM {SCHEMA}.dias_catalogue"
            " ORDER BY id"
        ).fetchall() == [
            ("2021-12-05 10:30:21", "archive.unreadable", 108, None),
            ("2021-12-06 05:34:21", None, 22, None),
        ]
        assert conn.execute(f"SELECT bandset, bands, reason FROM {SCHEMA}.tasks ORDER BY 1").fetchall() == [
            ("10", ["B02"], None),
            ("20", None, "torn"),
            ("scl", ["SCL"], None),
        ]
        assert conn.execute(f"SELECT findings::text FROM {SCHEMA}.parcel_sets").fetchone() == (
            '{"stray": [{"reason": "far", "feature": 41}]}',
        )


@pytest.mark.postgis
def test_the_first_season_comes_first(database: Database) -> None:
    config = later(database)
    with pytest.raises(NotSetUpError) as error:
        apply(config)
    assert str(error.value) == (
        f"The tables in the schema public are missing, but {SCHEMA} needs version {HEAD}, because seasons"
        " share public.aois and public.orders. First run cbmctl schema apply without --season, with the"
        " configuration of the season in public."
    )
    at(database, "0003", "public")
    with pytest.raises(UserError, match=f"have version 0003, but {SCHEMA} needs version {HEAD}"):
        apply(config)
    # the playbook would upgrade the first season before
    assert apply(config, check=True).changed
    with database.connect() as conn:
        assert conn.execute("SELECT version_num FROM public.cbm_schema").fetchone() == ("0003",)


@pytest.mark.postgis
def test_a_new_season_waits_for_no_worker(database: Database) -> None:
    apply(database.config)
    config = later(database)
    with connect(database.config, purpose="cbmctl worker vm:1:0a"):
        assert apply(config).changed
        with database.connect() as conn:
            conn.execute(f"UPDATE {SCHEMA}.cbm_schema SET version_num = '0023'")
        with pytest.raises(UserError, match="cannot be upgraded while workers of an earlier version run"):
            apply(config)


@pytest.mark.postgis
def test_tables_of_another_season_are_refused(database: Database) -> None:
    apply(database.config)
    apply(later(database))
    mixed = database.configured(tables={"sigs_table": f"{SCHEMA}.sigs"})
    with pytest.raises(UserError) as error:
        apply(mixed)
    assert str(error.value) == (
        f"The table {SCHEMA}.sigs belongs to another season than public.dias_catalogue. Name a table of the"
        " schema public."
    )


@pytest.mark.postgis
def test_postgis_in_another_schema(database: Database) -> None:
    with database.connect() as conn:
        conn.execute("DROP EXTENSION postgis CASCADE; CREATE SCHEMA gis; CREATE EXTENSION postgis SCHEMA gis")
    with pytest.raises(UserError, match=r"is in the schema gis\. Create the extension in the schema public"):
        apply(database.config)


@pytest.mark.postgis
@pytest.mark.usefixtures("roles")
def test_roles_of_a_season(database: Database) -> None:
    def login(role: str) -> psycopg.Connection:
        dsn = conninfo.make_conninfo(database.dsn, user=role, password="only-for-tests")  # noqa: S106
        return psycopg.connect(dsn, autocommit=True)

    owner = database.configured(connection={"dbuser": "cbm_owner", "dbpasswd": "only-for-tests"})
    apply(owner)
    config = later(database)
    with pytest.raises(NotSetUpError) as error:
        apply(config, check=True)
    assert str(error.value) == (
        f"The schema {SCHEMA} does not exist, and cbm_owner may not create it. If Ansible manages the"
        " database, run playbooks/database.yml without --check. Otherwise run as superuser:"
        f" CREATE SCHEMA {SCHEMA} AUTHORIZATION cbm_owner;"
    )
    with connect(config) as conn, pytest.raises(psycopg.Error) as missing:
        lock_parcel_sets(conn, config.tables)  # of a load
    assert isinstance(explain(missing.value), NotSetUpError)
    with database.connect() as conn:
        conn.execute(f"CREATE SCHEMA {SCHEMA} AUTHORIZATION cbm_owner")
    would = apply(config, check=True)
    assert f"USAGE on SCHEMA {SCHEMA} to cbm_reader" in would.grants
    assert f"INSERT on {SCHEMA}.sigs to cbm_writer" in would.grants
    assert not [grant for grant in would.grants if " on public." in grant]
    assert apply(config) == would
    assert not apply(config).changed
    with login("cbm_writer") as conn:
        conn.execute(
            f"INSERT INTO {SCHEMA}.dias_catalogue (obstime, reference, sensor, card)"
            " VALUES (now(), 'x', '2A', 's2')"
        )
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(f"DELETE FROM {SCHEMA}.parcel_sets")
    with login("cbm_reader") as conn:
        assert conn.execute(f"SELECT reference FROM {SCHEMA}.dias_catalogue").fetchall() == [("x",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(f"DELETE FROM {SCHEMA}.sigs")


@pytest.mark.postgis
def test_a_season_is_deleted_as_the_guide_says(database: Database) -> None:
    apply(database.config)
    apply(later(database))
    found = re.search(r"^   ```sql\n(   DROP SCHEMA .*?)^   ```", GUIDE.read_text(), re.M | re.S)
    assert found
    with database.connect() as conn:
        first = definitions(conn, "public")
        conn.execute("INSERT INTO aois (name) VALUES ('parcels_2021'), ('parcels_2022')")
        conn.execute(found[1].encode())
        assert conn.execute("SELECT to_regnamespace(%s)", [SCHEMA]).fetchone() == (None,)
        assert definitions(conn, "public") == first
        assert conn.execute("SELECT name FROM aois").fetchall() == [("parcels_2021",)]
