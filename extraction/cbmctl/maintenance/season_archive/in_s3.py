"""Archives in S3, whose files are made, verified and read in a local working folder as in any folder.

The working folder is below `cache` of the configuration. It is deleted once the command is done; the files of
an interrupted run are used by the next one.
"""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import psycopg

from cbmctl.archive.disk_space import KEPT_FREE, managed_cache
from cbmctl.config import Config
from cbmctl.database import query
from cbmctl.errors import UserError
from cbmctl.invocation import command
from cbmctl.maintenance.free_space import free_space
from cbmctl.maintenance.season_archive import comparison, parquet
from cbmctl.maintenance.season_archive.drop import Dropped, drop
from cbmctl.maintenance.season_archive.layout import DESCRIPTION, Description, read_description
from cbmctl.maintenance.season_archive.make import Archived, make, require_own_file
from cbmctl.maintenance.season_archive.object_errors import BRING_BACK
from cbmctl.maintenance.season_archive.objects import (
    ALONE,
    LARGEST,
    SUMS,
    Objects,
    Url,
    sum_of_file,
    unwritable,
)
from cbmctl.maintenance.season_archive.restore import Restored, restore
from cbmctl.queue.archived_scenes import archived_in
from cbmctl.queue.locks import lock_archives
from cbmctl.steps import Steps, hidden

_FOLDERS = "season_archives"
_INCOMING = "incoming"  # below the working folder: objects that are looked at before they count
_FILE = re.compile(r"[A-Za-z0-9_]+\.parquet")


def archive_to(
    conn: psycopg.Connection, config: Config, url: Url, *, check: bool = False, progress: Steps = hidden
) -> Archived:
    """Write an archive to S3: see `make`. Nothing is deleted.

    The files are made and verified in the working folder. Then they are uploaded, and each object is read
    back and compared with its file; `archive.json` is the last one. The next run continues an interrupted
    one.

    Args:
        conn: as for `make`.
        config: says which tables, where the working folder is, and which service.
        url: of the archive.
        check: write no object.
        progress: given a label and a number of rows, scenes or bytes.

    Raises:
        UserError: as for `make`; or the bucket cannot be written, or somebody else changed an object.
    """
    lock_archives(conn, config.tables)
    work = _Work(conn, config, url, progress)
    there = work.objects.sizes()
    whole = DESCRIPTION in there
    with work.named():
        again = not whole and work.replaceable()
        if whole:
            work.fetch(again=True)
        elif there:
            work.require_replaceable_objects(there)
        elif not check:
            if again:
                # refuses in seconds what it would refuse later
                make(conn, config, work.folder, again=True, check=True)
            work.objects.require_writable()
        done = make(conn, config, work.folder, again=again, check=check, progress=progress)
        if not whole:
            if not check:
                work.upload()
            done = replace(done, changed=True)
    work.delete(check=check)
    return done


def drop_archived(
    conn: psycopg.Connection, config: Config, url: Url, *, check: bool = False, progress: Steps = hidden
) -> Dropped:
    """Delete the rows that an archive in S3 holds: see `drop`.

    All objects are read in full before the first row is deleted.
    """
    lock_archives(conn, config.tables)
    work = _Work(conn, config, url, progress)
    with work.named():
        work.fetch(again=True)
        done = drop(conn, config, work.folder, check=check, progress=progress)
    work.delete(check=check)
    return done


def restore_from(
    conn: psycopg.Connection,
    config: Config,
    url: Url,
    *,
    disk: Path | None = None,
    check: bool = False,
    progress: Steps = hidden,
) -> Restored:
    """Bring back the rows of an archive in S3: see `restore`."""
    lock_archives(conn, config.tables)
    work = _Work(conn, config, url, progress)
    with work.named():
        work.fetch(restoring=True)
        done = restore(conn, config, work.folder, disk=disk, check=check, progress=progress)
    work.delete(check=check)
    return done


def working_folder(config: Config, url: Url) -> Path:
    """Return where the files of an archive in S3 are made and read."""
    endpoint = config.archive_s3.endpoint if config.archive_s3 else ""
    name = re.sub(r"[^A-Za-z0-9.-]", "_", f"{url.bucket}_{url.prefix}")[:100]
    identity = f"{endpoint} {url} {config.tables.schema}"
    return config.cache / _FOLDERS / f"{name}-{sha256(identity.encode()).hexdigest()[:8]}"


