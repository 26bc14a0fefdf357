"""Folders that last no longer than the process that made them, even if it is killed."""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

# What is fetched lies there, below the cache.
FETCHED, SCENES = "eodata", "scenes"


class Scratch:
    """Makes and removes such folders; each is locked by its process, and one without a lock is removed."""

    def __init__(self, folder: Path) -> None:
        """Keep them in a folder, which is made."""
        self._folder = folder
        self._locks: dict[Path, int] = {}

    def new(self) -> Path:
        """Return a new, empty folder; those of dead processes go."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.sweep()
        while True:
            path = Path(tempfile.mkdtemp(dir=self._folder))
            lock = _locked(path)
            if lock is not None:
                self._locks[path] = lock
                return path

    def remove(self, path: Path) -> None:
        """Remove one; nothing if that was done already."""
        lock = self._locks.pop(path, None)
        if lock is not None:
            _empty(path)
            shutil.rmtree(path, ignore_errors=True)  # what stays is swept once the lock is gone
            os.close(lock)

    def close(self) -> None:
        """Remove all of this process."""
        for path in list(self._locks):
            self.remove(path)

    def sweep(self) -> None:
        """Remove the folders of dead processes, as far as that is possible."""
        with suppress(OSError):  # nothing was ever kept there, or nothing can be: `new` will tell
            for path in self._folder.iterdir():
                if path not in self._locks and (lock := _locked(path)) is not None:
                    shutil.rmtree(path, ignore_errors=True)
                    os.close(lock)


def _empty(path: Path) -> None:
    """Give its room back at once: GDAL's threads keep the last image open until they read the next."""
    for file in path.rglob("*"):
        if file.is_file():
            with suppress(OSError):
                os.truncate(file, 0)


def _locked(path: Path) -> int | None:
    """Lock a folder; None if another process has it or has just swept it away, or it is none."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    if os.fstat(lock).st_nlink == 0:
        os.close(lock)
        return None
    return lock
