"""Files that follow each other all season: numbers, attributes, what is gone, history and lineage."""

from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from cbmctl.config import TableName, Tables
from cbmctl.parcels.changes import SHARED
from cbmctl.parcels.load import Options, load
from tests.support.effort import seeded
from tests.support.parcel_loading import rows, write
from tests.unit.parcels.test_changes import use

pytestmark = pytest.mark.postgis

Cells = frozenset[tuple[int, int]]  # squares of 100 m
Parcel = tuple[str, str]  # key and crop
Declared = dict[Cells, Parcel]

KINDS = ("amend", "split", "merge", "grow", "move", "remove", "add", "return", "rename")
STEPS = st.lists(
    st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 99), st.integers(0, 99)), max_size=4),
    min_size=1,
    max_size=4,
)
_sets = count()


def shape(cells: Cells) -> shapely.MultiPolygon:
    merged = shapely.union_all([shapely.box(x, y, x + 100, y + 100) for x, y in at(cells)])
    return shapely.normalize(shapely.MultiPolygon([merged] if merged.geom_type == "Polygon" else merged))


def at(cells: Cells) -> list[tuple[int, int]]:
    return [(500_000 + 100 * x, 6_000_000 + 100 * y) for x, y in cells]


@dataclass
class Season:
    """The files so far, and what the tables must say of them.

    Attributes:
        declared: the last file.
        numbers: of its parcels.
        gone: key, crop and place by number.
        history: since and until, by number; of parcels that came later, or are gone.
        lineage: version and share, by predecessor and successor.
    """

    declared: Declared = field(default_factory=dict)
    numbers: dict[Cells, int] = field(default_factory=dict)
    gone: dict[int, tuple[str, str, Cells]] = field(default_factory=dict)
    history: dict[int, tuple[int, int | None]] = field(default_factory=dict)
    lineage: dict[tuple[int, int], tuple[int, float | None]] = field(default_factory=dict)
    version: int = 1
    last_id: int = 0
    keys: Any = field(default_factory=count)

    def key(self) -> str:
        return f"k{next(self.keys)}"

    def amended(self, steps: list[tuple[str, int, int]]) -> Declared:
        """The next file: the last one after some events."""
        file = dict(self.declared)
        for kind, one, other in steps:
            places = sorted(file, key=sorted)
            place, neighbour = places[one % len(places)], places[other % len(places)]
            if kind == "add":
                file[frozenset({(100 + one, other), (100 + one, other + 1)})] = self.key(), "new"
            elif kind == "remove" and len(file) > 1:
                del file[place]
            elif kind == "return":
                self.bring_back(file, one)
            elif kind == "merge" and neighbour != place:
                parcel = file.pop(place)
                del file[neighbour]
                file[place | neighbour] = parcel
            else:
                self.change(file, place, kind, other)
        return file

    def change(self, file: Declared, place: Cells, kind: str, other: int) -> None:
        key, crop = file[place]
        if kind == "amend":
            file[place] = key, crop + "x"
        elif kind == "rename":
            file[place] = self.key(), crop
        elif kind == "grow":
            del file[place]
            file[place | {(other % 7, 50 + other)}] = key, crop
        elif kind == "move":
            del file[place]
            file[frozenset({(300 + other, 0)})] = key, crop
        elif kind == "split" and len(place) > 1:
            del file[place]
            ordered = sorted(place)
            middle = 1 + other % (len(place) - 1)
            file[frozenset(ordered[:middle])] = key, crop
            file[frozenset(ordered[middle:])] = self.key(), crop

    def bring_back(self, file: Declared, one: int) -> None:
        """An earlier geometry, unless its place or its key is taken."""
        if not self.gone:
            return
        key, crop, cells = self.gone[sorted(self.gone)[one % len(self.gone)]]
        if cells not in file and key not in {key for key, _ in file.values()}:
            file[cells] = key, crop

    def load(self, file: Declared, found: dict[Cells, int]) -> None:
        """Follow a file; `found` has the numbers that new parcels got, whose order follows space."""
        new, gone = file.keys() - self.declared.keys(), self.declared.keys() - file.keys()
        if self.declared and (new or gone):
            self.version += 1
        given = {cells: found[cells] for cells in new}
        first = self.last_id + 1
        assert sorted(given.values()) == list(range(first, first + len(new))), "never used before, no gaps"
        if self.declared:
            self.history |= dict.fromkeys(given.values(), (self.version, None))
        for old in gone:
            number = self.numbers.pop(old)
            self.gone[number] = *self.declared[old], old
            self.history[number] = self.history.get(number, (1, None))[0], self.version
            for successor in new:
                share = len(old & successor) / min(len(old), len(successor))
                if share >= SHARED or file[successor][0] == self.declared[old][0]:
                    link = self.version, share if share >= SHARED else None
                    self.lineage[number, given[successor]] = link
        self.numbers |= given
        self.last_id += len(new)
        self.declared = file


