"""Locks that all processes of this user on this machine respect, one file for each account and purpose."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from cbmctl.config import user_cache
from cbmctl.errors import UserError


class BusyError(UserError):
    """Another process does what only one may do at a time."""


@contextmanager
def locked(purpose: str, account: str, *, busy: BusyError | None = None) -> Iterator[TextIO]:
    """Hold a lock, which ends with the process at the latest.

    Args:
        purpose: what is done once at a time.
        account: of the service, with its URL.
        busy: raised if another process holds the lock; None means wait.

    Yields:
        The lock's file, open for reading and writing, for what the next holder must know.
    """
    path = _file(purpose, account)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError as error:
            if busy is None:
                raise
            raise busy from error
        yield file


def _file(purpose: str, account: str) -> Path:
    folder = user_cache() / "ordering"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            "order.cache_unwritable",
            f"{folder} cannot be created ({error.strerror})",
            "Set XDG_CACHE_HOME to a directory of this user",
            about=folder,
        ) from error
    return folder / f"{purpose}-{hashlib.sha256(account.encode()).hexdigest()[:16]}.lock"
