"""Values as the file itself has them: no digit lost, and no invalid date or number read as a valid one."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from cbmctl.config import Tables
from cbmctl.errors import UserError
from cbmctl.parcels.files.read_delivery import read
from cbmctl.parcels.geometry_check import check
from cbmctl.parcels.load import Options, load
from tests.support.parcel_files import add_view
from tests.support.parcel_loading import columns, fields, rows, write
from tests.unit.parcels.test_read_delivery import write as write_any


def shapefile(
    path: Path, layout: Mapping[str, tuple[str, int, int]], records: Sequence[Sequence[str]]
) -> Path:
    """A shapefile whose .dbf holds these texts: a name, type, width and decimals for each field."""
    write_any(path, fields(len(records)), driver="ESRI Shapefile")
    head = b"\x03" + bytes(3) + len(records).to_bytes(4, "little")
    length = 1 + sum(width for _, width, _ in layout.values())
    head += (32 + 32 * len(layout) + 1).to_bytes(2, "little") + length.to_bytes(2, "little") + bytes(20)
    for name, (kind, width, decimals) in layout.items():
        head += (
            name.encode().ljust(11, b"\0") + kind.encode() + bytes(4) + bytes([width, decimals]) + bytes(14)
        )
    body = b""
    for record in records:
        body += b" "
        for text, (kind, width, _) in zip(record, layout.values(), strict=True):
            body += text.encode().rjust(width) if kind in "NF" else text.encode().ljust(width)
    path.with_suffix(".dbf").write_bytes(head + b"\r" + body + b"\x1a")
    path.with_suffix(".cpg").write_text("UTF-8")
    return path


def one(
    path: Path, kind: str, width: int, decimals: int, texts: Sequence[str]
) -> tuple[str, list[Any], list[str]]:
    """The Arrow type, values and findings of a shapefile's only attribute."""
    table = read(shapefile(path / "parcels.shp", {"a": (kind, width, decimals)}, [[text] for text in texts]))
    found = [f"{f.feature}x{f.count} {f.reason}" for f in check(table).of("invalid_value")]
    return str(table.attributes["a"].type), table.attributes["a"].to_pylist(), found


LONG = "900719925474099301"


def test_no_digit_of_a_long_identifier_is_lost(tmp_path: Path) -> None:
    kind, values, found = one(tmp_path, "N", 20, 0, [LONG, "12345678901234567890", "", "*" * 20])
    assert values == [Decimal(LONG), Decimal("12345678901234567890"), None, None]
    assert (kind, found) == ("decimal128(38, 0)", [])
    assert one(tmp_path, "N", 18, 0, [LONG])[:2] == ("int64", [int(LONG)])
    assert one(tmp_path, "N", 24, 2, [LONG + ".5", "1.25"])[1] == [Decimal(LONG + ".5"), Decimal("1.25")]
    assert one(tmp_path, "N", 24, 15, ["0.123456789012345", "1e3"])[:2] == (
        "double",
        [0.123456789012345, 1000.0],
    )
    assert one(tmp_path, "N", 80, 0, ["9" * 78])[1] == ["9" * 78]


def test_numbers_that_are_none_are_null_and_findings(tmp_path: Path) -> None:
    texts = ["12", "12a", "-", "7", "12a", "5.0"]
    assert one(tmp_path, "N", 9, 0, texts) == (
        "int32",
        [12, None, None, 7, None, 5],
        ["2x2 a: '12a' is not a whole number", "3x1 a: '-' is not a whole number"],
    )
    texts = ["1,5", "1.#INF", "nan", "1e400", "1.5", "+2"]
    assert one(tmp_path, "F", 20, 5, texts)[1:] == (
        [None, None, None, None, 1.5, 2.0],
        [f"{i}x1 a: '{text}' is not a number" for i, text in enumerate(texts[:4], 1)],
    )
    # not declared, but a number all the same
    assert one(tmp_path, "N", 9, 0, ["1.5", "2"])[:2] == ("double", [1.5, 2.0])


