"""Features counted without GDAL, from the file itself: what is read must be what the file holds.

GDAL stops early in some damaged files, without an error. So every format is counted in a second way:
a shapefile by the headers of its three parts, a GeoPackage by SQLite, GML and GeoJSON by a scan of the text,
FileGDB by its tables' headers, MapInfo by its table of attributes, FlatGeobuf one by one, GeoParquet by its
footer (`geoparquet.describe`).
"""

import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import IO
from xml.parsers import expat

import numpy as np

from cbmctl.errors import UserError
from cbmctl.parcels.files import formats
from cbmctl.parcels.files.count_records import count_mapinfo, count_mapinfo_text, count_shapefile
from cbmctl.parcels.files.delivery import Dataset
from cbmctl.parcels.files.flatgeobuf import count_features
from cbmctl.parcels.files.geodatabase import count_rows, expect_all_tables
from cbmctl.parcels.files.sqlite_names import quoted

CHUNK = 1 << 22
SQLITE_HEADER = 100
# GML's and WFS's own elements around features; what INSPIRE puts features into
MEMBERS = {"featureMember", "featureMembers", "member"}
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_LIST = re.compile(rb"F\s*:\s*\[")
_UNFINISHED = re.compile(rb"F(\s*:?\s*)\Z")
_NOT_STRUCTURE = bytes(set(range(256)) - set(b"{}[]K"))


def expect_complete(dataset: Dataset) -> None:
    """Look at a file's own headers before GDAL opens it, which blames something else or nothing.

    Raises:
        UserError: the file is truncated, or is not what its name promises.
    """
    if dataset.format is formats.SHAPEFILE:
        count_shapefile(dataset)
    if dataset.format is formats.GEOPACKAGE:
        _expect_all_pages(dataset)
    if dataset.format is formats.FILE_GDB:
        expect_all_tables(dataset)


def count(dataset: Dataset, layer: str) -> int | None:
    """The number of features in a layer; None if the file is complete, but is not a list of features.

    Raises:
        UserError: the file is truncated, is damaged, or its parts do not belong together.
    """
    counters: dict[str, Callable[[Dataset, str], int | None]] = {
        formats.SHAPEFILE.name: lambda shapefile, _: count_shapefile(shapefile),
        formats.MAPINFO.name: lambda tab, _: count_mapinfo(tab),
        formats.MAPINFO_TEXT.name: lambda mif, _: count_mapinfo_text(mif),
        formats.GEOPACKAGE.name: _count_geopackage,
        formats.FILE_GDB.name: count_rows,
        formats.FLATGEOBUF.name: lambda fgb, _: count_features(fgb),
        formats.GML.name: _count_gml,
        formats.GEOJSON.name: lambda geojson, _: _count_geojson(geojson),
    }
    counter = counters.get(dataset.format.name)
    return counter(dataset, layer) if counter else None


def _expect_all_pages(dataset: Dataset) -> None:
    """Compare a database's size with the number of pages in its header (sqlite.org/fileformat.html)."""
    with dataset.file.open("rb") as file:
        header = file.read(SQLITE_HEADER)
    if header[:15] != b"SQLite format 3":
        raise UserError(
            "parcels.wrong_format",
            f"{dataset.shown} is not a GeoPackage (no SQLite database)",
            "Deliver it again",
            about=dataset.shown,
        )
    size = dataset.file.stat().st_size
    page = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    known = header[24:28] == header[92:96]  # otherwise the number is of a program that does not keep it
    promised = (65536 if page == 1 else page) * pages
    if known and size < promised:
        raise UserError(
            "parcels.truncated",
            f"{dataset.shown} is not complete: it has {size} of {promised} bytes",
            "Deliver it again",
            about=dataset.shown,
        )


def _count_geopackage(dataset: Dataset, layer: str) -> int:
    try:
        with closing(sqlite3.connect(f"{dataset.file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            statement = f"SELECT count(*) FROM {quoted(layer)}"  # noqa: S608 - a name cannot be a parameter
            found: int = database.execute(statement).fetchone()[0]
    except sqlite3.Error as error:
        raise UserError(
            "parcels.damaged",
            f"{dataset.shown} is damaged ({error})",
            "Deliver it again",
            about=dataset.shown,
        ) from error
    return found


def _count_gml(dataset: Dataset, layer: str) -> int | None:
    """Elements of the layer's name that are members of a collection; None if its members have other names."""
    return gml_members(dataset).get(layer)


def gml_members(dataset: Dataset) -> Counter[str]:
    """The features of a GML file, by local name.

    Raises:
        UserError: the file is not complete, or not XML.
    """
    found: Counter[str] = Counter()
    path: list[str] = []

    def start(name: str, _: dict[str, str]) -> None:
        local = name.rpartition(":")[2]
        if path and path[-1] in MEMBERS:
            found[local] += 1
        path.append(local)

    def end(_: str) -> None:
        path.pop()

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    try:
        with dataset.file.open("rb") as file:
            parser.ParseFile(file)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise UserError(
            "parcels.truncated",
            f"{dataset.shown} is truncated or is not XML at line {error.lineno} ({reason})",
            "Deliver it again",
            about=dataset.shown,
        ) from error
    return found


def _count_geojson(dataset: Dataset) -> int | None:
    """Members of the list "features", or objects in a sequence; None if it is one feature or a list."""
    with dataset.file.open("rb") as file:
        found, depth = _scan_json(file)
    if depth:
        raise UserError(
            "parcels.truncated",
            f"{dataset.shown} is not complete: a bracket is not closed",
            "Deliver it again",
            about=dataset.shown,
        )
    return found


def _scan_json(file: IO[bytes]) -> tuple[int | None, int]:
    """Features, and how many brackets stay open at the end.

    Features are the objects in the array "features" of the outermost object, or the outermost objects
    themselves if there are several (GeoJSON text sequences, one feature in a line).
    """
    found: int | None = None
    outermost = 0
    depth, inside = 0, False
    rest = b""
    while chunk := file.read(CHUNK):
        text = rest + chunk
        # names and texts go, so that the brackets left are structure; F stands for the text "features", K for
        # the key of this name before a list
        bare = _STRINGS.sub(lambda m: b"F" if m[0] == b'"features"' else b"", text)
        cut = bare.find(b'"')
        rest = bare[cut:] if cut >= 0 else b""
        bare = bare[:cut] if cut >= 0 else bare
        if unfinished := _UNFINISHED.search(bare):  # the next chunk says whether it is the key
            rest = b'"features"' + unfinished[1] + rest
            bare = bare[: unfinished.start()]
        tokens = np.frombuffer(_LIST.sub(b"K[", bare).translate(None, _NOT_STRUCTURE), np.uint8)
        if not len(tokens):
            continue
        opening = (tokens == ord("{")) | (tokens == ord("["))
        step = opening.astype(np.int64) - ((tokens == ord("}")) | (tokens == ord("]")))
        before = depth + np.cumsum(step) - step
        previous = np.concatenate([[0], tokens[:-1]])
        outer = opening & (before == 1)  # begins a value of the outermost object
        features = outer & (tokens == ord("[")) & (previous == ord("K"))
        outermost += int(np.count_nonzero((tokens == ord("{")) & (before == 0)))
        begun = np.maximum.accumulate(np.where(outer, np.arange(len(tokens)), -1))
        within = np.where(begun >= 0, features[begun], inside)
        if found is not None or features.any():
            found = (found or 0) + int(np.count_nonzero((tokens == ord("{")) & (before == 2) & within))
        depth, inside = int(before[-1] + step[-1]), bool(within[-1])
    return outermost if outermost > 1 else found, depth + bool(rest)
