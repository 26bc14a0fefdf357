"""Whatever happens to the queue, and in whatever order: nothing is lost, counted twice or stuck."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cbmctl.database import connect
from cbmctl.reasons import WAITS_FOR_PARTS
from tests.support.datatakes import S2
from tests.support.effort import run_machine
from tests.support.queue_events import Events, never_together
from tests.support.queue_rules import Forgotten, State, best, check, check_gone, check_purged, forget_read
from tests.support.queue_scenes import ALL_SHAPES, FIRST, SCENES, SHAPES, Declared, Truth, insert
from tests.support.season import Season

pytestmark = pytest.mark.postgis

SETTINGS: dict[str, dict[str, Any]] = {
    "default": S2,
    "edges": S2 | {"edge": "keep"},
    "every tile": S2 | {"overlap": "all"},
    "one band, no cloud": S2 | {"10": ["B02"], "cloud_classes": []},
    "much cloud": S2 | {"cloud_classes": [3, 4, 5, 6, 7, 8, 9]},
    "shrunk parcels": S2 | {"buffer_m": 12.5},
    "no 20 m": S2 | {"20": []},
    "as stored, all tiles": S2 | {"reflectance": "as-stored", "overlap": "all"},
}
NAMES = st.sampled_from(sorted(SCENES))
WHICH = st.integers(0, 8)
DECLARED = st.sets(st.sampled_from(sorted(SHAPES)), min_size=2)
CLOUDS = ([9], [3, 4, 9], [3, 4, 5, 6, 7, 8, 9])
BY_HAND = ("extracted", "inprogress", "No parcels", "Rio error", "!S3 subdir", "Worker vanished")


def which_of(choices: Sequence[Any], which: int) -> Any:
    return choices[which % len(choices)]


def event(**drawn: Any) -> Callable[[Any], Any]:
    """A rule, after which the invariants show whether all is as it should be."""

    def decorate(function: Any) -> Any:
        @wraps(function)
        def run(machine: "Queue", **values: Any) -> None:
            machine.sound = False
            function(machine, **values)

        return rule(**drawn)(run)

    return decorate


class Queue(RuleBasedStateMachine):
    """Three workers, an operator and a careless archive."""

    def __init__(self, events: Events, truth: Truth) -> None:
        super().__init__()
        self.events, self.truth = events, truth
        self.by_hand: set[str] = set()
        self.sound = True
        self.state = State({}, {}, {})
        # rows of parcels that are gone, by scene and band set
        self.kept: dict[tuple[int, str], dict[Any, Any]] = {}
        self.forgotten: Forgotten = {}
        self.settings = SETTINGS["default"]
        events.start_over()
        events.configure(**self.settings)
        events.hire(3)

    def named(self, *statuses: str) -> list[str]:
        """The scenes in the catalogue, or those of one of these statuses."""
        return [
            self.state.made(obsid).name
            for obsid, scene in sorted(self.state.scenes.items())
            if not statuses or scene["status"] in statuses
        ]

    def deletable(self) -> list[str]:
        """The scenes that no other has given parcels up to, because they have no rows."""
        held = {self.state.made(obsid).name for obsid in self.state.scenes if self.state.pids(obsid)}
        return [name for name in self.named() if name not in held]

    @initialize(names=st.sets(NAMES, min_size=1, max_size=5))
    def begins(self, names: set[str]) -> None:
        self.events.catalogue(*sorted(names))
        self.events.plan()

    @event(names=st.sets(NAMES, min_size=1, max_size=3), online=st.sampled_from((True, True, True, False)))
    def catalogue(self, names: set[str], online: bool) -> None:
        self.events.catalogue(*sorted(names), online=online)

    @event(settings=st.sampled_from(sorted(SETTINGS)))
    def settings_change(self, settings: str) -> None:
        self.settings = SETTINGS[settings]
        self.events.configure(**self.settings)
        self.events.plan()

    @event()
    def plan(self) -> None:
        self.events.plan()

    @precondition(lambda self: self.named())
    @event(which=WHICH)
    def ask(self, which: int) -> None:
        self.events.ask(which_of(self.named(), which))

    @precondition(lambda self: self.named(*BY_HAND))
    @event(which=WHICH)
    def set_ingested(self, which: int) -> None:
        name = which_of(self.named(*BY_HAND), which)
        self.events.set_ingested(name)
        self.by_hand.add(name)

    @precondition(lambda self: len(self.named()) > 1 and self.deletable())
    @event(which=WHICH)
    def delete(self, which: int) -> None:
        self.events.delete(which_of(self.deletable(), which))

    @precondition(lambda self: self.named("offered"))
    @event(which=st.none() | WHICH)
    def replace(self, which: int | None) -> None:
        self.events.replace(*([] if which is None else [which_of(self.named(), which)]))

    @precondition(lambda self: self.named())
    @event(which=st.none() | WHICH)
    def repair(self, which: int | None) -> None:
        self.events.repair(*([] if which is None else [which_of(self.named(), which)]))

    @precondition(lambda self: len(self.named("extracted")) > 1 and not self.events.busy())
    @event(shapes=DECLARED)
    def drop_statistics(self, shapes: set[int]) -> None:
        if self.events.drop_statistics(shapes):
            self.kept = {}

    @event(shapes=DECLARED)
    def change_parcels(self, shapes: set[int]) -> None:
        self.events.change_parcels(shapes)
        gone = self.events.declared.gone
        for obsid, bandsets in self.state.rows.items():
            for bandset, rows in bandsets.items():
                self.kept.setdefault((obsid, bandset), {}).update(
                    {key: row for key, row in rows.items() if key[0] in gone}
                )

    @event(classes=st.sampled_from(CLOUDS), extracted=st.booleans())
    def purge(self, classes: list[int], extracted: bool) -> None:
        if extracted:  # without regard to clouds
            self.settings = self.settings | {"cloud_classes": []}
            self.events.configure(**self.settings)
            self.events.plan()
            self.events.work_off()
        before = State.read(self.events)
        self.settings = self.settings | {"cloud_classes": classes}
        self.events.configure(**self.settings)
        self.events.purge()
        after = State.read(self.events)
        for key, pids in check_purged(before, after, classes).items():
            self.forgotten.setdefault(key, set()).update(pids)
        # what is purged of parcels that are gone cannot come back
        for (obsid, bandset), rows in self.kept.items():
            there = after.rows.get(obsid, {}).get(bandset, {})
            for key in rows.keys() & before.rows[obsid][bandset].keys() - there.keys():
                del rows[key]

    @precondition(lambda self: self.named())
    @event(which=WHICH, band=st.sampled_from(("B05_20m", "SCL_20m", None)))
    def damage(self, which: int, band: str | None) -> None:
        self.events.damage(which_of(self.named(), which), band)

    @event()
    def mend(self) -> None:
        self.events.mend(*SCENES)

    @precondition(lambda self: self.events.idle())
    @event(which=WHICH)
    def begin(self, which: int) -> None:
        self.events.begin(which_of(self.events.idle(), which))

    @precondition(lambda self: self.events.busy())
    @event(which=WHICH)
    def carry_out(self, which: int) -> None:
        self.events.carry_out(which_of(self.events.busy(), which))

    @event(which=WHICH, tasks=st.integers(1, 8))
    def work(self, which: int, tasks: int) -> None:
        hand = which_of(self.events.hands, which)
        for _ in range(tasks):
            self.events.begin(hand)
            self.events.carry_out(hand)

    @precondition(lambda self: self.events.busy())
    @event(which=WHICH)
    def release(self, which: int) -> None:
        self.events.release(which_of(self.events.busy(), which))

    @precondition(lambda self: self.events.busy())
    @event(which=WHICH, reconnects=st.booleans(), writing=st.booleans())
    def die(self, which: int, reconnects: bool, writing: bool) -> None:
        self.events.die(which_of(self.events.busy(), which), reconnects=reconnects, writing=writing)

    @event()
    def work_off(self) -> None:
        self.events.work_off()

    @invariant()
    def is_right(self) -> None:
        self.state = State.read(self.events)
        # so is what was offline: it is extracted as a whole, whatever there is of it
        self.by_hand = set(self.named("ingested")) & self.by_hand | set(self.named("offline"))
        forget_read(self.state, self.forgotten)
        check(
            self.state,
            self.truth,
            declared=self.events.declared,
            by_hand=self.by_hand,
            forgotten=self.forgotten,
        )
        check_gone(self.state, self.kept)
        self.sound = True

    def teardown(self) -> None:
        """Nothing is stuck; and once the archive is whole, all is as if nothing had ever happened."""
        if not self.sound:
            return
        events = self.events
        events.configure(**S2)
        self.comes_to_rest()
        events.mend(*SCENES)
        events.catalogue(*self.named())
        events.replace()
        events.repair()
        # whether another tile saw a parcel that a purge found cloudy, its image says
        for obsid in sorted({obsid for (obsid, _), pids in self.forgotten.items() if pids}):
            events.ask(self.state.made(obsid).name)
        self.comes_to_rest()
        for scene in self.state.scenes.values():
            assert scene["status"] in ("extracted", "No parcels", "superseded"), scene
        wanted = best(self.state, self.truth, shapes=events.declared.shapes)
        for obsid in self.state.extracted():
            assert all(task["state"] == "done" for task in self.state.tasks[obsid].values())
            name = self.state.made(obsid).name
            there = {
                bandset: {
                    key: row
                    for key, row in self.state.rows[obsid].get(bandset, {}).items()
                    if key[0] not in events.declared.gone
                }
                for bandset in ("scl", "10", "20")
            }
            assert there == wanted[name], name

    def comes_to_rest(self) -> None:
        # a version that an older one gave way to meanwhile is for the next plan
        for _ in range(3):
            self.events.plan()
            self.events.work_off()
            self.is_right()
        for obsid, scene in self.state.scenes.items():
            open_tasks = [t for t in self.state.tasks[obsid].values() if t["state"] in ("ready", "running")]
            assert not open_tasks, scene
            assert scene["status"] != "ingested", scene
            assert scene["status"] != "inprogress" or scene["reason_code"] == WAITS_FOR_PARTS.code, scene


@contextmanager
def queue(season: Season, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Events, Truth]]:
    """A queue with an archive of all products, and what these say of every shape."""
    never_together(monkeypatch)
    pristine = tmp_path / "pristine"
    for made in SCENES.values():
        made.write(pristine)
    with season.database.connect() as conn:
        conn.execute(f"CREATE TABLE {ALL_SHAPES} (LIKE parcels_2021 INCLUDING ALL)")  # type: ignore[call-overload]
        insert(conn, ALL_SHAPES, SHAPES)
        Declared().load(conn, FIRST)
    eodata = season.config.eodata
    config = season.database.configured(eodata=str(pristine))
    ever = replace(config.tables, parcels=config.tables.parcels.sibling(ALL_SHAPES))
    truth = Truth(replace(config, tables=ever))
    config = season.database.configured(eodata=str(eodata))
    for made in SCENES.values():
        (eodata / str(made.record.path)).parent.mkdir(parents=True, exist_ok=True)
    with connect(config, autocommit=True) as conn:
        events = Events(season, pristine, config, conn)
        yield events, truth
        events.start_over()


def test_whatever_happens(season: Season, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with queue(season, tmp_path, monkeypatch) as (events, truth):
        run_machine(lambda: Queue(events, truth), 6, thorough=150, steps=30)


def test_a_purge_among_everything_else(
    season: Season, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A walk that certainly purges something, which few of the drawn ones do."""
    with queue(season, tmp_path, monkeypatch) as (events, truth):
        machine = Queue(events, truth)

        def then(step: Callable[..., None], **drawn: Any) -> None:
            step(**drawn)
            machine.is_right()

        then(machine.begins, names={"west", "here", "zone"})
        then(machine.purge, classes=[9], extracted=True)
        assert any(machine.forgotten.values()), "no neighbour gave up a parcel that is cloudy"
        # a worker reads new parcels while rows are purged
        then(machine.change_parcels, shapes={*FIRST, 17, 22} - {2})
        then(machine.begin, which=0)
        then(machine.purge, classes=[3, 4, 9], extracted=False)
        then(machine.carry_out, which=0)
        then(machine.work_off)
        then(machine.purge, classes=[3, 4, 9], extracted=False)
        then(machine.damage, which=1, band="B05_20m")
        then(machine.ask, which=1)
        then(machine.work_off)
        then(machine.purge, classes=[3, 4, 5, 6, 7, 8, 9], extracted=False)
        then(machine.repair, which=None)
        then(machine.catalogue, names={"here newer"}, online=True)
        if machine.named("offered"):
            then(machine.replace, which=None)
        then(machine.work, which=0, tasks=2)
        then(machine.purge, classes=[3, 4, 5, 6, 7, 8, 9], extracted=False)
        machine.teardown()
