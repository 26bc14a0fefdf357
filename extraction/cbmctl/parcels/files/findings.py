"""What is wrong with the features of a parcels file, and what became of each.

Geometries (found by `check`): *refused* is not loaded, the others are. Values:
*invalid_value* is loaded as NULL, *changed_text* without the characters that cannot be stored, and
*guessed_encoding* says that the file does not name its character set.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

KINDS: Mapping[str, str] = {  # in the order of weight; said of one as of many
    "refused": "refused, not loaded",
    "repaired": "repaired",
    "duplicate": "duplicate, loaded",
    "sliver": "perhaps too thin to hold a 10 m pixel, loaded",
    "stray": "far from all other parcels, loaded, but not in the area of interest",
    "invalid_value": "invalid, loaded as NULL",
    "changed_text": "text that cannot be stored as it is, loaded without the characters named",
    "guessed_encoding": "text in a character set that the file does not name, guessed",
}
DISTINCT = 1000  # different values of a column that are listed; the rest is only counted
RAW_CHARACTERS = 60  # of a value that are shown


@dataclass(frozen=True)
class Finding:
    """Something about a feature (see KINDS), and why.

    A finding about a value names its column and the value as the file has it, and stands for all `count`
    features with the same value; `feature` is the first of them.
    """

    feature: int
    kind: str
    reason: str
    column: str | None = None
    raw: str | None = None
    count: int = 1

    def as_json(self) -> dict[str, Any]:
        """`{"feature", "reason"}`; of a value also `"column"`, `"raw"` and `"count"`."""
        about = {"feature": self.feature, "reason": self.reason}
        if self.column is None:
            return about
        return about | {"column": self.column, "raw": self.raw, "count": self.count}


@dataclass
class Findings:
    """Everything found so far in a file, and how many of its features are good for loading.

    `bounds`: west, south, east and north in degrees of the parcels without the strays; None before the end.
    """

    parcels: int = 0
    found: list[Finding] = field(default_factory=list)
    bounds: tuple[float, ...] | None = None
    _values: dict[tuple[str, str, str], Finding] = field(default_factory=dict)
    _distinct: dict[tuple[str, str], int] = field(default_factory=dict)

    def value(self, found: Finding) -> None:
        """Add a finding about a value, whose reason is a predicate such as "is not a valid date".

        Equal values of a column are counted together; the sentence names the column and the value.
        """
        column, raw = found.column or "", found.raw or ""
        shown = raw if len(raw) <= RAW_CHARACTERS else raw[:RAW_CHARACTERS] + "…"
        new = replace(found, raw=shown, reason=f"{column}: '{shown}' {found.reason}")
        key = (found.kind, column, raw)
        if key not in self._values:
            listed = self._distinct[key[:2]] = self._distinct.get(key[:2], 0) + 1
            if listed > DISTINCT:
                key = (found.kind, column, "")
                new = replace(found, raw=None, reason=f"{column}: other values, not listed")
        if known := self._values.get(key):
            first = min(found.feature, known.feature)
            new = replace(known, feature=first, count=known.count + found.count)
        self._values[key] = new

    def of(self, kind: str) -> list[Finding]:
        """The findings of a kind, by feature."""
        everything: Iterable[Finding] = (*self.found, *self._values.values())
        return sorted((f for f in everything if f.kind == kind), key=lambda f: (f.feature, f.column or ""))

    def as_json(self) -> dict[str, list[dict[str, Any]]]:
        """`{kind: [finding, …]}`, every kind present."""
        return {kind: [f.as_json() for f in self.of(kind)] for kind in KINDS}


def features(found: Iterable[Mapping[str, Any]]) -> int:
    """How many features findings are about, as `Findings.as_json` gives them."""
    return sum(int(one.get("count", 1)) for one in found)


def others(found: Mapping[str, Any]) -> str:
    """How many features are like the one that a finding names: " and 3 more", or nothing."""
    number = int(found.get("count", 1)) - 1
    return f" and {number} more" if number else ""
