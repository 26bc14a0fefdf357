"""What a parcels file holds: its layers as GDAL or GeoParquet's metadata describe them; which to take."""

import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyogrio
import pyogrio.raw
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError

from cbmctl.errors import UserError, counted
from cbmctl.parcels import geoparquet
from cbmctl.parcels.encoding import check_encoding, shapefile_encoding

READABLE = (".shp", ".gpkg", ".gml", ".geojson", ".fgb", *geoparquet.SUFFIXES)
POLYGONAL = {"Polygon", "MultiPolygon", "CurvePolygon", "MultiSurface", "Surface"}
ANYTHING = {"Unknown", "GeometryCollection"}
GDAL_ERRORS = (
    DataLayerError,
    DataSourceError,
    FeatureError,
    FieldError,
    GeometryError,
    pa.ArrowException,
    ValueError,
    OSError,
)
_FORMATS = f"{', '.join(READABLE)} or a .zip of them"
_BYTES = re.compile(r"""\bb(['"])(.*?)\1""")  # pyogrio shows some arguments as the bytes that GDAL gets
PROBE = 1000  # features to look at where a layer does not tell its type


@dataclass(frozen=True)
class Layer:
    """One layer of a file, as the file describes it."""

    name: str
    geometry: str
    features: int
    crs: str | None
    encoding: str
    recode: str | None
    driver: str
    fields: tuple[tuple[str, str], ...]
    polygons: bool
    dataset: str
    member: str | None = None


def layers(path: Path, encoding: str | None = None) -> list[Layer]:
    """What is in the file.

    Raises:
        UserError: it is not there, cannot be read, or `encoding` is not a character set for it.
    """
    if encoding and not check_encoding(encoding):
        raise UserError(
            f"--encoding {encoding} is not a character set: use UTF-8, ISO-8859-1, CP1252 or the like"
        )
    found = [
        layer for dataset, member in _datasets(path) for layer in _layers(path, dataset, member, encoding)
    ]
    if encoding and not any(layer.driver == "ESRI Shapefile" for layer in found):
        raise UserError(
            f"--encoding is for shapefiles; {path} carries its own character set: leave the option out"
        )
    return found


def choose(found: Sequence[Layer], path: Path, name: str | None = None) -> Layer:
    """The layer with the parcels.

    Raises:
        UserError: there is none, or several and no name; the sentence lists them with their feature counts.
    """
    if name is not None:
        named = [layer for layer in found if layer.name == name]
        if not named:
            raise UserError(f"{path} has no layer '{name}': use one of {_listed(found)}")
        if not named[0].polygons:
            raise UserError(
                f"layer '{name}' of {path} holds no polygons: use one of {_listed(_polygons(found) or found)}"
            )
        return named[0]
    candidates = [layer for layer in _polygons(found) if layer.features]
    if not candidates:
        raise UserError(f"{path} holds no polygons ({_listed(found)}): name a file of parcels")
    if len(candidates) > 1:
        raise UserError(
            f"{path} has several layers with polygons: choose with --layer one of {_listed(candidates)}"
        )
    return candidates[0]


def wkb_type(wkb: bytes | None) -> int:
    """The geometry type of WKB, without Z and M; 0 for none."""
    if wkb is None or len(wkb) < 5:
        return 0
    code = int.from_bytes(wkb[1:5], "little" if wkb[0] else "big")
    return (code & 0x1FFFFFFF) % 1000


