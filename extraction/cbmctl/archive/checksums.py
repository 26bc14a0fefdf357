"""A product's files, compared with the checksums in its manifest before their pixels are used.

A file that differs is fetched, or read, once more; if it still differs, the scene fails. The outcome is kept
per scene and file in the table `file_checks`; a file of a mount that is unchanged since is not checked again.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import BinaryIO

import psycopg

from cbmctl.archive.account_limits import CancelledError
from cbmctl.archive.interface import Held
from cbmctl.config import Tables
from cbmctl.database import query
from cbmctl.invocation import command
from cbmctl.reasons import DAMAGED, UNREADABLE
from cbmctl.scenes import SceneError
from cbmctl.scenes.manifest import ALGORITHMS, MANIFEST_FILE, Checksum, read_manifest

OK, DIFFERS, NO_CHECKSUM = "ok", "differs", "no checksum"
# The detail of a file that is OK since it was fetched again.
HEALED = "the first copy was damaged"
_CHUNK = 2**20
# Images are compared when their turn comes, side by side with the decoder; the others are small.
_IMAGES = frozenset({".jp2", ".img", ".tif"})


@dataclass(frozen=True)
class Checked:
    """The outcome for one file.

    Attributes:
        file: its path below the product's folder.
        outcome: OK, DIFFERS or NO_CHECKSUM.
        detail: what else there is to say; None if nothing.
        algorithm: that of the manifest's checksum; None without a checksum.
        digest: the manifest's; likewise.
        version: changes when the file does; None if the archive does not have one.
    """

    file: str
    outcome: str
    detail: str | None = None
    algorithm: str | None = None
    digest: str | None = None
    version: str | None = None


class Checksums:
    """The checks of one product's files.

    Attributes:
        new: outcomes of this object, by file, without those that were known already.
    """

    def __init__(
        self, folder: Path, held: Held, known: Mapping[str, Checked] | None = None, *, on: bool = True
    ) -> None:
        """Read the manifest.

        Args:
            folder: the product's folder.
            held: the product's files, `manifest.safe` among them if there is one.
            known: earlier outcomes by file, which spare another look at a file that is unchanged.
            on: False: nothing is compared.

        Raises:
            SceneError: the manifest cannot be read (`Rio error`), also when it is fetched again.
            ArchiveError: the archive is away.
        """
        self.new: dict[str, Checked] = {}
        self._folder, self._held, self._on = folder, held, on
        self._known = {} if known is None else known
        self._done: set[str] = set()
        self._open: dict[Path, BinaryIO] = {}
        self._manifest = self._read_manifest() if on else None

    def require(self, path: Path, cancelled: Event | None = None) -> None:
        """Make sure that a file is what the product says; fetch it again if not, and compare once more.

        Args:
            path: the file, below the product's folder.
            cancelled: set when nobody waits for it any more.

        Raises:
            SceneError: the file differs, or cannot be read (DAMAGED, UNREADABLE).
            ArchiveError: the archive is away.
        """
        if not self._on:
            return
        if self._manifest and not self._held.copied and path.suffix in _IMAGES:
            self._keep_open(path)
        if path.relative_to(self._folder).as_posix() in self._done:
            return
        checked = self.compare(path, cancelled)
        if checked.outcome == DIFFERS:
            raise SceneError(
                DAMAGED,
                (
                    f"{path.name} of {self._folder.name} is damaged: {checked.detail}, also when fetched"
                    f" again. Once the archive has an intact copy, run {command('repair')}"
                ),
                lasting=True,
            )

    def release(self, path: Path | None = None) -> None:
        """Close an image that has been read to its end; None means all.

        `require` keeps a mount's images open until then: s3fs forgets what it has fetched of a file when
        nobody has it open any more, and would fetch for the decoder what it has fetched for the checksum.
        """
        for kept in [path] if path else list(self._open):
            if file := self._open.pop(kept, None):
                file.close()

    def require_metadata(self, files: str) -> None:
        """Do the same for all that is not an image and of which the path matches a regular expression."""
        for path in self._listed(files):
            if path.suffix not in _IMAGES:
                self.require(path)

    def healed(self, files: str) -> bool:
        """Do the same for all files of which the path matches a regular expression, after one was unusable.

        Returns:
            Whether any file was damaged and is intact now, so that it may be used.
        """
        before = self._healed()
        for path in self._listed(files):
            self.require(path)
        return self._healed() > before

    def compare(self, path: Path, cancelled: Event | None = None) -> Checked:
        """Compare a file with the manifest; once more, fetched again, if it differs.

        Raises:
            SceneError: it cannot be read (`Rio error`).
            ArchiveError: the archive is away.
        """
        cancelled, file = cancelled or Event(), path.relative_to(self._folder).as_posix()
        try:
            version = self._held.version(path)
            checked = self._compared(path, file, version, cancelled)
            if checked.outcome == DIFFERS:
                self._fetch_again(path, cancelled)
                checked = self._compared(path, file, self._held.version(path), cancelled)
                if checked.outcome == OK:
                    checked = replace(checked, detail=HEALED)
        except OSError as error:
            raise _unreadable(path, self._folder, error) from error
        if checked != self._known.get(file):
            self.new[file] = checked
        self._done.add(file)
        return checked

    def listed(self, files: str) -> Mapping[str, Checksum]:
        """Return the files of the manifest of which the path matches a regular expression."""
        return {
            file: checksum for file, checksum in (self._manifest or {}).items() if re.fullmatch(files, file)
        }

    @property
    def found(self) -> bool:
        """Whether the product has a manifest."""
        return self._manifest is not None

    def _listed(self, files: str) -> list[Path]:
        """Return the files that exist; the reader reports a missing one."""
        return [path for file in self.listed(files) if (path := self._folder / file).exists()]

    def _healed(self) -> int:
        return sum(checked.detail == HEALED for checked in self.new.values())

    def _compared(self, path: Path, file: str, version: str | None, cancelled: Event) -> Checked:
        if self._manifest is None:
            return Checked(file, NO_CHECKSUM, f"the product has no {MANIFEST_FILE}", version=version)
        expected = self._manifest.get(file)
        if expected is None:
            return Checked(file, NO_CHECKSUM, f"{MANIFEST_FILE} does not list it", version=version)
        if not expected.supported:
            detail = f"{MANIFEST_FILE} has an unsupported algorithm: {expected.algorithm or 'none'}"
            return Checked(file, NO_CHECKSUM, detail, version=version)
        known = self._known.get(file)
        if known and unchanged(known, expected, version):
            return known
        found = digest_of(path, expected.algorithm, cancelled)
        if found == expected.digest:
            return Checked(file, OK, None, expected.algorithm, expected.digest, version)
        detail = f"its {expected.algorithm} is {found}, {MANIFEST_FILE} says {expected.digest}"
        size = path.stat().st_size
        if expected.size is not None and size != expected.size:
            detail = f"it has {size} bytes, {MANIFEST_FILE} says {expected.size}"
        return Checked(file, DIFFERS, detail, expected.algorithm, expected.digest, version)

    def _fetch_again(self, path: Path, cancelled: Event) -> None:
        """Fetch the file and the manifest: either of them may have come damaged."""
        manifest, kept = self._folder / MANIFEST_FILE, path in self._open
        self.release(path)
        self._held.again(path, cancelled)
        if kept:
            self._keep_open(path)
        self._held.again(manifest, cancelled)
        self._manifest = self._read_manifest()

    def _keep_open(self, path: Path) -> None:
        if path not in self._open:
            with suppress(OSError):  # the reader reports it
                self._open[path] = path.open("rb", buffering=0)

    def _read_manifest(self) -> Mapping[str, Checksum] | None:
        path = self._folder / MANIFEST_FILE
        try:
            try:
                return read_manifest(self._folder)
            except ValueError:
                self._held.again(path, Event())
                return read_manifest(self._folder)
        except ValueError as error:
            raise SceneError(
                DAMAGED,
                (
                    f"{MANIFEST_FILE} of {self._folder.name} is damaged ({error}), also when fetched again:"
                    " no file of the product can be checked. Once the archive has an intact copy, run"
                    f" {command('repair')}"
                ),
                lasting=True,
            ) from error
        except OSError as error:
            raise _unreadable(path, self._folder, error) from error


def unchanged(known: Checked, expected: Checksum, version: str | None) -> bool:
    """Whether a file matched this checksum earlier and has not changed since."""
    same = version is not None and known.version == version
    return same and known.outcome == OK and _expected(known) == (expected.algorithm, expected.digest)


def digest_of(path: Path, algorithm: str, cancelled: Event) -> str:
    """Return a file's checksum, hexadecimal, in lower case. Other Python threads continue meanwhile.

    Args:
        path: the file.
        algorithm: a key of ALGORITHMS.
        cancelled: ends it with CancelledError.

    Raises:
        OSError: the file cannot be read.
        CancelledError: nobody waits for it any more.
    """
    digest, buffer = hashlib.new(ALGORITHMS[algorithm], usedforsecurity=False), bytearray(_CHUNK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while length := file.readinto(buffer):
            if cancelled.is_set():
                raise CancelledError
            digest.update(view[:length])
    return digest.hexdigest()


def known_checks(
    conn: psycopg.Connection, tables: Tables, obsid: int, max_age_days: int | None = None
) -> dict[str, Checked]:
    """Return what is known of a scene's files, by file; without files that matched too many days ago."""
    rows = conn.execute(
        query(
            """SELECT file, outcome, detail, algorithm, digest, version FROM {checks}
               WHERE obsid = %(obsid)s AND (outcome <> 'ok' OR %(days)s::integer IS NULL
                   OR checked_at > now() - %(days)s::integer * interval '1 day')""",
            checks=tables.file_checks.sql,
        ),
        {"obsid": obsid, "days": max_age_days},
    )
    return {row[0]: Checked(*row) for row in rows}