class _Work:
    """What a command does with the objects of an archive and with its working folder."""

    def __init__(self, conn: psycopg.Connection, config: Config, url: Url, progress: Steps) -> None:
        self._conn, self._tables, self._url, self._progress = conn, config.tables, url, progress
        self._config = config
        self.objects = Objects(config, url)
        self.folder = working_folder(config, url)

    @contextmanager
    def named(self) -> Iterator[None]:
        """Say in errors about files of the working folder which archive they belong to."""
        try:
            yield
        except UserError as error:
            if str(self.folder) not in str(error):
                raise
            where = (
                f"{self.folder} is the working folder of {self._url}. If Ansible manages this VM, it"
                f" is /data/cbm/cache/{_FOLDERS}/{self.folder.name} there"
            )
            hint = f"{error.hint}. {where}" if error.hint else where
            raise UserError(error.code, error.message, hint, about=error.about) from error

    def replaceable(self) -> bool:
        """Return whether no scene is archived in the files of the working folder only.

        Files that were not uploaded are compared with the database again: it may have changed since.
        """
        if not (self.folder / DESCRIPTION).exists():
            return True
        return not archived_in(self._conn, self._tables, read_description(self.folder).id)

    def require_replaceable_objects(self, there: Mapping[str, int]) -> None:
        """Check the objects of a prefix without a description, which an upload would overwrite.

        Raises:
            UserError: an object belongs to another archive, may be the only copy of a scene, or cannot be
                read.
        """
        self._require_own_files(there)
        if not (archived := self._archived()):
            return
        for name in sorted(there):
            if (
                comparison.kind_of(name)
                and _FILE.fullmatch(name)
                and self._holds(name, there[name], archived)
            ):
                raise UserError(
                    "season_archive.only_copy",
                    (
                        f"{self.objects.name(name)} may be the only copy of scenes that are archived, and"
                        f" {self.objects.name(DESCRIPTION)} is missing"
                    ),
                    f"Upload {DESCRIPTION} again, or use another prefix",
                    about=self.objects.name(name),
                )

    def delete(self, *, check: bool) -> None:
        """Delete the working folder; after --check the next command uses it."""
        if not check:
            shutil.rmtree(self.folder, ignore_errors=True)

    def upload(self) -> None:
        """Upload a verified archive, its description last.

        Raises:
            UserError: an object cannot be written, may be the only copy of rows, or was changed by somebody
                else.
        """
        description = read_description(self.folder)
        there = self.objects.sizes()
        self._require_alone([DESCRIPTION] if DESCRIPTION in there else [])
        self._require_own_files(there)
        sizes = {name: (self.folder / name).stat().st_size for name in sorted(description.files)}
        if too_large := [name for name, size in sizes.items() if size > LARGEST]:
            raise UserError(
                "season_archive.object_too_large",
                (
                    f"{self.objects.name(too_large[0])} would have {sizes[too_large[0]] / 1e9:.1f} GB, but an"
                    f" object has at most {LARGEST / 1e9:.1f} GB"
                ),
                "Archive to a folder",
                about=self.objects.name(too_large[0]),
            )
        sums = {}
        for name, size in sizes.items():
            self._require_alone([DESCRIPTION] if DESCRIPTION in self.objects.sizes() else [])
            step = self._progress(f"Uploading {name}", size)
            sums[name] = self.objects.upload(self.folder / name, step, size=there.get(name))
        there = self.objects.sizes()
        changed = [name for name, one in sums.items() if there.get(name) != one.size]
        self._require_alone(changed + ([DESCRIPTION] if DESCRIPTION in there else []))
        sums[DESCRIPTION] = sum_of_file(self.folder / DESCRIPTION)
        self.objects.write_sums(sums)
        step = self._progress(f"Uploading {DESCRIPTION}", sums[DESCRIPTION].size)
        self.objects.upload(self.folder / DESCRIPTION, step, size=None)

    def fetch(self, *, again: bool = False, restoring: bool = False) -> None:
        """Copy an archive to the working folder; files that equal their objects already are kept.

        Args:
            again: read also the objects whose files are kept.
            restoring: copy only the description if no scene is in this archive.

        Raises:
            UserError: the archive is missing, belongs to another database, or was changed by somebody else;
                or the disk has too little space.
        """
        there = self.objects.sizes()
        self._require_archive(there)
        sums = self.objects.read_sums() if SUMS in there else {}
        incoming = self._incoming()
        self._copy(DESCRIPTION, incoming / DESCRIPTION, there, sums)
        description = read_description(incoming)
        comparison.require_own(self._conn, self._tables, self.folder, description)
        needed = self._files(description, there)
        if restoring and not archived_in(self._conn, self._tables, description.id):
            needed = []
        kept = [name for name in needed if _equals(self.folder / name, there[name], sums.get(name))]
        missing = [name for name in needed if name not in kept]
        self._require_space(sum(there[name] for name in missing))
        for name in missing:
            self._copy(name, self.folder / name, there, sums)
        for name in kept if again else []:
            self.objects.require_sum(name, self.objects.sum(name), sums[name], there[name])
        (incoming / DESCRIPTION).replace(self.folder / DESCRIPTION)

    def _copy(self, name: str, path: Path, there: Mapping[str, int], sums: Mapping[str, str]) -> None:
        found = self.objects.download(name, path, self._progress(f"Downloading {name}", there[name]))
        if sums:
            self.objects.require_sum(name, found, sums.get(name, ""), there[name])

    def _require_alone(self, changed: Sequence[str]) -> None:
        if changed:
            raise UserError(
                "season_archive.changed_by_others",
                f"{self.objects.name(changed[0])} was changed by somebody else during the upload",
                f"{ALONE}, and run the command again; or use another prefix",
                about=self.objects.name(changed[0]),
            )

    def _require_own_files(self, there: Mapping[str, int]) -> None:
        """Raise UserError if an object belongs to another archive."""
        for name in sorted(there):
            if _FILE.fullmatch(name):
                footer = self.objects.footer(name)
                require_own_file(self._conn, self._config, self.objects.name(name), footer)

    def _archived(self) -> list[int]:
        """Return the scenes that are archived, but not in the archive that the working folder holds."""
        own = set[int]()
        if (self.folder / DESCRIPTION).exists():
            own.update(archived_in(self._conn, self._tables, read_description(self.folder).id))
        statement = query(
            "SELECT id FROM {catalogue} WHERE status = 'archived'", catalogue=self._tables.catalogue.sql
        )
        return [obsid for (obsid,) in self._conn.execute(statement) if obsid not in own]

    def _holds(self, name: str, size: int, obsids: Sequence[int]) -> bool:
        """Return whether an object has rows of scenes, and is not what the working folder has as well."""
        self._require_space(size)
        incoming = self._incoming() / name
        try:
            found = self.objects.download(name, incoming, self._progress(f"Reading {name}", size))
            path = self.folder / name
            return not (path.is_file() and found == sum_of_file(path)) and parquet.holds(incoming, obsids)
        finally:
            incoming.unlink(missing_ok=True)

    def _require_archive(self, there: Mapping[str, int]) -> None:
        if DESCRIPTION in there:
            return
        if any(_FILE.fullmatch(name) for name in there):
            raise UserError(
                "season_archive.no_description",
                f"{self._url}: {DESCRIPTION} is missing",
                (
                    f"If the archive was copied, copy that object too. If {command('maintain archive')} was"
                    " interrupted, run it again with this URL"
                ),
                about=self._url,
            )
        raise UserError(
            "season_archive.missing",
            f"{self._url} is not an archive: it has no {DESCRIPTION}",
            "Use the URL of an archive",
            about=self._url,
        )

    def _files(self, description: Description, there: Mapping[str, int]) -> list[str]:
        """Return the names of an archive's files. Raises UserError if one is invalid or has no object."""
        for name in description.files:
            if not _FILE.fullmatch(name):
                raise UserError(
                    "season_archive.damaged",
                    f"{self.objects.name(DESCRIPTION)} is damaged: '{name}' is not a valid file name",
                    BRING_BACK,
                    about=self.objects.name(DESCRIPTION),
                )
            if name not in there:
                raise UserError(
                    "season_archive.file_missing",
                    f"{self.objects.name(name)} is missing: it was deleted or never copied",
                    BRING_BACK,
                    about=self.objects.name(name),
                )
        return sorted(description.files)

    def _require_space(self, size: int) -> None:
        disk, free = free_space(self.folder)
        if size and free < size + KEPT_FREE:
            raise UserError(
                "season_archive.disk_full",
                (
                    f"{self.folder}: the files of {self._url} need {(size + KEPT_FREE) / 1e9:.1f} GB, but"
                    f" {disk} has {free / 1e9:.1f} GB free"
                ),
                (
                    "Free space, or set cache in db_config.json to a folder on another disk."
                    f" {managed_cache()}"
                ),
                about="cache",
            )

    def _incoming(self) -> Path:
        folder = self.folder / _INCOMING
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(folder, error) from error
        return folder


def _equals(path: Path, size: int, digest: str | None) -> bool:
    return path.is_file() and path.stat().st_size == size and sum_of_file(path).digest == digest
