"""FileGDB, a folder of tables: is it whole?

GDAL does not list a layer whose table is missing, and takes one whose index is truncated for empty. Esri does
not publish the layout of the files; this is what GDAL's authors found out
(https://github.com/rouault/dump_gdbtable/wiki/FGDB-Spec).
"""

import struct
from pathlib import Path

from cbmctl.errors import UserError
from cbmctl.parcels.files import gdal
from cbmctl.parcels.files.delivery import Dataset

TABLE_HEADER = struct.Struct("<iiIiiiQQ")  # version, rows, …, size of the file, …
INDEX_HEADER = struct.Struct("<iiii")  # version, blocks of 1024 rows, rows, bytes for each row
VERSION = 3  # ArcGIS Pro writes 4 for tables with object ids of 64 bits: other headers
SYSTEM = "GDB_"
TABLE, INDEX = ".gdbtable", ".gdbtablx"


def expect_all_tables(dataset: Dataset) -> None:
    """Compare the files of a geodatabase with their headers and with the list of its tables.

    Raises:
        UserError: a file is missing or truncated.
    """
    files = {file.name.lower(): file for file in dataset.file.iterdir()}
    for name, file in sorted(files.items()):
        if (size := _promised(file)) > file.stat().st_size:
            raise _incomplete(dataset, f"its {file.name} has {file.stat().st_size} of {size} bytes")
        if file.suffix.lower() == INDEX and name.replace(INDEX, TABLE) not in files:
            raise _incomplete(dataset, f"it lacks {file.stem}{TABLE}")
    for table, name in tables(dataset).items():
        if name not in files:
            raise _incomplete(dataset, f"it lacks {name}, which holds {table}")


def _incomplete(dataset: Dataset, reason: str) -> UserError:
    return UserError(
        "parcels.truncated",
        f"{dataset.shown} is not complete: {reason}",
        "Deliver it again",
        about=dataset.shown,
    )


def _promised(file: Path) -> int:
    """The least size of a file according to its header, in bytes; 0 if it does not say."""
    suffix = file.suffix.lower()
    if suffix == TABLE and (header := _header(file, TABLE_HEADER)):
        return header[6]
    if suffix == INDEX and (header := _header(file, INDEX_HEADER)):
        _, blocks, _, width = header
        return INDEX_HEADER.size + 1024 * blocks * width
    return 0


def tables(dataset: Dataset) -> dict[str, str]:
    """The geodatabase's own list: names of an agency's tables, and the files that hold them."""
    meta, catalogue = gdal.read_arrow(
        dataset.file,
        layer="GDB_SystemCatalog",
        columns=["Name", "FileFormat"],
        read_geometry=False,
        return_fids=True,
    )
    numbers, names, kinds = (
        catalogue[column].to_pylist() for column in (meta["fid_column"], "Name", "FileFormat")
    )
    return {
        name: f"a{number:08x}{TABLE}"
        for number, name, kind in zip(numbers, names, kinds, strict=True)
        if kind == 0 and not name.startswith(SYSTEM)  # others need not have files of their own
    }


def count_rows(dataset: Dataset, layer: str) -> int:
    """Rows by the header of a layer's table.

    Raises:
        UserError: the table has another header, so that nothing shows whether it is complete.
    """
    file_name = tables(dataset).get(layer, "")
    file = next((f for f in dataset.file.iterdir() if f.name.lower() == file_name), None)
    header = _header(file, TABLE_HEADER) if file else None
    if not header:
        raise UserError(
            "parcels.damaged",
            f"{dataset.shown}: the rows of {layer} cannot be counted",
            (
                "Its table is damaged, or has object ids of 64 bits, which are not supported. Export it"
                " as GeoPackage"
            ),
            about=dataset.shown,
        )
    return header[1]


def _header(file: Path, layout: struct.Struct) -> tuple[int, ...] | None:
    with file.open("rb") as opened:
        data = opened.read(layout.size)
    if len(data) < layout.size:
        return None
    values: tuple[int, ...] = layout.unpack(data)
    return values if values[0] == VERSION else None
