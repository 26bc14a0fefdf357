"""Coordinate systems that the server's PostGIS does not know: their definitions are entered when needed.

PostGIS has a list of its own (`spatial_ref_sys`), older than EPSG's. Its PROJ takes the first of three
definitions that it understands: the code, the WKT, the PROJ string. A code that is newer than that PROJ is
projected by its WKT. The role of the owner may add rows to the list, and change none.
"""

import warnings

import numpy as np
import psycopg
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from cbmctl.database import query
from cbmctl.errors import UserError
from cbmctl.invocation import option

# Codes of EPSG's database 12 that the list of PostGIS 3.5 lacks, first and last; a test asks the server.
# Numbers between them that are no code, or not one of projected or geographic systems, count as well.
LACKING = (
    (2218, 2218), (2221, 2221), (2296, 2307), (2963, 2963), (2985, 2986), (3052, 3053), (3139, 3139),
    (3144, 3145), (3173, 3173), (5017, 5017), (5224, 5225), (5515, 5516), (6244, 6275), (7082, 7082),
    (8694, 8699), (8888, 8888), (8949, 8987), (9039, 20002), (20033, 20050), (20904, 20932),
    (21004, 21032), (21207, 21264), (21307, 21364), (22207, 22232), (22239, 22265), (22307, 22322),
    (22337, 22357), (22407, 22465), (22607, 22657), (22707, 22765), (22807, 22822), (23301, 23333),
    (27701, 27707), (29874, 29874), (32159, 32159), (32600, 32600), (32700, 32700),
)  # fmt: skip
LONGEST = 2048  # characters of a definition
TOLERANCE_M = 0.1
DEGREES = 4326


def is_lacking(srid: int) -> bool:
    """Whether PostGIS of the project's image does not know a code by itself."""
    return any(first <= srid <= last for first, last in LACKING)


def definition(srid: int) -> tuple[str, str | None]:
    """The WKT and the PROJ string of a code, as `spatial_ref_sys` has them.

    Raises:
        UserError: this form of WKT has no words for the system.
    """
    crs = CRS.from_epsg(srid)
    try:
        wkt = crs.to_wkt("WKT1_GDAL")
    except CRSError:
        wkt = None
    if not wkt or len(wkt) > LONGEST:
        raise UserError(
            "parcels.unknown_crs",
            f"EPSG:{srid} ({crs.name}) is unknown to PostGIS, and its definition cannot be entered there",
            "Reproject the file to another system, such as the UTM zone of the country",
            about=option("--crs"),
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it says that a WKT is better: that one comes first
            proj = crs.to_proj4()
    except CRSError:
        proj = None
    return wkt, proj if proj and len(proj) <= LONGEST else None


def notes(srid: int) -> list[str]:
    """What a person should know before a load: a sentence if PostGIS lacks the code.

    Raises:
        UserError: its definition cannot be entered.
    """
    if not is_lacking(srid):
        return []
    definition(srid)
    return [
        f"EPSG:{srid} ({CRS.from_epsg(srid).name}) is unknown to PostGIS 3.5."
        " `cbmctl parcels load` adds its definition to spatial_ref_sys."
    ]


def enter(conn: psycopg.Connection, srid: int, *, check_only: bool = False) -> str | None:
    """Add a code to the server's list, unless it is there; return a sentence if it was (or would be) added.

    Args:
        conn: a connection with a transaction under way.
        srid: the EPSG code.
        check_only: try it, and take it back.

    Raises:
        UserError: the role may not do it, or the server's PROJ makes other coordinates of it than ours.
    """
    known = conn.execute("SELECT FROM spatial_ref_sys WHERE srid = %s", [srid]).fetchone()
    if known is not None:
        return None
    name = CRS.from_epsg(srid).name
    wkt, proj = definition(srid)
    try:
        with conn.transaction(force_rollback=check_only):
            conn.execute(
                query(
                    "INSERT INTO spatial_ref_sys (srid, auth_name, auth_srid, srtext, proj4text)"
                    " VALUES (%(srid)s, 'EPSG', %(srid)s, %(wkt)s, %(proj)s) ON CONFLICT (srid) DO NOTHING"
                ),
                {"srid": srid, "wkt": wkt, "proj": proj},
            )
            _expect_same_places(conn, srid, name)
    except psycopg.errors.InsufficientPrivilege as error:
        raise UserError(
            "parcels.crs_not_permitted",
            (
                f"EPSG:{srid} ({name}) is unknown to the server's PostGIS, and this role may not add it to"
                " spatial_ref_sys"
            ),
            "Run playbooks/database.yml, or as superuser: GRANT INSERT ON spatial_ref_sys TO cbm_owner;",
            about=option("--crs"),
        ) from error
    return (
        f"EPSG:{srid} ({name}) is unknown to the server's PostGIS;"
        f" its definition {'would be' if check_only else 'is'} added to spatial_ref_sys."
    )


def _expect_same_places(conn: psycopg.Connection, srid: int, name: str) -> None:
    """Raise UserError unless the server's PROJ puts points of the area of use where ours does."""
    crs = CRS.from_epsg(srid)
    area = crs.area_of_use
    if area is None:
        return
    east = area.east if area.west <= area.east else area.east + 360
    lon, lat = np.meshgrid(
        np.linspace(area.west, east, 5)[1:-1], np.linspace(area.south, area.north, 5)[1:-1]
    )
    zone = (32600 if lat.mean() >= 0 else 32700) + int((lon.mean() + 180) % 360 // 6) + 1
    x, y = Transformer.from_crs(DEGREES, crs, always_xy=True).transform(lon.ravel(), lat.ravel())
    right = np.column_stack(Transformer.from_crs(crs, zone, always_xy=True).transform(x, y))
    try:
        found = conn.execute(
            "SELECT ST_X(g), ST_Y(g) FROM unnest(%s::float8[], %s::float8[]) WITH ORDINALITY AS p (x, y, n),"
            " LATERAL ST_Transform(ST_SetSRID(ST_Point(x, y), %s), %s) AS g ORDER BY n",
            [x.tolist(), y.tolist(), srid, zone],
        ).fetchall()
        off = float(np.abs(np.array(found) - right).max())
        reason = f"shifts places by {off:.2f} m"
    except psycopg.errors.InternalError_ as error:
        off, reason = np.inf, f"cannot project it ({error.diag.message_primary})"
    if not off <= TOLERANCE_M:
        raise UserError(
            "parcels.unknown_crs",
            f"EPSG:{srid} ({name}) is unknown to the server's PostGIS, which {reason} with its definition",
            "Reproject the file to another system, such as the UTM zone of the country",
            about=option("--crs"),
        )
