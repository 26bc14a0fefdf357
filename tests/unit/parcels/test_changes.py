"""What a changed file changes: how many parcels stay, are new or gone, and with which successors."""

from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
import shapely
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cbmctl.cli import cbmctl, commands  # noqa: F401  (the commands register themselves)
from cbmctl.config import Tables
from cbmctl.database import query
from cbmctl.errors import UserError
from cbmctl.parcels.changes import SUCCESSORS, Changes, changes
from cbmctl.parcels.files.columns import Column
from cbmctl.parcels.load import Options, load
from tests.conftest import Database
from tests.support.effort import examples
from tests.support.parcel_loading import PARCELS, Keyed, fields, rows, stage_and_store, write

pytestmark = pytest.mark.postgis

Parcel = tuple[int, int, int, int, str, str]  # west, south, width, height, key, name

SIDE = st.integers(1, 12)
PLACE = st.integers(0, 12)
SETS = st.lists(
    st.tuples(PLACE, PLACE, SIDE, SIDE, st.sampled_from("abcdef"), st.sampled_from("xy")), max_size=7
)


def box(parcel: Parcel) -> shapely.Polygon:
    west, south, width, height, *_ = parcel
    return shapely.box(west, south, west + width, south + height)


def keyed(parcels: list[Parcel]) -> list[Keyed]:
    return [(p[4], p[5], shapely.MultiPolygon([box(p)])) for p in parcels]


def counted(
    conn: psycopg.Connection, file: list[Parcel], table: list[Parcel], *, by_key: bool
) -> tuple[Changes | None, dict[tuple[int, int], float | None]]:
    with conn.transaction(force_rollback=True):
        stage_and_store(conn, keyed(file), keyed(table))
        columns = [Column("key", "key", "text"), Column("name", "name", "text")]
        found = changes(conn, PARCELS, columns, 25832, key="key" if by_key else None)
        links = conn.execute(query("SELECT * FROM {links}", links=SUCCESSORS)).fetchall() if found else []
    return found, {(feature, ogc_fid): share for feature, ogc_fid, share in links}


@examples(40)
@given(file=SETS, table=SETS, by_key=st.booleans())
def test_counts_and_successors(
    bare: psycopg.Connection, *, file: list[Parcel], table: list[Parcel], by_key: bool
) -> None:
    found, links = counted(bare, file, table, by_key=by_key)
    if not table:
        assert found is None, "an empty table has no coordinate system to compare"
        return
    assert found is not None
    same = Counter(p[:4] for p in file) & Counter(p[:4] for p in table)
    whole = Counter(file) & Counter(table)
    assert (found.before, found.unchanged + found.edited) == (len(table), same.total())
    assert found.unchanged == whole.total()
    assert (found.gone, found.new) == (len(table) - same.total(), len(file) - same.total())
    # of duplicates any may be the one that stays
    new = {i for i, p in enumerate(file) if p[:4] not in same}
    gone = {i for i, p in enumerate(table) if p[:4] not in same}
    shares = {
        (f, p): box(file[f]).intersection(box(table[p])).area / min(box(file[f]).area, box(table[p]).area)
        for f in new
        for p in gone
    }
    expected = {
        (f, p): pytest.approx(share) if share >= 0.1 else None
        for (f, p), share in shares.items()
        if share >= 0.1 or (by_key and file[f][4] == table[p][4])
    }
    assert {(f, p): share for (f, p), share in links.items() if f in new and p in gone} == expected
    assert found.gone_without_successor == found.gone - len({p for _, p in links})
    assert found.new_without_predecessor == found.new - len({f for f, _ in links})


@pytest.fixture
def season(conn: psycopg.Connection, tables: Tables, tmp_path: Path) -> list[Any]:
    """Twenty parcels with a statistic; returns their polygons."""
    drawn = fields(20)
    load(conn, tables, write(tmp_path / "first.gpkg", drawn, id=list(range(20)), crop=["a"] * 20), Options())
    use(conn)
    return drawn


