"""Records counted by the headers of shapefiles and of MapInfo's tables, whose attributes are dBASE files."""

import numpy as np

from cbmctl.errors import UserError, counted
from cbmctl.parcels.files.dbf_header import SIZE, dbf_header
from cbmctl.parcels.files.delivery import Dataset

SHP_HEADER, SHX_RECORD = 100, 8
SHP_MAGIC = 9994
DELETED = ord("*")
MAPINFO_ID = 4  # bytes of an object in a .id


def count_shapefile(shapefile: Dataset) -> int:
    """Records of a shapefile, without those that are marked as deleted in the .dbf.

    The layouts are those of ESRI's white paper of July 1998 and of dBASE III.

    Raises:
        UserError: a part is truncated, or the parts have different numbers of records.
    """
    shapes = _count_shapes(shapefile)
    records, deleted = _count_records(shapefile)
    if records != shapes:
        raise UserError(
            "parcels.mixed_parts",
            (
                f"{shapefile.shown} has {counted(shapes, 'shape')}, but its .dbf"
                f" {counted(records, 'record')}: the parts are of different files"
            ),
            "Deliver all of them again",
            about=shapefile.shown,
        )
    return records - deleted


def deleted_records(shapefile: Dataset) -> int:
    """How many records are marked as deleted; GDAL leaves them out."""
    return _count_records(shapefile)[1]


def _count_shapes(shapefile: Dataset) -> int:
    for suffix in (".shp", ".shx"):
        size = shapefile.parts[suffix].stat().st_size
        with shapefile.parts[suffix].open("rb") as file:
            header = file.read(SHP_HEADER)
        if len(header) < SHP_HEADER or int.from_bytes(header[:4], "big") != SHP_MAGIC:
            raise UserError(
                "parcels.wrong_format",
                f"{shapefile.shown}: its {suffix} is not a {suffix} file",
                "Deliver it again",
                about=shapefile.shown,
            )
        promised = 2 * int.from_bytes(header[24:28], "big")
        if size < promised:
            raise _breaks_off(shapefile, suffix, f"it has {size} of {promised} bytes")
    # the last header is that of the .shx: some programs leave more behind its end
    values = 2 * ((promised - SHP_HEADER) // SHX_RECORD)
    index = np.fromfile(shapefile.parts[".shx"], ">u4", values, offset=SHP_HEADER)
    ends = (index[0::2].astype(np.int64) + index[1::2]) * 2 + SHX_RECORD  # words to bytes; a record's header
    size = shapefile.parts[".shp"].stat().st_size
    if beyond := int(np.count_nonzero(ends > size)):
        raise _breaks_off(shapefile, ".shp", f"{counted(beyond, 'shape')} of {len(ends)} lie beyond its end")
    return len(ends)


def _count_records(dataset: Dataset, suffix: str = ".dbf") -> tuple[int, int]:
    """Records of a table of dBASE III, and how many of them are marked as deleted."""
    dbf = dataset.parts[suffix]
    with dbf.open("rb") as file:
        header = dbf_header(file.read(SIZE))
    size = dbf.stat().st_size
    if header is None:
        raise _breaks_off(dataset, suffix, f"it has {size} bytes")
    room = max(size - header.start, 0) // header.length if header.length else 0
    if room < header.records:
        raise _breaks_off(dataset, suffix, f"it holds {room} of {counted(header.records, 'record')}")
    if not header.records:
        return 0, 0
    shape = (header.records, header.length)
    flags = np.memmap(dbf, np.uint8, "r", offset=header.start, shape=shape)[:, 0]
    return header.records, int(np.count_nonzero(flags == DELETED))


def count_mapinfo(tab: Dataset) -> int | None:
    """Records of a .tab with a table of its own, without those that are deleted.

    Raises:
        UserError: the table, or the index of the objects, is truncated.
    """
    suffix = next((s for s in (".dat", ".dbf") if s in tab.parts), None)
    if suffix is None:
        return None
    records, deleted = _count_records(tab, suffix)
    rooms = tab.parts[".id"].stat().st_size // MAPINFO_ID
    if rooms < records:
        raise _breaks_off(tab, ".id", f"it holds {rooms} of {counted(records, 'object')}")
    return records - deleted


def count_mapinfo_text(mif: Dataset) -> int:
    """Lines of a .mid: one for each object of the .mif."""
    with mif.parts[".mid"].open("rb") as file:
        return sum(1 for line in file if line.strip())


def _breaks_off(dataset: Dataset, suffix: str, reason: str) -> UserError:
    return UserError(
        "parcels.truncated",
        f"{dataset.shown} is not complete: its {suffix} is truncated ({reason})",
        "Deliver it again",
        about=dataset.shown,
    )