def test_dates_that_are_none_are_null_and_findings(tmp_path: Path) -> None:
    texts = ["20210501", "20210231", "00000000", "99999999", "", "01052021", "00010101", "2021-5-1"]
    assert one(tmp_path, "D", 8, 0, texts)[1:] == (
        [date(2021, 5, 1), None, None, None, None, None, date(1, 1, 1), None],
        [f"{i}x1 a: '{texts[i - 1]}' is not a valid date" for i in (2, 4, 6, 8)],
    )
    assert one(tmp_path, "L", 1, 0, ["T", "n", "?", "", "x"])[1:] == (
        [True, False, None, None, None],
        ["5x1 a: 'x' is neither true nor false"],
    )


def test_a_type_that_only_its_program_knows_is_refused(tmp_path: Path) -> None:
    path = shapefile(tmp_path / "parcels.shp", {"a": ("I", 4, 0), "b": ("N", 4, 0)}, [["abcd", "5"]])
    with pytest.raises(UserError, match=r"column a is a binary integer \(type I of dBASE\)"):
        read(path)
    assert read(path, attributes=["b"]).attributes.to_pydict() == {"b": [5]}


def test_where_compares_every_digit(tmp_path: Path) -> None:
    layout = {"id": ("N", 20, 0), "crop": ("C", 5, 0), "memo": ("M", 10, 0)}
    records = [[LONG, "a", ""], [LONG[:-1] + "2", "b", ""], [LONG[:-1] + "3", "c", ""]]
    path = shapefile(tmp_path / "parcels.shp", layout, records)
    assert read(path, where=f"ID = {LONG}", attributes=["crop"]).attributes.to_pydict() == {"crop": ["a"]}
    assert read(path, where=f"id > {LONG}", attributes=["crop"]).attributes.to_pydict() == {
        "crop": ["b", "c"]
    }


def test_where_finds_the_right_records(tmp_path: Path) -> None:
    layout = {"id": ("N", 20, 0), "crop": ("C", 5, 0), "sown": ("D", 8, 0)}
    records = [[LONG, "a", "20210501"], ["2", "b", "20210231"], ["3", "b", "20210502"]]
    table = read(shapefile(tmp_path / "parcels.shp", layout, records), where="crop = 'b'")
    assert table.attributes.to_pydict() == {
        "id": [2, 3],
        "crop": ["b", "b"],
        "sown": [None, date(2021, 5, 2)],
    }
    assert [f.feature for f in check(table).of("invalid_value")] == [1]
    two = [tmp_path / "parcels.shp", shapefile(tmp_path / "others.shp", layout, records)]
    assert [f.count for f in check(read(two)).of("invalid_value")] == [2]


def geopackage(path: Path, declared: Mapping[str, str], records: Sequence[Sequence[Any]]) -> Path:
    """A GeoPackage whose columns are declared so, and hold these values."""
    write(path, fields(len(records)), number=pa.array(range(len(records))))
    with closing(sqlite3.connect(path)) as db, db:
        for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f'DROP TRIGGER "{trigger}"')
        for i, (name, kind) in enumerate(declared.items()):
            db.execute(f'ALTER TABLE parcels ADD COLUMN "{name}" {kind}')
            for row, record in enumerate(records):
                db.execute(f'UPDATE parcels SET "{name}" = ? WHERE number = ?', [record[i], row])
    return path


def column(path: Path, kind: str, *texts: Any) -> tuple[str, list[Any], list[str]]:
    table = read(geopackage(path / "parcels.gpkg", {"a": kind}, [[text] for text in texts]))
    found = [f.reason for f in check(table).of("invalid_value")]
    return str(table.attributes["a"].type), table.attributes["a"].to_pylist(), found


BIG = 2**53 + 1
PRECISE = datetime(2021, 5, 1, 10, 0, 0, 123456, UTC)


