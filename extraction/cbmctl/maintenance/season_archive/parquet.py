"""Parquet files: zstd, row groups of at most a million rows, read and written in batches."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cbmctl.errors import UserError
from cbmctl.maintenance.season_archive.database_rows import BATCH
from cbmctl.maintenance.season_archive.layout import FIGURES, PARTIAL, SCHEMAS, put_in_place

ROW_GROUP = 1_000_000
# Of a row group before it is compressed: reached by tasks with long lists of parcels, and by geometries.
GROUP_BYTES = 128 * 2**20
_USUAL_FOOTER, _LARGEST_FOOTER = 64 * 2**10, 256 * 2**20
# Of these columns most values occur again and again; bytes of the other numbers are stored in four streams.
_REPEATED = ("pid", "obsid", "band", "count")


def write(
    path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], metadata: Mapping[str, str]
) -> int:
    """Write a file under another name, and rename it when it is whole.

    Args:
        path: its name.
        schema: its columns.
        batches: its rows, in order.
        metadata: for its footer.

    Returns:
        The number of rows.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    partial = path.with_name(path.name + PARTIAL)
    statistics = schema.names[:2] == ["pid", "obsid"]
    options: dict[str, Any] = {}
    if statistics:
        options = {
            "use_dictionary": [name for name in schema.names if name in _REPEATED],
            "use_byte_stream_split": [name for name in schema.names if name in FIGURES[1:]],
            "sorting_columns": [
                pq.SortingColumn(place) for place, name in enumerate(schema.names) if name in _REPEATED[:3]
            ],
        }
    rows = 0
    try:
        with pq.ParquetWriter(
            partial,
            schema.with_metadata(dict(metadata)),
            compression="zstd",
            write_page_checksum=True,
            **options,
        ) as writer:
            for group in _groups(batches):
                writer.write_table(group.cast(schema), row_group_size=ROW_GROUP)
                rows += group.num_rows
        put_in_place(partial)
    except OSError as error:
        raise UserError(
            "season_archive.unwritable",
            f"{path} cannot be written ({error.strerror or error})",
            "Free space on that disk, or use another folder",
            about=path,
        ) from error
    return rows


def read(path: Path, kind: str) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file of statistics, in order, as batches of a fixed length.

    Args:
        path: the file.
        kind: "sigs" or "hists".

    Raises:
        UserError: it is missing, damaged, or has other columns.
    """
    schema = SCHEMAS[kind]
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if file.schema_arrow.names != schema.names:
                raise invalid(path, f"its columns are {', '.join(file.schema_arrow.names)}")
            yield from file.iter_batches(batch_size=BATCH)
    except (pa.ArrowException, OSError) as error:
        raise invalid(path, " ".join(str(error).split())[:200]) from error


def holds(path: Path, obsids: Iterable[int]) -> bool:
    """Return whether a file of statistics has rows of any of these scenes; if it cannot be read, True."""
    wanted = pa.array(obsids, pa.int32())
    try:
        with pq.ParquetFile(path) as file:
            return any(
                pc.any(pc.is_in(batch.column("obsid"), wanted)).as_py()
                for batch in file.iter_batches(batch_size=BATCH, columns=["obsid"])
            )
    except (pa.ArrowException, OSError, KeyError):
        return True


def count(path: Path) -> int:
    """Read a file and return its number of rows. Raises UserError if it is missing or damaged."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return sum(batch.num_rows for batch in file.iter_batches(batch_size=BATCH))
    except (pa.ArrowException, OSError) as error:
        raise invalid(path, " ".join(str(error).split())[:200]) from error


def footer(source: Path | pa.NativeFile) -> dict[str, str]:
    """Return the metadata of a file's footer; nothing if the file is missing, damaged or not Parquet.

    Raises:
        OSError: a source that is not a path cannot be read.
        UserError: the file of a path cannot be read.
    """
    if isinstance(source, Path):
        try:
            with pa.OSFile(str(source)) as file:
                return footer(file)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise UserError(
                "season_archive.unreadable",
                f"{source} cannot be read ({error.strerror or error})",
                "Make the file readable for this user, check the disk, or use another folder",
                about=source,
            ) from error
    end = _end(source)
    try:
        found = pq.read_metadata(pa.BufferReader(end)).metadata or {}
    except (pa.ArrowException, OSError):  # the library reports damage as either
        return {}
    return {key.decode(): value.decode() for key, value in found.items() if key.startswith(b"cbm.")}


def _end(file: pa.NativeFile) -> bytes:
    """Read the last bytes of a Parquet file, which hold its footer; nothing of another file."""
    size = int(file.size())
    begin = max(size - _USUAL_FOOTER, 0)
    file.seek(begin)
    end = bytes(file.read(size - begin))
    length = int.from_bytes(end[-8:-4], "little") + 8
    if end[-4:] != b"PAR1" or length > min(size, _LARGEST_FOOTER):
        return b""
    if length > len(end):
        file.seek(size - length)
        end = bytes(file.read(length))
    return end


def geo(column: str, crs: dict[str, Any] | None) -> dict[str, str]:
    """Return the metadata that make a file with WKB geometries GeoParquet (geoparquet.org, 1.1.0)."""
    described: dict[str, Any] = {"encoding": "WKB", "geometry_types": [], "crs": crs}
    return {"geo": json.dumps({"version": "1.1.0", "primary_column": column, "columns": {column: described}})}


def _groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        if held and (rows + batch.num_rows > ROW_GROUP or size + batch.nbytes > GROUP_BYTES):
            yield pa.Table.from_batches(held).unify_dictionaries()
            held, rows, size = [], 0, 0
        held.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
    if held:
        yield pa.Table.from_batches(held).unify_dictionaries()


def invalid(path: Path, why: str) -> UserError:
    """Return the error of a file, or of the folder of an archive, whose verification failed."""
    what = "folder" if path.is_dir() else "file"
    return UserError(
        "season_archive.damaged",
        f"{path}: verification failed: {why}",
        f"Copy the {what} again from an intact copy of the archive",
        about=path,
    )
