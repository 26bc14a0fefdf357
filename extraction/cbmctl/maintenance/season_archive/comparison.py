"""Numbers of an archive's files beside those of the database."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import psycopg
import pyarrow as pa

from cbmctl.config import Tables
from cbmctl.database import query
from cbmctl.errors import UserError, counted
from cbmctl.maintenance.season_archive import database_rows, parquet
from cbmctl.maintenance.season_archive.layout import SCHEMAS, Description, Scene
from cbmctl.maintenance.season_archive.row_sums import NOTHING, Numbers, numbers

Progress = Callable[[int], None]
_SHOWN = 3


def kind_of(name: str) -> str:
    """Return "sigs" or "hists" for a file of statistics, "" for another file."""
    kind = name.partition("_")[0]
    return kind if kind in SCHEMAS else ""


def of_file(path: Path, progress: Progress) -> dict[int, Numbers]:
    """Return the numbers of each scene in a file of statistics. Raises UserError if it cannot be read."""
    return numbers(_counting(parquet.read(path, kind_of(path.name)), progress))


def of_scene(conn: psycopg.Connection, tables: Tables, obsid: int) -> tuple[Numbers, Numbers]:
    """Return the numbers of a scene's rows in the database, of sigs and of hists."""
    sigs, hists = (
        numbers(database_rows.of_scene(conn, tables, kind, obsid)).get(obsid, NOTHING) for kind in SCHEMAS
    )
    return sigs, hists


def verify_files(folder: Path, description: Description, progress: Progress) -> None:
    """Read all statistics of an archive again.

    Args:
        folder: of the archive.
        description: what the files must hold.
        progress: given numbers of rows that were read.

    Raises:
        UserError: a file is missing or damaged, or a scene's rows are not those that were archived.
    """
    found: dict[str, dict[int, Numbers]] = {kind: {} for kind in SCHEMAS}
    for name, rows in description.files.items():
        if kind := kind_of(name):
            found[kind] |= of_file(folder / name, progress)
        elif (number := parquet.count(folder / name)) != rows:
            raise parquet.invalid(folder / name, f"it has {counted(number, 'row')}, expected {rows}")
    for kind, scenes in found.items():
        wanted: dict[int, Numbers] = {
            obsid: getattr(scene, kind) for obsid, scene in description.scenes.items()
        }
        for obsid in sorted(wanted.keys() | scenes.keys()):
            there, expected = scenes.get(obsid, NOTHING), wanted.get(obsid, NOTHING)
            if there != expected:
                scene = description.scenes.get(obsid)
                name = scene.reference if scene else f"scene {obsid}"
                raise parquet.invalid(folder, f"{kind} of {name} has {_both(there, expected)}")


def require_own(conn: psycopg.Connection, tables: Tables, folder: Path, description: Description) -> None:
    """Raise UserError if an archive is that of another database: its scenes have other names here."""
    there: dict[int, str] = dict(
        conn.execute(
            query("SELECT id, reference FROM {catalogue} WHERE id = ANY(%s)", catalogue=tables.catalogue.sql),
            [list(description.scenes)],
        ).fetchall()
    )
    # some of its scenes may have been deleted from the catalogue since, but not all
    other = [
        obsid
        for obsid, scene in description.scenes.items()
        if there.get(obsid, scene.reference) != scene.reference
    ]
    if other or not there:
        example = (
            f": scene {other[0]} is named {there[other[0]]} in this database"
            if other
            else ": this database has none of its scenes"
        )
        raise UserError(
            "season_archive.other_database",
            f"{folder} is the archive of another database ({description.database},"
            f" {description.area}){example}",
            "Use the configuration of that database, or choose the archive's season with --season",
            about=folder,
        )


def differing(wanted: Mapping[int, Scene], found: Mapping[int, tuple[Numbers, Numbers]]) -> dict[int, str]:
    """Return the scenes whose numbers differ, with a sentence about the first table that does."""
    differ = {}
    for obsid, numbers_found in found.items():
        scene = wanted[obsid]
        for kind, there, expected in zip(SCHEMAS, numbers_found, (scene.sigs, scene.hists), strict=True):
            if there != expected and obsid not in differ:
                differ[obsid] = f"{kind} of {scene.reference} has {_both(there, expected)}"
    return differ


def first_sentences(sentences: Iterable[str]) -> str:
    """Return the first sentences, and how many more there are."""
    listed = list(sentences)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return "; ".join(listed[:_SHOWN]) + more


def _both(there: Numbers, expected: Numbers) -> str:
    if there.rows == expected.rows:
        return f"{counted(there.rows, 'row')} as expected, but at least one value differs"
    return f"{counted(there.rows, 'row')}, expected {expected.rows}"


def _counting(batches: Iterator[pa.RecordBatch], progress: Progress) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch
        progress(batch.num_rows)
