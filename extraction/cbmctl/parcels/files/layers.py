"""What a delivery holds: its layers as GDAL or GeoParquet's metadata describe them; which to take."""

import errno
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import PurePosixPath

import pyogrio

from cbmctl.errors import UserError, counted
from cbmctl.invocation import option
from cbmctl.parcels.files import formats, gdal, geoparquet
from cbmctl.parcels.files.count_features import count, expect_complete
from cbmctl.parcels.files.curves import wkb_type
from cbmctl.parcels.files.delivery import PREFIX, Dataset
from cbmctl.parcels.files.gml import without_stale_schema
from cbmctl.parcels.files.mapinfo import charset_of, with_charset
from cbmctl.parcels.files.shapefile_encoding import UTF8, CharacterSet, named, of_shapefile

MAPINFO = (formats.MAPINFO, formats.MAPINFO_TEXT)
POLYGONAL = {"Polygon", "MultiPolygon", "CurvePolygon", "MultiSurface", "Surface"}
ANYTHING = {"Unknown", "GeometryCollection"}
POLYGON_CODES = {3, 6, 7, 10, 12}  # WKB: polygons of all kinds, and collections, which may hold some
DISK_ERRORS = (errno.EIO, errno.ESTALE)
for _format in formats.FORMATS:
    pyogrio.set_gdal_config_options(dict(_format.config))

_SOURCE_LINE = re.compile(r"Error occurred in \S+ at line \d+")  # of GDAL's code
_OURS = re.compile(rf"/\S*/{PREFIX}\w+/\w+/")  # the view that GDAL gets
_BYTES = re.compile(r"""\bb(['"])(.*?)\1""")  # pyogrio shows some arguments as the bytes that GDAL gets


@dataclass(frozen=True)
class Layer:
    """One layer of a file, as the file describes it.

    `encoding` is the character set for people, `recode` for GDAL (None: the format settles it), `codec` for
    Python; `doubt` says why it is a guess.
    """

    name: str
    geometry: str
    features: int
    crs: str | None
    encoding: str
    recode: str | None
    driver: str
    fields: tuple[tuple[str, str], ...]
    polygons: bool
    dataset: Dataset
    codec: str = UTF8
    doubt: str | None = None

    @property
    def label(self) -> str:
        """Its name with the path of its file, which distinguishes layers with the same name."""
        file = PurePosixPath(self.dataset.label)
        return str(file.with_suffix("")) if file.stem == self.name else f"{file}:{self.name}"

    @property
    def shown(self) -> str:
        """What messages call it."""
        return self.dataset.shown


def layers(datasets: Sequence[Dataset], encoding: str | None = None) -> list[Layer]:
    """What is in a delivery.

    Raises:
        UserError: a file cannot be read, or `encoding` is not a character set for any.
    """
    characters = named(encoding) if encoding else None
    if encoding and not characters:
        raise UserError(
            "option.invalid",
            f"{option('--encoding')}: '{encoding}' is not a character set",
            "Use one such as UTF-8, ISO-8859-1 or CP1252",
            about=option("--encoding"),
        )
    found = [layer for dataset in datasets for layer in _layers(dataset, characters)]
    if encoding and not any(dataset.format in (formats.SHAPEFILE, *MAPINFO) for dataset in datasets):
        raise UserError(
            "parcels.encoding_known",
            f"{option('--encoding')}: {datasets[0].shown} states its own character set",
            "Remove the option, which is for shapefiles and MapInfo files",
            about=option("--encoding"),
        )
    return found


def choose(found: Sequence[Layer], path: str, name: str | None = None) -> list[Layer]:
    """The layers with the parcels: one of each group, or all that a pattern names.

    A group is a file or an archive that a person named, or a file of a folder (`Dataset.group`). A group
    without any parcel is left out with a note, if others have parcels.

    Args:
        found: all layers.
        path: what messages call the delivery.
        name: of the layer (`Layer.name` or `Layer.label`); * and ? stand for any letters.

    Raises:
        UserError: no layer of a group fits, or several do; the sentence lists them with their feature counts.
    """
    groups = [list(members) for _, members in groupby(found, key=lambda layer: layer.dataset.group)]
    filled = [group for group in groups if not _is_empty(group)] or groups
    chosen: list[Layer] = []
    for group in filled:
        chosen += _default(group, path) if name is None else _named(group, path, name)
    left_out = [group[0].shown for group in groups if group not in filled]
    if not left_out or not chosen:
        return chosen
    data = chosen[0].dataset
    notes = (*data.notes, *(f"{shown} has no parcels and is skipped" for shown in left_out))
    return [replace(chosen[0], dataset=replace(data, notes=notes)), *chosen[1:]]


