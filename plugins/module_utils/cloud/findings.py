"""What a look at the cloud has found: checks, changes, differences; and the table that shows the checks."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

STATES_OF_PROBLEMS = ("missing", "wrong")
# a row is at most as wide as a terminal that shows a table at all
WIDTHS = {"check": 20, "state": 11, "wanted": 28, "found": 41, "remedy": 42}


@dataclass(frozen=True)
class Check:
    """One row of the table. `found` is a sentence without its full stop, `remedy` what to do then."""

    check: str
    state: str
    wanted: str = ""
    found: str = ""
    remedy: str = ""

    @property
    def is_problem(self) -> bool:
        """Whether it stands in the way."""
        return self.state in STATES_OF_PROBLEMS

    @property
    def text(self) -> str:
        """The one sentence: the thing, the reason, the remedy."""
        return "; ".join(part.rstrip(". ") for part in (self.found, self.remedy) if part) + "."


@dataclass(frozen=True)
class Change:
    """What a run will do. `action`: create, attach, extend, add, remove or update."""

    action: str
    resource: str
    name: str
    text: str
    before: Sequence[str] = ()
    after: Sequence[str] = ()


@dataclass(frozen=True)
class Difference:
    """What is reported and never done: it would interrupt or destroy."""

    resource: str
    name: str
    wanted: str
    found: str
    text: str


@dataclass
class Findings:
    """Collects in the order of the table."""

    checks: list[Check] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    drift: list[Difference] = field(default_factory=list)

    def ok(self, check: str, wanted: str = "", found: str = "") -> None:
        """Note what is as it should be."""
        self.checks.append(Check(check, "ok", wanted, found))

    def missing(self, check: str, wanted: str, found: str, remedy: str) -> None:
        """Note what is not there and cannot be made."""
        self.checks.append(Check(check, "missing", wanted, found, remedy))

    def wrong(self, check: str, wanted: str, found: str, remedy: str) -> None:
        """Note what is there and must not be so."""
        self.checks.append(Check(check, "wrong", wanted, found, remedy))

    def warn(self, check: str, wanted: str, found: str, remedy: str) -> None:
        """Note what will be a problem later."""
        self.checks.append(Check(check, "warning", wanted, found, remedy))

    def unknown(self, check: str, wanted: str = "", found: str = "") -> None:
        """Note what cannot be known."""
        self.checks.append(Check(check, "not checked", wanted, found))

    def change(self, check: str, wanted: str, change: Change) -> None:
        """Note what a run will make or alter."""
        state = {"create": "to make", "remove": "to remove"}.get(change.action, "to change")
        self.checks.append(Check(check, state, wanted, change.text.rstrip(".")))
        self.changes.append(change)

    def differ(self, check: str, difference: Difference) -> None:
        """Note what is left as it is."""
        self.checks.append(Check(check, "differs", difference.wanted, difference.text.rstrip(".")))
        self.drift.append(difference)

    @property
    def problems(self) -> list[Check]:
        """What stands in the way."""
        return [check for check in self.checks if check.is_problem]

    def add(self, others: "Findings") -> None:
        """Append what was collected apart."""
        self.checks += others.checks
        self.changes += others.changes
        self.drift += others.drift

    def summary(self) -> str:
        """The table's last line."""
        problems = len(self.problems)
        if problems:
            solved = "it" if problems == 1 else "all of them"
            return (
                f"{counted(problems, 'problem')} found; nothing was changed. Solve {solved}, then run again."
            )
        if not self.changes and not self.drift:
            return "The cloud matches the inventory."
        left = f", {counted(len(self.drift), 'difference')} left as it is" if self.drift else ""
        return f"No problems found: {counted(len(self.changes), 'change')}{left}."

    def table(self) -> list[str]:
        """All checks, aligned."""
        rows = [{name: str(value) for name, value in asdict(check).items()} for check in self.checks]
        return [*table(rows), "", self.summary()]


def counted(number: int, noun: str) -> str:
    """`1 problem`, `2 problems`."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def listed(names: Iterable[str], *, most: int = 8, none: str = "none") -> str:
    """`a, b, c and 4 more`."""
    every = list(names)
    shown = ", ".join(every[:most]) or none
    return f"{shown} and {len(every) - most} more" if len(every) > most else shown


def table(rows: Sequence[dict[str, str]]) -> list[str]:
    """Lines of a table; long cells go on in the next line, columns are no wider than what is in them."""
    names = list(WIDTHS)
    heading = {name: name.upper() for name in names}
    widths = {name: min(WIDTHS[name], max(len(row[name]) for row in [heading, *rows])) for name in names}
    lines = []
    for row in [heading, *rows]:
        cells = [textwrap.wrap(row[name], widths[name], break_on_hyphens=False) or [""] for name in names]
        for index in range(max(len(cell) for cell in cells)):
            parts = [
                (cell[index] if index < len(cell) else "").ljust(widths[name])
                for name, cell in zip(names, cells, strict=True)
            ]
            lines.append("  ".join(parts).rstrip())
    return lines
