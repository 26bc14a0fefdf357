"""Migrations: a database of an earlier version keeps what is in it."""

import ast
import json
from pathlib import Path

import alembic.command
import psycopg
import pytest
import sqlalchemy
from alembic.config import Config as AlembicConfig

from cbmctl import schema
from cbmctl.catalogue.orbits import named_orbit
from cbmctl.database import connect
from cbmctl.errors import UserError
from cbmctl.schema import apply
from tests.conftest import Database, Eventually

pytestmark = pytest.mark.postgis

SCRIPTS = Path(schema.__file__).parent


def at(database: Database, revision: str) -> None:
    """Make the schema as it was."""
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=database.connect)
    with engine.begin() as outer:
        alembic_config = AlembicConfig(attributes={"connection": outer})
        alembic_config.set_main_option("script_location", str(SCRIPTS))
        alembic.command.upgrade(alembic_config, revision)
    engine.dispose()


def test_a_migration_does_not_depend_on_the_package() -> None:
    """It must do the same with any later version of it."""
    for path in sorted((SCRIPTS / "versions").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or "."] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.startswith((".", "cbmctl"))], path.name


def test_bands_of_tasks_that_were_done_before_they_were_kept(database: Database) -> None:
    at(database, "0003")
    with database.connect() as conn:
        conn.execute(
            """INSERT INTO dias_catalogue (id, obstime, reference, sensor, card)
               SELECT id, '2021-03-05', id::text, '2A', 's2' FROM generate_series(1, 3) id;
               INSERT INTO sigs (pid, obsid, band)
               SELECT pid, 1, band
               FROM generate_series(1, 2) pid, unnest('{B11,B8A,B05,B02}'::text[]) band;
               INSERT INTO tasks (obsid, bandset, state, rows) VALUES
                   (1, 'scl', 'done', 2), (1, '10', 'done', 2), (1, '20', 'done', 6),
                   (2, '10', 'done', 0), (2, '20', 'failed', NULL),
                   (3, '10', 'ready', NULL), (3, '20', 'running', NULL)"""
        )
    assert apply(database.config).before == "0003"
    with database.connect() as conn:
        assert conn.execute("SELECT obsid, bandset, bands FROM tasks ORDER BY 1, 2").fetchall() == [
            (1, "10", ["B02"]),
            (1, "20", ["B05", "B11", "B8A"]),
            (1, "scl", ["SCL"]),
            (2, "10", None),
            (2, "20", None),
        ]


def test_tasks_of_before_sentinel_1_are_done_once_more(database: Database) -> None:
    at(database, "0004")
    with database.connect() as conn:
        conn.execute(
            """INSERT INTO dias_catalogue (id, obstime, reference, sensor, card)
               SELECT id, '2021-03-05', id::text, '2A', 's2' FROM generate_series(1, 3) id;
               INSERT INTO tasks (obsid, bandset, bands, state, rows) VALUES
                   (1, 'scl', '{SCL}', 'done', 2), (1, '10', '{B02}', 'failed', NULL),
                   (2, 'scl', '{SCL}', 'ready', 2), (2, '10', '{B02}', 'running', 2),
                   (3, 'scl', '{SCL}', 'ready', NULL), (3, '10', '{B02}', 'running', 0)"""
        )
    assert apply(database.config).before == "0004"
    with database.connect() as conn:
        assert conn.execute(
            "SELECT obsid, bandset, state, bands, rows FROM tasks ORDER BY 1, 2"
        ).fetchall() == [
            (1, "10", "failed", ["B02"], None),
            (1, "scl", "done", ["SCL"], 2),
            (2, "10", "done", None, 2),
            (2, "scl", "done", None, 2),
        ]
        assert conn.execute("SELECT DISTINCT method, not_before FROM tasks").fetchall() == [(None, None)]
        conn.execute(
            """INSERT INTO tasks (obsid, bandset, bands, method)
               SELECT 3, bandset, '{}', '{}' FROM unnest('{scl,10,20,bs,c6,c12}'::text[]) bandset"""
        )
        for bandset, method in (("c24", "{}"), ("20", None)):
            with pytest.raises(psycopg.errors.CheckViolation), conn.transaction():
                conn.execute(
                    "INSERT INTO tasks (obsid, bandset, bands, method) VALUES (1, %s, '{}', %s)",
                    [bandset, method],
                )