def _is_empty(group: Sequence[Layer]) -> bool:
    """Whether a file has a place for parcels, but none in it; some formats do not say what would be in it."""
    places = [layer for layer in group if layer.polygons or layer.geometry in ANYTHING]
    return bool(places) and not any(layer.features for layer in places)


def _default(group: Sequence[Layer], path: str) -> list[Layer]:
    candidates = [layer for layer in group if layer.polygons and layer.features]
    if not candidates:
        raise UserError(
            "parcels.no_polygons",
            f"{group[0].shown} holds no polygons ({_listed(group)})",
            "Name a file of parcels",
            about=group[0].shown,
        )
    if len(candidates) > 1:
        raise UserError(
            "parcels.several_layers",
            f"{path} has several layers with polygons: {_listed(candidates)}",
            (
                f"Choose one with {option('--layer')}, or several with a pattern, such as"
                f" {option('--layer')} '*'"
            ),
            about=option("--layer"),
        )
    return candidates


def _named(group: Sequence[Layer], path: str, name: str) -> list[Layer]:
    exact = [layer for layer in group if name in (layer.name, layer.label)]
    if len(exact) > 1:
        raise UserError(
            "parcels.several_layers",
            f"{path} has {len(exact)} layers '{name}': {_listed(exact)}",
            f"Choose one with {option('--layer')}, or all of them with {option('--layer')} '*{name}'",
            about=option("--layer"),
        )
    # only * and ?: brackets are part of names
    pattern = name.replace("[", "[[]")
    fitting = exact or [
        layer for layer in group if any(fnmatchcase(n, pattern) for n in (layer.name, layer.label))
    ]
    if not fitting:
        raise UserError(
            "parcels.unknown_layer",
            f"{group[0].shown} has no layer '{name}'",
            f"Use one of {_listed(group)}",
            about=option("--layer"),
        )
    if not any(layer.polygons for layer in fitting):
        others = [layer for layer in group if layer.polygons] or group
        raise UserError(
            "parcels.no_polygons",
            f"Layer '{name}' of {group[0].shown} holds no polygons",
            f"Use one of {_listed(others)}",
            about=option("--layer"),
        )
    return [layer for layer in fitting if layer.polygons]


