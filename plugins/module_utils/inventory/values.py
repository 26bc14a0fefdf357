"""Values against their specification: type, choices, range, format."""

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from .problem import Problem, shown
from .specification import Option, Specification

TRUTH = {"true", "false", "yes", "no", "on", "off", "y", "n", "t", "f", "1", "0"}
WHOLE = re.compile(r"[+-]?\d+")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?")


def _is_list(value: object) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping)


def _is_whole(value: object) -> bool:
    return not isinstance(value, bool) and WHOLE.fullmatch(str(value).strip()) is not None


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, bool) and NUMBER.fullmatch(str(value).strip()) is not None


NUMBERS: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "int": ("a whole number", _is_whole),
    "float": ("a number", _is_number),
}


def judge(values: Mapping[str, Any], specification: Specification) -> list[Problem]:
    """Problems of the values that an inventory gives to variables, in the order of the specification."""
    return [
        problem
        for name, option in specification.options.items()
        if name in values
        for problem in (
            *judge_value(option, values[name], specification.defaults.get(name)),
            *_below(option, values, specification),
        )
    ]


def missing(names: Collection[str], specification: Specification, roles: Collection[str]) -> list[Problem]:
    """Problems of required variables of some roles that are not among the names."""
    return [
        Problem(
            "inventory.missing_variable",
            option.name,
            f"{option.name} is missing.",
            f"Set it in the inventory: {option.description}",
        )
        for option in specification.options.values()
        if option.required and option.name not in names and _role(option.name, specification.roles) in roles
    ]


def _role(name: str, roles: Collection[str]) -> str:
    """The role with the longest name that a variable begins with."""
    return max((role for role in roles if name.startswith(f"{role}_")), key=len, default="")


def judge_value(option: Option, value: Any, default: Any = None) -> Iterator[Problem]:
    """Problems of one value; `default` is what the role takes if nothing is set."""
    if (option.type == "raw" and not option.rule.format) or _is_not_given(option, value, default):
        return
    if option.type == "raw":
        yield from _one_or_several(option, value)
    elif option.type == "list":
        yield from _list(option, value)
    elif option.type == "dict":
        yield from _mapping(option, value)
    else:
        yield from _single(option, option.type, value)


def _is_not_given(option: Option, value: Any, default: Any) -> bool:
    """An empty text means no value if the default is empty too."""
    is_free = option.type in ("str", "path") and not option.choices and not option.required
    return is_free and value in ("", None) and default in ("", None)


def _single(option: Option, kind: str, value: Any) -> Iterator[Problem]:
    """A value, or an element of a list, that is neither a list nor a mapping."""
    if isinstance(value, Mapping) or _is_list(value):
        yield _problem(option, "type", f"{_said(option, value)} is not a single value.", _usage(option))
    elif option.choices:
        if str(value) not in option.choices:
            yield _problem(option, "choice", f"{_said(option, value)} is not valid.", _usage(option))
    elif kind in NUMBERS:
        yield from _number(option, kind, value)
    elif kind == "bool":
        if str(value).lower() not in TRUTH:
            yield _problem(
                option, "type", f"{_said(option, value)} is neither true nor false.", _usage(option)
            )
    else:
        yield from _text(option, value)


def _number(option: Option, kind: str, value: Any) -> Iterator[Problem]:
    rule, (noun, is_such) = option.rule, NUMBERS[kind]
    if not is_such(value):
        yield _problem(option, "type", f"{_said(option, value)} is not {noun}.", _usage(option))
        return
    least = -math.inf if rule.minimum is None else rule.minimum
    most = math.inf if rule.maximum is None else rule.maximum
    if not least <= float(value) <= most:
        yield _problem(option, "range", f"{_said(option, value)} is out of range.", _usage(option))


def _text(option: Option, value: Any) -> Iterator[Problem]:
    shape = option.rule.format
    if value is None:
        yield _problem(option, "type", "the value is empty.", _usage(option))
    elif shape and not shape.accepts(value):
        yield _problem(option, "format", f"{_said(option, value)} is not {shape.noun}.", shape.hint)


def _list(option: Option, value: Any) -> Iterator[Problem]:
    if not _is_list(value):
        said = _said(option, value)
        yield _problem(option, "type", f"{said} is not a list.", f"Use {_example(option, value)}.")
        return
    for each in value:
        if option.elements == "dict":
            yield from _mapping(option, each)
        else:
            yield from _single(option, option.elements, each)


def _one_or_several(option: Option, value: Any) -> Iterator[Problem]:
    """A raw option that has a format takes one such text or a list of them."""
    if value in ("", [], None):
        yield _problem(option, "type", "the value is empty.", _usage(option))
        return
    for each in value if _is_list(value) else [value]:
        yield from _single(option, "str", each)


def _mapping(option: Option, value: Any) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        usage = f"Use {{{next(iter(option.options), '…')}: …}}."
        yield _problem(option, "type", f"{_said(option, value)} is not a mapping.", usage)
        return
    if option.options and not option.open:
        known = f"Known keys: {', '.join(option.options)}."
        for key in (str(key) for key in value if key not in option.options):
            close = get_close_matches(key, option.options, n=1)
            meant = f" (did you mean {close[0]}?)" if close else ""
            yield _problem(option, "unknown_key", f"unknown key {key}{meant}.", known)
    for key, inner in option.options.items():
        if key in value:
            yield from judge_value(inner, value[key])
        elif inner.required:
            yield _problem(option, "missing_key", f"{key} is missing.", f"Add it: {inner.description}")


def _below(option: Option, values: Mapping[str, Any], specification: Specification) -> Iterator[Problem]:
    """The larger one may be set or be a default; expressions among the defaults are not compared."""
    other = option.rule.below
    value, limit = values[option.name], values.get(other, specification.defaults.get(other))
    if other and _is_number(value) and _is_number(limit) and float(value) >= float(limit):
        usage = f"It must be less than {other} ({limit})."
        yield _problem(option, "range", f"{_said(option, value)} is out of range.", usage)


def _problem(option: Option, code: str, message: str, hint: str) -> Problem:
    return Problem(f"inventory.{code}", option.name.partition(".")[0], f"{option.name}: {message}", hint)


def _said(option: Option, value: Any) -> str:
    return "the value" if option.secret else shown(value)


def _usage(option: Option) -> str:
    """How to write a single value."""
    rule, kind = option.rule, option.elements if option.type == "list" else option.type
    if option.choices:
        return f"It must be one of: {', '.join(option.choices)}."
    if kind == "bool":
        return "Use true or false."
    if kind in NUMBERS:
        noun, _ = NUMBERS[kind]
        least, most = (None if limit is None else f"{limit:g}" for limit in (rule.minimum, rule.maximum))
        if least is not None and most is not None:
            return f"Use {noun} from {least} to {most}."
        if least is not None:
            return f"Use {noun} of {least} or more."
        return f"Use {noun}." if most is None else f"Use {noun} of {most} or less."
    return rule.format.hint if rule.format else "Use a text."


def _example(option: Option, value: Any) -> str:
    parts = [] if value is None or isinstance(value, Mapping) else str(value).replace(",", " ").split()
    example = f"[{', '.join(option.choices[:1] or parts or ['…'])}]"
    return f"{example}, with any of: {', '.join(option.choices)}" if option.choices else example
