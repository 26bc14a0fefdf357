"""Archives of a season among everything else that happens to the queue, in any order."""

from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis.stateful import invariant, precondition

from cbmctl.maintenance.season_archive.drop import drop
from cbmctl.maintenance.season_archive.make import make
from cbmctl.maintenance.season_archive.restore import restore
from tests.support.effort import run_machine
from tests.support.queue_events import Events
from tests.support.queue_rules import (
    State,
    check_elsewhere,
    check_gone,
    check_once,
    check_rows,
    check_status,
    forget_read,
)
from tests.support.queue_scenes import SCENES, Truth
from tests.support.season import Season
from tests.unit.queue.test_machine import WHICH, Queue, event, queue, which_of

pytestmark = pytest.mark.postgis


@dataclass(frozen=True)
class Archive:
    """An archive: its folder, the parcels that were current, and the rows by scene and band set."""

    folder: Path
    pids: frozenset[int]
    rows: dict[tuple[int, str], dict[Any, Any]]


class Archives(Queue):
    """The queue, whose extracted scenes are archived and restored."""

    numbers = count()

    def __init__(self, events: Events, truth: Truth, folder: Path) -> None:
        super().__init__(events, truth)
        events.conn.execute("TRUNCATE archived_scenes, restored_files")
        self.folder = folder
        self.archives: list[Archive] = []
        self.archived: set[int] = set()
        # tasks of archived scenes that are to be extracted again: they count rows that are in the archive
        self.unread: set[tuple[int, str]] = set()

    @precondition(lambda self: not self.events.busy() and self.named("extracted"))
    @event(work=WHICH)
    def archive(self, work: int) -> None:
        if work:
            self.events.plan()
            self.events.work_off()
        folder, events = self.folder / str(next(self.numbers)), self.events
        if events._asked(lambda: make(events.conn, events.config, folder)):
            wanted, state = self.statuses("extracted"), State.read(events)
            rows = {(obsid, name): rows for obsid in wanted for name, rows in state.rows[obsid].items()}
            done = drop(events.conn, events.config, folder)
            assert done.kept == {}
            assert done.scenes == len(wanted)
            self.archives.append(Archive(folder, frozenset(events.declared.shapes), rows))

    @precondition(lambda self: self.archives)
    @event(which=WHICH)
    def restore(self, which: int) -> None:
        self.bring_back(which_of(self.archives, which))

    def bring_back(self, archive: Archive) -> None:
        """Restore an archive, which is refused if its parcels were replaced."""
        events, before = self.events, self.statuses("archived")
        known = events.declared.shapes.keys() | events.declared.gone.keys()
        if not archive.pids <= known:
            events._asked(lambda: restore(events.conn, events.config, archive.folder))
            assert self.statuses("archived") == before
            return
        done = restore(events.conn, events.config, archive.folder)
        back = before - self.statuses("archived")
        assert done.scenes == len(back)
        for (obsid, bandset), rows in archive.rows.items():
            if obsid in back:
                gone = {key: row for key, row in rows.items() if key[0] in events.declared.gone}
                self.kept.setdefault((obsid, bandset), {}).update(gone)

    @precondition(lambda self: self.archived)
    @event(which=WHICH)
    def set_archived_ingested(self, which: int) -> None:
        self.extract_again([which_of(sorted(self.archived), which)])

    def extract_again(self, obsids: list[int]) -> None:
        """Set archived scenes to 'ingested' by hand: rows of parcels that are gone stay in the archive."""
        self.events.conn.execute("UPDATE dias_catalogue SET status = 'ingested' WHERE id = ANY(%s)", [obsids])
        self.by_hand |= set(SCENES)
        self.unread |= {(obsid, bandset) for obsid in obsids for bandset in ("scl", "10", "20")}
        self.kept = {key: rows for key, rows in self.kept.items() if key[0] not in obsids}

    def is_unread(self, obsid: int, bandset: str) -> bool:
        task = self.state.tasks.get(obsid, {}).get(bandset)
        there = self.state.rows.get(obsid, {}).get(bandset, {})
        return task is not None and (task["state"] != "done" or len(there) != (task["rows"] or 0))

    def statuses(self, status: str) -> set[int]:
        rows = self.events.rows("SELECT id, status FROM dias_catalogue")
        return {row["id"] for row in rows if row["status"] == status}

    @invariant()
    def is_right(self) -> None:
        state, declared = State.read(self.events), self.events.declared
        self.archived = {obsid for obsid, scene in state.scenes.items() if scene["status"] == "archived"}
        for obsid in self.archived:
            assert not state.pids(obsid), "rows of an archived scene"
            assert {task["state"] for task in state.tasks[obsid].values()} == {"done"}
            del state.scenes[obsid], state.tasks[obsid]
        self.state = state
        self.by_hand = set(self.named("ingested")) & self.by_hand | set(self.named("offline"))
        archived = {key: pids for key, pids in self.forgotten.items() if key[0] in self.archived}
        forget_read(state, self.forgotten)
        self.forgotten |= archived
        self.unread = {key for key in self.unread if self.is_unread(*key)}
        for obsid, scene in state.scenes.items():
            check_status(scene, state.tasks[obsid], self.by_hand)
            check_rows(state, obsid, self.truth, declared, self.forgotten, unknown=self.unread)
        check_once(state, declared)
        if not self.archived and not self.unread:
            check_elsewhere(state)
        away = {key: self.kept.pop(key) for key in list(self.kept) if key[0] in self.archived}
        check_gone(state, self.kept)
        self.kept |= away
        self.sound = True

    def teardown(self) -> None:
        """Once all is restored that can be, the season is as if nothing had ever been archived."""
        if not self.sound:
            return
        for archive in self.archives:
            self.bring_back(archive)
        # what was archived with other parcels can only be extracted again
        self.extract_again(sorted(self.statuses("archived")))
        self.is_right()
        super().teardown()


def test_whatever_happens_to_archived_scenes(
    season: Season, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with queue(season, tmp_path, monkeypatch) as (events, truth):
        run_machine(lambda: Archives(events, truth, tmp_path / "archives"), 4, thorough=100, steps=30)
