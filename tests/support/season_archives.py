"""A closed season in a database, and the commands that archive and restore it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from cbmctl.cli import cbmctl
from cbmctl.errors import UserError
from tests.conftest import Database

PARCELS = 40
# Of an archive of `fill`.
FILES = {
    "archive.json",
    "dias_catalogue.parquet",
    "hists_bs.parquet",
    "hists_s2.parquet",
    "parcels.parquet",
    "sigs_bs.parquet",
    "sigs_s2.parquet",
    "tasks.parquet",
}
# As they are compared: every bit of a number, and text as it is.
STATE = {
    "sigs": """SELECT pid, obsid, band, float4send("count"), float4send(mean), float4send(std),
        float4send("min"), float4send("max"), float4send(p25), float4send(p50), float4send(p75)
        FROM sigs ORDER BY 1, 2, 3""",
    "hists": "SELECT pid, obsid, hist::text FROM hists ORDER BY 1, 2",
    "tasks": "SELECT * FROM tasks ORDER BY obsid, bandset",
    "dias_catalogue": "SELECT * FROM dias_catalogue ORDER BY id",
    "archived_scenes": "SELECT * FROM archived_scenes ORDER BY obsid",
    "restored_files": "SELECT * FROM restored_files",
}
_SEASON = """
    CREATE TABLE parcels_2021 (ogc_fid integer PRIMARY KEY, wkb_geometry geometry(MultiPolygon, 32632),
        crop text, area numeric(10, 2), sown date, codes integer[], note jsonb);
    INSERT INTO parcels_2021
        SELECT pid, ST_Multi(ST_Buffer(ST_Point(500000 + 100 * pid, 5000000, 32632), 40)),
            'wheat ' || pid, pid + 0.25, '2021-04-01', ARRAY[pid, 1], '{"a": 1}'
        FROM generate_series(1, %(parcels)s) pid;
    INSERT INTO parcel_sets (table_name, source, checksum, options, srid, parcels)
        VALUES ('public.parcels_2021', 'gsaa_2021.gpkg', 'abc', '{}', 32632, %(parcels)s);
    INSERT INTO aois SELECT 'parcels_2021', ST_Envelope(ST_Collect(ST_Transform(wkb_geometry, 4326)))
        FROM parcels_2021;
    INSERT INTO dias_catalogue (id, obstime, reference, sensor, card, status, tile, footprint)
        SELECT id, '2021-04-01 10:00'::timestamp + id * interval '1 day', card || '_' || id, '2A', card,
            'extracted', '32TMT', (SELECT wkb_geometry FROM aois)
        FROM generate_series(1, %(scenes)s) id,
            LATERAL (SELECT CASE WHEN id %% 3 = 0 THEN 'bs' ELSE 's2' END AS card) kind;
    INSERT INTO tasks (obsid, bandset, state, bands, method, parcels, rows, parcels_covered)
        SELECT id, bandset, 'done', '{}', '{"overlap": "first"}', 3, 3, 1
        FROM dias_catalogue, unnest(CASE card WHEN 's2' THEN '{scl,10}'::text[] ELSE '{bs}' END) bandset
        WHERE id %% 5 <> 0;
    INSERT INTO sigs
        SELECT pid, id, band, pid, id + pid / 7.0, 1 / 3.0, 'NaN', CASE WHEN pid %% 9 > 0 THEN 1e30 END,
            '-0', CASE WHEN pid %% 10 > 0 THEN pid END, 4
        FROM dias_catalogue d, generate_series(1, %(parcels)s) pid,
            unnest(CASE card WHEN 's2' THEN '{B02,B03,B2}'::bpchar[] ELSE '{VVb}' END) band;
    INSERT INTO hists
        SELECT pid, id, CASE WHEN pid %% 11 > 0 THEN format('{"4": %%s,  "9": 1}', pid)::json END
        FROM dias_catalogue, generate_series(1, %(parcels)s) pid WHERE card = 's2';
    SELECT setval('dias_catalogue_id_seq', 1000);
"""


def fill(database: Database, scenes: int = 7, parcels: int = PARCELS) -> Database:
    """A season of both satellites; every fifth scene has no tasks, as if the manual's scripts had made it."""
    database.migrated()
    with database.connect() as conn, conn.cursor() as cursor:
        statements = _SEASON.replace("%(parcels)s", str(parcels)).replace("%(scenes)s", str(scenes))
        cursor.execute(statements.replace("%%", "%").encode())
    return database


def state(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    with database.connect() as conn:
        return {name: conn.execute(query.encode()).fetchall() for name, query in STATE.items()}


def rows(database: Database, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with database.connect() as conn:
        return conn.execute(query.encode(), parameters).fetchall()


def idle(database: Database) -> bool:
    """Whether no process of `maintain` is connected: killed ones are noticed a little later."""
    sessions = """SELECT count(*) FROM pg_stat_activity
        WHERE application_name LIKE 'cbmctl maintain%%' AND datname = current_database()"""
    return rows(database, sessions) == [(0,)]


def change(database: Database, statement: str) -> None:
    with database.connect() as conn:
        conn.execute(statement.encode())


def run(database: Database, *arguments: str | Path, as_json: bool = True) -> Result:
    options = ["--config", str(database.config_path), *(["--json"] if as_json else []), "maintain"]
    return CliRunner().invoke(cbmctl, [*options, *map(str, arguments)])


def spoken(database: Database, *arguments: str | Path) -> str:
    """What a person reads."""
    return run(database, *arguments, as_json=False).output


def done(database: Database, *arguments: str | Path) -> dict[str, Any]:
    result = run(database, *arguments)
    if result.exception is not None:
        raise result.exception
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def refused(database: Database, *arguments: str | Path) -> str:
    result = run(database, *arguments)
    assert isinstance(result.exception, UserError), result.exception
    return str(result.exception)


def words(found: Iterable[tuple[Any, ...]]) -> set[Any]:
    return {value for (value,) in found}
