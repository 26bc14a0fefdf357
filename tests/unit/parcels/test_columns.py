"""Attributes on their way into the parcel table: names, types, letters."""

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from pyproj import CRS

from cbmctl.config import Tables
from cbmctl.errors import UserError
from cbmctl.parcels.files.read_delivery import read
from cbmctl.parcels.load import Options, load
from tests.support.parcel_loading import columns, fields, in_file_order, rows, write
from tests.unit.parcels.test_national import NATIONAL

pytestmark = pytest.mark.postgis


def test_danish_parcels_with_their_letters(conn: psycopg.Connection, tables: Tables, testdata: Path) -> None:
    path = testdata / "parcels/dk_gsaa2016/marker2016_small.shp"
    loaded = load(conn, tables, path, Options())
    assert (loaded.changed, loaded.parcels, loaded.srid) == (True, 276, 32632)
    assert columns(conn) == {
        "ogc_fid": "integer",
        "gb": "double precision",
        "geometrisk": "double precision",
        "journalnum": "text",
        "marknummer": "text",
        "afgkode": "bigint",
        "afgroede": "text",
        "wkb_geometry": "geometry(MultiPolygon,32632)",
    }
    assert rows(conn, "SELECT min(ogc_fid), max(ogc_fid), count(*) FROM parcels_2021") == [(1, 276, 276)]
    assert rows(conn, "SELECT count(*) FROM parcels_2021 WHERE afgroede = 'Vårbyg'")[0][0] > 0
    assert rows(conn, "SELECT Find_SRID('', 'parcels_2021', 'wkb_geometry')") == [(32632,)]
    assert {
        name for (name,) in rows(conn, "SELECT indexname FROM pg_indexes WHERE tablename = 'parcels_2021'")
    } == {
        "parcels_2021_pkey",
        "parcels_2021_wkb_geometry_geom_idx",
    }
    # analysed: the planner knows the number of rows
    assert rows(conn, "SELECT reltuples FROM pg_class WHERE relname = 'parcels_2021'") == [(276.0,)]
    assert [f["feature"] for f in loaded.findings["sliver"]] == [9, 100, 171, 269]


def test_national_files_arrive_as_they_are(conn: psycopg.Connection, tables: Tables, testdata: Path) -> None:
    for name, features, srid, layer in NATIONAL:
        path = testdata / "parcels/gsaa_by_country" / name
        loaded = load(conn, tables, path, Options(layer=layer))
        assert (loaded.parcels, loaded.srid) == (features, srid), name
        kinds = rows(
            conn, "SELECT DISTINCT ST_SRID(wkb_geometry), ST_IsValid(wkb_geometry) FROM parcels_2021"
        )
        assert kinds == [(srid, True)], name
        table = read(path, layer=layer)
        stored = in_file_order(conn, table)
        assert sorted(row[0] for row in stored) == list(range(1, features + 1)), name
        original = shapely.force_2d(shapely.from_wkb(table.geometry.to_pylist()))
        assert shapely.equals(shapely.from_wkb([row[-1] for row in stored]), original).all(), name
        for i, attribute in enumerate(table.attributes.column_names, start=1):
            expected = table.attributes.column(attribute).to_pylist()
            assert _comparable([row[i] for row in stored]) == _comparable(expected), (name, attribute)


def _comparable(values: list[Any]) -> list[Any]:
    return [np.float32(v) if isinstance(v, float) else v for v in values]


def test_reserved_and_odd_names(conn: psycopg.Connection, tables: Tables, tmp_path: Path) -> None:
    odd = {
        "OGC_FID_": [1],
        "Band": ["x"],
        "count": [2],
        "mean": [0.5],
        "xmin": [3],
        "crop:code": ["a"],
        "crop code": ["b"],
    }
    path = write(tmp_path / "odd.gpkg", fields(1), **odd, **{"2021": [1], "Größe": [4], "a" * 70: [5]})
    loaded = load(conn, tables, path, Options())
    assert list(columns(conn))[1:-1] == [
        *(
            "ogc_fid_",
            "band_",
            "count_",
            "mean_",
            "xmin_",
            "crop_code",
            "crop_code_2",
            "_2021",
            "größe",
            "a" * 63,
        ),
    ]
    assert [c.name for c in loaded.columns if c.renamed] == [
        *("band_", "count_", "mean_", "xmin_", "crop_code", "crop_code_2", "_2021", "a" * 63),
    ]


def test_every_type_of_arrow(conn: psycopg.Connection, tables: Tables, tmp_path: Path) -> None:
    values = {
        "i1": pa.array([-5], pa.int8()),
        "u4": pa.array([2**32 - 1], pa.uint32()),
        "u8": pa.array([2**64 - 1], pa.uint64()),
        "f4": pa.array([0.5], pa.float32()),
        "truth": pa.array([True]),
        "text": pa.array(["a\0b"]),
        "word": pa.array(["æ"]).dictionary_encode(),
        "money": pa.array([Decimal("1.50")], pa.decimal128(10, 2)),
        "day": pa.array([date(2021, 3, 5)]),
        "ns": pa.array([1_614_938_400_000_000_123], pa.timestamp("ns")),
        "utc": pa.array([datetime(2021, 3, 5, tzinfo=UTC)], pa.timestamp("ms", "UTC")),
        "clock": pa.array([time(10, 30)], pa.time64("us")),
        "blob": pa.array([b"\x00\xff"]),
        "list": pa.array([["a", "b"]]),
        "record": pa.array([{"d": date(2021, 3, 5)}]),
        "nothing": pa.nulls(1),
    }
    table = pa.table({**values, "geometry": pa.array(shapely.to_wkb(fields(1)), pa.binary())})
    column = {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": CRS.from_epsg(25832).to_json_dict()}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    path = tmp_path / "types.parquet"
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    load(conn, tables, path, Options())
    stored = conn.execute("SELECT * FROM parcels_2021").fetchone()
    assert stored is not None
    assert stored[1:-1] == (
        *(-5, 2**32 - 1, Decimal(2**64 - 1), 0.5, True, "ab", "æ", Decimal("1.50"), date(2021, 3, 5)),
        *(datetime(2021, 3, 5, 10, 0), datetime(2021, 3, 5, tzinfo=UTC), time(10, 30), b"\x00\xff"),
        *(["a", "b"], {"d": "2021-03-05"}, None),
    )


def test_chosen_attributes(conn: psycopg.Connection, tables: Tables, testdata: Path) -> None:
    path = testdata / "parcels/dk_gsaa2016/marker2016_small.shp"
    load(conn, tables, path, Options(attributes=("Afgroede",)))
    assert list(columns(conn)) == ["ogc_fid", "afgroede", "wkb_geometry"]
    with pytest.raises(UserError, match=r"no attribute afgroede\. Use any of GB, GEOMETRISK"):
        load(conn, tables, path, Options(attributes=("afgroede",)))
