"""The files of extracted scenes, compared with their products' checksums as the archive has them now.

Nothing is decoded and no scene is changed. Outcomes are written to `file_checks` as they are known, so that
the next check continues an interrupted one. A file that matched is not read again while it is unchanged.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import psycopg

from cbmctl.archive.checksums import DIFFERS, NO_CHECKSUM, Checked, Checksums, known_checks, record, unchanged
from cbmctl.archive.interface import Archive, Held
from cbmctl.config import Config
from cbmctl.config.bandsets import BANDSETS
from cbmctl.database import query
from cbmctl.invocation import command
from cbmctl.reasons import FILE_MISSING, NO_PATH, PRODUCT_MISSING, UNREADABLE
from cbmctl.scenes import SceneError
from cbmctl.scenes.folders import is_folder
from cbmctl.scenes.manifest import MANIFEST_FILE, Checksum
from cbmctl.scenes.needed_files import files_of

MISSING = {reason.code for reason in (PRODUCT_MISSING, FILE_MISSING, NO_PATH)}


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a scene's files.

    Attributes:
        code: `archive.file_differs`, `archive.file_missing`, `archive.file_replaced` (damaged at an earlier
            check, whole now), `archive.product_missing` or `archive.unreadable`.
        reference: the scene.
        file: below the product's folder; None if it is about the product.
        message: one sentence.
        hint: what to do.
    """

    code: str
    reference: str
    file: str | None
    message: str
    hint: str


@dataclass
class Report:
    """What was found.

    Attributes:
        scenes: how many were checked.
        compared: files that were read.
        unchanged: files that matched at an earlier check and are unchanged.
        files_without_checksum: files that were read and have none, in scenes of which others have one.
        without_checksum: scenes of which no file could be compared.
        findings: what is wrong.
    """

    scenes: int = 0
    compared: int = 0
    unchanged: int = 0
    files_without_checksum: int = 0
    without_checksum: int = 0
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class ExtractedScene:
    """A scene with rows.

    Attributes:
        obsid: its id.
        reference: its name.
        path: its product's folder; None if the catalogue does not know it.
        files: what was read of it, as a regular expression.
    """

    obsid: int
    reference: str
    path: str | None
    files: str


def extracted_scenes(conn: psycopg.Connection, config: Config) -> list[ExtractedScene]:
    """Return the scenes to check, in the order of their time."""
    rows = conn.execute(
        query(
            """SELECT d.id, d.reference, d.card, d.path, coalesce(
                   jsonb_agg(jsonb_build_object(
                       'bandset', t.bandset, 'bands', t.bands, 'classes', t.method -> 'cloud_classes'))
                   FILTER (WHERE t.obsid IS NOT NULL AND t.rows IS DISTINCT FROM 0), '[]')
               FROM {catalogue} d LEFT JOIN {tasks} t ON t.obsid = d.id
               WHERE d.status = 'extracted' GROUP BY d.id ORDER BY d.obstime, d.id""",
            catalogue=config.tables.catalogue.sql,
            tasks=config.tables.tasks.sql,
        )
    )
    return [
        ExtractedScene(obsid, reference, path, _files(config, card, tasks))
        for obsid, reference, card, path, tasks in rows
    ]


def check_scenes(
    conn: psycopg.Connection,
    config: Config,
    archive: Archive,
    scenes: Iterable[ExtractedScene],
    *,
    max_age_days: int | None = None,
    progress: Callable[[int], None] = lambda _steps: None,
) -> Report:
    """Compare the files of extracted scenes.

    Args:
        conn: in autocommit mode; each scene's outcomes are committed when they are known.
        config: the configuration.
        archive: the archive.
        scenes: what `extracted_scenes` has found.
        max_age_days: files that matched longer ago are compared again; None: only those that changed.
        progress: called with 1 after each scene.

    Raises:
        ArchiveError: the archive is away; what was found so far is kept.
    """
    report = Report()
    check = _Check(conn, config, archive, max_age_days, report)
    for scene in scenes:
        try:
            check.scene(scene)
        except SceneError as error:
            archive.check()  # not the product is to blame if the whole archive is away
            report.findings.append(_unusable(scene, error))
        report.scenes += 1
        progress(1)
    return report


def _files(config: Config, card: str, tasks: list[Mapping[str, Any]]) -> str:
    """Return the files that the tasks have read; for a scene without tasks, those that they would read."""
    tasks = tasks or [
        {"bandset": name, "bands": bands, "classes": config.extraction.methods[name].cloud_classes}
        for name, bands in config.extraction.bandsets.items()
        if BANDSETS[name].card == card
    ]
    patterns = [
        files_of(
            task["bandset"], task["bands"] or BANDSETS[task["bandset"]].bands, classes=bool(task["classes"])
        )
        for task in tasks
    ]
    return "|".join(patterns) or "(?!)"


