"""A delivery: the files, folders and archives that a person names, as datasets that GDAL can open.

GDAL never opens the operator's file where it lies. It gets a view in a temporary folder: links with uniform
names, so that a companion whose name differs in case is found, an index that is out of date is not, and
nothing is written beside the file. Archives are unpacked there.
"""

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cbmctl.errors import UserError
from cbmctl.parcels.files import formats
from cbmctl.parcels.files.formats import ARCHIVES, Format
from cbmctl.parcels.files.zip_files import unpack

Paths = Path | Sequence[Path]
PREFIX = "cbmctl-parcels-"
LEFTOVER_AGE_S = 86_400
DEEPEST = 4  # archives in archives; an archive may hold itself
BEGINNING = 1 << 16

_READABLE = "Check the permissions of the file and its folder, and the disk"


@dataclass(frozen=True)
class Dataset:
    """One file of a delivery, with its companions.

    Attributes:
        shown: what messages call it.
        label: its path within the folder or archive; the file's name if it was named itself.
        group: number of the choice it belongs to: one layer is taken of each group, unless a pattern says
            more. A file or an archive that was named is a group, so is each file of a folder.
        file: what to open, in the view.
        format: its format.
        parts: the files of the view by suffix in lower case.
        notes: what the operator should know about it.
    """

    shown: str
    label: str
    group: int
    file: Path
    format: Format
    parts: dict[str, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def as_paths(paths: Paths) -> tuple[Path, ...]:
    """One path or several, as several."""
    return (paths,) if isinstance(paths, Path) else tuple(paths)


def folder_above(paths: Paths) -> Path:
    """The folder that holds everything that was named."""
    return Path(os.path.commonpath([path.absolute().parent for path in as_paths(paths)]))


def shown(paths: Paths) -> str:
    """What messages call the whole delivery."""
    return ", ".join(str(path) for path in as_paths(paths))


@contextmanager
def opened(paths: Paths) -> Iterator[list[Dataset]]:
    """The datasets of a delivery, as long as the context lasts; TMPDIR says where archives are unpacked.

    Raises:
        UserError: a path does not exist, is empty, damaged, or holds nothing that can be read.
    """
    _remove_leftovers(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        named = as_paths(paths)
        above = folder_above(paths)
        view = _View(Path(folder))
        for path in named:
            # an archive that is alone need not be named in the labels of its files
            alone = len(named) == 1
            view.add(path, "" if alone else str(path.absolute().relative_to(above)))
        yield view.datasets


def _remove_leftovers(folder: Path) -> None:
    """Remove what runs left behind that were killed, after a day; those of other users stay."""
    for left in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > LEFTOVER_AGE_S:
                shutil.rmtree(left)


@dataclass(frozen=True)
class _Place:
    """Where a file was found: see `Dataset`; `depth` counts the archives around it."""

    label: str
    shown: str
    group: int
    notes: tuple[str, ...] = ()
    depth: int = 0


class _View:
    """The temporary folder, filled path by path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.datasets: list[Dataset] = []
        self._groups = 0
        self._seen: set[Path] = set()
        self._found: dict[tuple[object, ...], _Place] = {}

    def add(self, path: Path, label: str) -> None:
        """Add what a person named: a file, an archive or a folder."""
        if not path.exists():
            raise UserError(
                "parcels.missing",
                f"{path} does not exist",
                "Correct the name of the parcels file",
                about=path,
            )
        if not path.is_dir() or formats.format_of(path.name).folder:
            self._groups += 1
            self._add(path, _Place(label, str(path), self._groups))
            return
        found = candidates(path)
        if others := unsupported(str(f.relative_to(path)) for f in path.rglob("*") if f.is_file()):
            raise UserError(
                "parcels.foreign_file",
                f"{path} holds {', '.join(others)}, which is not read from a folder",
                "Unpack or convert it if it holds parcels, else put it elsewhere",
                about=path,
            )
        if not found:
            raise UserError(
                "parcels.no_file",
                f"{path} holds no parcels file",
                f"Put one of {formats.LISTED} into it",
                about=path,
            )
        for file in found:
            self._groups += 1
            self._add(file, _Place(str(label / file.relative_to(path)), str(file), self._groups))

    def _add(self, file: Path, place: _Place) -> None:
        kind = formats.format_of(file.name)
        if reason := formats.refusal(file.name):
            raise UserError(
                "parcels.unsupported_format", f"{place.shown}: {reason[0]}", reason[1], about=place.shown
            )
        if not (file.is_dir() if kind.folder else file.is_file()):
            what = "folder" if kind.folder else "file"
            raise UserError(
                "parcels.wrong_format",
                f"{place.shown} is not a {what}",
                "Name the parcels file",
                about=place.shown,
            )
        if file.is_file() and not file.stat().st_size:
            raise UserError(
                "parcels.empty_file", f"{place.shown} is empty", "Deliver it again", about=place.shown
            )
        if file.resolve() in self._seen:
            raise UserError(
                "parcels.named_twice",
                f"{place.shown} is named twice",
                "Name each file once",
                about=place.shown,
            )
        self._seen.add(file.resolve())
        if formats.suffix_of(file.name) in ARCHIVES:
            self._add_archive(file, place)
        else:
            self._add_dataset(file, place)

    def _add_archive(self, file: Path, place: _Place) -> None:
        if place.depth >= DEEPEST:
            raise UserError(
                "parcels.nested_archives",
                f"{place.shown}: too many archives within archives",
                "Unpack them",
                about=place.shown,
            )
        _expect_readable(file, place.shown)
        folder = self._new_folder()
        with disk_space(place.shown):
            left_out = unpack(file, folder, place.shown)
        found = candidates(folder)
        if not found:
            raise UserError(
                "parcels.no_file",
                f"{place.shown} holds no parcels file",
                f"Put one of {', '.join(formats.READABLE)} into it",
                about=place.shown,
            )
        notes = tuple(f"{name} in {place.shown} is not read" for name in unsupported(left_out))
        for member in found:
            inner = str(member.relative_to(folder))
            within = _Place(
                f"{place.label}/{inner}" if place.label else inner,
                f"{inner} in {place.shown}",
                place.group,
                (*place.notes, *notes),
                place.depth + 1,
            )
            self._add(member, within)

    def _add_dataset(self, file: Path, place: _Place) -> None:
        kind, own = formats.format_of(file.name), formats.suffix_of(file.name)
        parts = parts_of(file)
        if missing := [suffix for suffix in kind.required if suffix not in parts]:
            raise UserError(
                "parcels.part_missing",
                f"{place.shown} lacks its {' and '.join(missing)}",
                f"A {kind.name} needs {', '.join((*kind.suffixes, *kind.required))}. Deliver all of them",
                about=place.shown,
            )
        for part in parts.values():
            _expect_readable(part, place.shown)
        folder, notes = self._new_folder(), place.notes
        stem = file.name[: len(file.name) - len(own)]
        view = {suffix: folder / f"{stem}{suffix}" for suffix in parts}
        if kind is formats.GEOPACKAGE and (len(parts) > 1 or in_wal_mode(file)):
            with disk_space(place.shown):
                _copy_database({view[suffix]: part for suffix, part in parts.items()}, view[own], place.shown)
            view = {own: view[own]}
            if f"{own}-wal" not in parts:
                note = (
                    f"{place.shown} was written in WAL mode and has no file {file.name}-wal beside it."
                    " If there was one, its changes are missing: deliver both."
                )
                notes = (*notes, note)
        else:
            for suffix, part in parts.items():
                view[suffix].symlink_to(part.resolve())
        self._expect_once(file, place)
        label = place.label or file.name
        self.datasets.append(Dataset(place.shown, label, place.group, view[own], kind, view, notes))

    def _expect_once(self, file: Path, place: _Place) -> None:
        """Refuse a file that lies in an archive and unpacked beside it: its parcels would be loaded twice."""
        sizes = [(f.name, f.stat().st_size) for f in file.rglob("*.gdbtable")] if file.is_dir() else []
        content = (file.name.lower(), tuple(sorted(sizes)) or file.stat().st_size)
        other = self._found.setdefault(content, place)
        if bool(other.depth) != bool(place.depth):
            packed, plain = (place, other) if place.depth else (other, place)
            raise UserError(
                "parcels.doubled",
                (
                    f"{packed.shown} has the name and size of {plain.shown}: the same parcels would be loaded"
                    " twice"
                ),
                "Remove the archive or the unpacked files. If they differ, unpack the archive",
                about=packed.shown,
            )

    def _new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder))


def parts_of(file: Path) -> dict[str, Path]:
    """A file and those beside it that belong to it, by suffix in lower case."""
    if formats.format_of(file.name).folder:
        return {formats.suffix_of(file.name): file}
    names = [other.name for other in file.parent.iterdir() if other.is_file()]
    return {suffix: file.parent / name for suffix, name in formats.belonging(file.name, names).items()}


def candidates(folder: Path) -> list[Path]:
    """The files of a folder and those below that may hold parcels, archives among them, sorted by path.

    Raises:
        UserError: a folder cannot be read.
    """
    found: list[Path] = []
    seen = {folder.resolve()}
    for parent, folders, files in os.walk(folder, onerror=_refuse_folder, followlinks=True):
        databases = [name for name in folders if formats.format_of(name).folder]
        folders[:] = [n for n in folders if n not in databases and not formats.hidden(n)]
        # a link may lead to a folder above it
        folders[:] = [n for n in folders if Path(parent, n).resolve() not in seen]
        seen.update(Path(parent, name).resolve() for name in folders)
        wanted = [n for n in files if formats.is_candidate(n) and not formats.format_of(n).folder]
        archives = [n for n in files if formats.suffix_of(n) in ARCHIVES and not formats.hidden(n)]
        found += [Path(parent, name) for name in (*databases, *wanted, *archives)]
    certain = [file for file in found if not formats.is_shared(file.name) or _is_marked(file)]
    return sorted(certain or found)


def _refuse_folder(error: OSError) -> None:
    raise UserError(
        "parcels.file_unreadable",
        f"{error.filename} cannot be read ({error.strerror})",
        _READABLE,
        about=error.filename,
    ) from error


def _is_marked(file: Path) -> bool:
    """Whether the beginning of a file shows that it is of the format that its name may promise."""
    _expect_readable(file, str(file))
    with file.open("rb") as opened:
        beginning = opened.read(BEGINNING)
    return any(mark in beginning for mark in formats.format_of(file.name).marks)


def unsupported(names: Iterable[str]) -> list[str]:
    """The names, or paths in a folder, of files that may hold parcels, but cannot be read."""
    kinds = formats.UNSUPPORTED
    return sorted(n for n in names if formats.suffix_of(n) in kinds and not formats.hidden(n))


def _expect_readable(file: Path, shown: str) -> None:
    try:
        if file.is_dir():
            next(file.iterdir(), None)
        else:
            with file.open("rb") as opened:
                opened.read(1)
    except OSError as error:
        raise UserError(
            "parcels.file_unreadable", f"{shown} cannot be read ({error.strerror})", _READABLE, about=shown
        ) from error


def files_of(path: Path) -> list[Path]:
    """The files that belong to what a person named, each before its companions: for a checksum or a copy.

    Raises:
        UserError: the path does not exist, or two files could be the same companion.
    """
    if not path.exists():
        raise UserError(
            "parcels.missing", f"{path} does not exist", "Correct the name of the parcels file", about=path
        )
    inside = path.is_dir() and not formats.format_of(path.name).folder
    found: list[Path] = []
    for file in candidates(path) if inside else [path]:
        if file.is_dir():
            found += sorted(part for part in file.rglob("*") if part.is_file())
        else:
            found += [file, *sorted(part for part in parts_of(file).values() if part != file)]
    return found


def in_wal_mode(database: Path) -> bool:
    """Whether SQLite keeps changes of this file in a -wal beside it (bytes 18 and 19 of its header)."""
    with database.open("rb") as file:
        header = file.read(20)
    return header[:15] == b"SQLite format 3" and header[18:20] == b"\x02\x02"


def _copy_database(copies: dict[Path, Path], database: Path, shown: str) -> None:
    """Copy a database with what is attached to it, and bring the copy to rest: one file with all changes."""
    for copy, original in copies.items():
        shutil.copyfile(original, copy)
    try:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    except sqlite3.Error as error:
        raise UserError(
            "parcels.damaged", f"{shown} is damaged ({error})", "Deliver it again", about=shown
        ) from error


@contextmanager
def disk_space(shown: str) -> Iterator[None]:
    """Turn a full temporary folder into a sentence."""
    try:
        yield
    except OSError as error:
        raise UserError(
            "parcels.disk_full",
            f"{shown} cannot be unpacked or copied to {tempfile.gettempdir()} ({error.strerror})",
            "Free disk space there, or set TMPDIR to a folder with more",
            about=shown,
        ) from error
