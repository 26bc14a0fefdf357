"""The formats of parcels files: which files belong to one, and the options that GDAL needs to read it whole.

This is the one list. The reader, zip archives and the Ansible role that copies the files all use it, so this
module needs nothing but Python itself.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from cbmctl.errors import UserError

PARQUET = "Parquet"  # read by pyarrow: GDAL's wheels come without this driver


@dataclass(frozen=True)
class Format:
    """One format: suffixes in lower case, compared without regard to case.

    Attributes:
        name: for messages.
        driver: GDAL's name of it.
        kin: GDAL's names of other formats that have the same suffixes and are counted in the same way.
        suffixes: of the file that a person names.
        companions: suffixes of the files beside it that have the same stem and hold part of the data
            (`.gpkg-wal` has changes that SQLite has not written into the file itself yet).
        required: the companions without which the data are not complete.
        folder: whether the "file" is a folder.
        shared: suffixes that other kinds of files have as well. In a folder or an archive such a file counts
            only if its beginning has one of the `marks`, or if nothing else there can hold parcels.
        marks: words of the format itself.
        options: GDAL's open options.
        config: GDAL's options of the whole process, where there is no open option.
    """

    name: str
    driver: str
    suffixes: tuple[str, ...]
    companions: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    kin: tuple[str, ...] = ()
    folder: bool = False
    shared: tuple[str, ...] = ()
    marks: tuple[bytes, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)


SHAPEFILE = Format(
    "shapefile",
    "ESRI Shapefile",
    (".shp",),
    # indexes (.qix, .sbn, .ind …) are left out on purpose: GDAL would believe one that is out of date
    companions=(".shx", ".dbf", ".prj", ".cpg", ".cst"),
    required=(".shx", ".dbf"),
)
GEOPACKAGE = Format("GeoPackage", "GPKG", (".gpkg",), companions=(".gpkg-wal", ".gpkg-journal"))
GML = Format(
    "GML",
    "GML",
    (".gml", ".xml"),
    companions=(".xsd",),
    shared=(".xml",),
    marks=(b"FeatureCollection", b"featureMember", b"SpatialDataSet"),
    # with an .xsd GDAL takes the coordinate system from the collection only, unless an option makes it search
    options={"FORCE_SRS_DETECTION": "YES", "DOWNLOAD_SCHEMA": "NO"},
    # INSPIRE's land use is a link with a title: <specificLandUse xlink:title="Permanent Pasture" …/>
    config={"GML_ATTRIBUTES_TO_OGR_FIELDS": "YES"},
)
GEOJSON = Format(
    "GeoJSON",
    "GeoJSON",
    (".geojson", ".json", ".geojsonl", ".geojsons"),
    kin=("GeoJSONSeq", "ESRIJSON", "TopoJSON", "JSONFG"),
    shared=(".json",),
    marks=(b'"FeatureCollection"', b'"Feature"'),
)
FLATGEOBUF = Format("FlatGeobuf", "FlatGeobuf", (".fgb",))
GEOPARQUET = Format("GeoParquet", PARQUET, (".parquet", ".geoparquet"))
FILE_GDB = Format("FileGDB", "OpenFileGDB", (".gdb",), folder=True)
MAPINFO = Format(
    "MapInfo table",
    "MapInfo File",
    (".tab",),
    companions=(".map", ".id", ".dat", ".dbf", ".ind", ".cpg"),
    required=(".map", ".id"),
)
MAPINFO_TEXT = Format("MapInfo text", "MapInfo File", (".mif",), companions=(".mid",), required=(".mid",))
FORMATS = (SHAPEFILE, GEOPACKAGE, GML, GEOJSON, FLATGEOBUF, GEOPARQUET, FILE_GDB, MAPINFO, MAPINFO_TEXT)
OTHER = Format("an unknown format", "", ())

ARCHIVES = (".zip", ".shz")
# what may hold parcels too, but is not read: what is in other archives, and formats that GDAL may read in
# part without an error, because there is no second way to count their features
OTHER_ARCHIVES = (".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz")
UNSUPPORTED = (*OTHER_ARCHIVES, ".kml", ".kmz", ".sqlite", ".mdb", ".gmt", ".jml")
READABLE = tuple(s for f in FORMATS for s in f.suffixes if s not in f.shared)
LISTED = f"{', '.join(READABLE)} or a .zip of them"


def suffix_of(name: str) -> str:
    """The suffix in lower case; "" for a name without a suffix."""
    return PurePosixPath(name).suffix.lower()


def format_of(name: str) -> Format:
    """The format that a file's name promises; OTHER if it is not one of ours."""
    return next((f for f in FORMATS if suffix_of(name) in f.suffixes), OTHER)


def hidden(name: str) -> bool:
    """Whether a path leads to what a system keeps for itself: dot files, and what a Mac adds to archives."""
    return any(
        (part.startswith(".") and part not in (".", "..")) or part == "__MACOSX"
        for part in PurePosixPath(name).parts
    )


def refusal(name: str) -> tuple[str, str] | None:
    """Why a file of this name is refused, and what to do; None if its format is read."""
    suffix = suffix_of(name)
    if suffix in ARCHIVES or format_of(name) is not OTHER:
        return None
    what = f"the format '{suffix}' is not supported" if suffix else "a name without a suffix is not supported"
    if suffix in OTHER_ARCHIVES:
        return what, "Unpack it, and name the unpacked file or its folder"
    return what, f"Use {LISTED}: convert the file to GeoPackage with ogr2ogr, for example"


def is_candidate(name: str) -> bool:
    """Whether a file of this name may hold parcels."""
    return not hidden(name) and format_of(name) is not OTHER


def is_shared(name: str) -> bool:
    """Whether other kinds of files have this suffix too."""
    return suffix_of(name) in format_of(name).shared


def is_part(name: str) -> bool:
    """Whether a file of this name may hold parcels, or be a companion of one that does."""
    return any(suffix_of(name) in (*f.suffixes, *f.companions) for f in FORMATS)


def belonging(name: str, names: Iterable[str]) -> dict[str, str]:
    """The files that belong to one, the file itself among them, by suffix in lower case.

    A companion has the stem of the file, without regard to case, and a suffix that its format knows. Of two
    such files, the one whose stem is spelt like the file's counts.

    Args:
        name: the file.
        names: all files beside it, or in the same archive, in the same notation.

    Raises:
        UserError: two files could be the same companion.
    """
    kind = format_of(name)
    own, stem = suffix_of(name), name[: len(name) - len(suffix_of(name))]
    found: dict[str, list[str]] = defaultdict(list)
    for other in names:
        suffix = suffix_of(other)
        if other == name or not suffix or suffix in kind.suffixes:
            continue  # itself, or another file of the same kind
        if other[: -len(suffix)].lower() == stem.lower() and suffix in kind.companions:
            found[suffix].append(other)
    chosen = {own: name}
    for suffix, candidates in found.items():
        same_stem = [c for c in candidates if c.startswith(stem)] or candidates
        if len(same_stem) > 1:
            raise UserError(
                "parcels.ambiguous_part",
                f"{name}: {' and '.join(sorted(same_stem))} could both belong to it",
                "Keep the right one, and deliver it again",
                about=name,
            )
        chosen[suffix] = same_stem[0]
    return chosen