def use(conn: psycopg.Connection) -> None:
    """Add a statistic of the first parcel."""
    conn.execute(
        """INSERT INTO dias_catalogue (id, obstime, reference, sensor, card)
           VALUES (1, '2021-03-05', 'a', '2A', 's2');
           INSERT INTO sigs (pid, obsid, band, count) VALUES (1, 1, 'B02', 9)"""
    )


def test_the_check_of_a_changed_file_says_what_it_changes(
    database: Database, conn: psycopg.Connection, season: list[Any], tmp_path: Path
) -> None:
    west, south, east, north = season[0].bounds
    halves = [shapely.box(west, south, west + 75, north), shapely.box(west + 75, south, east, north)]
    merged = shapely.union_all(season[1:3]).envelope
    drawn = [*halves, merged, *season[4:], shapely.box(0, 6_100_000, 100, 6_100_100)]
    path = write(
        tmp_path / "changed.gpkg", drawn, id=list(range(100, 100 + len(drawn))), crop=["a"] * 18 + ["b"] * 2
    )
    said = (
        "Of 20 parcels, 0 are unchanged, 16 have other attributes, 4 are gone (1 without a successor);"
        " 4 are new (1 without a predecessor)."
    )
    config = ["--config", str(database.config_path), "parcels", "load", str(path)]
    for more in (["--check", "--accept-removals"], ["--check", "--drop-statistics"]):
        told = CliRunner().invoke(cbmctl, [*config, *more])
        assert told.exit_code == 0, told.output
        assert said in told.stderr
    assert rows(conn, "SELECT count(*) FROM sigs") == [(1,)]
    without_id = CliRunner().invoke(cbmctl, [*config, "--check", "--drop-statistics", "--attribute", "crop"])
    assert "Of 20 parcels, 15 are unchanged, 1 have other attributes" in without_id.stderr


@pytest.mark.usefixtures("season")
def test_half_a_file_is_doubtful(conn: psycopg.Connection, tables: Tables, tmp_path: Path) -> None:
    half = write(tmp_path / "half.gpkg", fields(10), id=list(range(10)), crop=["a"] * 10)
    found = load(conn, tables, half, Options(), drop_statistics=True, check_only=True).changes
    assert found == Changes(20, 10, 0, 10, 10, 0, 0)
    assert found.sentences()[1] == (
        "More than 10% of the parcels are gone without a successor: check that the file is complete."
    )


def test_other_attributes_are_written_into_the_table(
    database: Database, conn: psycopg.Connection, tables: Tables, season: list[Any], tmp_path: Path
) -> None:
    conn.execute("ALTER TABLE parcels_2021 ADD inaoi boolean DEFAULT true")
    conn.execute("CREATE VIEW maize AS SELECT * FROM parcels_2021 WHERE crop = 'maize'")
    kept = "SELECT ogc_fid, ST_AsBinary(wkb_geometry) FROM parcels_2021 ORDER BY 1"
    versions = "SELECT ogc_fid, xmin::text FROM parcels_2021 WHERE crop = 'a' ORDER BY 1"
    before, sets = rows(conn, kept), rows(conn, "SELECT placed_at FROM parcel_sets")
    untouched = [row for row in rows(conn, versions) if row[0] != 1]
    ((first,),) = rows(conn, "SELECT id FROM parcels_2021 WHERE ogc_fid = 1")
    order = list(reversed(range(20)))
    path = write(
        tmp_path / "amended.gpkg",
        [season[i].reverse() for i in order],
        id=order,
        crop=["maize" if i == first else "a" for i in order],
    )
    with database.connect() as worker:
        conn.execute(
            "INSERT INTO tasks (obsid, bandset, bands, method, state)"
            " VALUES (1, '10', '{B02}', '{}', 'running')"
        )
        worker.execute("SELECT pg_advisory_lock(%s, 1)", [0x43424D00 + 1])
        would = load(conn, tables, path, Options(), check_only=True)
        assert rows(conn, "SELECT count(*) FROM maize") == [(0,)]
        done = load(conn, tables, path, Options())
    assert done == would
    assert (done.changes, done.superseded) == (Changes(20, 19, 1, 0, 0, 0, 0), None)
    assert rows(conn, "SELECT ogc_fid, crop FROM maize") == [(1, "maize")]
    assert rows(conn, kept) == before
    assert rows(conn, versions) == untouched
    assert rows(conn, "SELECT count(*) FROM sigs") == [(1,)]
    assert rows(conn, "SELECT count(*) FROM parcels_2021 WHERE inaoi") == [(20,)]
    assert rows(conn, "SELECT placed_at FROM parcel_sets") == sets, "rasters need not be made again"
    assert not load(conn, tables, path, Options()).changed


