"""The archive as a folder that something else has mounted."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread

from cbmctl.archive import mount_probe
from cbmctl.archive.interface import ArchiveError, Held

# Longer than s3fs takes for one request.
ANSWER_S = 60.0
_PROGRAM = Path(mount_probe.__file__)
_REASONS = {mount_probe.EMPTY: "is empty", mount_probe.VOID: "has only empty folders"}


class Mount:
    """A mounted archive, in which products are read where they lie."""

    def __init__(self, root: Path) -> None:
        """Take the archive's root."""
        self._root = root

    def hold(self, path: str, files: str) -> Held:  # noqa: ARG002 - all are at hand
        """Return the root itself."""
        return Held(self._root, version=_version, names=_names, again=_read_again)

    def check(self, within: float | None = None) -> None:
        """Raise ArchiveError when the root is missing, empty or silent: the mount is gone; see Archive."""
        seconds = ANSWER_S if within is None else min(ANSWER_S, within)
        code = _look(self._root, seconds)
        if code == mount_probe.USABLE:
            return
        if code is None:
            reason = f"does not answer in {seconds:.0f} s"
        elif code > mount_probe.FAILED:
            reason = f"cannot be listed ({os.strerror(code - mount_probe.FAILED)})"
        else:
            reason = _REASONS.get(code, f"cannot be looked at (the program for it ended with {code})")
        raise ArchiveError(
            "archive.mount_unavailable",
            f"the archive {self._root} {reason}",
            "Mount it again, or correct eodata in db_config.json",
            about="eodata",
        )

    def close(self) -> None:
        """Nothing is held."""


def _version(path: Path) -> str:
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def _names(folder: Path) -> list[str]:
    """The files of a folder and those below, by path in it."""

    def fail(error: OSError) -> None:
        raise error

    walked = os.walk(folder, onerror=fail)
    return [Path(above, name).relative_to(folder).as_posix() for above, _, names in walked for name in names]


def _read_again(path: Path, _cancelled: Event) -> None:
    """Drop a file from the page cache, so that the next read asks the storage."""
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _look(root: Path, seconds: float) -> int | None:
    """Return what the program says of a folder, by its code; None if it does not come to an end in time.

    Whoever asks a mount that does not answer may stay so for ever, and cannot be killed: a process of its
    own, without our files and not waited for, as neither a call nor a thread of ours would be let go.
    """
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-I", "-S", str(_PROGRAM), str(root)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            Thread(target=process.wait, daemon=True).start()  # no zombie, should it end some day