@seeded(8, thorough=200)
@given(steps=STEPS)
def test_tables_follow_the_files(
    conn: psycopg.Connection, tables: Tables, tmp_path: Path, steps: list[list[tuple[str, int, int]]]
) -> None:
    name = f"p{next(_sets)}"
    tables = replace(tables, parcels=TableName("public", name))
    conn.execute("DELETE FROM sigs; DELETE FROM dias_catalogue")
    season = Season()
    first = {frozenset({(3 * x, 0), (3 * x + 1, 0), (3 * x, 1)}): (season.key(), "a") for x in range(6)}
    for i, step in enumerate([[], *steps]):
        file = season.amended(step) if i else first
        drawn = [shape(cells) for cells in file]
        path = write(
            tmp_path / f"{name}_{i}.gpkg",
            drawn,
            key=[key for key, _ in file.values()],
            crop=[crop for _, crop in file.values()],
        )
        changed = file != season.declared
        done = load(conn, tables, path, Options(), key="key", accept_removals=True, again=True)
        places = {place.wkb: cells for place, cells in zip(drawn, file, strict=True)}
        stored = {
            places[shapely.normalize(shapely.from_wkb(bytes(wkb))).wkb]: (number, (key, crop))
            for number, key, crop, wkb in rows(
                conn, f"SELECT ogc_fid, key, crop, ST_AsBinary(wkb_geometry) FROM {name}"
            )
        }
        before = season.numbers.copy()
        season.load(file, {cells: number for cells, (number, _) in stored.items()})
        if not i:
            use(conn)
        assert {cells: number for cells, (number, _) in stored.items()} == season.numbers
        assert {cells: values for cells, (_, values) in stored.items()} == file
        assert all(season.numbers[cells] == number for cells, number in before.items() if cells in file)
        if changed and i:
            assert done.updated is not None
            assert done.updated.version == season.version
        check_what_is_gone(conn, name, season)
        check_history(conn, name, season)


def check_what_is_gone(conn: psycopg.Connection, name: str, season: Season) -> None:
    if not season.gone:
        assert rows(conn, f"SELECT to_regclass('{name}_gone')") == [(None,)]
        return
    found = rows(conn, f"SELECT ogc_fid, key, crop, ST_AsBinary(wkb_geometry) FROM {name}_gone")
    assert {
        number: (key, crop, shapely.normalize(shapely.from_wkb(bytes(wkb))).wkb)
        for number, key, crop, wkb in found
    } == {number: (key, crop, shape(cells).wkb) for number, (key, crop, cells) in season.gone.items()}


def check_history(conn: psycopg.Connection, name: str, season: Season) -> None:
    this = f"WHERE table_name = 'public.{name}'"
    assert rows(conn, f"SELECT version, last_id FROM parcel_sets {this}") == [
        (season.version, season.last_id)
    ]
    found = rows(conn, f"SELECT ogc_fid, since, until FROM parcel_history {this}")
    assert {number: (since, until) for number, since, until in found} == season.history
    dated = rows(
        conn,
        "SELECT bool_and((since = 1) = (valid_from IS NULL) AND (since = 1) = (source_from IS NULL)"
        f" AND (until IS NULL) = (valid_to IS NULL) AND (until IS NULL) = (source_to IS NULL))"
        f" FROM parcel_history {this}",
    )
    assert dated == [(True if season.history else None,)]
    links = rows(conn, f"SELECT predecessor, successor, version, share FROM parcel_lineage {this}")
    assert {(old, new): (version, share and pytest.approx(share)) for old, new, version, share in links} == (
        season.lineage
    )
