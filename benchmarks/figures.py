"""What is printed: one line a figure, with its limit and whether that is met."""

from collections.abc import Iterator
from dataclasses import dataclass

NOISY = 0.1


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        what: was measured.
        value: in `unit`; None: could not be measured, `note` says why.
        unit: s, GB, times …
        limit: not to be passed; None: there is none, the figure is told for its own sake.
        least: the limit is the least that it may be.
        note: what else belongs to it.
        others: share of the machine that anything else took meanwhile; from NOISY on, a time tells nothing.
    """

    what: str
    value: float | None
    unit: str
    limit: float | None = None
    least: bool = False
    note: str = ""
    others: float = 0.0

    @property
    def met(self) -> bool | None:
        """Whether the limit is met; None where there is no limit or no figure."""
        if self.limit is None or self.value is None:
            return None
        return self.value >= self.limit if self.least else self.value <= self.limit

    def cells(self) -> tuple[str, str, str, str, str]:
        """The line in words: what, figure, limit, whether it is met, note."""
        value = "not measured" if self.value is None else f"{number(self.value)} {self.unit}".strip()
        sign = "≥" if self.least else "≤"
        limit = "" if self.limit is None else f"{sign} {number(self.limit)} {self.unit}".strip()
        met, note = {True: "yes", False: "NO", None: ""}[self.met], self.note
        if met and self.others >= NOISY:
            met, note = "unclear", f"others took {self.others:.0%} of the machine; {note}".rstrip("; ")
        return self.what, value, limit, met, note


HEAD = ("what", "figure", "limit", "met", "remark")


def number(value: float) -> str:
    """Three digits that count, and no more than the figure has."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def lines(figures: list[Figure], *, markdown: bool) -> Iterator[str]:
    """The table, in columns for a terminal or in Markdown."""
    rows = [figure.cells() for figure in figures]
    if markdown:
        yield f"| {' | '.join(HEAD)} |"
        yield f"|{'|'.join('---' for _ in HEAD)}|"
        for row in rows:
            yield f"| {' | '.join(row)} |"
        return
    widths = [max(len(row[i]) for row in (HEAD, *rows)) for i in range(len(HEAD))]
    for row in (HEAD, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
