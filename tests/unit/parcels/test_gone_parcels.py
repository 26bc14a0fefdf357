"""Tables loaded by hand, parcels that are gone, and tables that others hold, when a file changes."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
import shapely

from cbmctl.cli import cbmctl, commands  # noqa: F401  (the commands register themselves)
from cbmctl.config import Tables
from cbmctl.database import connect
from cbmctl.errors import UserError
from cbmctl.parcels.load import Options, load
from cbmctl.queue import locks
from cbmctl.queue.locks import try_task
from tests.conftest import Database
from tests.support.parcel_loading import fields, rows, write
from tests.support.parcel_updates import N, halves, run
from tests.unit.parcels.test_changes import use

pytestmark = pytest.mark.postgis


OGR2OGR = """
    CREATE TABLE parcels_2021 (ogc_fid serial PRIMARY KEY, wkb_geometry geometry({kind}, 25832),
        id numeric(10,0), crop varchar(8));
    CREATE INDEX ON parcels_2021 USING gist (wkb_geometry)
"""


@pytest.mark.parametrize("kind", ["MultiPolygon", "Polygon", "Geometry", "PolygonZ"])
def test_a_table_that_was_loaded_by_hand_is_adopted(
    database: Database, conn: psycopg.Connection, first: Path, second: Path, kind: str
) -> None:
    conn.execute(OGR2OGR.format(kind=kind).encode())
    for number, flat in enumerate(fields(N)):
        parcel = shapely.force_3d(flat, 400.0) if kind.endswith("Z") else flat
        stored = shapely.MultiPolygon([parcel]) if kind == "MultiPolygon" else parcel
        conn.execute(
            "INSERT INTO parcels_2021 (wkb_geometry, id, crop) VALUES (ST_GeomFromWKB(%s, 25832), %s, 'a')",
            [stored.wkb, number],
        )
    use(conn)
    kept = "SELECT ogc_fid, id, crop, ST_AsBinary(ST_Multi(ST_Force2D(wkb_geometry))) FROM parcels_2021"
    before = rows(conn, f"{kept} ORDER BY 1")
    adopted = run(database, "load", str(first), "--key", "id")
    assert "Of 20 parcels, 20 are unchanged" in adopted.stderr, adopted.output
    assert rows(conn, f"{kept} ORDER BY 1") == before
    assert rows(conn, "SELECT version, last_id FROM parcel_sets") == [(1, 20)]
    conn.execute("DELETE FROM parcel_sets")  # a changed file adopts it as well
    done = run(database, "load", str(second), "--key", "id", "--accept-removals")
    assert "4 new parcels (ogc_fid 21 to 24)" in done.stderr, done.output
    assert rows(conn, "SELECT version, last_id FROM parcel_sets") == [(2, 24)]
    assert rows(conn, "SELECT count(*), count(DISTINCT id), sum((crop = 'b')::int) FROM parcels_2021") == [
        (20, 20, 1)
    ]
    assert rows(conn, f"{kept} WHERE id BETWEEN 5 AND 19 ORDER BY 1") == before[5:]
    assert rows(conn, "SELECT array_agg(ogc_fid ORDER BY 1) FROM parcels_2021_gone") == [([1, 2, 3, 4],)]


@pytest.mark.parametrize("kind", ["Polygon", "PolygonZ"])
def test_parcels_that_go_from_a_table_of_polygons_before_others_are_new(
    database: Database, conn: psycopg.Connection, drawn: list[Any], tmp_path: Path, kind: str
) -> None:
    conn.execute(OGR2OGR.format(kind=kind).encode())
    for number, flat in enumerate(drawn):
        parcel = shapely.force_3d(flat, 400.0) if kind.endswith("Z") else flat
        conn.execute(
            "INSERT INTO parcels_2021 (wkb_geometry, id, crop) VALUES (ST_GeomFromWKB(%s, 25832), %s, 'a')",
            [parcel.wkb, number],
        )
    use(conn)
    for number, file in enumerate((drawn[:-1], [*halves(drawn[0]), *drawn[1:-2]])):
        path = write(tmp_path / f"{number}.gpkg", file, id=list(range(len(file))), crop=["a"] * len(file))
        done = run(database, "load", str(path), "--accept-removals")
        assert done.exit_code == 0, done.output
    assert rows(conn, "SELECT ogc_fid, GeometryType(wkb_geometry) FROM parcels_2021_gone ORDER BY 1") == [
        (number, "MULTIPOLYGON") for number in (1, N - 1, N)
    ]


def test_columns_that_were_altered_keep_their_type_in_the_table_of_gone_parcels(
    database: Database, conn: psycopg.Connection, used: dict[int, int], drawn: list[Any], tmp_path: Path
) -> None:
    del used
    for number, statement in enumerate(
        (
            "ALTER TABLE parcels_2021 ALTER id TYPE bigint, ALTER crop TYPE varchar(2)",
            "ALTER TABLE parcels_2021 ALTER id TYPE numeric, ALTER crop TYPE varchar(9)",
            "ALTER TABLE parcels_2021 ALTER crop TYPE bytea USING crop::bytea",
        ),
        start=1,
    ):
        conn.execute(statement.encode())
        some = N - number
        attributes = {"crop": ["a"] * some} if number < 3 else {}
        path = write(tmp_path / f"{number}.gpkg", drawn[:some], id=list(range(some)), **attributes)
        done = run(database, "load", str(path))
        assert done.exit_code == 0, done.output
        kinds = rows(
            conn,
            "SELECT attrelid::regclass::text, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attname IN ('id', 'crop') AND attrelid IN ('parcels_2021'::regclass,"
            " 'parcels_2021_gone'::regclass) ORDER BY 1, attname",
        )
        types = [kind for _, kind in kinds]
        if number < 3:
            assert types[:2] == types[2:], kinds
        else:
            assert types == ["bytea", "numeric", "text", "numeric"]
    assert rows(conn, "SELECT id::int, crop FROM parcels_2021_gone ORDER BY 1") == [
        (17, r"\x61"), (18, "a"), (19, "a")
    ]  # fmt: skip


@pytest.mark.usefixtures("used")
def test_a_reader_of_gone_parcels_that_stays_is_named(
    database: Database, drawn: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "TABLE_PATIENCE_S", 0.2)
    monkeypatch.setattr(locks, "TABLE_PAUSE_S", 0.0)
    paths = [
        write(tmp_path / "one.gpkg", drawn[:-1], id=list(range(N - 1))),
        write(tmp_path / "two.gpkg", drawn[:-1], id=list(range(N - 1)), farm=["f"] * (N - 1)),
        write(tmp_path / "three.gpkg", drawn[:-2], id=list(range(N - 2)), farm=["f"] * (N - 2)),
    ]
    for path in paths[:2]:
        assert run(database, "load", str(path)).exit_code == 0
    with ThreadPoolExecutor(1) as pool, database.connect(application_name="psql") as reader:
        reader.execute("SELECT count(*) FROM parcels_2021_gone")
        refused = pool.submit(run, database, "load", str(paths[2])).result(60)
        assert str(refused.exception).startswith("public.parcels_2021_gone cannot be changed, because other")
    assert run(database, "load", str(paths[2])).exit_code == 0
    with database.connect() as conn:
        assert rows(conn, "SELECT farm FROM parcels_2021_gone ORDER BY 1") == [("f",), (None,)]


def test_a_table_is_not_rewritten_while_workers_extract(
    database: Database, conn: psycopg.Connection, second: Path
) -> None:
    conn.execute(OGR2OGR.format(kind="Polygon").encode())
    for flat in fields(N):
        conn.execute("INSERT INTO parcels_2021 (wkb_geometry) VALUES (ST_GeomFromWKB(%s, 25832))", [flat.wkb])
    use(conn)
    conn.execute("INSERT INTO tasks (obsid, bandset, bands, method) VALUES (1, '10', '{B02}', '{}')")
    with connect(database.config, autocommit=True) as worker:
        assert try_task(worker, database.config.tables, "10", 1)
        conn.execute("UPDATE tasks SET state = 'running'")
        for more in (["--check"], []):
            refused = run(database, "load", str(second), "--accept-removals", *more)
            assert str(refused.exception) == (
                "1 tasks are being extracted with public.parcels_2021. Stop the extraction, then load again."
            )
    conn.execute("UPDATE tasks SET state = 'ready'")
    loaded = run(database, "load", str(second), "--accept-removals")
    assert loaded.exit_code == 0, loaded.output
    assert rows(conn, "SELECT DISTINCT GeometryType(wkb_geometry) FROM parcels_2021") == [("MULTIPOLYGON",)]


def test_what_is_gone_has_the_columns_of_the_parcels(
    conn: psycopg.Connection, tables: Tables, used: dict[int, int], drawn: list[Any], tmp_path: Path
) -> None:
    def file(number: int, **columns: Any) -> Path:
        return write(tmp_path / f"{number}.gpkg", drawn[number:], **columns)

    assert used
    load(conn, tables, file(1, id=list(range(1, N))), Options())
    load(conn, tables, file(2, id=list(range(2, N)), farm=["f"] * (N - 2)), Options())
    texts = {"id": [f"x{i}" for i in range(2, N)], "farm": ["f"] * (N - 2)}
    load(conn, tables, file(2, **texts), Options(), keep_statistics=True)
    load(conn, tables, file(3, id=[f"x{i}" for i in range(3, N)]), Options())
    found = rows(conn, "SELECT id, crop, farm FROM parcels_2021_gone ORDER BY id")
    assert found == [("0", "a", None), ("1", "a", None), ("x2", None, "f")]
    assert rows(conn, "SELECT version FROM parcel_sets") == [(4,)]


@pytest.mark.usefixtures("used")
def test_somebody_elses_table_of_that_name_stays(
    conn: psycopg.Connection, tables: Tables, second: Path
) -> None:
    conn.execute("CREATE TABLE parcels_2021_gone AS SELECT 1 AS mine")
    with pytest.raises(UserError, match=r"parcels_2021_gone exists, but was not made by cbmctl parcels load"):
        load(conn, tables, second, Options(), accept_removals=True)
    assert rows(conn, "SELECT * FROM parcels_2021_gone") == [(1,)]
