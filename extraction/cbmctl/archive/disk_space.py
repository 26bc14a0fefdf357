"""Room on a disk that workers share: taken before the first byte comes, so that the next one sees it gone."""

import errno
import fcntl
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from cbmctl.archive.interface import ArchiveError
from cbmctl.reasons import UNREADABLE
from cbmctl.scenes import SceneError

# The cache lies on the database's disk, which must never be full.
KEPT_FREE = 2 * 2**30
_CHUNK = 2**20
# A file system that cannot set space aside; libraries call it by either.
_UNABLE = {errno.EOPNOTSUPP, errno.EINVAL}
_FULL = {errno.ENOSPC, errno.EDQUOT}
# What is the matter with an object's name, or with two of them: a and a/b.
_NAMES = {errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EILSEQ, errno.EINVAL}


def reserve(folder: Path, files: Mapping[Path, int], product: str) -> None:
    """Make files, each as long as it is to be, unless the disk would be too full then.

    Args:
        folder: shared by all who write to that disk; only one at a time looks at it and takes.
        files: their lengths; their folders exist.
        product: for the sentence.

    Raises:
        ArchiveError: the disk would be too full.
        OSError: they cannot be made; some may be left.
    """
    size = sum(files.values())
    lock = os.open(folder / "reserving", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        free = shutil.disk_usage(folder).free
        if free < size + KEPT_FREE:
            raise ArchiveError(
                "archive.disk_full",
                (
                    f"{product} needs {size / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free and"
                    f" {KEPT_FREE / 1e9:.1f} GB must stay free"
                ),
                "Free space on that disk, or use fewer workers",
                about="cache",
            )
        for path, length in files.items():
            with path.open("xb") as file:
                if length:
                    _allocate(file, length)
    finally:
        os.close(lock)


def _allocate(file: BinaryIO, length: int) -> None:
    try:
        os.posix_fallocate(file.fileno(), 0, length)
    except OSError as error:
        if error.errno not in _UNABLE:
            raise
        # what is written takes space anywhere
        for begin in range(0, length, _CHUNK):
            file.write(bytes(min(_CHUNK, length - begin)))
        file.flush()
        os.fsync(file.fileno())


def unwritable(folder: Path, error: OSError) -> ArchiveError:
    """Return what is told of a folder, shared by all workers, that takes no files."""
    if error.errno in _FULL:
        remedy = "Free space on that disk"
    else:
        remedy = "Make it a folder of this user on a sound disk"
    return ArchiveError(
        "archive.cache_unwritable",
        f"{folder} cannot be written to ({error.strerror})",
        f"{remedy}, or correct cache in db_config.json. {managed_cache(error)}",
        about="cache",
    )


def managed_cache(error: OSError | None = None) -> str:
    """Return what to do about `cache` where Ansible writes the configuration, and cbmctl runs in a container.

    Args:
        error: why a file cannot be written; None if the disk has too little space.
    """
    if error is None or error.errno in _FULL:
        remedy = "free space on its data volume or enlarge it: cache is /data/cbm/cache"
    else:
        remedy = "run playbooks/worker_image.yml: it makes cache, /data/cbm/cache, writable"
    return f"If Ansible manages this VM, {remedy}."


def unkept(folder: Path, error: OSError, product: str) -> ArchiveError | SceneError:
    """Return whose error it is that a product's files cannot be made there: the product's, by its names."""
    if error.errno in _NAMES:
        return SceneError(UNREADABLE, f"{product} has an object that cannot be a file ({error.strerror})")
    return unwritable(folder, error)
