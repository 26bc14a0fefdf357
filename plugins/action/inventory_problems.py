"""Judges what the inventory says, before anything is changed; see plugins/module_utils/inventory."""

import re
import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError, AnsibleUndefinedVariable
from ansible.plugins.action import ActionBase

PROJECT = Path(__file__).parents[2]
runpy.run_path(str(PROJECT / "plugins" / "module_utils_path.py"))

from ansible.module_utils.inventory.judge import problems  # noqa: E402
from ansible.module_utils.inventory.problem import Problem  # noqa: E402
from ansible.module_utils.inventory.specification import Specification, read  # noqa: E402
from ansible.module_utils.inventory.tenants import Tenant  # noqa: E402

# what hands the lines of an inventory on to the roles; what it says is ours
MAPPING = PROJECT / "playbooks" / "group_vars" / "all.yml"


class ActionModule(ActionBase):
    """`required_of`: roles whose required variables must be set. `refuse`: fail if there is a problem."""

    _requires_connection = False
    _VALID_ARGS = frozenset(("required_of", "refuse"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return `problems`, each with code, variable, message, hint and sentence, and `message` with all."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        host = variables["inventory_hostname"]
        specification = read(PROJECT / "roles")
        mapping = yaml.safe_load(MAPPING.read_text())
        raw = variables["hostvars"].raw_get(host)
        # what an operator wrote, not what the mapping makes of it
        written = {
            name: value
            for name, value in raw.items()
            if name in specification.options and mapping.get(name) != value
        }
        values, broken = self._evaluated(written, specification, facts=bool(variables.get("ansible_facts")))
        found = broken + problems(
            host,
            values,
            specification,
            names=raw,
            mapped=mapping,
            required_of=self._task.args.get("required_of", ()),
            tenants=list(_tenants(variables)),
        )
        if found and self._task.args.get("refuse"):
            codes = [{"code": problem.code, "variable": problem.variable} for problem in found]
            return {"failed": True, "msg": message(host, found), "problems": codes}
        data = [problem.data() for problem in found]
        return {"changed": False, "problems": data, "message": message(host, found)}

    def _evaluated(
        self, written: Mapping[str, Any], specification: Specification, *, facts: bool
    ) -> tuple[dict[str, Any], list[Problem]]:
        """Values of expressions, without those that wait for facts or for another role's defaults."""
        values: dict[str, Any] = {}
        broken: list[Problem] = []
        for name, expression in written.items():
            try:
                values[name] = plain(self._templar.template(expression))
            except AnsibleError as error:
                reason = str(getattr(error, "message", error)).strip().rstrip(".")
                if isinstance(error, AnsibleUndefinedVariable):
                    undefined = re.search(r"'(\w+)' is undefined", reason)
                    if not (facts and undefined and _is_strange(undefined[1], specification)):
                        continue
                what = f"{name}: the expression cannot be evaluated ({reason})."
                broken.append(Problem("inventory.expression", name, what, "Correct it."))
        return values, broken


def _is_strange(name: str, specification: Specification) -> bool:
    """Whether a variable is neither a role's nor Ansible's, so that nothing will define it later."""
    return name not in specification.options and not name.startswith("ansible_")


def message(host: str, found: list[Problem]) -> str:
    """One text for a task that fails."""
    counted = "1 problem" if len(found) == 1 else f"{len(found)} problems"
    lines = "\n".join(f"- {problem.sentence}" for problem in found)
    return f"{counted} found in the inventory of {host}; nothing was changed.\n{lines}"


def plain(value: Any) -> Any:
    """A value without Ansible's lazy containers, so that every expression in it is evaluated here."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def _tenants(variables: Mapping[str, Any]) -> Iterator[Tenant]:
    """All tenants of the inventory, also those outside --limit."""
    hostvars = variables["hostvars"]
    for host in variables.get("groups", {}).get("tenants", ()):
        said = hostvars[host]
        facts = said.get("ansible_facts", {})
        interface = facts.get("default_ipv4", {})
        # a copied VM may have another's machine-id, but not its MAC address
        machine = [facts.get("machine_id"), interface.get("address"), interface.get("macaddress")]
        local = _text(said, "ansible_connection") == "local"
        address = (
            "" if local else _text(said, "ansible_host") or ("" if _text(said, "tenant_cloud") else host)
        )
        yield Tenant(
            host=host,
            name=_text(said, "tenant_name") or host,
            address=f"{address.lower()}:{_text(said, 'ansible_port') or 22}" if address else "",
            machine=" ".join(machine) if all(machine) else "",
            volume=_text(said, "tenant_data_volume_id"),
        )


def _text(said: Mapping[str, Any], name: str) -> str:
    """A variable's value as text; empty if it is not set or cannot be evaluated."""
    try:
        return str(said.get(name) or "")
    except AnsibleError:
        return ""
