"""The area of interest, over which scenes count: a polygon in longitude and latitude with a name."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psycopg
import shapely
from psycopg import sql
from shapely.geometry import shape

from cbmctl.config import Config
from cbmctl.database import one, query
from cbmctl.errors import UserError
from cbmctl.invocation import command
from cbmctl.parcels.places import stray_pids

# GeoJSON of before 2016 may name another system than longitude and latitude.
LON_LAT = ("CRS84", "EPSG:4326", "EPSG::4326")
# The sides of the parcels' box become curves in longitude and latitude. So many pieces a side, and a box
# wider by this share of itself, keep every parcel inside: the arc above a piece of a 1000 km side is 20
# m high, the margin 100 m.
PIECES = 32
MARGIN = 1e-4

Area = shapely.Polygon | shapely.MultiPolygon


@dataclass(frozen=True)
class Extent:
    """The area around the parcels, and the `ogc_fid` of those that it leaves out, with the reasons."""

    area: Area
    left_out: dict[int, str]


@dataclass(frozen=True)
class AreaSet:
    """The area as it is (or would be) in the table; bounds are west, south, east, north in degrees."""

    changed: bool
    name: str
    bounds: tuple[float, float, float, float]
    kind: str


def from_file(path: Path) -> Area:
    """The area in a GeoJSON file: a geometry, a Feature, or a FeatureCollection whose polygons are joined.

    Raises:
        UserError: no file, no GeoJSON, no polygon, another coordinate system, or an invalid polygon.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(
            "area.unreadable",
            f"{path} cannot be read ({error.strerror})",
            "Check the name of the area's file",
            about=path,
        ) from error
    except ValueError as error:
        raise UserError(
            "area.not_geojson",
            f"{path} is not GeoJSON ({error})",
            "Write the area as GeoJSON in EPSG:4326",
            about=path,
        ) from error
    try:
        named = str(((data.get("crs") or {}).get("properties") or {}).get("name", "CRS84"))
        geometries = [shapely.force_2d(shape(geometry)) for geometry in _geometries(data)]
    except (AttributeError, KeyError, TypeError, ValueError, shapely.errors.ShapelyError) as error:
        raise UserError(
            "area.no_geometry",
            f"{path} has no valid GeoJSON geometry ({error})",
            "Write the area as a Polygon",
            about=path,
        ) from error
    if not named.endswith(LON_LAT):
        raise UserError(
            "area.wrong_crs",
            f"{path} is in {named}",
            "Write the area in EPSG:4326, longitude before latitude",
            about=path,
        )
    return _area(geometries, path)


def from_parcels(conn: psycopg.Connection, config: Config) -> Extent:
    """The extent of the parcels, as in the manual, with sides bent so that no parcel is left outside.

    Stray parcels (`parcels.places`) are left out: one of them would stretch the area over a continent.

    Raises:
        UserError: there are no parcels.
    """
    parcels = config.tables.parcels
    if one(conn, query("SELECT to_regclass(%s)"), [str(parcels)])[0] is None:
        raise UserError(
            "parcels.table_missing",
            f"the table {parcels} does not exist",
            f"Load it first with {command('parcels load')}",
        )
    left_out = stray_pids(conn, parcels)
    wkb = one(
        conn,
        query(
            """
            WITH extent AS (
                SELECT ST_SetSRID(ST_Extent(wkb_geometry)::geometry, min(ST_SRID(wkb_geometry))) AS box
                FROM {parcels} WHERE ogc_fid <> ALL(%s)
            ), sides AS (
                SELECT box, ST_XMax(box) - ST_XMin(box) AS w, ST_YMax(box) - ST_YMin(box) AS h FROM extent
            )
            SELECT ST_AsBinary(ST_Transform(ST_Segmentize(
                ST_Expand(box, w * {margin}, h * {margin}), greatest(w, h) / {pieces}), 4326))
            FROM sides
            """,
            parcels=parcels.sql,
            margin=sql.Literal(MARGIN),
            pieces=sql.Literal(PIECES),
        ),
        [list(left_out)],
    )[0]
    if wkb is None:
        raise UserError(
            "parcels.table_empty", f"the table {parcels} is empty", f"Load it with {command('parcels load')}"
        )
    area: Any = shapely.from_wkb(bytes(wkb))
    return Extent(cast(Area, area), left_out)


def set_area(
    conn: psycopg.Connection, config: Config, name: str, area: Area, *, check_only: bool = False
) -> AreaSet:
    """Put the area under its name, unless it is there already, point by point.

    Args:
        conn: the owner's connection, in autocommit mode.
        config: tells the table and its name column.
        name: the area's name.
        area: polygon or multipolygon in EPSG:4326.
        check_only: say what would be done, change nothing.
    """
    names = {"aois": config.tables.aois.sql, "field": sql.Identifier(config.args.aoi_field)}
    wkb = shapely.to_wkb(area)
    with conn.transaction():
        same = one(
            conn,
            query(
                "SELECT count(*) FROM {aois} WHERE {field} = %s AND ST_AsBinary(wkb_geometry, 'NDR') = %s",
                **names,
            ),
            [name, wkb],
        )[0]
        if not same and not check_only:
            conn.execute(
                query(
                    "INSERT INTO {aois} ({field}, wkb_geometry) VALUES (%s, ST_GeomFromWKB(%s, 4326))"
                    " ON CONFLICT ({field}) DO UPDATE SET wkb_geometry = excluded.wkb_geometry",
                    **names,
                ),
                [name, wkb],
            )
    west, south, east, north = area.bounds
    return AreaSet(not same, name, (west, south, east, north), area.geom_type)


def _geometries(data: dict[str, Any]) -> list[dict[str, Any]]:
    if data["type"] == "FeatureCollection":
        return [feature["geometry"] for feature in data["features"] if feature["geometry"]]
    if data["type"] == "Feature":
        return [data["geometry"]]
    return [data]


def _area(geometries: list[Any], path: Path) -> Area:
    geometries = [geometry for geometry in geometries if not geometry.is_empty]
    if not geometries:
        raise UserError("area.no_polygon", f"{path} has no polygon", "Write at least one Polygon", about=path)
    for geometry in geometries:
        if not isinstance(geometry, Area):
            raise UserError(
                "area.no_polygon",
                f"{path} holds a {geometry.geom_type}",
                "An area is a Polygon or a MultiPolygon",
                about=path,
            )
        west, south, east, north = geometry.bounds
        if west < -180 or east > 180 or south < -90 or north > 90:
            raise UserError(
                "area.wrong_coordinates",
                (
                    f"{path} has coordinates such as {west:.6g}, {south:.6g}, which are not longitude and"
                    " latitude"
                ),
                "Write the area in EPSG:4326",
                about=path,
            )
        if not geometry.is_valid:
            raise UserError(
                "area.invalid_polygon",
                f"{path} holds an invalid polygon ({shapely.is_valid_reason(geometry)})",
                "Draw it again",
                about=path,
            )
    # one polygon stays as it was drawn, point by point
    area: Any = geometries[0] if len(geometries) == 1 else shapely.union_all(geometries)
    if not isinstance(area, Area):
        raise UserError("area.no_polygon", f"{path} has no polygon", "Write at least one Polygon", about=path)
    return area
