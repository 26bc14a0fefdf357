"""What people and machines get to see: results on stdout, progress on stderr."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import click

from cbmctl.errors import UserError
from cbmctl.steps import Steps

# Called with the number of steps just finished.
Progress = Callable[[int], None]

SHOWN = 20  # names in a message: enough to recognise the place, few enough to read


@dataclass
class Output:
    """Prints a command's result once, as one JSON object or as lines for people.

    Attributes:
        as_json: whether it is a JSON object.
    """

    as_json: bool
    _printed: bool = False

    def result(self, data: Mapping[str, Any], *lines: str) -> None:
        """Print the result: `data` (which always holds `changed`) for machines, `lines` for people."""
        if "changed" not in data:
            raise ValueError("a result must say whether it changed anything")
        text = json.dumps(data, default=str, ensure_ascii=False) if self.as_json else "\n".join(lines)
        click.echo(text)
        self._printed = True

    def error(self, error: UserError) -> None:
        """Print what programs read of an error, unless a result has it already."""
        if self.as_json and not self._printed:
            click.echo(json.dumps({"error": error.data()}, ensure_ascii=False))

    def note(self, line: str) -> None:
        """Say something on the way, on stderr, so that stdout stays one result."""
        click.echo(line, err=True)

    @contextmanager
    def progress(self, label: str, length: int) -> Iterator[Progress]:
        """Show on stderr how far a long step is: a bar on a terminal, else a line every tenth of the way."""
        if sys.stderr.isatty() and not self.as_json:
            with click.progressbar(length=length, label=label, file=sys.stderr, show_pos=True) as bar:
                yield bar.update
        else:
            yield self._tenths(label, length)

    @contextmanager
    def steps(self) -> Iterator[Steps]:
        """Show several long steps as `progress` shows one, each in the place of the one before."""
        with ExitStack() as shown:

            def begin(label: str, length: int) -> Progress:
                shown.close()
                return shown.enter_context(self.progress(label, length))

            yield begin

    def _tenths(self, label: str, length: int) -> Progress:
        done = shown = 0

        def update(steps: int) -> None:
            nonlocal done, shown
            done += steps
            tenth = 10 * done // max(length, 1)
            if tenth > shown:
                shown = tenth
                self.note(f"{label}: {done} of {length}")

        return update


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Align columns for reading: numbers to the right, text to the left."""
    cells = [[str(name) for name in header], *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    right = [
        bool(rows) and all(isinstance(row[column], int | float) for row in rows)
        for column in range(len(header))
    ]

    def line(row: Sequence[str]) -> str:
        columns = zip(row, widths, right, strict=True)
        return "  ".join(
            f"{cell:>{width}}" if flush else f"{cell:<{width}}" for cell, width, flush in columns
        ).rstrip()

    return "\n".join(line(row) for row in cells)


def few(names: Sequence[str]) -> str:
    """Return the first names in one line, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _cell(value: object) -> str:
    return "" if value is None else str(value)