def test_every_tile_has_kept_its_rows_and_no_parcel_was_shrunk_before(database: Database) -> None:
    at(database, "0007")
    with database.connect() as conn:
        conn.execute(
            """INSERT INTO dias_catalogue (id, obstime, reference, sensor, card)
               SELECT id, '2021-03-05', id::text, '2A', 's2' FROM generate_series(1, 2) id;
               INSERT INTO tasks (obsid, bandset, state, bands, method) VALUES
                   (1, '10', 'done', '{B02}', '{"edge": "drop"}'),
                   (1, 'bs', 'done', '{VVb}', '{"edge": "keep"}'),
                   (2, '10', 'done', NULL, NULL)"""
        )
    apply(database.config)
    with database.connect() as conn:
        assert conn.execute("SELECT method FROM tasks ORDER BY obsid, bandset").fetchall() == [
            ({"edge": "drop", "overlap": "all", "buffer_m": 0},),
            ({"edge": "keep", "overlap": None, "buffer_m": 0},),
            (None,),
        ]


def test_findings_of_earlier_versions_name_features(database: Database) -> None:
    at(database, "0016")
    trap = "crop: '{\"ogc_fid\": 1}' is not a valid number"
    found = {
        "stray": [{"ogc_fid": 41, "reason": "far"}, {"ogc_fid": 7, "reason": "x"}],
        "invalid_value": [{"ogc_fid": 2, "reason": trap, "column": "ogc_fid", "raw": "ogc_fid", "count": 3}],
    }
    with database.connect() as conn:
        conn.execute(
            "INSERT INTO parcel_sets VALUES ('public.p', 'p.gpkg', 'c', '{}', 25832, 9, now(), %s)",
            [json.dumps(found)],
        )
    apply(database.config)
    with database.connect() as conn:
        assert conn.execute("SELECT findings FROM parcel_sets").fetchone() == (
            {
                "stray": [{"feature": 41, "reason": "far"}, {"feature": 7, "reason": "x"}],
                "invalid_value": [
                    {"feature": 2, "reason": trap, "column": "ogc_fid", "raw": "ogc_fid", "count": 3}
                ],
            },
        )


def test_reasons_of_before_get_their_codes(database: Database) -> None:
    at(database, "0017")
    with database.connect() as conn:
        conn.execute(
            """INSERT INTO dias_catalogue (id, obstime, reference, sensor, card, status, reason) VALUES
                   (1, '2021-03-05', 'a', '2A', 's2', 'Rio error', 'Rio error: B02: torn'),
                   (2, '2021-03-05', 'b', '2A', 's2', 'inprogress',
                       'done; waits for another part of what it replaces'),
                   (3, '2021-03-05', 'c', '2A', 's2', '!S3 VV.img', NULL),
                   (4, '2021-03-05', 'd', '2A', 's2', 'extracted', NULL),
                   (5, '2021-03-05', 'e', '2A', 's2', 'inprogress', '!S3 B05.jp2: not there'),
                   (6, '2021-03-05', 'f', '2A', 's2', 'final', 'somebody''s own: words');
               INSERT INTO tasks (obsid, bandset, bands, method, state, reason) VALUES
                   (1, '10', '{B02}', '{}', 'failed', 'Rio error: B02: torn'),
                   (1, '20', '{B05}', '{}', 'failed', NULL),
                   (1, 'scl', '{SCL}', '{}', 'done', NULL),
                   (5, '20', '{B05}', '{}', 'ready', '!S3 a_very_long_name_of_a.tif: gone')"""
        )
    apply(database.config)
    with database.connect() as conn:
        assert conn.execute(
            "SELECT bandset, reason_code, failed_status, reason FROM tasks ORDER BY obsid, bandset"
        ).fetchall() == [
            ("10", "archive.unreadable", "Rio error", "B02: torn"),
            ("20", "worker.error", "Worker error", "the reason was not recorded"),
            ("scl", None, None, None),
            ("20", "archive.file_missing", "!S3 a_very_long_name_of_a.tif", "gone"),
        ]
        waits = "done; waits for another part of what it replaces"
        assert conn.execute("SELECT reason_code, reason FROM dias_catalogue ORDER BY id").fetchall() == [
            ("archive.unreadable", "B02: torn"),
            ("versions.waits_for_parts", waits),
            ("archive.file_missing", None),
            (None, None),
            ("archive.file_missing", "not there"),
            (None, "somebody's own: words"),
        ]
        with pytest.raises(psycopg.errors.CheckViolation):
            conn.execute("UPDATE tasks SET state = 'failed' WHERE bandset = 'scl'")


