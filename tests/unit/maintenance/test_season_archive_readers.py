"""Archives of a season are read by other programs, as the guides say: DuckDB and pandas."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests import peers
from tests.conftest import REPOSITORY, Database
from tests.support.season_archives import FILES, done, fill, rows

pytestmark = pytest.mark.postgis

PARCELS = 45  # more than the parcel that the guide names
DUCKDB = """
import json, os, sys
import duckdb
os.chdir(sys.argv[1])
print(json.dumps(duckdb.sql(sys.argv[2]).fetchall()))
"""
PANDAS = """
import json, os, sys
import pandas
os.chdir(sys.argv[1])
sizes = {name: len(pandas.read_parquet(name)) for name in sys.argv[3:]}
series = pandas.read_parquet("sigs_s2.parquet", filters=[("pid", "==", int(sys.argv[2]))])
print(json.dumps([sizes, series.astype(object).where(series.notna(), None).values.tolist()]))
"""
FIGURES = ", ".join(
    f"nullif(s.{name}, 'NaN')::float8" for name in ("count", "mean", "std", "min", "max", "p25", "p50", "p75")
)
SERIES = f"""SELECT pid, obsid, band::text, {FIGURES}
    FROM sigs s JOIN dias_catalogue d ON d.id = obsid WHERE card = 's2' AND pid = %s ORDER BY obsid, band"""


def promised() -> str:
    """The statement in the operator's guide."""
    text = (REPOSITORY / "docs" / "operator.md").read_text()
    (statement,) = re.findall(r"DuckDB reads a parcel's series with\s+`([^`]+)`", text)
    return str(statement)


@pytest.fixture
def season(database: Database, tmp_path: Path) -> Database:
    fill(database, parcels=PARCELS)
    done(database, "archive", tmp_path / "2021")
    return database


def expected(season: Database) -> list[list[Any]]:
    return [list(row) for row in rows(season, SERIES, 42)]


def without_nan(found: list[list[Any]]) -> list[list[Any]]:
    return [[None if value != value else value for value in row] for row in found]  # noqa: PLR0124


def test_duckdb_reads_a_series_as_the_guide_says(season: Database, tmp_path: Path) -> None:
    found = json.loads(peers.run("python", "-c", DUCKDB, str(tmp_path / "2021"), promised()))
    assert without_nan(found) == expected(season)
    joined = (
        "SELECT crop, count(*) FROM 'parcels.parquet' p JOIN 'hists_s2.parquet' h ON h.pid = p.ogc_fid"
        " JOIN 'dias_catalogue.parquet' d ON d.id = h.obsid WHERE h.hist::json->>'4' = '42' GROUP BY crop"
    )
    assert json.loads(peers.run("python", "-c", DUCKDB, str(tmp_path / "2021"), joined)) == [["wheat 42", 5]]


def test_pandas_reads_all_files(season: Database, tmp_path: Path) -> None:
    files = sorted(name for name in FILES if name.endswith(".parquet"))
    sizes, series = json.loads(peers.run("python", "-c", PANDAS, str(tmp_path / "2021"), "42", *files))
    counted = {
        name: rows(season, f"SELECT count(*) FROM {name.partition('.')[0]}")[0][0]
        for name in ("dias_catalogue.parquet", "tasks.parquet")
    }
    assert sizes["parcels.parquet"] == PARCELS
    assert {name: sizes[name] for name in counted} == counted
    for table in ("sigs", "hists"):
        (total,) = rows(season, f"SELECT count(*) FROM {table}")[0]
        assert sum(size for name, size in sizes.items() if name.startswith(table)) == total
    assert series == expected(season)