@pytest.mark.parametrize(
    ("kind", "given", "arrow", "expected"),
    [
        ("MEDIUMINT", [BIG, 1, None], "int64", [BIG, 1, None]),
        ("SMALLINT", [99999], "int64", [99999]),
        ("MEDIUMINT", [1.5, 2], "double", [1.5, 2.0]),
        ("FLOAT", [0.1, 123456789], "double", [0.1, 123456789.0]),
        # columns of these types are left out by GDAL
        ("BIGINT", [BIG, None], "int64", [BIG, None]),
        ("NUMERIC(20,0)", [BIG, 5], "int64", [BIG, 5]),
        ("NUMERIC(20,2)", [BIG, 0.25], "decimal128(38, 2)", [Decimal(BIG), Decimal("0.25")]),
        ("VARCHAR(20)", ["a", None], "string", ["a", None]),
        ("DATE", [20210501], "date32[day]", [date(2021, 5, 1)]),
        ("BOOLEAN", ["true", "False", 1], "bool", [True, False, True]),
        ("DATE", ["2021/05/01", "2021-5-1"], "date32[day]", [date(2021, 5, 1)] * 2),
        (
            "DATETIME",
            ["2021-05-01T00:00:00+02:00", "2021-05-01 10:00:00", "2021-05-01T10:00:00.123456Z"],
            "timestamp[us, tz=UTC]",
            [datetime(2021, 4, 30, 22, 0, 0, 0, UTC), datetime(2021, 5, 1, 10, 0, 0, 0, UTC), PRECISE],
        ),
    ],
    ids=str,
)
def test_a_geopackage_gives_what_sqlite_holds(
    tmp_path: Path, kind: str, given: list[Any], arrow: str, expected: list[Any]
) -> None:
    assert column(tmp_path, kind, *given) == (arrow, expected, [])


@pytest.mark.parametrize(
    ("kind", "good", "bad", "reason"),
    [
        ("REAL", 1.5, ["1,75", "n/a", ""], "is not a number"),
        ("MEDIUMINT", 1, ["12a", "", float("inf")], "is not a whole number"),
        ("BOOLEAN", True, [7, "yes"], "is neither true nor false"),
        ("DATE", date(2021, 5, 1), ["2021-13-45", "0000-00-00", "2021-02-30", 5], "is not a valid date"),
        (
            "DATETIME",
            datetime(2021, 5, 1, tzinfo=UTC),
            ["0000-00-00T00:00:00.000Z", "2021-02-30T00:00:00Z", "soon"],
            "is not a valid date and time",
        ),
    ],
)
def test_values_of_another_type_are_null_and_findings(
    tmp_path: Path, kind: str, good: Any, bad: list[Any], reason: str
) -> None:
    stored = good.isoformat().replace("+00:00", "Z") if isinstance(good, date) else good
    _, values, found = column(tmp_path, kind, stored, *bad)
    assert values == [good, *[None] * len(bad)]
    assert found == [f"a: '{raw}' {reason}" for raw in bad]


def test_columns_that_gdal_leaves_out_keep_their_place(tmp_path: Path) -> None:
    declared = {"id": "BIGINT", "crop": "TEXT", "area": "DECIMAL(10,2)"}
    path = geopackage(tmp_path / "a.gpkg", declared, [[BIG, "a", 0.5], [BIG + 1, "b", 1.5]])
    assert read(path, where=f"id = {BIG + 1}").attributes.to_pydict() == {
        "number": [1],
        "id": [BIG + 1],
        "crop": ["b"],
        "area": [1.5],
    }
    assert read(path, attributes=["area", "crop"]).attributes.column_names == ["area", "crop"]
    with pytest.raises(UserError, match=r"no attribute size\. Use any of number, "):
        read(path, attributes=["size"])