@contextmanager
def explained(path: str, where: str | None = None, fields: Sequence[str] = ()) -> Iterator[None]:
    """GDAL's errors become one sentence; its warnings, which no person can act on here, stay silent.

    With a condition, that is what is wrong most often: it is shown beside the columns that it may name.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise UserError(
            "parcels.file_unreadable",
            f"{path} cannot be read ({error.strerror})",
            "Check the disk that it is on",
            about=path,
        ) from error
    except gdal.GdalError as error:
        said = _OURS.sub("", _SOURCE_LINE.sub("damaged", str(error)))
        reason = " ".join(_BYTES.sub(r"\2", said).split("It might help")[0].split()).rstrip(";. ")
        if where is not None:
            raise UserError(
                "parcels.invalid_condition",
                f"{option('--where')} {where}: this condition is invalid for {path} ({reason})",
                f"Use an SQL condition on the columns {', '.join(fields) or '(the file has none)'}",
                about=option("--where"),
            ) from error
        raise UserError(
            "parcels.file_unreadable",
            f"{path} cannot be read ({reason})",
            f"Check the options, and that it is one of {formats.LISTED}",
            about=path,
        ) from error


def _listed(found: Sequence[Layer]) -> str:
    several = len({layer.dataset.label for layer in found}) > 1
    return (
        ", ".join(
            f"{layer.label if several else layer.name}"
            f" ({layer.geometry}, {counted(layer.features, 'feature')})"
            for layer in found
        )
        or "no layers"
    )


def _layers(dataset: Dataset, characters: CharacterSet | None) -> list[Layer]:
    if dataset.format is formats.GEOPARQUET:
        return [_parquet_layer(dataset, geoparquet.describe(dataset.file, dataset.shown))]
    with explained(dataset.shown):
        expect_complete(dataset)
    if dataset.format in MAPINFO:
        return _mapinfo_layers(dataset, characters)
    if dataset.format is not formats.SHAPEFILE:
        characters = None
    elif characters is None:
        characters = _characters(dataset)
    with explained(dataset.shown):
        if dataset.format is formats.GML:
            dataset = without_stale_schema(dataset)
        return _gdal_layers(dataset, characters)


def _gdal_layers(dataset: Dataset, characters: CharacterSet | None) -> list[Layer]:
    return [
        _gdal_layer(dataset, str(name), kind and str(kind), characters)
        for name, kind in gdal.list_layers(dataset.file)
    ]


def _mapinfo_layers(dataset: Dataset, characters: CharacterSet | None) -> list[Layer]:
    if characters:
        dataset = with_charset(dataset, characters)
    shown = characters.shown if characters else charset_of(dataset)
    with explained(dataset.shown):
        try:
            return [replace(layer, encoding=shown) for layer in _gdal_layers(dataset, None)]
        except gdal.GdalError as error:
            if not isinstance(error.__cause__, UnicodeDecodeError):
                raise
            raise UserError(
                "parcels.wrong_encoding",
                (
                    f"{dataset.shown}: names of columns have bytes that are not valid characters: the file"
                    f" says that its character set is '{charset_of(dataset)}'"
                ),
                f"Name the right one with {option('--encoding')}",
                about=option("--encoding"),
            ) from error


def _parquet_layer(dataset: Dataset, described: geoparquet.GeoParquet) -> Layer:
    return Layer(
        name=dataset.file.stem,
        geometry="/".join(described.types) or "Unknown",
        features=described.features,
        crs=described.crs,
        encoding="UTF-8",
        recode=None,
        driver=formats.PARQUET,
        fields=described.fields,
        polygons=described.polygons,
        dataset=dataset,
    )


def _gdal_layer(dataset: Dataset, name: str, kind: str | None, characters: CharacterSet | None) -> Layer:
    recode, known = (characters.gdal if characters else None), characters or CharacterSet(UTF8)
    options = dict(dataset.format.options)
    info = gdal.read_info(dataset.file, layer=name, encoding=recode, force_feature_count=True, **options)
    # GDAL counts deleted records of a shapefile, and believes gpkg_ogr_contents, which not all programs keep
    cheap = dataset.format in (formats.SHAPEFILE, formats.GEOPACKAGE)
    own_count = count(dataset, name) if cheap else None
    if info["driver"] not in (dataset.format.driver, *dataset.format.kin):
        raise UserError(
            "parcels.wrong_format",
            f"{dataset.shown} is not {dataset.format.name}, but of the format {info['driver']}",
            f"Use {formats.LISTED}: convert the file to GeoPackage with ogr2ogr, for example",
            about=dataset.shown,
        )
    kind = (
        (kind or "no geometry")
        .removeprefix("2.5D ")
        .removesuffix(" ZM")
        .removesuffix(" Z")
        .removesuffix(" M")
    )
    return Layer(
        name=name,
        geometry=kind,
        features=own_count if own_count is not None else int(info["features"]),
        crs=info["crs"],
        encoding=known.shown,
        recode=recode,
        driver=info["driver"],
        fields=tuple(
            (known.name(str(f)), str(t)) for f, t in zip(info["fields"], info["dtypes"], strict=True)
        ),
        polygons=kind in POLYGONAL or (kind in ANYTHING and _has_polygons(dataset, name)),
        dataset=dataset,
        codec=known.codec,
        doubt=known.doubt,
    )


def _has_polygons(dataset: Dataset, name: str) -> bool:
    """Look for the first polygon in a layer of no stated type: thousands of features may have no geometry."""
    options = dict(dataset.format.options)
    return any(
        wkb_type(wkb) in POLYGON_CODES
        for meta, batch in gdal.batches(dataset.file, layer=name, columns=[], **options)
        for wkb in batch[meta["geometry_name"] or "wkb_geometry"].to_pylist()
    )


def _characters(dataset: Dataset) -> CharacterSet:
    """The character set that a shapefile says, or that its words fit."""
    cpg = dataset.parts.get(".cpg") or dataset.parts.get(".cst")  # GeoServer writes the second
    with dataset.parts[".dbf"].open("rb") as dbf:
        return of_shapefile(cpg.read_bytes() if cpg else None, dbf)
