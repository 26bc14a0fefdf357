"""Ending on a signal, at a moment that loses nothing."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


class StopRequested(KeyboardInterrupt):
    """SIGTERM or SIGINT came: give the task back and end. On KeyboardInterrupt psycopg cancels its query."""


@dataclass
class Stop:
    """Turns SIGTERM and SIGINT into StopRequested, but never in the middle of a write."""

    signal: int | None = None
    _interruptible: bool = False

    def install(self) -> "Stop":
        """Take over both signals for this process."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._received)
        return self

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a signal, also one that came before, end this block at once."""
        self._interruptible = True
        try:
            if self.signal is not None:
                raise StopRequested
            yield
        finally:
            self._interruptible = False

    def _received(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        if self._interruptible:
            raise StopRequested
