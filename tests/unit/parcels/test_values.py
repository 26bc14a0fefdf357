"""Values in the database are those of the file; what cannot be stored is NULL or shorter, and a finding."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from click.testing import CliRunner
from pyproj import CRS

from cbmctl.cli import cbmctl, commands  # noqa: F401  (the commands register themselves)
from cbmctl.config import Tables
from cbmctl.parcels.files.columns import stored_as
from cbmctl.parcels.files.findings import DISTINCT, Finding, Findings
from cbmctl.parcels.files.read_delivery import read
from cbmctl.parcels.files.values import values
from cbmctl.parcels.geometry_check import check, cleaned
from cbmctl.parcels.load import Options, load
from tests.conftest import Database
from tests.support.parcel_loading import fields, in_file_order, rows, write


def geoparquet(path: Path, columns: dict[str, pa.Array]) -> Path:
    n = len(next(iter(columns.values())))
    table = pa.table({**columns, "geometry": pa.array(shapely.to_wkb(fields(n)), pa.binary())})
    column = {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": CRS.from_epsg(25832).to_json_dict()}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    return path


def converted(column: pa.Array) -> tuple[list[Any], list[str]]:
    """The values of a column as they are stored, and the reasons of the findings."""
    findings = Findings()
    ids = list(range(1, len(column) + 1))
    found = [row[0] for row in values(pa.table({"a": column}), range(len(column)), ids, findings)]
    return found, [f["reason"] for kind in findings.as_json().values() for f in kind]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["a", None], pa.string_view()), ["a", None]),
        (pa.array([b"a", None], pa.binary_view()), [b"a", None]),
        (pa.array([[["a"]], []], pa.list_(pa.list_(pa.string_view()))), [[["a"]], []]),
        (pa.array([[1], None], pa.list_view(pa.int32())), [[1], None]),
        (pa.array([[1, 2], None], pa.list_(pa.int32(), 2)), [[1, 2], None]),
        (pa.array([[9], [1, 2], None]).slice(1), [[1, 2], None]),
        (
            pa.array([[("z", 9)], [("a", 1)], None], pa.map_(pa.string(), pa.int64())).slice(1),
            [[["a", 1]], None],
        ),
        (pa.array([{"a": 9}, {"a": 1}, None]).slice(1), [{"a": 1}, None]),
        (
            pa.array([{"a": 2**63 - 1, "b": Decimal("0.10"), "c": b"\xff"}]),
            [{"a": 2**63 - 1, "b": 0.1, "c": "ff"}],
        ),
        (pa.array([{"d": datetime(2021, 3, 5, tzinfo=UTC)}]), [{"d": "2021-03-05T00:00:00+00:00"}]),
        (pa.array(["x", None]).dictionary_encode(), ["x", None]),
        (
            pa.array([datetime(2021, 3, 5, 9)], pa.timestamp("s", "Europe/Paris")),
            [datetime(2021, 3, 5, 9, tzinfo=UTC)],
        ),
        (pa.array([1_614_938_400_000_000_123], pa.timestamp("ns")), [datetime(2021, 3, 5, 10)]),
        (pa.array([2**64 - 1], pa.uint64()), [Decimal(2**64 - 1)]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_every_value_of_arrow_is_stored_as_it_is(column: pa.Array, expected: list[Any]) -> None:
    assert converted(column) == (expected, [])


def test_dates_that_no_client_can_read_are_null_and_findings() -> None:
    late = pa.array([date(9999, 12, 31).toordinal() - 719163, 3_000_000, -800_000], pa.int32())
    assert converted(late.cast(pa.date32())) == (
        [date(9999, 12, 31), None, None],
        ["a: '10183-09-21' is outside the years 1 to 9999", "a: '-221-09-04' is outside the years 1 to 9999"],
    )
    far = pa.array([2**62], pa.int64()).cast(pa.timestamp("s", "UTC"))
    assert converted(far)[0] == [None]
    assert converted(pa.array([86_400_000, None], pa.time32("ms")))[0] == [None, None]


def test_what_json_cannot_hold_is_left_out_of_records() -> None:
    record = pa.array([{"a": float("nan"), "b": ["x\0y"]}, {"a": float("inf"), "b": None}])
    assert converted(record) == (
        [{"a": None, "b": ["xy"]}, {"a": None, "b": None}],
        [
            "a: 'nan' is not a number that JSON can hold",
            "a: 'inf' is not a number that JSON can hold",
            "a: 'x\\0y' has a NUL character (\\0)",
        ],
    )


def test_text_that_is_not_valid_is_a_finding() -> None:
    source = pa.array([b"Bl\xe9", b"a\0b", b"ok", None])
    text = pa.Array.from_buffers(pa.string(), 4, source.buffers())
    assert converted(text) == (
        ["Bl", "ab", "ok", None],
        ["a: 'Bl\\xe9' has bytes that are not valid text", "a: 'a\\0b' has a NUL character (\\0)"],
    )


def test_equal_values_are_counted_together_and_many_different_ones_are_not_listed() -> None:
    findings = Findings()
    for i in range(5):
        findings.value(Finding(9 - i, "invalid_value", "is not a valid date", "sown", "99999999"))
    assert findings.as_json()["invalid_value"] == [
        {
            "feature": 5,
            "reason": "sown: '99999999' is not a valid date",
            "column": "sown",
            "raw": "99999999",
            "count": 5,
        }
    ]
    for i in range(DISTINCT + 10):
        findings.value(Finding(i + 20, "invalid_value", "is not a number", "area", f"1,{i}"))
    found = findings.of("invalid_value")
    assert len(found) == 1 + DISTINCT + 1
    assert sum(f.count for f in found) == 5 + DISTINCT + 10
    assert found[-1].reason == "area: other values, not listed"


ODD = {
    "sentinel": (
        pa.array([253402300799], pa.timestamp("s", "Europe/Paris")),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    ),
    "views": (pa.array(["Łąka"], pa.string_view()), "Łąka"),
    "nan": (pa.array([{"ndvi": float("nan")}]), {"ndvi": None}),
    "nul": (pa.array([{"n": "x\0y"}]), {"n": "xy"}),
    "late": (pa.array([3_000_000], pa.int32()).cast(pa.date32()), None),
}


@pytest.mark.postgis
def test_no_file_passes_inspect_and_fails_load(
    database: Database, conn: psycopg.Connection, tables: Tables, tmp_path: Path
) -> None:
    path = geoparquet(tmp_path / "odd.parquet", {name: column for name, (column, _) in ODD.items()})
    conn.execute("SET TimeZone = 'UTC'")
    looked = check(read(path)).as_json()
    would = load(conn, tables, path, Options(), check_only=True)
    done = load(conn, tables, path, Options())
    assert looked == would.findings == done.findings
    assert [f["column"] for f in done.findings["invalid_value"]] == ["late", "nan"]
    assert [f["column"] for f in done.findings["changed_text"]] == ["nul"]
    stored = rows(conn, "SELECT sentinel, views, nan, nul, late FROM parcels_2021")
    assert stored == [tuple(expected for _, expected in ODD.values())]
    assert rows(conn, "SELECT findings FROM parcel_sets") == [(done.findings,)]
    run = CliRunner().invoke
    for command in (["inspect", str(path)], ["load", str(path), "--check", "--attribute", "late"]):
        result = run(cbmctl, ["--config", str(database.config_path), "parcels", *command])
        assert "1 (late: '10183-09-21' is outside the years 1 to 9999)" in result.output


@pytest.mark.postgis
@pytest.mark.usefixtures("tables")
def test_a_file_without_a_parcel_to_load_fails_inspect_as_it_fails_load(
    database: Database, tmp_path: Path
) -> None:
    line = shapely.Polygon([(500000, 6000000), (500100, 6000000), (500000, 6000000)])
    path = write(tmp_path / "lines.gpkg", [line] * 3)
    run = CliRunner().invoke
    options = ["--config", str(database.config_path), "--json", "parcels"]
    inspected = run(cbmctl, [*options, "inspect", str(path)])
    loaded = run(cbmctl, [*options, "load", str(path), "--check"])
    assert str(inspected.exception) == str(loaded.exception)
    assert "has no parcels to load (all are refused: " in str(inspected.exception)
    told = json.loads(inspected.stdout)
    assert told["error"] == inspected.exception.data()
    # the reasons are shown beside the problem
    assert (told["parcels"]["features"], told["parcels"]["loadable"]) == (3, 0)
    assert len(told["parcels"]["findings"]["refused"]) == 3


REPORTED = (
    *(
        "sentinel_dates3.parquet",
        "date_big.parquet",
        "views.parquet",
        "nested_nan.parquet",
        "nested_nul.parquet",
    ),
    *("dates.gpkg", "text_in_number.gpkg", "domain.gpkg", "domain_hole.gpkg"),
    *("dbf_values/parcels.shp", "wide_ids/parcels.shp", "cpg_oem852/parcels.shp", "nocpg_1253/parcels.shp"),
)


@pytest.mark.postgis
def test_reported_files_load_as_they_are_inspected(
    conn: psycopg.Connection, tables: Tables, testdata: Path
) -> None:
    conn.execute("SET TimeZone = 'UTC'")
    for name in REPORTED:
        path = testdata / "reports" / name
        table, findings = read(path), Findings()
        expected = [row for piece, _ in cleaned(table, findings) for row in piece]
        assert load(conn, tables, path, Options()).findings == findings.as_json(), name
        assert [row[1:-1] for row in in_file_order(conn, table)] == expected, name


def domain_geopackage(path: Path, codes: list[int | None]) -> Path:
    """A layer whose integer column has a coded-value domain that lists 1, 2 and 7."""
    write(path, fields(len(codes)), crop=pa.array(codes, pa.int32()))
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(
            """
            CREATE TABLE gpkg_data_columns (table_name TEXT, column_name TEXT, name TEXT, title TEXT,
                description TEXT, mime_type TEXT, constraint_name TEXT,
                PRIMARY KEY (table_name, column_name));
            CREATE TABLE gpkg_data_column_constraints (constraint_name TEXT, constraint_type TEXT, value TEXT,
                min NUMERIC, min_is_inclusive BOOLEAN,
                max NUMERIC, max_is_inclusive BOOLEAN, description TEXT);
            INSERT INTO gpkg_extensions VALUES ('gpkg_data_columns', NULL, 'gpkg_schema', 'x', 'read-write'),
                ('gpkg_data_column_constraints', NULL, 'gpkg_schema', 'x', 'read-write');
            INSERT INTO gpkg_data_columns VALUES ('parcels', 'crop', NULL, NULL, NULL, NULL, 'crops');
            INSERT INTO gpkg_data_column_constraints VALUES ('crops', 'enum', '1', 0, 0, 0, 0, 'Barley'),
                ('crops', 'enum', '2', 0, 0, 0, 0, 'Wheat'), ('crops', 'enum', '7', 0, 0, 0, 0, 'Grass');
            """
        )
    return path


def test_codes_of_a_domain_stay_codes(tmp_path: Path, testdata: Path) -> None:
    codes = [1, 2, 7, 5, 99, None, 0, -5, 100_000]
    path = domain_geopackage(tmp_path / "domain.gpkg", codes)
    assert "dictionary" in str(pyogrio.read_arrow(path)[1].schema.field("crop").type), "GDAL gives texts"
    assert read(path).attributes["crop"].to_pylist() == codes
    assert read(path, where="crop > 6").attributes["crop"].to_pylist() == [7, 99, 100_000]
    assert stored_as(read(path).attributes.schema.field("crop").type) == "int4"
    for name, code in (("domain.gpkg", 99), ("domain_hole.gpkg", 5)):
        assert read(testdata / "reports" / name).attributes["crop"].to_pylist() == [1, 2, 7, code]


@pytest.mark.parametrize("fid", [pa.array([1, 1, 2]), pa.array(["x1", "x2", "x3"])], ids=["doubled", "text"])
def test_where_with_attributes_called_fid_and_geom(tmp_path: Path, fid: pa.Array) -> None:
    columns = {"fid": fid, "Geom": pa.array(["p", "q", "r"]), "crop": pa.array(["a", "b", "a"])}
    path = geoparquet(tmp_path / "fid.parquet", columns)
    kept = read(path, where="crop = 'a' AND geom <> 'x'").attributes.to_pydict()
    assert kept == {"fid": fid.take([0, 2]).to_pylist(), "Geom": ["p", "r"], "crop": ["a", "a"]}


@pytest.mark.parametrize(
    ("column", "condition"),
    [
        (pa.array([2**64 - 1, 2**64 - 2, 1], pa.uint64()), "a = '18446744073709551615'"),
        (pa.array([Decimal(10) ** 19 + 1, Decimal(10) ** 19, None]), "a = '10000000000000000001'"),
        (pa.array([Decimal("1.5"), Decimal("0.5"), None]), "a > 1"),
        (pa.array([2**64 - 1, 2**64 - 2, 1], pa.uint64()), "a = 18446744073709551615"),
        (pa.array([2**64 - 1, 1, 0], pa.uint64()), "a > 2"),
        (pa.array([Decimal(2**53 + 1), Decimal(2**53), Decimal("0.5")]), "a = 9007199254740993"),
        (pa.array([Decimal(2**53 + 1), Decimal("0.25"), Decimal("0.5")]), "a > 0.5"),
        (pa.array(["x", "y", None], pa.string_view()), "a = 'x'"),
        (pa.array(["x", "y", None]).dictionary_encode(), "a = 'x'"),
        (pa.array([2**32, 1, None], pa.int64()).cast(pa.timestamp("s")), "a > '2100-01-01'"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_where_on_every_type(tmp_path: Path, column: pa.Array, condition: str) -> None:
    nested = pa.array([["x"], [], None], pa.list_(pa.string_view()))
    path = geoparquet(tmp_path / "types.parquet", {"a": column, "b": nested})
    table = read(path, where=condition)
    assert len(table) == 1
    assert table.attributes["b"].to_pylist() == [["x"]]
