"""Parcels of a file and of a table are the same if their geometries are, whatever else differs."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import psycopg
import pytest
import shapely
from hypothesis import example, given
from hypothesis import strategies as st

from cbmctl.database import query
from cbmctl.parcels.fill_table import PAIRS
from cbmctl.parcels.pairing import pair
from tests.support.effort import examples
from tests.support.parcel_loading import PARCELS, stage_and_store

pytestmark = pytest.mark.postgis


@dataclass(frozen=True)
class Parcel:
    """A parcel in one of a few places, of one of a few shapes there."""

    place: int
    shape: int
    name: str | None
    key: str

    def drawn(self, seed: int, off: float) -> shapely.MultiPolygon:
        """Its polygons, which begin anywhere, turn either way, and have corners up to `off` metres off."""
        luck = np.random.default_rng(seed)
        x, y = 500_000.0005 + 90 * self.place, 6_000_000.0005
        parts = [shapely.box(x, y, x + 80 + self.shape, y + 80)]
        if self.shape == 2:
            parts = [shapely.box(x, y, x + 30, y + 80), shapely.box(x + 40, y, x + 80, y + 80)]
        rings = []
        for i in luck.permutation(len(parts)):
            corners = np.array(parts[i].exterior.coords[:-1]) + luck.uniform(-off, off, (4, 2))
            rings.append(shapely.Polygon(np.roll(corners, luck.integers(4), axis=0)[:: luck.choice((1, -1))]))
        return shapely.MultiPolygon(rings)


NAMES = st.sampled_from(["oats", "rye", None])
SETS = st.lists(
    st.builds(Parcel, st.integers(0, 3), st.integers(0, 2), NAMES, st.sampled_from("abcd")), max_size=8
)


def paired(
    conn: psycopg.Connection, file: list[Parcel], table: list[Parcel], *, seed: int, by_key: bool, off: float
) -> list[tuple[Parcel, Parcel]]:
    with conn.transaction(force_rollback=True):
        stage_and_store(
            conn,
            [(p.key, p.name, p.drawn(seed + i, off)) for i, p in enumerate(file)],
            [(p.key, p.name, p.drawn(seed + 1000 + i, off)) for i, p in enumerate(table)],
        )
        pair(conn, PARCELS, 25832, key="key" if by_key else None, alike=["name"])
        found = conn.execute(query("SELECT * FROM {pairs}", pairs=PAIRS)).fetchall()
    return [(file[feature], table[ogc_fid]) for feature, ogc_fid in found]


def in_one_place(*named: str) -> list[Parcel]:
    """Parcels of one geometry, each by its key and name."""
    return [Parcel(0, 0, name or None, key) for key, _, name in (each.partition(" ") for each in named)]


CROSSED = in_one_place("a oats", "b rye"), in_one_place("a rye", "b oats")
ONE_KEY = in_one_place("a oats", "a rye"), in_one_place("a rye", "a oats")
NEW_KEYS = in_one_place("a oats", "b rye"), in_one_place("c rye", "d oats")


@examples(30)
@example(file=CROSSED[0], table=CROSSED[1], seed=0, by_key=True, off=0.0)
@example(file=ONE_KEY[0], table=ONE_KEY[1], seed=0, by_key=True, off=0.0)
@example(file=NEW_KEYS[0], table=NEW_KEYS[1], seed=0, by_key=True, off=0.0)
@given(
    file=SETS,
    table=SETS,
    seed=st.integers(0, 10**6),
    by_key=st.booleans(),
    off=st.sampled_from([0.0, 0.0003]),
)
def test_as_many_pairs_as_geometries_allow(
    bare: psycopg.Connection,
    *,
    file: list[Parcel],
    table: list[Parcel],
    seed: int,
    by_key: bool,
    off: float,
) -> None:
    pairs = paired(bare, file, table, seed=seed, by_key=by_key, off=off)

    def common(one: Counter[Parcel], other: Counter[Parcel], *what: str) -> int:
        def of(parcels: Counter[Parcel]) -> Counter[tuple[object, ...]]:
            return Counter(
                tuple(getattr(p, w) for w in ("place", "shape", *what)) for p in parcels.elements()
            )

        return (of(one) & of(other)).total()

    every = Counter(file), Counter(table)
    assert all((a.place, a.shape) == (b.place, b.shape) for a, b in pairs)
    assert len(pairs) == common(*every)
    if off:
        return
    if not by_key:
        assert sum(a.name == b.name for a, b in pairs) == common(*every, "name")
        return
    same_key = [(a, b) for a, b in pairs if a.key == b.key]
    assert len(same_key) == common(*every, "key")
    assert sum(a.name == b.name for a, b in same_key) == common(*every, "key", "name")
    rest = every[0] - Counter(a for a, _ in same_key), every[1] - Counter(b for _, b in same_key)
    assert sum(a.name == b.name for a, b in pairs if a.key != b.key) == common(*rest, "name")