@contextmanager
def explained(path: Path, where: str | None = None, fields: Sequence[str] = ()) -> Iterator[None]:
    """GDAL's errors become one sentence; its warnings, which no person can act on here, stay silent.

    With a condition, that is what is wrong most often: it is shown beside the columns that it may name.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            yield
    except GDAL_ERRORS as error:
        reason = " ".join(_BYTES.sub(r"\2", str(error)).split("It might help")[0].split()).rstrip(";. ")
        if where is not None:
            raise UserError(
                f"{path} cannot be read where {where} ({reason}): correct --where, an SQL condition on"
                f" {', '.join(fields) or 'columns, of which there are none'}"
            ) from error
        raise UserError(
            f"{path} cannot be read ({reason}): check the options, and that it is one of {_FORMATS}"
        ) from error


def _polygons(found: Sequence[Layer]) -> list[Layer]:
    return [layer for layer in found if layer.polygons]


def _listed(found: Sequence[Layer]) -> str:
    return (
        ", ".join(f"{layer.name} ({layer.geometry}, {counted(layer.features, 'feature')})" for layer in found)
        or "no layers"
    )


def _datasets(path: Path) -> list[tuple[str, str | None]]:
    """What GDAL or pyarrow can open, and the name inside the archive, if it is one."""
    if path.is_dir():
        raise UserError(f"{path} is a folder: name the parcels file in it")
    if not path.is_file():
        raise UserError(f"{path} is not there: check the name of the parcels file")
    if not path.stat().st_size:
        raise UserError(f"{path} is empty: deliver it again")
    if path.suffix.lower() != ".zip":
        return [(str(path), None)]
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member.filename for member in archive.infolist() if not member.is_dir()]
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{path} is not a whole zip archive ({error}): deliver it again") from error
    if broken:
        raise UserError(f"{path} is damaged at {broken}: deliver it again")
    wanted = sorted(m for m in members if m.lower().endswith(READABLE) and not m.startswith("__MACOSX/"))
    if not wanted:
        raise UserError(f"{path} holds none of {', '.join(READABLE)}: put the parcels file into it")
    return [(f"/vsizip/{{{path.resolve()}}}/{member}", member) for member in wanted]


def _layers(path: Path, dataset: str, member: str | None, encoding: str | None) -> list[Layer]:
    lower = dataset.lower()
    if lower.endswith(geoparquet.SUFFIXES):
        described = geoparquet.describe(path, member)
        return [_parquet_layer(Path(member or path).stem, dataset, member, described)]
    says, found = _shapefile(path, member) if lower.endswith(".shp") else ("UTF-8", None)
    recode = encoding or found
    with explained(path):
        return [
            _gdal_layer(dataset, member, str(name), kind and str(kind), (recode or says, recode))
            for name, kind in pyogrio.list_layers(read_only(dataset))
        ]


def _parquet_layer(name: str, dataset: str, member: str | None, described: geoparquet.GeoParquet) -> Layer:
    return Layer(
        name=name,
        geometry="/".join(described.types) or "Unknown",
        features=described.features,
        crs=described.crs,
        encoding="UTF-8",
        recode=None,
        driver="Parquet",
        fields=described.fields,
        polygons=described.polygons,
        dataset=dataset,
        member=member,
    )


def _gdal_layer(
    dataset: str, member: str | None, name: str, kind: str | None, characters: tuple[str, str | None]
) -> Layer:
    encoding, recode = characters
    info = pyogrio.read_info(read_only(dataset), layer=name, force_feature_count=True)
    kind = (
        (kind or "no geometry")
        .removeprefix("2.5D ")
        .removesuffix(" ZM")
        .removesuffix(" Z")
        .removesuffix(" M")
    )
    layer = Layer(
        name=name,
        geometry=kind,
        features=int(info["features"]),
        crs=info["crs"],
        encoding=encoding,
        recode=recode,
        driver=info["driver"],
        fields=tuple((str(f), str(t)) for f, t in zip(info["fields"], info["dtypes"], strict=True)),
        polygons=kind in POLYGONAL,
        dataset=dataset,
        member=member,
    )
    if kind in ANYTHING:
        _, _, wkb, _ = pyogrio.raw.read(read_only(dataset), layer=name, columns=[], max_features=PROBE)
        return replace(layer, polygons=any(wkb_type(geometry) in (3, 6, 7) for geometry in wkb))
    return layer


def read_only(dataset: str) -> str:
    """GDAL writes a .gfs file beside every .gml it opens, unless it cannot write there."""
    return (
        f"/vsisubfile/0,{Path(dataset).resolve()}"
        if dataset.endswith(".gml") and dataset[:5] != "/vsiz"
        else dataset
    )


def _shapefile(path: Path, member: str | None) -> tuple[str, str | None]:
    """Check that a shapefile is complete; what it says its character set is, and what GDAL has to be told."""
    with ExitStack() as files:
        archive = files.enter_context(zipfile.ZipFile(path)) if member else None
        names = archive.namelist() if archive else [str(p) for p in path.parent.iterdir()]
        stem = (member or str(path))[: -len(".shp")].lower()
        parts = {n.lower()[len(stem) :]: n for n in names if n.lower().startswith(stem + ".")}
        if missing := [suffix for suffix in (".shx", ".dbf") if suffix not in parts]:
            raise UserError(
                f"{member or path} lacks its {' and '.join(missing)}: a shapefile needs .shp, .shx and .dbf"
            )

        def part(suffix: str) -> IO[bytes]:
            name = parts[suffix]
            return files.enter_context(archive.open(name) if archive else Path(name).open("rb"))

        if ".cpg" in parts:
            return part(".cpg").read(40).decode("ascii", "replace").strip(), None
        found = shapefile_encoding(part(".dbf"))
        return found or "the code page of the .dbf", found
