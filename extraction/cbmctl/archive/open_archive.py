"""The archive that the configuration names, as a mount or as a bucket of S3."""

from pathlib import Path

from cbmctl.archive.interface import Archive
from cbmctl.archive.mount import Mount
from cbmctl.archive.scratch import FETCHED, SCENES, Scratch
from cbmctl.config.archive import S3


def open_archive(eodata: Path | S3, cache: Path) -> Archive:
    """Return the archive that `eodata` in the configuration names; what is fetched is kept below `cache`.

    What workers that were killed have left there goes, also where the archive is a mount by now.

    Raises:
        UserError: the keys of a bucket cannot be read.
    """
    if isinstance(eodata, S3):
        from cbmctl.archive.s3.bucket import Bucket  # noqa: PLC0415 - botocore, only where it is needed

        return Bucket(eodata, cache / FETCHED)
    Scratch(cache / FETCHED / SCENES).sweep()
    return Mount(eodata)