def test_a_primary_key_with_a_name_of_its_own_is_an_attribute(tmp_path: Path) -> None:
    path = geopackage(tmp_path / "a.gpkg", {}, [[], []])
    assert read(path).attributes.to_pydict() == {"number": [0, 1]}
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("ALTER TABLE parcels RENAME COLUMN fid TO parcel_id")
        db.execute(f"UPDATE parcels SET parcel_id = parcel_id + {BIG}")
    assert read(path).attributes.to_pydict() == {"parcel_id": [BIG + 1, BIG + 2], "number": [0, 1]}
    assert read(path, where="number = 1", attributes=["parcel_id"]).attributes.to_pydict() == {
        "parcel_id": [BIG + 2]
    }


def test_layers_of_which_one_has_long_numbers_are_one_table(tmp_path: Path) -> None:
    one = shapefile(tmp_path / "a.shp", {"id": ("N", 20, 0)}, [[LONG], ["5"]])
    two = shapefile(tmp_path / "b.shp", {"id": ("N", 9, 0)}, [["7"]])
    assert read([one, two]).attributes["id"].to_pylist() == [Decimal(LONG), 5, 7]


def test_values_of_a_view_are_its_own(tmp_path: Path) -> None:
    path = geopackage(tmp_path / "a.gpkg", {"a": "MEDIUMINT"}, [[1], [BIG], ["x"]])
    add_view(path, "geom, number, a")
    assert read(path, layer="v").attributes["a"].to_pylist() == [1, BIG, None]
    assert read(path, layer="v", where="number > 0").attributes["a"].to_pylist() == [BIG, None]


def test_reported_files(testdata: Path) -> None:
    def values(name: str) -> list[dict[str, Any]]:
        return read(testdata / "reports" / name).attributes.to_pylist()  # type: ignore[no-any-return]

    assert [str(row["PARCEL_ID"]) for row in values("wide_ids/parcels.shp")] == [
        "900719925474099301",
        "900719925474099302",
        "900719925474099303",
    ]
    assert [row["D"] for row in values("dbf_values/parcels.shp")] == [
        *(date(2021, 5, 1), None, None, None, None, date(1, 1, 1), None, None)
    ]
    assert [row["F"] for row in values("dbf_values/parcels.shp")] == [None, 1.5, *[None] * 4, 1.0, 1.0]
    assert [row["d"] for row in values("dates.gpkg")] == [date(9999, 12, 31), date(1, 1, 1), None, None]
    assert values("dates.gpkg")[3]["t"] == datetime(2021, 4, 30, 22, tzinfo=UTC)
    assert [(row["area"], row["code"]) for row in values("text_in_number.gpkg")] == [
        (1.5, 1),
        (None,) * 2,
        (None,) * 2,
    ]


@pytest.mark.postgis
def test_identifiers_and_dates_in_the_table(conn: psycopg.Connection, tables: Tables, tmp_path: Path) -> None:
    layout = {"id": ("N", 20, 0), "sown": ("D", 8, 0)}
    path = shapefile(tmp_path / "parcels.shp", layout, [[LONG, "20210501"], [LONG[:-1] + "2", "20210231"]])
    would = load(conn, tables, path, Options(), check_only=True)
    done = load(conn, tables, path, Options())
    assert would.findings == done.findings == check(read(path)).as_json()
    assert columns(conn)["id"] == "numeric"
    assert rows(conn, "SELECT id, sown FROM parcels_2021") == [
        (Decimal(LONG), date(2021, 5, 1)),
        (Decimal(LONG) + 1, None),
    ]
    assert done.findings["invalid_value"] == [
        {
            "feature": 2,
            "reason": "sown: '20210231' is not a valid date",
            "column": "sown",
            "raw": "20210231",
            "count": 1,
        }
    ]


def test_the_bytes_of_many_records_are_looked_at_at_once(tmp_path: Path) -> None:
    texts = [str(n) for n in np.arange(3000)]
    assert one(tmp_path, "N", 9, 0, texts) == ("int32", list(range(3000)), [])
