"""Archives of a season among everything else that happens to the queue, in any order."""

from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis.stateful import invariant, precondition

from cbmctl.config import Config
from cbmctl.database import connect
from cbmctl.maintenance.season_archive.drop import drop
from cbmctl.maintenance.season_archive.make import make
from cbmctl.maintenance.season_archive.restore import restore

from .conftest import Season
from .examples import run_machine
from .queue_events import Events, never_together
from .queue_rules import State, check_elsewhere, check_once, check_rows, check_status
from .queue_scenes import EARLIER, SCENES, Truth, load_parcels
from .test_queue_machine import WHICH, Queue, event, which_of

pytestmark = pytest.mark.postgis


class Archives(Queue):
    """The queue, whose extracted scenes are archived and restored."""

    numbers = count()

    def __init__(self, events: Events, truth: Truth, folder: Path) -> None:
        super().__init__(events, truth)
        events.conn.execute("TRUNCATE archived_scenes, restored_files")
        self.folder = folder
        self.archives: list[tuple[Path, bool]] = []
        self.archived: set[int] = set()

    @precondition(lambda self: not self.events.busy() and self.named("extracted"))
    @event(work=WHICH)
    def archive(self, work: int) -> None:
        if work:
            self.events.plan()
            self.events.work_off()
        folder = self.folder / str(next(self.numbers))
        if self.events._asked(lambda: make(self.events.conn, self.events.config, folder)):
            wanted = self.statuses("extracted")
            done = drop(self.events.conn, self.events.config, folder)
            assert done.kept == {}
            assert done.scenes == len(wanted)
            self.archives.append((folder, self.events.later))

    @precondition(lambda self: self.archives)
    @event(which=WHICH)
    def restore(self, which: int) -> None:
        folder, later = which_of(self.archives, which)
        events, wanted = self.events, self.statuses("archived")
        if later == events.later:
            done = restore(events.conn, events.config, folder)
            assert done.scenes == len(wanted) - len(self.statuses("archived"))
        elif wanted:
            events._asked(lambda: restore(events.conn, events.config, folder))

    @precondition(lambda self: self.archived)
    @event(which=WHICH)
    def set_archived_ingested(self, which: int) -> None:
        self.events.conn.execute(
            "UPDATE dias_catalogue SET status = 'ingested' WHERE id = %s",
            [which_of(sorted(self.archived), which)],
        )
        self.by_hand |= set(SCENES)

    def statuses(self, status: str) -> set[int]:
        rows = self.events.rows("SELECT id, status FROM dias_catalogue")
        return {row["id"] for row in rows if row["status"] == status}

    @invariant()
    def is_right(self) -> None:
        state = State.read(self.events)
        self.archived = {obsid for obsid, scene in state.scenes.items() if scene["status"] == "archived"}
        for obsid in self.archived:
            assert not state.pids(obsid), "rows of an archived scene"
            assert {task["state"] for task in state.tasks[obsid].values()} == {"done"}
            del state.scenes[obsid], state.tasks[obsid]
        self.state = state
        self.by_hand = set(self.named("ingested")) & self.by_hand | set(self.named("offline"))
        for obsid, scene in state.scenes.items():
            check_status(scene, state.tasks[obsid], self.by_hand)
            check_rows(state, obsid, self.truth, self.events.later)
        check_once(state)
        if not self.archived:
            check_elsewhere(state)
        self.sound = True

    def teardown(self) -> None:
        """Once all is restored that can be, the season is as if nothing had ever been archived."""
        if not self.sound:
            return
        for folder, later in self.archives:
            if later == self.events.later:
                restore(self.events.conn, self.events.config, folder)
        # what was archived with other parcels can only be extracted again
        self.events.conn.execute("UPDATE dias_catalogue SET status = 'ingested' WHERE status = 'archived'")
        self.is_right_after_hand()
        super().teardown()

    def is_right_after_hand(self) -> None:
        self.by_hand |= set(SCENES)
        self.is_right()


def test_whatever_happens_to_archived_scenes(
    season: Season, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_together(monkeypatch)
    pristine = tmp_path / "pristine"
    for made in SCENES.values():
        made.write(pristine)
    with season.database.connect() as conn:
        load_parcels(conn, EARLIER)
    eodata = season.config.eodata
    truth = Truth(season.database.configured(eodata=str(pristine)))
    config: Config = season.database.configured(eodata=str(eodata))
    for made in SCENES.values():
        (eodata / str(made.record.path)).parent.mkdir(parents=True, exist_ok=True)
    with connect(config, autocommit=True) as conn:
        events: Any = Events(season, pristine, config, conn)
        run_machine(lambda: Archives(events, truth, tmp_path / "archives"), 4, thorough=100, steps=30)
        events.start_over()
