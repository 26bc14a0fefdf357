"""What a look at the cloud has found: checks, changes, differences; and how people and Ansible see them."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

# a row is at most as wide as a terminal that shows a table at all
WIDTHS = {"check": 20, "state": 11, "wanted": 28, "found": 41, "remedy": 42}
STATES = {"create": "to make", "remove": "to remove"}
# the variable that a problem is about, by the beginning of its code; others are called like their code
VARIABLES = {
    "cloud": "",
    "contact": "tenant_contact",
    "credentials": "tenant_cloud",
    "data_volume": "tenant_cloud_volume",
    "floating_ips": "tenant_cloud_floating_ip",
    "inventory": "",
    "keys": "tenant_cloud_authorized_keys",
    "place": "tenant_cloud",
    "quota": "",
    **dict.fromkeys(("port", "security_group", "server", "tenant"), "tenant_name"),
}
# the part of a run that does a change
STEPS = {
    **dict.fromkeys(("security_group", "rule"), "group"),
    **dict.fromkeys(("port", "security group"), "ports"),
    **dict.fromkeys(("volume", "data volume"), "volume"),
    "server": "server",
    "attachment": "attachment",
    **dict.fromkeys(("floating_ip", "floating IP", "address"), "addresses"),
}


@dataclass(frozen=True)
class Check:
    """One row of the table. A problem has a code; `found` is its message and `remedy` its hint."""

    check: str
    state: str
    wanted: str = ""
    found: str = ""
    remedy: str = ""
    code: str = ""
    option: str = ""

    @property
    def text(self) -> str:
        """Message and hint, in one line."""
        parts = [part.rstrip(". ") for part in (self.found, self.remedy) if part]
        return (". " if self.remedy[:1].isupper() else "; ").join(parts) + "."

    def data(self) -> dict[str, str]:
        """A problem, for programs."""
        known = {"code": self.code, "option": self.option, "message": self.found, "hint": self.remedy}
        return {**known, "text": self.text}


def problem(check: str, reason: str, wanted: str, message: str, hint: str, *, option: str = "") -> Check:
    """The code is made of check and reason: `flavor.too_small`."""
    area = check.lower().replace(": ", ".").replace(" ", "_")
    variable = option or VARIABLES.get(area.partition(".")[0], f"tenant_cloud_{area}")
    state = "missing" if reason == "missing" else "wrong"
    return Check(check, state, wanted, message, hint, f"{area}.{reason}", variable)


class StoppedError(Exception):
    """There is no way to go on."""

    def __init__(self, check: str, reason: str, wanted: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.check = problem(check, reason, wanted, message, hint)


@dataclass(frozen=True)
class Change:
    """What a run will do: create, attach, extend, add, remove or update; or what it only reports: left."""

    action: str
    resource: str
    name: str
    text: str
    before: Sequence[str] = ()
    after: Sequence[str] = ()

    @property
    def step(self) -> str:
        """The part of a run that does it."""
        return "attachment" if (self.action, self.resource) == ("attach", "volume") else STEPS[self.resource]


@dataclass
class Findings:
    """Collects in the order of the table."""

    checks: list[Check] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    drift: list[Change] = field(default_factory=list)

    def ok(self, check: str, wanted: str = "", found: str = "", *, state: str = "ok") -> None:
        """Note what is as it should be; with another state, what is not checked."""
        self.checks.append(Check(check, state, wanted, found))

    def problem(
        self, check: str, reason: str, wanted: str, message: str, hint: str, *, option: str = ""
    ) -> None:
        """Note what prevents the run."""
        self.checks.append(problem(check, reason, wanted, message, hint, option=option))

    def change(self, check: str, wanted: str, change: Change) -> None:
        """Note what a run will make or alter."""
        state = STATES.get(change.action, "to change")
        self.checks.append(Check(check, state, wanted, change.text.rstrip(".")))
        self.changes.append(change)

    def differ(self, check: str, change: Change) -> None:
        """Note what is left as it is: it would interrupt or destroy."""
        self.checks.append(Check(check, "differs", change.after[0], change.text.rstrip(".")))
        self.drift.append(change)

    @property
    def problems(self) -> list[Check]:
        """What prevents the run."""
        return [check for check in self.checks if check.code]

    def add(self, others: "Findings") -> None:
        """Append what was collected apart."""
        self.checks += others.checks
        self.changes += others.changes
        self.drift += others.drift

    def table(self) -> list[str]:
        """All checks, aligned, and a summary."""
        return [
            *table([{name: getattr(each, name) for name in WIDTHS} for each in self.checks]),
            "",
            self._summary(),
        ]

    def _summary(self) -> str:
        number = len(self.problems)
        if number:
            solved = "it" if number == 1 else "all of them"
            return f"{counted(number, 'problem')} found; nothing was changed. Solve {solved}, then run again."
        if not self.changes and not self.drift:
            return "The cloud matches the inventory."
        left = f", {counted(len(self.drift), 'difference')} left as it is" if self.drift else ""
        return f"No problems found: {counted(len(self.changes), 'change')}{left}."

    def diff(self) -> list[dict[str, str]]:
        """One difference for each resource that is made, changed or removed; then what is left as it is."""
        resources: dict[str, tuple[list[str], list[str]]] = {}
        for each in [*self.changes, *self.drift]:
            # a group's rules are shown as one list
            kind = "security_group" if each.resource == "rule" else each.resource
            left = each.action == "left"
            header = f"{kind} {each.name}" + (": reported only, never done" if left else "")
            before, after = resources.setdefault(header, ([], []))
            before += each.before
            after += [f"{line}  # reported only" for line in each.after] if left else each.after
        return [
            {
                **dict.fromkeys(("before_header", "after_header"), header.replace("_", " ")),
                "before": "".join(f"{line}\n" for line in before),
                "after": "".join(f"{line}\n" for line in after),
            }
            for header, (before, after) in resources.items()
        ]


def counted(number: int, noun: str) -> str:
    """`1 problem`, `2 problems`."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def listed(names: Iterable[str], *, most: int = 8, none: str = "none") -> str:
    """`a, b, c and 4 more`."""
    every = list(names)
    shown = ", ".join(every[:most]) or none
    return f"{shown} and {len(every) - most} more" if len(every) > most else shown


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of a table; long cells go on in the next line, columns are no wider than what is in them."""
    rows = [{name: name.upper() for name in WIDTHS}, *rows]
    widths = [min(most, max(len(row[name]) for row in rows)) for name, most in WIDTHS.items()]
    lines = []
    for row in rows:
        cells = [
            textwrap.wrap(row[name], width, break_on_hyphens=False) or [""]
            for name, width in zip(WIDTHS, widths, strict=True)
        ]
        for index in range(max(map(len, cells))):
            parts = [cell[index] if index < len(cell) else "" for cell in cells]
            lines.append("  ".join(map(str.ljust, parts, widths)).rstrip())
    return lines
