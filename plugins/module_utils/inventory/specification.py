"""What roles take: their argument specifications, the rules beside them, their defaults."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .formats import FORMATS, Format

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
REGISTERED = re.compile(r"^\s*(?:- )?register: (\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Rule:
    """What a type cannot say.

    Attributes:
        minimum: smallest number, itself allowed.
        maximum: largest number, itself allowed.
        format: what texts must look like; of a list, its elements.
        below: name of the variable that must be larger.
    """

    minimum: float | None = None
    maximum: float | None = None
    format: Format | None = None
    below: str = ""


@dataclass(frozen=True)
class Option:
    """A variable, or a key of a variable that is a mapping.

    A mapping that is `open` takes other keys than those of `options`.
    """

    name: str
    type: str = "str"
    elements: str = "str"
    choices: tuple[str, ...] = ()
    options: Mapping[str, "Option"] = field(default_factory=dict)
    rule: Rule = Rule()
    required: bool = False
    secret: bool = False
    description: str = ""
    open: bool = False


@dataclass(frozen=True)
class Specification:
    """All roles together.

    Attributes:
        roles: their names.
        options: variables by name.
        defaults: what the roles' defaults/main.yml says, by name, expressions unevaluated.
        noted: names that tasks of the roles give to results, which join a host's variables during a run.
    """

    roles: tuple[str, ...]
    options: Mapping[str, Option]
    defaults: Mapping[str, Any]
    noted: frozenset[str]


def read(roles: Path) -> Specification:
    """Read what all roles of a folder take, from their meta, defaults and tasks.

    Raises:
        LookupError: a rule is about no variable, or names no format.
    """
    options: dict[str, Option] = {}
    defaults: dict[str, Any] = {}
    noted: set[str] = set()
    folders = sorted(
        folder for folder in roles.iterdir() if (folder / "meta" / "argument_specs.yml").exists()
    )
    for folder in folders:
        rules = _load(folder / "meta" / "rules.yml")
        found = dict(_options(_load(folder / "meta" / "argument_specs.yml"), rules))
        if rules:
            raise LookupError(
                f"{folder.name}/meta/rules.yml has rules for unknown variables: {', '.join(rules)}"
            )
        options |= found
        defaults |= _load(folder / "defaults" / "main.yml")
        noted |= set(_noted(folder))
    return Specification(tuple(folder.name for folder in folders), options, defaults, frozenset(noted))


def _load(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    return yaml.load(file.read_text(), LOADER) or {}  # noqa: S506 # a safe loader


def _options(specification: Mapping[str, Any], rules: dict[str, Any]) -> Iterator[tuple[str, Option]]:
    """Options of all entry points; rules that were used are removed."""
    seen: dict[str, Option] = {}
    for entry in specification["argument_specs"].values():
        for name, said in entry.get("options", {}).items():
            if name not in seen:
                seen[name] = _option(name, said, rules)
                yield name, seen[name]


def _option(name: str, said: Mapping[str, Any], rules: dict[str, Any]) -> Option:
    description = said.get("description", "")
    # the paragraph that says what it is, without markup
    first = description if isinstance(description, str) else description[0]
    options = {
        part: _option(f"{name}.{part}", inner, rules) for part, inner in said.get("options", {}).items()
    }
    is_open = said.get("type") == "dict" and not options
    return Option(
        name=name,
        type=said.get("type", "str"),
        elements=said.get("elements", "str"),
        choices=tuple(str(choice) for choice in said.get("choices", [])),
        options=dict(_keys(name, rules)) if is_open else options,
        rule=_rule(name, rules.pop(name, {}), path=said.get("type") == "path"),
        required=said.get("required", False),
        secret=said.get("no_log", False),
        description=re.sub(r"\b[A-Z]\(([^)]*)\)", r"\1", first),
        open=is_open,
    )


def _keys(name: str, rules: dict[str, Any]) -> Iterator[tuple[str, Option]]:
    """Keys that have a rule in a mapping that takes any: with a range they are numbers, else texts."""
    for full in [each for each in rules if each.startswith(f"{name}.")]:
        kind = "str" if "format" in rules[full] else rules[full].pop("type", "int")
        yield full.removeprefix(f"{name}."), _option(full, {"type": kind}, rules)


def _rule(name: str, said: dict[str, Any], *, path: bool) -> Rule:
    named = said.pop("format", "path" if path else None)
    if named is not None and named not in FORMATS:
        raise LookupError(f"the rule of {name} names the unknown format {named}")
    rule = Rule(
        said.pop("min", None), said.pop("max", None), FORMATS[named] if named else None, said.pop("below", "")
    )
    if said:
        raise LookupError(f"the rule of {name} has unknown keys: {', '.join(said)}")
    return rule


def _noted(folder: Path) -> Iterator[str]:
    for file in (*(folder / "tasks").glob("*.yml"), *(folder / "handlers").glob("*.yml")):
        text = file.read_text()
        yield from REGISTERED.findall(text)
        if "set_fact:" in text:
            yield from _facts(yaml.load(text, LOADER))  # noqa: S506 # a safe loader


def _facts(tasks: list[dict[str, Any]]) -> Iterator[str]:
    for task in tasks:
        yield from task.get("ansible.builtin.set_fact", {})
        for part in ("block", "rescue", "always"):
            yield from _facts(task.get(part, []))
