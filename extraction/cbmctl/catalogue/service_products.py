"""From what a service tells of a product to the one normal form."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import shapely
from shapely import MultiPolygon, Polygon
from shapely.geometry import shape

from cbmctl.catalogue.orbits import scene_orbit
from cbmctl.catalogue.record import (
    LONGEST_NAME,
    Card,
    Footprint,
    Record,
    as_footprint,
    made_at,
    sensing_time,
    utc,
)
from cbmctl.reasons import NO_FOOTPRINT, NO_PATH, RECORD_INVALID
from cbmctl.scenes import SceneError


@dataclass(frozen=True)
class Told:
    """A product in a service's own words.

    Attributes:
        name: with or without .SAFE; whatever the service says, as all the others.
        path: the product folder, as s3://bucket/…, /eodata/… or from the archive's root.
        footprint: GeoJSON, or None.
        cloud_cover: percent.
        datatake: its name.
        datastrip: likewise.
        processed: when it was made, ISO 8601.
        published: when the service entered it, ISO 8601.
        online: whether the archive has it at once.
        relative_orbit: its number.
        direction: of the orbit, ascending or descending.
        timeliness: of Sentinel-1, such as NRT-3h.
    """

    name: str
    path: str | None
    footprint: Mapping[str, Any] | None
    cloud_cover: float | None = None
    datatake: str | None = None
    datastrip: str | None = None
    processed: str | None = None
    published: str | None = None
    online: bool = True
    relative_orbit: int | None = None
    direction: str | None = None
    timeliness: str | None = None


def normal(card: Card, told: Told) -> Record:
    """Return a product's record.

    Raises:
        SceneError: its name is not of this card, or too long; it has no usable outline, or no place in the
            archive.
    """
    if not isinstance(told.name, str):
        raise SceneError(RECORD_INVALID, "the service states no name for the product")
    name = reference(card, told.name)
    match = card.pattern.fullmatch(name)
    if match is None:
        raise SceneError(RECORD_INVALID, f"its name is not a valid name of a {card.ptype} product")
    if len(name) > LONGEST_NAME:
        raise SceneError(
            RECORD_INVALID, f"its name is too long: at most {LONGEST_NAME} characters are supported"
        )
    parts = match.groupdict()
    tile, baseline = parts.get("tile"), parts.get("baseline")
    try:
        obstime, footprint = sensing_time(match), geometry(told.footprint)
        return Record(
            reference=name,
            card=card.name,
            sensor=match["sensor"],
            obstime=obstime,
            path=archive_path(card, told.path, name),
            footprint=footprint,
            epsg=_zone(tile) if tile else None,
            tile=tile,
            # the name says it too, and in one form
            baseline=f"{baseline[:2]}.{baseline[2:]}" if baseline else None,
            cloud_cover=_percent(told.cloud_cover) if card.name == "s2" else None,
            datatake=_word(told.datatake),
            datastrip=_word(told.datastrip),
            processed=utc(told.processed) or made_at(name),
            published=utc(told.published),
            online=told.online,
            orbit=scene_orbit(
                name, obstime, footprint, relative=told.relative_orbit, direction=told.direction
            ),
        )
    except (ValueError, TypeError) as error:
        raise SceneError(RECORD_INVALID, f"its description is invalid: {error}") from error


def _percent(told: object) -> float | None:
    """Return a share as it goes into the table; anything else is as if nothing were told."""
    return float(told) if isinstance(told, int | float) and 0 <= told <= 100 else None


def _word(told: object) -> str | None:
    return told if isinstance(told, str) and told.isprintable() else None


def reference(card: Card, name: str) -> str:
    """Return a product's name as the catalogue keeps it: Sentinel-2 with .SAFE, the cards without."""
    return name.removesuffix(".SAFE") + (".SAFE" if card.name == "s2" else "")


def archive_path(card: Card, told: str | None, name: str) -> str:
    """Return a product's folder below the archive's root, which is called as the product is.

    Args:
        card: of the product.
        told: where the service says it is.
        name: of the product, as in the catalogue.

    Raises:
        SceneError: there is none, it is no folder of the archive, it leads out of it, or it is another's.
    """
    path = re.sub(r"^(s3://[^/]+/|/vsis3/[^/]+/|/*eodata/)?/*", "", told or "").rstrip("/")
    mission, *between, folder = path.split("/") if path.count("/") > 1 else ("", "", "")
    if (
        not path.isprintable()  # PostgreSQL refuses some of the others, with all that came along
        or mission != card.folder.partition("/")[0]
        or {"", ".", ".."} & {*between}
        or not card.pattern.fullmatch(reference(card, folder))
    ):
        raise SceneError(NO_PATH, f"the service states no valid folder in the archive for it ({told})")
    if _either(reference(card, folder)) != _either(name):
        raise SceneError(NO_PATH, f"the service states the folder of another product for it ({told})")
    return path


def _either(name: str) -> str:
    """Return a name in one of the two ways of writing a card's: the archive's is not always the service's."""
    return name.replace("_CARD-", "_CARD_")


def geometry(told: Mapping[str, Any] | None) -> Footprint:
    """Return an outline, GeoJSON, as a valid polygon. Raises SceneError (`No extent`) if it is not one."""
    if not told:
        raise SceneError(NO_FOOTPRINT, "the service states no footprint for it")
    try:
        outline = shape(dict(told))
    except (LookupError, ValueError, TypeError, AttributeError, shapely.errors.ShapelyError) as error:
        raise SceneError(NO_FOOTPRINT, f"its footprint is not a valid geometry ({error})") from error
    if not isinstance(outline, Polygon | MultiPolygon) or outline.is_empty:
        raise SceneError(NO_FOOTPRINT, f"its footprint is a {told.get('type')}, not a polygon")
    try:
        return as_footprint(outline)
    except (ValueError, shapely.errors.ShapelyError) as error:
        raise SceneError(NO_FOOTPRINT, str(error)) from error


def _zone(tile: str) -> int:
    """Return the EPSG code of the UTM zone that a tile is in."""
    return (32600 if tile[2] >= "N" else 32700) + int(tile[:2])
