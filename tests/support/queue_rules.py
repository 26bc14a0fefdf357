"""What must be so of a queue at every instant, worked out from the tables and from what products say."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cbmctl.config.bandsets import BANDSETS
from cbmctl.queue.scene_status import Facts, Place
from cbmctl.queue.scene_status import status as scene_status
from cbmctl.reasons import WAITS_FOR_PARTS
from tests.support.queue_events import Events
from tests.support.queue_scenes import BY_REFERENCE, Declared, Made, Rows, Said, Truth, rank

Row = dict[str, Any]
FIGURES = ("count", "mean", "std", "min", "max", "p25", "p50", "p75")
OPEN = ("ready", "running")


@dataclass
class State:
    """The tables: scenes by id, their tasks, and the rows of each band set."""

    scenes: dict[int, Row]
    tasks: dict[int, dict[str, Row]]
    rows: dict[int, dict[str, dict[tuple[int, str], object]]]

    @classmethod
    def read(cls, events: Events) -> "State":
        scenes = {row["id"]: row for row in events.rows("SELECT * FROM dias_catalogue")}
        tasks: dict[int, dict[str, Row]] = {obsid: {} for obsid in scenes}
        for row in events.rows("SELECT * FROM tasks"):
            tasks[row["obsid"]][row["bandset"]] = row
        bandsets = {band: name for name in ("10", "20") for band in BANDSETS[name].bands}
        rows: dict[int, dict[str, dict[tuple[int, str], object]]] = defaultdict(lambda: defaultdict(dict))
        for row in events.rows("SELECT * FROM sigs"):
            figures = tuple(np.float32(row[figure]).item() for figure in FIGURES)
            rows[row["obsid"]][bandsets[row["band"]]][row["pid"], row["band"]] = figures
        for row in events.rows("SELECT * FROM hists"):
            rows[row["obsid"]]["scl"][row["pid"], "SCL"] = row["hist"]
        return cls(scenes, tasks, rows)

    def made(self, obsid: int) -> Made:
        return BY_REFERENCE[self.scenes[obsid]["reference"]]

    def extracted(self) -> list[int]:
        return [obsid for obsid, scene in self.scenes.items() if scene["status"] == "extracted"]

    def pids(self, obsid: int) -> set[int]:
        return {pid for rows in self.rows[obsid].values() for pid, _ in rows} if obsid in self.rows else set()


# Parcels that a purge removed from the list of what a scene gave up, by scene and band set.
Forgotten = dict[tuple[int, str], set[int]]


def check(
    state: State, truth: Truth, *, declared: Declared, by_hand: Collection[str], forgotten: Forgotten
) -> None:
    """Everything that must be so after every event."""
    assert not set(state.rows) - set(state.scenes), "rows of scenes that are not in the catalogue"
    for obsid, scene in state.scenes.items():
        check_status(scene, state.tasks[obsid], by_hand)
        check_rows(state, obsid, truth, declared, forgotten)
    check_once(state, declared)
    check_elsewhere(state)


def check_status(scene: Row, tasks: Mapping[str, Row], by_hand: Collection[str]) -> None:
    """The status and the reason follow from the tasks."""
    name, status = BY_REFERENCE[scene["reference"]].name, scene["status"]
    if name in by_hand and status == "ingested":
        return
    places = {Place.CURRENT, Place.WAITS} if tasks else {Place.CURRENT, Place.SUPERSEDED, Place.OFFERED}
    if not scene["online"]:
        places.add(Place.AGAIN)
    failed = [tasks[name] for name in BANDSETS if name in tasks and _is(tasks[name], "failed")]
    found = [task["parcels"] for task in tasks.values() if task["parcels"] is not None]
    words = {
        scene_status(
            Facts(
                place=place,
                online=scene["online"],
                tasks=len(tasks),
                untouched=sum(_untouched(task) for task in tasks.values()),
                open=sum(_is(task, *OPEN) for task in tasks.values()),
                parcels=sum(found) if found else None,
                failure=failed[0]["failed_status"] if failed else None,
            )
        )
        for place in places
    }
    assert status in words, (name, status, words, tasks)
    reason = (failed[0]["reason_code"], failed[0]["reason"]) if failed else (None, None)
    if status == "inprogress" and not any(_is(task, *OPEN) for task in tasks.values()):
        reason = (WAITS_FOR_PARTS.code, WAITS_FOR_PARTS.meaning)
    assert (scene["reason_code"], scene["reason"]) == reason, (name, status)


def _untouched(task: Row) -> bool:
    return _is(task, "ready") and not task["attempts"] and task["rows"] is None


def _is(task: Row, *states: str) -> bool:
    """Whether a task is in one of these states; what is to read new parcels only is as good as done."""
    return task["state"] in states and (task["state"] == "done" or task["parcels_covered"] is None)


def check_rows(
    state: State,
    obsid: int,
    truth: Truth,
    declared: Declared,
    forgotten: Forgotten,
    *,
    unknown: Collection[tuple[int, str]] = (),
) -> None:
    """Rows are what the product says, and a task says why rows are missing."""
    made, tasks, rows = state.made(obsid), state.tasks[obsid], state.rows.get(obsid, {})
    status = state.scenes[obsid]["status"]
    if status in ("superseded", "offered"):
        assert not tasks, (made.name, status, tasks)
    for bandset in rows:
        assert bandset in tasks, f"{made.name} is {status}, and has rows of {bandset} without a task"
    for bandset, task in tasks.items():
        if (obsid, bandset) in unknown:
            continue
        there = rows.get(bandset, {})
        assert len(there) == (task["rows"] or 0), (made.name, bandset, len(there), task)
        if task["method"] is not None and (task["state"] == "done" or task["parcels_covered"] is not None):
            # what is done has read all parcels; the others, those of the version that they cover
            covered = declared.version if task["state"] == "done" else task["parcels_covered"]
            shapes = {p: shape for p, shape in declared.shapes.items() if declared.since.get(p, 1) <= covered}
            said = truth.said(made, shapes, bandset, tuple(task["bands"]), task["method"])
            if task["parcels"] == 0:
                assert not said.rows
            else:
                current = {key: row for key, row in there.items() if key[0] not in declared.gone}
                _check_task(task, current, said, made.name, forgotten.get((obsid, bandset), set()))


def _check_task(task: Row, there: Rows, said: Said, name: str, forgotten: set[int]) -> None:
    where = (name, task["bandset"])
    for key, row in there.items():
        assert said.rows.get(key) == row, (where, key, row, said.rows.get(key))
    missing = {pid for pid, _ in said.rows.keys() - there.keys()} - forgotten
    elsewhere = set(task["elsewhere"] or ())
    assert missing == elsewhere & {pid for pid, _ in said.rows}, (where, "missing", missing, elsewhere)
    assert not elsewhere or task["method"]["overlap"] == "first", where
    assert sorted(task["cut"] or []) == said.cut, where
    assert sorted(task["slivers"] or []) == said.slivers, where


def check_once(state: State, declared: Declared) -> None:
    """No parcel counts twice in a datatake, once all of its scenes have read it."""
    holders: dict[int, list[str]] = defaultdict(list)
    for obsid in state.extracted():
        tasks = state.tasks[obsid].values()
        behind = [task["parcels_covered"] for task in tasks if task["state"] != "done"]
        if all((task["method"] or {}).get("overlap") == "first" for task in tasks):
            for pid in state.pids(obsid):
                if not behind or declared.since.get(pid, 1) <= min(behind):
                    holders[pid].append(state.made(obsid).name)
    twice = {pid: names for pid, names in holders.items() if len(names) > 1}
    assert not twice, twice


def check_elsewhere(state: State) -> None:
    """What a scene that counts gave up is in another that counts, or will."""
    held = {
        pid: obsid
        for obsid, scene in state.scenes.items()
        if scene["status"] in ("extracted", "inprogress", "ingested")
        for pid in state.pids(obsid)
    }
    for obsid in state.extracted():
        for bandset, task in state.tasks[obsid].items():
            for pid in task["elsewhere"] or ():
                assert pid in held, (state.made(obsid).name, bandset, pid, "is nowhere")


def forget_read(state: State, forgotten: Forgotten) -> None:
    """What a purge has to do with a scene ends when its parcels are read again."""
    for obsid, bandset in list(forgotten):
        task = state.tasks.get(obsid, {}).get(bandset)
        if task is None or (task["state"] != "done" and task["parcels_covered"] is None):
            del forgotten[obsid, bandset]
        else:
            there = {pid for pid, _ in state.rows.get(obsid, {}).get(bandset, {})}
            forgotten[obsid, bandset] -= there | set(task["elsewhere"] or ())


def check_purged(before: State, after: State, classes: Collection[int]) -> Forgotten:
    """Only rows of parcels went whose pixels are all cloud; return what neighbours have forgotten."""
    keys = {str(scl) for scl in classes}
    for obsid, bandsets in before.rows.items():
        hists: Mapping[Any, Any] = bandsets.get("scl", {})
        cloudy = {pid for (pid, _), hist in hists.items() if hist and set(hist) <= keys}
        for bandset, rows in bandsets.items():
            left = after.rows.get(obsid, {}).get(bandset, {})
            assert left.items() <= rows.items(), (obsid, bandset)
            lost = {pid for pid, _ in rows.keys() - left.keys()}
            assert lost <= (set() if bandset == "scl" else cloudy), (obsid, bandset, lost)
    return {
        (obsid, bandset): set(task["elsewhere"] or ()) - set(after.tasks[obsid][bandset]["elsewhere"] or ())
        for obsid, tasks in before.tasks.items()
        for bandset, task in tasks.items()
    }


def check_gone(state: State, kept: dict[tuple[int, str], dict[Any, Any]]) -> None:
    """Rows of parcels that are gone are as they were, unless another version or another tile counts."""
    superseded = {obsid for obsid, scene in state.scenes.items() if scene["status"] == "superseded"}
    for obsid, bandset in list(kept):
        if obsid not in state.scenes or obsid in superseded:
            del kept[obsid, bandset]
    for obsid in {obsid for obsid, _ in kept}:
        _check_gone(state, obsid, {b: rows for (o, b), rows in kept.items() if o == obsid}, superseded)


def _check_gone(state: State, obsid: int, kept: dict[str, dict[Any, Any]], superseded: set[int]) -> None:
    name = state.made(obsid).name
    # what went while one of two tiles was being read is in the one that has more of it
    for pid in {pid for rows in kept.values() for pid, _ in rows} - state.pids(obsid):
        had = sum(key[0] == pid for rows in kept.values() for key in rows)
        others = [
            sum(key[0] == pid for rows in bandsets.values() for key in rows)
            for other, bandsets in state.rows.items()
            if other != obsid
        ]
        assert superseded or max(others, default=0) >= had, (name, pid, "is gone, and its rows too")
        for rows in kept.values():
            for key in [key for key in rows if key[0] == pid]:
                del rows[key]
    for bandset, rows in kept.items():
        there = state.rows.get(obsid, {}).get(bandset, {})
        assert {key: there.get(key) for key in rows} == rows, (name, bandset, "rows of parcels that are gone")


def best(state: State, truth: Truth, *, shapes: Mapping[int, int]) -> dict[str, dict[str, dict[Any, Any]]]:
    """What the rule leaves in the scenes that are extracted, of all that they have to say."""
    said: dict[str, dict[str, Said]] = {}
    for obsid in state.extracted():
        made = state.made(obsid)
        said[made.name] = {
            name: truth.said(made, shapes, name, tuple(task["bands"]), task["method"])
            for name, task in state.tasks[obsid].items()
        }
    competing = sorted((state.made(obsid) for obsid in state.extracted()), key=rank)
    kept: dict[str, dict[str, dict[Any, Any]]] = {name: {"scl": {}, "10": {}, "20": {}} for name in said}
    for pid in {pid for sets in said.values() for one in sets.values() for pid, _ in one.rows}:
        chosen = min(competing, key=lambda made: _place(said[made.name], shapes[pid] in made.cut, made, pid))
        for bandset, one in said[chosen.name].items():
            kept[chosen.name][bandset] |= {key: row for key, row in one.rows.items() if key[0] == pid}
    return kept


def _place(said: Mapping[str, Said], cut: bool, made: Made, pid: int) -> tuple[Any, ...]:
    bands = sum(p == pid for name in ("10", "20") if name in said for p, _ in said[name].rows)
    hist: Any = said["scl"].rows.get((pid, "SCL"), {}) if "scl" in said else {}
    seen = 0 if bands else sum(pixels for scl, pixels in hist.items() if scl != "0")
    official = made.official and bool(bands or seen)
    # of scenes that have nothing of it at all, none is chosen before one that has
    nothing = not any(p == pid for one in said.values() for p, _ in one.rows)
    return nothing, not official, not bands, -seen, cut, -bands
