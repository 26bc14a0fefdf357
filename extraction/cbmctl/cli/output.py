"""What people and machines get to see: results on stdout, progress on stderr."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import click


class Progress(Protocol):
    """Called with the number of steps just finished."""

    def __call__(self, steps: int = 1) -> None: ...


@dataclass(frozen=True)
class Output:
    """Prints a command's result once, as one JSON object or as lines for people."""

    as_json: bool

    def result(self, data: Mapping[str, Any], *lines: str) -> None:
        """Print the result: `data` (which always holds `changed`) for machines, `lines` for people."""
        if "changed" not in data:
            raise ValueError("a result must say whether it changed anything")
        click.echo(json.dumps(data, default=str) if self.as_json else "\n".join(lines))

    def note(self, line: str) -> None:
        """Say something on the way, on stderr, so that stdout stays one result."""
        click.echo(line, err=True)

    @contextmanager
    def progress(self, label: str, length: int) -> Iterator[Progress]:
        """Show a bar on stderr while a long step runs; silent in JSON mode."""
        if self.as_json:
            yield lambda _steps=1: None
            return
        with click.progressbar(length=length, label=label, file=click.get_text_stream("stderr")) as bar:
            yield lambda steps=1: bar.update(steps)


def table(header: list[str], rows: list[list[Any]]) -> str:
    """Align columns for reading."""
    cells = [header, *([("" if c is None else str(c)) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)
