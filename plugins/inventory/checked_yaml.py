"""Inventories in YAML, of which a mistake in the file is the only thing that is reported."""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from ansible.cli import ExitCode
from ansible.errors import AnsibleError, AnsibleParserError
from ansible.plugins.inventory.yaml import InventoryModule as YamlInventory
from ansible.utils.display import Display
from yaml import MarkedYAMLError

DOCUMENTATION = r"""
name: checked_yaml
short_description: A YAML inventory without mistakes
description:
  - Reads what the plugin C(yaml) reads, from files with the suffixes C(.yml) and C(.yaml).
  - YAML's own reason is reported, with file, line and column. Ansible itself tries one plugin after
    the other, reports the reasons of all, and ends with the sentence that there is no inventory.
  - Files in C(group_vars) and C(host_vars) beside the inventory are read, too.
  - A key of a group that is neither C(hosts), C(vars) nor C(children) is an error; C(yaml) skips it.
options: {}
"""
EXAMPLES = r"""
---
tenants:
  hosts:
    dk: {ansible_host: 192.0.2.11}
"""

SUFFIXES = {".yml", ".yaml"}
SUFFIXES_OF_VARIABLES = {*SUFFIXES, ".json", ""}
PLACE = re.compile(r"^Origin: .*:(\d+):(\d+)$", re.MULTILINE)
KEYS = ("hosts", "vars", "children")


class InventoryModule(YamlInventory):  # type: ignore[misc] # Ansible is not typed
    """Refuses a file at its first mistake."""

    NAME = "checked_yaml"

    def verify_file(self, path: str) -> bool:
        """Whether a file is for this plugin."""
        return Path(path).suffix in SUFFIXES and Path(path).is_file()

    def parse(self, inventory: object, loader: Any, path: str, cache: bool = True) -> None:
        """Read the groups, hosts and variables; end Ansible at a mistake."""
        data = load(loader, path)
        if isinstance(data, Mapping) and "plugin" in data:
            # the configuration of another plugin
            raise AnsibleParserError("not a valid YAML inventory")
        for problem, place in problems(data):
            refuse(path, AnsibleParserError(problem, obj=place))
        for file in beside(Path(path)):
            load(loader, str(file))
        try:
            super().parse(inventory, loader, path, cache)
        except AnsibleError as error:
            refuse(path, error)


def load(loader: Any, path: str) -> Any:
    """What a file holds; ends Ansible if it is not YAML."""
    try:
        return loader.load_from_file(path, cache="none", trusted_as_template=True)
    except AnsibleError as error:
        refuse(path, error)


def beside(inventory: Path) -> list[Path]:
    """Files with variables of groups and hosts, without encrypted ones, which need a password."""
    files = [
        file
        for folder in ("group_vars", "host_vars")
        for file in sorted((inventory.parent / folder).rglob("*"))
        if file.is_file() and file.suffix in SUFFIXES_OF_VARIABLES and file.name[0] != "."
    ]
    return [file for file in files if not file.read_bytes().startswith(b"$ANSIBLE_VAULT")]


def refuse(path: str, error: AnsibleError) -> NoReturn:
    """Report one mistake and end; an exception would send Ansible on to the next plugin."""
    context = str(getattr(error, "_formatted_source_context", None) or "")
    place = PLACE.search(context)
    where = (int(place[1]), int(place[2])) if place else None
    reason = str(getattr(error, "message", error))
    cause = error.__cause__
    if isinstance(cause, MarkedYAMLError) and cause.problem_mark:
        # Ansible guesses at the reason, from the text of the line, and often at a wrong one
        where = (cause.problem_mark.line + 1, cause.problem_mark.column + 1)
        quotes = ' (an expression needs quotes: "{{ … }}")' if "unhashable" in str(cause.problem) else ""
        reason = f"{' '.join(filter(None, (cause.context, cause.problem))).rstrip('.')}{quotes}."
    at = f", line {where[0]}, column {where[1]}" if where else ""
    Display().error(f"The inventory {path} is not valid{at}: {reason} Correct the file; nothing was changed.")
    if place and where == (int(place[1]), int(place[2])):
        Display().display(context, stderr=True)
    raise SystemExit(ExitCode.PARSER_ERROR)


def problems(data: Any) -> Iterator[tuple[str, Any]]:
    """Sentences on what is not a mapping and on unknown keys of groups, each with what it is about."""
    if not isinstance(data, Mapping):
        yield "The file must be a mapping of groups.", data
        return
    for name, group in data.items():
        if group is not None and not isinstance(group, Mapping):
            yield f"The group {name} must be a mapping with hosts, vars or children.", name
            continue
        for key, content in (group or {}).items():
            if key not in KEYS:
                close = get_close_matches(str(key), KEYS, n=1)
                meant = f" (did you mean {close[0]}?)" if close else ""
                yield (
                    f"The group {name} has the unknown key {key}{meant}. Known keys: {', '.join(KEYS)}.",
                    key,
                )
            elif content is not None and not isinstance(content, Mapping | str):
                yield f"The key {key} of the group {name} must be a mapping.", key
            elif key == "children" and isinstance(content, Mapping):
                yield from problems(content)
            elif key == "hosts" and isinstance(content, Mapping):
                yield from (
                    (f"The host {host} of the group {name} must be a mapping of variables.", host)
                    for host, variables in content.items()
                    if variables is not None and not isinstance(variables, Mapping)
                )
