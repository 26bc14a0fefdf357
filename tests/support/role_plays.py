"""Roles run by themselves for many inventories at once, on this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.conftest import REPOSITORY

# services of one's own, by protocol
OWN = {"stac": "https://s.example/v1", "odata": "https://o.example/v1", "opensearch": "https://r.example"}


def role_variables(role: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((REPOSITORY / "roles" / role / "vars/main.yml").read_text())
    return found


def play(
    directory: Path,
    hosts: Mapping[str, Mapping[str, Any]],
    *tasks: Mapping[str, Any],
    variables: Sequence[str] = (),
    check: bool = False,
) -> str:
    """Run tasks for hosts that are this machine, in check mode if `check`, and return the verbose output."""
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = {"all": {"hosts": hosts, "vars": local}}
    (directory / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False))
    one = {"hosts": "all", "gather_facts": False, "tasks": tasks, "vars_files": variables}
    (directory / "play.yml").write_text(json.dumps([one]))
    command = [Path(sys.executable).parent / "ansible-playbook", "-vvv", "-i", directory / "hosts.yml"]
    command += ["--check", "--diff"] if check else []
    run = subprocess.run(
        [*command, directory / "play.yml"],
        env=os.environ | {"ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return run.stdout + run.stderr


def precheck(
    directory: Path, part: str, result: str, cases: Sequence[Mapping[str, Any]], *, run: bool = True
) -> tuple[list[Any], str]:
    """Run a part of the role for many inventories at once; return a variable of each, and what was said."""
    hosts = {
        f"case{number}": {f"precheck_{name}": value for name, value in lines.items()}
        for number, lines in enumerate(cases)
    }
    return answers(
        directory,
        hosts,
        {"ansible.builtin.import_role": {"name": "precheck", "tasks_from": part}, "when": run},
        result=result,
    )


def answers(
    directory: Path,
    hosts: Mapping[str, Mapping[str, Any]],
    *tasks: Mapping[str, Any],
    result: str,
    check: bool = False,
) -> tuple[list[Any], str]:
    """Run tasks for many hosts; return the value of an expression for each, and what was said."""
    file = directory / "answers.json"
    # all hosts' in one file: a file of each would cost more than most roles
    kept = {"answer": f"{{{{ {result} }}}}"}
    written = {
        "content": "{{ ansible_play_hosts_all | map('extract', hostvars, 'answer') | to_json }}",
        "dest": str(file),
        "mode": "0600",
    }
    said = play(
        directory,
        hosts,
        *tasks,
        {"ansible.builtin.set_fact": kept},
        {"ansible.builtin.copy": written, "run_once": True, "check_mode": False},
        check=check,
    )
    assert file.exists(), said
    found: list[Any] = json.loads(file.read_text())
    assert len(found) == len(hosts), said
    return found, said


def match(told: list[str], expected: list[str]) -> bool:
    return len(told) == len(expected) and all(any(part in one for one in told) for part in expected)


def rendered(role: str, text: str, **given: Any) -> Any:
    """What Ansible makes of a template or an expression with a role's variables, and with what is given."""
    defaults = yaml.safe_load((REPOSITORY / "roles" / role / "defaults/main.yml").read_text())
    lines = {**defaults, **role_variables(role), "ansible_managed": "by a test", **given}
    return Templar(DataLoader(), variables=_trusted(lines)).template(trust_as_template(text))


def _trusted(value: Any) -> Any:
    """Templates inside of lists and mappings are templates, too."""
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, Mapping):
        return {name: _trusted(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_trusted(one) for one in value]
    return value
