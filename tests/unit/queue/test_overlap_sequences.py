"""Whatever the order of extraction, and the settings before: the outcome is that of the settings now."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Transformer
from shapely import box, transform

from tests.support.datatakes import HERE, MORE, S2, TILES, WEST, ZONE, Datatake, Rows, best, holes, images
from tests.support.effort import seeded
from tests.support.products_s2 import LEFT, TOP
from tests.support.season import PARCELS, Season

pytestmark = pytest.mark.postgis

NAMES = (WEST, HERE, ZONE)
# Beside the others: one that two tiles cut.
MORE_STILL = MORE | {6: box(LEFT + 40, TOP - 430, LEFT + 190, TOP - 340)}
SHAPES = {1: PARCELS[1], 7: PARCELS[7]} | MORE_STILL
BANDS = {"B02_10m": 10, "B03_10m": 10, "B05_20m": 20, "SCL_20m": 20}
# What a tile may show of a parcel instead of the parcel itself.
BLIND: dict[str, tuple[str, ...]] = {
    "nothing": tuple(BANDS),
    "no 10 m": ("B02_10m",),
    "no 20 m": ("B05_20m",),
    "no classes": ("SCL_20m",),
    "cloud": (),
}


@dataclass(frozen=True)
class Plan:
    """A change of settings, and what is done of the scenes until the next one."""

    s2: dict[str, Any]
    actions: list[tuple[str, str]]


@dataclass(frozen=True)
class Sequence:
    """What tiles show, what happens to them, and in which order the rest is extracted."""

    blind: dict[tuple[str, int], str]
    users: frozenset[str]
    plans: list[Plan]
    order: list[str]
    settings: dict[str, Any] = field(default_factory=dict)


SETTINGS = st.fixed_dictionaries(
    {
        "scl": st.booleans(),
        "10": st.sampled_from((["B02"], ["B03"], S2["10"])),
        "20": st.sampled_from(([], S2["20"])),
        "edge": st.sampled_from(("drop", "keep")),
        "overlap": st.sampled_from(("first", "first", "all")),
        "cloud_classes": st.sampled_from(([], [9], [3, 4, 5, 6, 7, 8, 9])),
        "buffer_m": st.sampled_from((0, 0, 12.5)),
        "reflectance": st.sampled_from(("harmonised", "as-stored")),
    }
)
ACTIONS = st.tuples(st.sampled_from(("scene", "scene", "task", "again")), st.sampled_from(NAMES))
PLANS = st.lists(st.builds(Plan, SETTINGS, st.lists(ACTIONS, max_size=6)), min_size=1, max_size=5)


@st.composite
def sequences(draw: st.DrawFn) -> Sequence:
    """Band sets come and go, but the last plan has all of them: rows of a set that is removed stay."""
    plans = draw(PLANS)
    every = {
        "scl": any(p.s2["scl"] for p in plans),
        "20": next((p.s2["20"] for p in plans if p.s2["20"]), []),
    }
    plans[-1] = Plan(plans[-1].s2 | every, plans[-1].actions)
    places = st.tuples(st.sampled_from(NAMES), st.sampled_from(sorted(SHAPES)))
    blind = draw(st.dictionaries(places, st.sampled_from(sorted(BLIND)), max_size=8))
    users = draw(st.sampled_from((frozenset(), frozenset(), frozenset({WEST}), frozenset({HERE}))))
    return Sequence(blind, users, plans, draw(st.permutations(NAMES)), plans[-1].s2)


def shown(tile: str, blind: dict[tuple[str, int], str]) -> dict[str, NDArray[Any]]:
    """The images of a tile, with holes and clouds."""
    found = images(TILES[tile][2], sum(map(ord, tile)))
    for (name, pid), what in blind.items():
        if name != tile:
            continue
        for band in BLIND[what]:
            found[band] = holes(BANDS[band], tile, SHAPES[pid], found[band])
        if what == "cloud":
            classes = found["SCL_20m"]
            found["SCL_20m"] = np.where(holes(20, tile, SHAPES[pid], np.ones_like(classes)), classes, 9)
    return {band: image.astype(np.uint8 if band == "SCL_20m" else np.uint16) for band, image in found.items()}


def cut(buffer_m: float) -> dict[str, set[int]]:
    """The parcels that reach beyond each tile, by their outlines, which are shrunk before."""
    found = {}
    for tile, (epsg, (x, y), side) in TILES.items():
        project = Transformer.from_crs(32632, epsg, always_xy=True).transform
        image = box(x, y - side, x + side, y)
        found[tile] = {
            pid
            for pid, shape in SHAPES.items()
            if not image.contains(transform(shape, project, interleaved=False).buffer(-buffer_m))
        }
    return found


def start_over(datatake: Datatake) -> None:
    with datatake.season.database.connect() as conn:
        conn.execute("TRUNCATE sigs, hists, tasks")
        conn.execute("UPDATE dias_catalogue SET status = 'ingested', applied_offset = NULL")


def from_scratch(datatake: Datatake, sequence: Sequence) -> Rows:
    """What the rule leaves of all that the tiles have."""
    start_over(datatake)
    datatake.plan(**sequence.settings | {"overlap": "all"})
    datatake.work()
    everything = datatake.found()
    if sequence.settings["overlap"] == "all":
        return everything
    return best(everything, cut(sequence.settings["buffer_m"]), NAMES, sequence.users)


@pytest.fixture
def datatake(season: Season, monkeypatch: pytest.MonkeyPatch) -> Datatake:
    for pid in MORE_STILL:
        monkeypatch.setitem(MORE, pid, MORE_STILL[pid])
    return Datatake(season)


# two sets go, the tile in the west is extracted again without them, and they come back with other settings
EVERY = {"scl": True, "10": S2["10"], "20": S2["20"], "edge": "drop", "overlap": "first"} | {
    "cloud_classes": [9],
    "buffer_m": 0,
    "reflectance": "harmonised",
}
GONE = Sequence(
    {(WEST, 4): "no 20 m", (HERE, 6): "cloud"},
    frozenset(),
    [
        Plan(EVERY, [("scene", WEST), ("scene", HERE)]),
        Plan(
            EVERY | {"scl": False, "20": [], "edge": "keep"},
            [("again", WEST), ("scene", WEST), ("scene", ZONE)],
        ),
        Plan(EVERY | {"edge": "keep"}, [("task", HERE)]),
    ],
    [ZONE, HERE, WEST],
    EVERY | {"edge": "keep"},
)


@example(GONE)
@given(sequences())
@seeded(6, thorough=150)
def test_the_outcome_is_that_of_the_settings_now(datatake: Datatake, sequence: Sequence) -> None:
    for tile in NAMES:
        datatake.enter(tile, **shown(tile, sequence.blind))
        with datatake.season.database.connect() as conn:
            conn.execute(
                "UPDATE dias_catalogue SET baseline = %s WHERE id = %s",
                ["99.99" if tile in sequence.users else "04.00", datatake.ids[tile]],
            )
    wanted = from_scratch(datatake, sequence)
    start_over(datatake)
    for plan in sequence.plans:
        datatake.plan(**plan.s2)
        for action, tile in plan.actions:
            if action == "again":
                datatake.again(tile)
            else:
                datatake.work(tile, tasks=1 if action == "task" else None)
    for tile in sequence.order:
        datatake.work(tile)
    datatake.work()
    assert datatake.found() == wanted
    assert not datatake.work()
