"""Installs Debian packages; if that fails, names the package sources that fail."""

import re
from collections.abc import Sequence
from typing import Any

from ansible.plugins.action import ActionBase

KEEP_CONFIGURATION = "force-confdef,force-confold"
# what Ansible's module and apt print about a package that is in no package list
UNKNOWN = re.compile(r"No package matching|no installation candidate|Unable to locate package")


class ActionModule(ActionBase):
    """Installs the packages of `name`, or with `upgrade` the newest version of all that are installed.

    Apt is made ready before (module `apt_ready`). Without package lists, as in check mode on a bare host,
    nothing can be predicted, and nothing is done.
    """

    _requires_connection = True
    _VALID_ARGS = frozenset(("name", "upgrade", "lists_valid_seconds", "lock_timeout"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what apt has done, or one text: what is not installed, apt's reason, sources that fail."""
        super().run(tmp, task_vars)
        self._vars = task_vars or {}
        asked = self._task.args
        patience = {"lock_timeout": int(asked.get("lock_timeout", 600))}
        valid = {name: int(value) for name, value in asked.items() if name == "lists_valid_seconds"}
        ready = self._module("apt_ready", **patience, **valid)
        if ready.get("failed"):
            return ready
        if not ready["lists"]:
            return {"changed": ready["changed"], "msg": "Apt has no package lists yet."}
        wanted = [asked["name"]] if isinstance(asked.get("name"), str) else list(asked.get("name", ()))
        work = {"upgrade": "dist"} if asked.get("upgrade") else {"name": wanted, "install_recommends": False}
        done = self._module("ansible.builtin.apt", **work, **patience, dpkg_options=KEEP_CONFIGURATION)
        if done.get("failed"):
            # if the lists were fresh enough, no source has been asked
            sources = ready["failing_sources"] or self._sources(**patience)
            done["msg"] = message(wanted, str(done.get("msg", "")), sources)
            done["failing_sources"] = sources
            # Ansible would print the module's own text as the headline
            done.pop("exception", None)
        done["changed"] = bool(done.get("changed")) or ready["changed"]
        done["warnings"] = [*ready.get("warnings", ()), *done.get("warnings", ())]
        return done

    def _sources(self, **patience: int) -> list[str]:
        """Sentences on package sources that fail now."""
        again = self._module("apt_ready", **patience, lists_valid_seconds=0)
        # without any lists, the sources are in the message
        sources: list[str] = again.get("failing_sources") or ([again["msg"]] if again.get("failed") else [])
        return sources

    def _module(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(name, arguments, task_vars=self._vars)
        return answer


def message(wanted: Sequence[str], output: str, sources: Sequence[str]) -> str:
    """One text: what apt cannot install, its reason, sources that fail, and what to do."""
    # Ansible's module puts the command before apt's first line
    lines = [line.rpartition("failed: ")[2] for line in output.splitlines() if line.strip()]
    reasons = [line.removeprefix("E: ").strip() for line in lines if line.startswith("E: ")]
    reasons = reasons or lines[-1:] or ["apt printed nothing"]
    what = f"install {', '.join(wanted)}" if wanted else "upgrade the installed packages"
    text = [f"Apt cannot {what}: {'; '.join(dict.fromkeys(reasons)).rstrip('.')}.", *sources]
    if sources:
        text.append("Correct or remove the package source in /etc/apt, and run this again.")
    elif UNKNOWN.search(output):
        text.append("Add a package source that has the package to /etc/apt, and run this again.")
    return " ".join(text)