@dataclass(frozen=True)
class _Check:
    conn: psycopg.Connection
    config: Config
    archive: Archive
    max_age_days: int | None
    report: Report

    def scene(self, scene: ExtractedScene) -> None:
        """Compare one scene's files, as far as that is not known."""
        if scene.path is None:
            raise SceneError(NO_PATH, f"the catalogue has no path for {scene.reference}")
        known = known_checks(self.conn, self.config.tables, scene.obsid, self.max_age_days)
        with closing(self.archive.hold(scene.path, re.escape(MANIFEST_FILE))) as held:
            folder = held.root / scene.path
            if not is_folder(folder):
                raise SceneError(PRODUCT_MISSING, f"{scene.path} is not in the archive")
            manifest = Checksums(folder, held)
            listed = manifest.listed(scene.files)
            supported = {file: checksum for file, checksum in listed.items() if checksum.supported}
            if not supported:
                lacking = "has no checksum of the files that were read" if manifest.found else "is missing"
                self._record(scene, Checked(MANIFEST_FILE, NO_CHECKSUM, f"{MANIFEST_FILE} {lacking}"))
                self.report.without_checksum += 1
                return
            for file in self._names(scene, held):
                if re.fullmatch(scene.files, file) and file not in supported:
                    self._record(scene, manifest.compare(folder / file))
                    self.report.files_without_checksum += 1
            needed = [
                file
                for file, checksum in supported.items()
                if self._needed(scene, file, held, known.get(file), checksum)
            ]
        if needed:
            self._compare(scene, needed, known)

    def _names(self, scene: ExtractedScene, held: Held) -> list[str]:
        try:
            return sorted(held.names(held.root / str(scene.path)))
        except OSError as error:
            raise SceneError(UNREADABLE, f"{scene.reference} cannot be listed: {error}") from error

    def _needed(
        self, scene: ExtractedScene, file: str, held: Held, known: Checked | None, checksum: Checksum
    ) -> bool:
        """Whether a file is there and has to be compared."""
        try:
            version = held.version(held.root / str(scene.path) / file)
        except FileNotFoundError:
            self.report.findings.append(_missing(scene, file))
            return False
        except OSError as error:
            raise SceneError(UNREADABLE, f"{file} of {scene.reference} cannot be read: {error}") from error
        if known and unchanged(known, checksum, version):
            self.report.unchanged += 1
            return False
        return True

    def _compare(self, scene: ExtractedScene, files: list[str], known: Mapping[str, Checked]) -> None:
        path = str(scene.path)
        with closing(self.archive.hold(path, "|".join(map(re.escape, [*files, MANIFEST_FILE])))) as held:
            checks = Checksums(held.root / path, held)
            for file in files:
                checked = checks.compare(held.root / path / file)
                self.report.compared += 1
                if checked.outcome == DIFFERS:
                    self.report.findings.append(_damaged(scene, checked))
                elif file in known and known[file].outcome == DIFFERS:
                    # it stays recorded so until the scene is extracted from the intact file
                    self.report.findings.append(_replaced(scene, file))
                    continue
                self._record(scene, checked)

    def _record(self, scene: ExtractedScene, checked: Checked) -> None:
        record(self.conn, self.config.tables, scene.obsid, [checked])


def _damaged(scene: ExtractedScene, checked: Checked) -> Finding:
    hint = "Its statistics may be wrong. Ask the archive to deliver the product again, then run"
    return _of_file(
        scene, checked.file, "differs", f"is damaged: {checked.detail}", f"{hint} {_extract(scene)}"
    )


def _replaced(scene: ExtractedScene, file: str) -> Finding:
    hint = f"Its statistics may be from the damaged file. Run {_extract(scene)}"
    return _of_file(scene, file, "replaced", "was damaged at an earlier check and is intact now", hint)


def _missing(scene: ExtractedScene, file: str) -> Finding:
    hint = "It cannot be checked; statistics stay as they are. Ask the archive to deliver the product again"
    return _of_file(scene, file, "missing", "is not in the archive any more", hint)


def _of_file(scene: ExtractedScene, file: str, code: str, state: str, hint: str) -> Finding:
    return Finding(
        f"archive.file_{code}", scene.reference, file, f"{file} of {scene.reference} {state}.", hint
    )


def _extract(scene: ExtractedScene) -> str:
    return command(f"extract --scene {scene.reference}")


def _unusable(scene: ExtractedScene, error: SceneError) -> Finding:
    missing = error.cause.code in MISSING
    return Finding(
        "archive.product_missing" if missing else "archive.unreadable",
        scene.reference,
        None,
        f"{scene.reference} cannot be checked: {error.reason}.",
        "Statistics stay as they are. Search the catalogue again: the product may have been replaced"
        if missing
        else "Statistics stay as they are. Ask the archive to deliver the product again, then check again",
    )