def test_what_is_done_covers_the_parcels_that_were_loaded_before_sets_had_versions(
    database: Database,
) -> None:
    at(database, "0022")
    with database.connect() as conn:
        conn.execute(
            """INSERT INTO dias_catalogue (id, obstime, reference, sensor, card)
               VALUES (1, '2021-03-05', 'a', '2A', 's2');
               INSERT INTO tasks (obsid, bandset, state, bands, method, rows) VALUES
                   (1, 'scl', 'done', '{SCL}', '{}', 3), (1, '10', 'ready', '{B02}', '{}', 3),
                   (1, '20', 'done', NULL, NULL, 3)"""
        )
        conn.execute("INSERT INTO parcel_sets VALUES ('public.p', 'p.gpkg', 'c', '{}', 25832, 9)")
    apply(database.config)
    with database.connect() as conn:
        assert conn.execute(
            "SELECT bandset, parcels_asked, parcels_covered FROM tasks ORDER BY bandset"
        ).fetchall() == [("10", 1, None), ("20", 1, None), ("scl", 1, 1)]
        assert conn.execute("SELECT version, last_id FROM parcel_sets").fetchone() == (1, None)


def test_orders_get_the_orbit_that_their_input_names(database: Database) -> None:
    """Of each satellite, before and after Sentinel-1C was moved, and in its first cycle."""
    at(database, "0024")
    inputs = [
        f"S{sensor}_IW_{kind}_1SDV_20210305T052630_20210305T052657_{orbit:06d}_03155B_9703.SAFE"
        for sensor, kind, orbit in (
            ("1A", "GRDH", 36864),
            ("1A", "SLC_", 10),
            ("1B", "SLC_", 25850),
            ("1C", "GRDH", 8018),
            ("1C", "GRDH", 8019),
            ("1D", "GRDH", 3000),
        )
    ]
    odd = "S1A_IW_GRDH_1SDV_20210305T052630_odd.SAFE"
    with database.connect() as conn:
        conn.execute("INSERT INTO orders (label, service, account) VALUES ('a', 'b', 'c')")
        conn.execute(
            """INSERT INTO order_items (id, order_id, product_type, card, sensor, sensed, input, workflow,
                   state)
               SELECT gen_random_uuid(), 1, 'CARD-BS', 'bs', '1A', '2021-03-05', input, 'w', 'refused'
               FROM unnest(%s::text[]) input""",
            [[*inputs, odd]],
        )
    apply(database.config)
    with database.connect() as conn:
        found = conn.execute("SELECT input, relative_orbit FROM order_items").fetchall()
    assert dict(found) == {name: named_orbit(name) for name in [*inputs, odd]}
    assert None not in [named_orbit(name) for name in inputs]


def test_the_tables_of_workers_that_run_are_not_upgraded(database: Database, eventually: Eventually) -> None:
    """They would read new parcels as their own version does, and delete rows of those that are gone."""
    at(database, "0022")
    with connect(database.config, purpose="cbmctl worker vm:1:0a"):
        for check in (True, False):
            with pytest.raises(UserError) as error:
                apply(database.config, check=check)
            assert str(error.value) == (
                f"Database {database.config.connection.dbname} cannot be upgraded while workers of an earlier"
                " version run (1 connection). Wait until the extraction ends, or stop the workers with sudo"
                " docker stack rm cbm on the VM (of a later season: cbm-NAME). Then run cbmctl schema apply"
                " again."
            )

    def upgraded() -> bool:
        try:
            return apply(database.config).before == "0022"
        except UserError:  # the server notices a moment late that the worker is gone
            return False

    eventually(upgraded)
    with connect(database.config, purpose="cbmctl worker vm:2:0b"):
        assert not apply(database.config).changed, "of this version"
