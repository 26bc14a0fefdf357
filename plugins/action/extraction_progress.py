"""Shows how the extraction goes and waits for its end; without a service it only says what failed."""

import json
import shlex
import time
from collections.abc import Iterator
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()

# a line at least this often, so that a quiet terminal does not look like a dead one
SILENCE_SECONDS = 60
# swarm needs a moment to start tasks, and between a crash and the next attempt none is alive
PATIENCE_SECONDS = 45
# swarm's words for a task that will not do anything any more
ENDED = {"Complete", "Failed", "Rejected", "Shutdown", "Orphaned", "Remove"}


class ActionModule(ActionBase):
    """`service`: the swarm service of the workers. `poll_seconds`: between two looks. `season`: its name."""

    _requires_connection = True
    _VALID_ARGS = frozenset(("service", "poll_seconds", "season"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the last status; fail when workers are gone too early or no scene succeeded."""
        super().run(tmp, task_vars)
        self._vars = task_vars or {}
        service = self._task.args.get("service")
        status = (
            self._watch(service, float(self._task.args.get("poll_seconds", 3))) if service else self._status()
        )

        failed = status["failed_tasks"]
        for task in failed:
            display.warning(f"{task['reference']} ({task['bandset']}): {cause(task)}")
        if failed and not sum(counts["done"] for counts in status["tasks"].values()):
            raise AnsibleActionFail(f"not one scene could be extracted; the first reason: {cause(failed[0])}")
        return {"changed": False, "status": status}

    def _watch(self, service: str, poll_seconds: float) -> dict[str, Any]:
        """Show a line whenever the numbers change until nothing is left to do."""
        started = last_alive = time.monotonic()
        shown_at, shown, done_before = 0.0, "", None
        while True:
            status = self._status()
            done = sum(counts["done"] + counts["failed"] for counts in status["tasks"].values())
            left = sum(counts["ready"] + counts["running"] for counts in status["tasks"].values())
            done_before = done if done_before is None else done_before
            line = ", ".join(counted(name, counts) for name, counts in status["tasks"].items())
            now = time.monotonic()
            if line != shown or now - shown_at > SILENCE_SECONDS:
                ahead = pace(done - done_before, left, now - started)
                display.display(f"  {self._vars['inventory_hostname']}: {line}{ahead}")
                shown_at, shown = now, line
            if not left:
                return status
            if any(self._workers(service)):
                last_alive = now
            elif now - last_alive > PATIENCE_SECONDS:
                raise AnsibleActionFail(
                    f"{left} tasks are left and no worker is alive: {self._last_words(service)}"
                )
            time.sleep(poll_seconds)

    def _status(self) -> dict[str, Any]:
        """What `cbmctl status` says."""
        season = self._task.args.get("season") or ""
        answer = self._module("cbmctl", arguments=["status"], mutates=False, season=season)
        result: dict[str, Any] = answer["result"]
        return result

    def _workers(self, service: str) -> Iterator[str]:
        """Name every worker that runs or is about to."""
        for row in self._docker("service", "ps", service, "--format", "{{json .}}")["stdout_lines"]:
            worker = json.loads(row)
            if worker["CurrentState"].split()[0] not in ENDED:
                yield worker["Name"]

    def _last_words(self, service: str) -> str:
        """Why workers ended: swarm's reason and the end of their log."""
        reasons = self._docker("service", "ps", service, "--no-trunc", "--format", "{{.Error}}")[
            "stdout_lines"
        ]
        log = self._docker("service", "logs", "--raw", "--tail", "20", service)
        said = [*dict.fromkeys(filter(None, reasons)), *log["stdout_lines"], *log["stderr_lines"]]
        return "\n".join(said) or "they left no trace"

    def _docker(self, *arguments: str) -> dict[str, Any]:
        """Ask the engine."""
        answer = self._module("ansible.legacy.command", _raw_params=shlex.join(("docker", *arguments)))
        # the command module leaves the splitting to Ansible's task executor
        return {
            name: answer[name.removesuffix("_lines")].splitlines()
            for name in ("stdout_lines", "stderr_lines")
        }

    def _module(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Run a module on the host, also in check mode: none of these changes anything."""
        answer: dict[str, Any] = self._execute_module(name, arguments, task_vars=self._vars)
        if answer.get("failed"):
            raise AnsibleActionFail(answer.get("stderr") or answer["msg"])
        return answer


def cause(task: dict[str, Any]) -> str:
    """Why a task failed; of a traceback, the line that says what happened."""
    return f"{task['status']}: {task['reason'].splitlines()[-1]}"


def counted(name: str, counts: dict[str, int]) -> str:
    """`scl 12/40` and, where there are some, how many failed."""
    line = f"{name} {counts['done']}/{sum(counts.values())}"
    return f"{line} ({counts['failed']} failed)" if counts["failed"] else line


def pace(done: int, left: int, seconds: float) -> str:
    """How fast it goes and when it ends, as soon as that can be told."""
    if not done or seconds < 1:
        return ""
    rate = done / seconds
    minutes, rest = divmod(round(left / rate), 60)
    return (
        f"; {rate * 60:.0f} a minute, {minutes} min {rest:02d} s to go"
        if left
        else f"; {rate * 60:.0f} a minute"
    )
