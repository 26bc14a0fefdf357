"""Tells how long each stage took and what it changed: a table at the end, a file for the report."""

import json
import runpy
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible import context
from ansible.executor.stats import AggregateStats
from ansible.executor.task_result import CallbackTaskResult
from ansible.playbook import Playbook
from ansible.playbook.play import Play
from ansible.plugins.callback import CallbackBase

runpy.run_path(str(Path(__file__).parents[1] / "module_utils_path.py"))

from ansible.module_utils.inventory.formats import is_name  # noqa: E402

DOCUMENTATION = r"""
name: stages
type: aggregate
short_description: Duration and changes of every play
description:
  - Prints a table at the end and keeps the same numbers in C(stages.json) of every tenant's state directory.
options:
  state_dir:
    description: The directory of all tenants' states.
    type: path
    default: ~/.local/state/cbm
    env:
      - name: CBM_STATE_DIR
"""


@dataclass
class Stage:
    """One play."""

    name: str
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    changed: Counter[str] = field(default_factory=Counter)
    hosts: set[str] = field(default_factory=set)


class CallbackModule(CallbackBase):
    """Counts per play; a play of another group than the tenants is shown and not kept."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "stages"

    def __init__(self) -> None:
        super().__init__()
        self._stages: list[Stage] = []
        self._play: Play | None = None

    def v2_playbook_on_start(self, _playbook: Playbook) -> None:
        """Begin with nothing."""
        self._stages = []

    def v2_playbook_on_play_start(self, play: Play) -> None:
        """End the stage before and begin the next."""
        self._close()
        self._play = play
        self._stages.append(Stage(play.get_name()))

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        """Count a task that ran."""
        stage, host = self._stages[-1], result.host.get_name()
        stage.hosts.add(host)
        stage.changed[host] += result.is_changed()

    def v2_playbook_on_stats(self, _stats: AggregateStats) -> None:
        """Print the table."""
        self._close()
        self._display.banner("STAGES")
        rows = [(stage.name, stage.seconds, stage.changed.total()) for stage in self._stages]
        rows.append(("together", sum(row[1] for row in rows), sum(row[2] for row in rows)))
        width = max(len(row[0]) for row in rows)
        for name, seconds, changed in rows:
            self._display.display(f"{name:{width}}  {duration(seconds):>12}  changed={changed}")

    def _close(self) -> None:
        """Stop the running stage's clock and keep its numbers, so that the report finds them."""
        if not self._stages or self._play is None:
            return
        stage = self._stages[-1]
        stage.seconds = time.monotonic() - stage.started
        # a play that ends a tenant leaves no trace of it, and one that only looks is none: stages_keep: false
        if context.CLIARGS.get("check") or not self._play.vars.get("stages_keep", True):
            return
        states = Path(self.get_option("state_dir")).expanduser()
        inventory = self._play.get_variable_manager()._inventory
        tenants = inventory.groups["tenants"].get_hosts() if "tenants" in inventory.groups else []
        for host in tenants:
            tenant = host.get_vars().get("tenant_name", host.get_name())
            # a name that is not valid could lead out of the directory; precheck reports it
            if host.get_name() in stage.hosts and is_name(tenant):
                keep(states / tenant, stage, stage.changed[host.get_name()])


def keep(directory: Path, stage: Stage, changed: int) -> None:
    """Put the stage into `stages.json`, unless it did nothing and is known from a run that did."""
    path = directory / "stages.json"
    # the first stages come before anything else is put there
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    stages: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if stage.name in stages and not changed:
        return
    at = datetime.now(UTC).isoformat(timespec="seconds")
    stages[stage.name] = {"seconds": round(stage.seconds, 1), "changed": changed, "ended": at}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(stages, indent=2) + "\n")
    partial.replace(path)


def duration(seconds: float) -> str:
    """`1 min 05 s`, `3.2 s`."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
