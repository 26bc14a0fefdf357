"""The limits of an account, kept by all processes that share a folder; a process that dies leaves nothing."""

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

POLL_S = 0.05
# Of the requests allowed: the service's minute does not begin when ours does.
SHARE = 0.9
# A turn that is further away than this, and than all connections need, is from before a reboot.
FURTHEST_S = 60.0
_TIME = struct.Struct("d")


class CancelledError(Exception):
    """Nobody wants the answer any more."""


class Limits:
    """Connections at once and requests a minute.

    A connection is a lock on one of as many files: the kernel frees it with its process. The time of the next
    request stands in another file, on the clock that all processes of a machine share.
    """

    def __init__(self, folder: Path, connections: int, requests_per_minute: int) -> None:
        """Keep the files in a folder that exists."""
        self._slots = [folder / f"connection-{number}" for number in range(connections)]
        self._pace = folder / "next-request"
        self._interval = 60 / (requests_per_minute * SHARE)
        self._furthest = max(FURTHEST_S, connections * self._interval) + self._interval

    @contextmanager
    def request(self, cancelled: Event) -> Iterator[None]:
        """Wait for a free connection and for its turn; it is this caller's until the end of the block.

        Raises:
            CancelledError: `cancelled` was set meanwhile.
        """
        slot = self._slot(cancelled)
        try:
            if cancelled.wait(self._wait()):
                raise CancelledError
            yield
        finally:
            os.close(slot)

    def _slot(self, cancelled: Event) -> int:
        while True:
            for path in self._slots:
                file = _opened(path)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(file)
                else:
                    return file
            if cancelled.wait(POLL_S):
                raise CancelledError

    def _wait(self) -> float:
        """Take the next turn; return how many seconds away it is."""
        file = _opened(self._pace)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            now, written = time.monotonic(), os.pread(file, _TIME.size, 0)
            turn = _TIME.unpack(written)[0] if len(written) == _TIME.size else now
            if not now < turn < now + self._furthest:
                turn = now
            os.pwrite(file, _TIME.pack(turn + self._interval), 0)
        finally:
            os.close(file)
        return float(turn - now)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