def record(conn: psycopg.Connection, tables: Tables, obsid: int, checks: Iterable[Checked]) -> None:
    """Write outcomes of a scene's files; each replaces the earlier one of its file.

    In a transaction with tasks and scenes it comes after them: its foreign key locks the scene.
    """
    with conn.cursor() as cursor:
        cursor.executemany(
            query(
                """INSERT INTO {checks} (obsid, file, outcome, detail, algorithm, digest, version, checked_at)
                   VALUES (%s, %s, %s, %s, %s, %s, %s, now())
                   ON CONFLICT (obsid, file) DO UPDATE SET
                       (outcome, detail, algorithm, digest, version, checked_at) =
                       (excluded.outcome, excluded.detail, excluded.algorithm, excluded.digest,
                        excluded.version, excluded.checked_at)""",
                checks=tables.file_checks.sql,
            ),
            [
                (obsid, each.file, each.outcome, each.detail, each.algorithm, each.digest, each.version)
                for each in checks
            ],
        )


def _expected(checked: Checked) -> tuple[str | None, str | None]:
    return checked.algorithm, checked.digest


def _unreadable(path: Path, folder: Path, error: Exception) -> SceneError:
    return SceneError(UNREADABLE, f"{path.name} of {folder.name} cannot be read: {error}")
