"""Dates with something behind them: a valid time or zone is understood, anything else is a finding."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from cbmctl.parcels.files.raw.corrections import Corrections
from cbmctl.parcels.files.raw.written import date_of, dates
from cbmctl.parcels.files.read_delivery import read
from cbmctl.parcels.geometry_check import check
from tests.unit.parcels.test_raw import column, geopackage, shapefile

AFTER_A_DATE = [
    "2021-05-01 / 2021-06-01",
    "2021-05-01 (approx.)",
    "20210501 x",
    "2021-05-01 2021",
    "20210501T256000",
]


@pytest.mark.parametrize("text", [*AFTER_A_DATE, "2021-05-01 25:00", "2021-05-01T10:60", "2021-05-01+0200 x"])
def test_a_date_followed_by_other_text_is_invalid(text: str) -> None:
    assert date_of(text) is None


@pytest.mark.parametrize(
    "after",
    ["", "Z", "+02:00", "T00:00:00", " 00:00", "T00:00:00.000Z", "T00:00:00+02", "T13:45", "T134500Z"],
)
def test_a_valid_time_or_zone_may_follow_a_date(after: str) -> None:
    assert date_of(f"2021-05-01{after}") == date(2021, 5, 1)
    assert date_of(f"20210501{after}") == date(2021, 5, 1)


def test_text_after_a_date_is_a_finding(tmp_path: Path) -> None:
    assert column(tmp_path, "DATE", "2021-05-01 00:00:00", *AFTER_A_DATE)[1:] == (
        [date(2021, 5, 1), *[None] * len(AFTER_A_DATE)],
        [f"a: '{text}' is not a valid date" for text in AFTER_A_DATE],
    )
    texts = ["20210501", "20210501 x", "2021050", "20210501T134500"]
    dbf = read(shapefile(tmp_path / "parcels.shp", {"a": ("D", 15, 0)}, [[text] for text in texts]))
    assert dbf.attributes["a"].to_pylist() == [date(2021, 5, 1), None, None, date(2021, 5, 1)]


def test_a_time_in_a_column_of_dates_is_a_finding(tmp_path: Path) -> None:
    given = ["2021-05-01T13:45:00", "2021-05-02T00:00:00Z", "2021-02-31T13:45:00", None, "2021-05-01 23:00"]
    table = read(geopackage(tmp_path / "a.gpkg", {"a": "DATE"}, [[text] for text in given]))
    days = [date(2021, 5, 1), date(2021, 5, 2), None, None, date(2021, 5, 1)]
    assert table.attributes["a"].to_pylist() == days
    reason = "has a time, which a column of dates cannot hold"
    assert [(f.feature, f.reason) for f in check(table).of("changed_text")] == [
        (1, f"a: '{given[0]}' {reason}"),
        (5, f"a: '{given[4]}' {reason}"),
    ]
    fix = Corrections(pa.table({"a": pa.array([None] * len(given), pa.date32())}))
    dates(fix, "a", pa.array(given))
    assert fix.table["a"].to_pylist() == days
    assert [(f.feature, f.kind) for f in fix.found] == [
        (3, "invalid_value"),
        (1, "changed_text"),
        (5, "changed_text"),
    ]
