"""Layers of one schema become one table, whose columns hold every value of all of them."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from cbmctl.errors import UserError
from cbmctl.parcels.files.join_layers import _wider, together
from cbmctl.parcels.files.read_delivery import read
from tests.support.parcel_files import write

MANY = pa.decimal128(20, 0)


def test_columns_are_matched_by_name(tmp_path: Path) -> None:
    first = write(tmp_path / "a.gpkg", 2, code=pa.array([1, 2], pa.int32()), crop=["x", "y"])
    second = write(tmp_path / "b.gpkg", 2, crop=["v", "w"], code=pa.array([3, 1 << 40], pa.int64()))
    assert read([first, second]).attributes.to_pydict() == {
        "code": [1, 2, 3, 1 << 40],
        "crop": ["x", "y", "v", "w"],
        "source_layer": ["a", "a", "b", "b"],
    }


def test_the_column_of_the_layer_does_not_hide_one_of_the_file(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{name}.gpkg", 1, Source_Layer=["own"]) for name in "ab"]
    assert read(paths).attributes.to_pydict() == {"Source_Layer": ["own"] * 2, "source_layer_": ["a", "b"]}


@pytest.mark.parametrize(
    ("one", "other", "wider"),
    [
        (pa.int32(), pa.int64(), pa.int64()),
        (pa.int64(), MANY, MANY),
        (pa.decimal128(10, 2), pa.int64(), pa.decimal128(21, 2)),
        (pa.decimal128(38, 0), pa.decimal128(10, 8), pa.decimal256(46, 8)),
        (pa.decimal256(76, 76), pa.int64(), None),
        (pa.uint8(), pa.uint32(), pa.uint32()),
        (pa.uint64(), pa.int8(), MANY),
        (pa.int32(), pa.float64(), pa.float64()),
        (pa.int64(), pa.float64(), None),
        (pa.string(), pa.large_string(), pa.large_string()),
        (pa.null(), pa.date32(), pa.date32()),
        (pa.int32(), pa.string(), None),
        (pa.date32(), pa.timestamp("ms"), None),
    ],
)
def test_a_type_that_holds_every_value_exactly_or_none(
    one: pa.DataType, other: pa.DataType, wider: pa.DataType | None
) -> None:
    assert (_wider(one, other), _wider(other, one)) == (wider, wider)


def test_long_numbers_of_one_region_keep_their_digits(tmp_path: Path) -> None:
    pieces = [read(write(tmp_path / f"{name}.gpkg", 2, code=[1, (1 << 63) - 1])) for name in "ab"]
    long = pa.array([Decimal("12345678901234567890"), None], MANY)
    pieces[1] = replace(pieces[1], attributes=pa.table({"code": long}))
    assert together("ab", pieces).attributes["code"].to_pylist() == [
        Decimal(1),
        Decimal((1 << 63) - 1),
        Decimal("12345678901234567890"),
        None,
    ]


def test_layers_that_differ_are_refused_with_the_difference(tmp_path: Path) -> None:
    first = write(tmp_path / "a.gpkg", 2, code=[1, 2], crop=["x", "y"])
    second = write(tmp_path / "b.gpkg", 2, code=[1, 2], kind=["x", "y"])
    with pytest.raises(UserError, match=r"columns of a and b differ \(only a has crop; only b has kind\)"):
        read([first, second])
    assert read([first, second], attributes=["code"]).attributes["code"].to_pylist() == [1, 2, 1, 2]
    third = write(tmp_path / "c.gpkg", 2, code=["1", "2"], crop=["x", "y"])
    with pytest.raises(UserError, match="column code is int64 in a, but string in c"):
        read([first, third])
    fourth = write(tmp_path / "d.gpkg", 2, code=[1, 2], crop=["x", "y"], crs="EPSG:25833")
    with pytest.raises(UserError, match="a is in EPSG:25832, d in EPSG:25833"):
        read([first, fourth])