def test_twins_with_new_keys_are_paired_by_their_other_attributes(
    conn: psycopg.Connection, tables: Tables, tmp_path: Path
) -> None:
    twins = fields(1) * 2
    first = write(tmp_path / "first.gpkg", twins, id=[1, 2], crop=["a", "b"])
    newer = write(tmp_path / "newer.gpkg", twins, id=[3, 4], crop=["b", "a"])
    load(conn, tables, first, Options(), key="id")
    use(conn)
    crops = "SELECT ogc_fid, crop FROM parcels_2021 ORDER BY 1"
    before = rows(conn, crops)
    assert load(conn, tables, newer, Options(), key="id").changes == Changes(2, 0, 2, 0, 0, 0, 0)
    assert rows(conn, crops) == before
    assert sorted(rows(conn, "SELECT id, crop FROM parcels_2021")) == [(3, "b"), (4, "a")]


def test_new_columns_are_added_and_other_types_are_not_forced(
    conn: psycopg.Connection, tables: Tables, season: list[Any], tmp_path: Path
) -> None:
    more = write(tmp_path / "more.gpkg", season, id=list(range(20)), farm=[None, *["x"] * 19])
    assert load(conn, tables, more, Options()).changes == Changes(20, 1, 19, 0, 0, 0, 0)
    assert rows(conn, "SELECT count(*), count(farm), count(crop) FROM parcels_2021") == [(20, 19, 20)]
    texts = write(tmp_path / "texts.gpkg", season, id=[str(i) for i in range(20)])
    with pytest.raises(UserError, match=r"Column types of the file .* load --keep-statistics"):
        load(conn, tables, texts, Options())
    assert load(conn, tables, texts, Options(), keep_statistics=True).changed
    assert rows(conn, "SELECT count(*) FROM sigs JOIN parcels_2021 ON pid = ogc_fid") == [(1,)]


KEYS = (
    (
        "nobody",
        "the column 'nobody', which should identify parcels, is missing. The columns are: Id, crop, twice",
    ),
    ("crop", "has no value in 2 parcels, first in feature 1. Name another column"),
    (
        "twice",
        "repeats a value in 3 parcels: for example, '7' is in the features 1 and 3. Name another",
    ),
)


def test_a_key_identifies_parcels(database: Database, tables: Tables, tmp_path: Path) -> None:
    del tables
    drawn = [*fields(5), None]
    ids = pa.array([7, 8, 9, 10, 11, 7])  # the last feature has no geometry, and is not loaded
    path = write(
        tmp_path / "keys.gpkg", drawn, Id=ids, crop=[None, "a", None, "b", "c", "d"], twice=[7, 8, 7, 8, 8, 9]
    )
    for command in (["inspect"], ["load", "--check"], ["load"]):
        run = ["--config", str(database.config_path), "parcels", *command, str(path), "--key"]
        for key, sentence in KEYS:
            assert sentence in str(CliRunner().invoke(cbmctl, [*run, key]).exception), (command, key)
        for key in ("Id", "id"):
            assert CliRunner().invoke(cbmctl, [*run, key]).exception is None
