"""Names of variables that no role has: a misspelt one would be ignored."""

from collections.abc import Collection
from difflib import get_close_matches

from .problem import Problem
from .specification import Specification


def unknown(
    names: Collection[str], specification: Specification, mapped: Collection[str] = ()
) -> list[Problem]:
    """Problems of names that look like a variable of a role but are not.

    Args:
        names: the variables of a host.
        specification: the roles.
        mapped: variables that this project sets itself, also some of no role (`cbm_state_dir`).
    """
    own = set(mapped) - set(specification.options)
    known = {*specification.options, *own}
    # an operator seldom means what we set
    likely = known - set(mapped) | own
    prefixes = {f"{role}_" for role in specification.roles} | {f"{name.partition('_')[0]}_" for name in own}
    problems = []
    for name in sorted(set(names) - known - specification.noted):
        prefix = max((each for each in prefixes if name.startswith(each)), key=len, default="")
        meant = _meant(name, prefix, known, likely) if prefix else _similar(name, likely, cutoff=0.9)
        if prefix or meant:
            problems.append(_problem(name, prefix, meant))
    return problems


def _problem(name: str, prefix: str, meant: str | None) -> Problem:
    code = "inventory.unknown_variable"
    if meant:
        return Problem(code, name, f"Unknown variable {name} (did you mean {meant}?).")
    hint = f"Names that begin with {prefix} belong to this project; give a variable of your own another name."
    return Problem(code, name, f"Unknown variable {name}.", hint)


def _meant(name: str, prefix: str, known: Collection[str], likely: Collection[str]) -> str | None:
    """The known name that is most like a name, which begins like those of a role."""
    # without what they all begin with, which would make any two of them alike
    rest = name.removeprefix(prefix)
    # the same words with another prefix are more likely than similar words with this prefix
    if others := [each for each in likely if each.endswith(f"_{rest}")]:
        return min(others, key=lambda each: (len(each), each))
    rests = {each.removeprefix(prefix): each for each in known if each.startswith(prefix)}
    close = get_close_matches(rest, rests, n=1, cutoff=0.75)
    return rests[close[0]] if close else _similar(name, likely, cutoff=0.85)


def _similar(name: str, known: Collection[str], cutoff: float) -> str | None:
    return next(iter(get_close_matches(name, known, n=1, cutoff=cutoff)), None)
