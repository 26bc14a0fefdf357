"""What an inventory's lines say, held against their argument specification.

Ansible's own check comes role by role and names types of Python; a choice or a number that is mistyped is to
be among all that precheck has found, in words. A line whose name is mistyped Ansible does not see at all.
"""

import ipaddress
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

DOCUMENTATION = r"""
name: lines
short_description: Sentences on what is wrong with an inventory's lines
description:
  - Names values that are none of their line's choices or not of its type, and parts that a dictionary
    does not take.
  - An empty text is taken for a line that is not there.
positional: specification
options:
  _input:
    description: What the inventory says, by the names of its lines.
    type: dict
    required: true
  specification:
    description: The options of an argument specification.
    type: dict
    required: true
"""
EXAMPLES = r"""
---
problems: "{{ {'tenant_overlap': 'both'} | line_problems(tenant_lines) }}"
"""
RETURN = "_value: {description: A sentence each., type: list, elements: str}"

TRUTH = {"true", "false", "yes", "no", "on", "off", "y", "n", "t", "f", "1", "0"}


def _is_list(said: object) -> bool:
    return isinstance(said, Collection) and not isinstance(said, str | bytes | Mapping)


def _is_whole(said: object) -> bool:
    return not isinstance(said, bool) and re.fullmatch(r"[+-]?\d+", str(said).strip()) is not None


def _is_number(said: object) -> bool:
    return isinstance(said, float) or re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", str(said).strip()) is not None


def _is_truth(said: object) -> bool:
    return str(said).lower() in TRUTH


SCALARS: dict[str, tuple[Callable[[object], bool], str]] = {
    "int": (_is_whole, "is no whole number"),
    "float": (_is_number, "is no number"),
    "bool": (_is_truth, "is neither true nor false"),
}


def shown(said: object) -> str:
    """A value as a person wrote it, in one line."""
    return " ".join(str("" if said is None else said).split()) or "empty"


def _several(words: Collection[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def line_problems(said: Mapping[str, Any], specification: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences on what the lines say; an empty text is taken for a line that is not there."""
    return [
        sentence
        for name, option in specification.items()
        if name in said and not (isinstance(said[name], str) and said[name] == "")
        for sentence in _problems_of(name, said[name], option)
    ]


def _problems_of(name: str, said: Any, option: Mapping[str, Any]) -> Iterator[str]:
    kind = option.get("type", "str")
    if kind == "list":
        yield from _list_problems(name, said, option)
    elif kind == "dict":
        yield from _dict_problems(name, said, option.get("options", {}))
    elif "choices" in option:
        choices = [str(choice) for choice in option["choices"]]
        if str(said) not in choices:
            yield f"{name} {shown(said)} is none of {', '.join(choices)}; correct it."
    elif kind in SCALARS:
        right, words = SCALARS[kind]
        if not right(said):
            yield f"{name} ({shown(said)}) {words}; correct it."


def _list_problems(name: str, said: Any, option: Mapping[str, Any]) -> Iterator[str]:
    choices = [str(choice) for choice in option.get("choices", [])]
    if not _is_list(said):
        parts = (
            [] if isinstance(said, Mapping) else str("" if said is None else said).replace(",", " ").split()
        )
        example = choices[:1] or parts or ["…"]
        among = f", with any of {', '.join(choices)}" if choices else ""
        yield f"{name} ({shown(said)}) is no list; write it as [{', '.join(example)}]{among}."
    elif choices:
        if wrong := [shown(each) for each in said if str(each) not in choices]:
            yield f"{name} {' and '.join(wrong)} is none of {', '.join(choices)}; correct it."
    elif option.get("elements") in SCALARS:
        right, words = SCALARS[option["elements"]]
        yield from (
            f"{name} has {shown(each)}, which {words}; correct it." for each in said if not right(each)
        )


def _dict_problems(name: str, said: Any, options: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if not isinstance(said, Mapping):
        yield f"{name} ({shown(said)}) is no list by name; write it as {{{next(iter(options), '…')}: …}}."
    elif options:
        if unknown := [str(part) for part in said if part not in options]:
            yield f"{name} has {_several(unknown)}; it takes {_several(options)}."
        for part, option in options.items():
            if part in said:
                yield from _problems_of(f"{part} in {name}", said[part], option)


def unknown_lines(names: Collection[str], known: Collection[str]) -> list[str]:
    """Sentences on names that no line has; what they say would be passed over."""
    # without what they all begin with, which would make any two of them alike
    rests = {name.partition("_")[2]: name for name in known}
    sentences = []
    for name in sorted(set(names) - set(known)):
        close = get_close_matches(name.partition("_")[2], rests, n=1, cutoff=0.75)
        mend = (
            f"did you mean {rests[close[0]]}?" if close else "names of your own must begin with another word."
        )
        sentences.append(f"There is no line {name}; {mend}")
    return sentences


def network_problems(said: Any, name: str) -> list[str]:
    """Sentences on what is no network as PostgreSQL's access rules have it: IPv4 or IPv6, with its length."""
    if not _is_list(said):
        return [f"{name} ({shown(said)}) is no list; write it as [192.0.2.0/24]."]
    return [
        f"{name} has {shown(each)}, which is no network; write it like 192.0.2.0/24, of one machine with /32."
        for each in said
        if not _is_network(str(each))
    ]


def _is_network(said: str) -> bool:
    address, slash, length = said.partition("/")
    try:
        ipaddress.ip_network(said, strict=False)
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return bool(slash) and length.isdecimal()


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Name the filters."""
        return {
            "line_problems": line_problems,
            "network_problems": network_problems,
            "unknown_lines": unknown_lines,
        }
