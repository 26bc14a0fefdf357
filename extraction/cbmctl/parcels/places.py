"""Where parcels lie: in degrees, and which of them lie where no parcel of the file can be.

A *stray* parcel keeps its row, but would stretch the area in which scenes are searched over half a continent.
It is one of these, and no chain of parcels with small gaps ties it to the others:

- near the origin of the coordinates: they are missing, or are degrees in a system of metres;
- outside the area that a projected system is made for, or not degrees in a system of degrees;
- far from all others, and with few parcels around it: the parcels of an archipelago are not strays.

So is a parcel that is wider than any parcel can be: one of its corners is wrong.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from cbmctl.config import TableName
from cbmctl.database import query
from cbmctl.parcels.files.crs import METRES_PER_DEGREE, WIDEST_M, near_origin, unit_in_metres, within_area

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# The largest gaps that a chain of parcels may have. National systems reach beyond the area of use of their
# code (Bornholm is 9 degrees east of the middle of EPSG:25832), but never with so wide a gap.
GAP_NEAR_ORIGIN_M, GAP_OUTSIDE_M, GAP_M = 10_000.0, 200_000.0, 200_000.0
# "Far" grows with the file: twice the distance from the middle within which nine of ten parcels lie.
MOST, SPREADS = 0.9, 2.0
# A group of more parcels than this, or this share of the file, is a region of its own.
FEW, FEW_SHARE = 3, 0.001
CELLS_PER_GAP = 4


def strays(boxes: Floats, srid: int) -> dict[int, str]:
    """The parcels that lie where none of the others do, and why.

    Args:
        boxes: (n, 4) west, south, east and north of each parcel, in the units of the system; finite.
        srid: the EPSG code of the system.

    Returns:
        Row numbers of `boxes` and reasons; nothing where all boxes are equally wrong.
    """
    if len(boxes) == 0:
        return {}
    crs = CRS.from_epsg(srid)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    scale = _metres(crs, middle)
    metres = middle * scale
    wide: Flags = np.hypot(*((boxes[:, 2:] - boxes[:, :2]) * scale).T) > WIDEST_M
    origin = near_origin(middle, crs) & ~wide
    # the area of a system of degrees says little: EPSG:4258 is used in the Canary Islands too
    possible = within_area(middle, crs) if crs.is_projected else (np.abs(middle) <= (360, 90)).all(axis=1)
    inside = possible & ~wide & ~origin
    outside = ~inside & ~wide & ~origin
    if not inside.any():
        return {}
    places = metres[:, 0] + 1j * metres[:, 1]
    origin[origin] = _apart(places[origin], places[~origin & ~wide], GAP_NEAR_ORIGIN_M)
    outside[outside] = _apart(places[outside], places[inside], GAP_OUTSIDE_M)
    kept = ~(wide | origin | outside)
    far = np.zeros(len(boxes), bool)
    far[kept] = _few_and_far(places[kept])
    reasons: dict[int, str] = {}
    for flags, reason in (
        (wide, "reaches over more than 200 km: a corner is wrong"),
        (origin, "x and y are missing" + (", or are degrees" if crs.is_projected else "")),
        (outside, f"outside the area of EPSG:{srid}"),
        (far, "far from all other parcels"),
    ):
        for row in np.flatnonzero(flags).tolist():
            reasons[row] = f"x={middle[row, 0]:.6g} y={middle[row, 1]:.6g}, {reason}"
    return reasons


def stray_pids(conn: psycopg.Connection, parcels: TableName) -> dict[int, str]:
    """The `ogc_fid` of the stray parcels of a table, and why; of any table, however it was loaded.

    Nothing if the table's coordinate system has no EPSG code: its area is not known.
    """
    with conn.cursor(binary=True) as cursor:
        found = cursor.execute(
            query(
                "SELECT ogc_fid, ST_XMin(wkb_geometry), ST_YMin(wkb_geometry), ST_XMax(wkb_geometry),"
                " ST_YMax(wkb_geometry) FROM {parcels} WHERE NOT ST_IsEmpty(wkb_geometry) ORDER BY ogc_fid",
                parcels=parcels.sql,
            )
        ).fetchall()
        srid = cursor.execute(
            query("SELECT ST_SRID(wkb_geometry) FROM {parcels} LIMIT 1", parcels=parcels.sql)
        ).fetchone()
    try:
        reasons = strays(np.array(found, np.float64).reshape(-1, 5)[:, 1:], srid[0]) if srid else {}
    except CRSError:
        return {}
    return {int(found[row][0]): reason for row, reason in reasons.items()}


def bounds_in_degrees(boxes: Floats, without: Mapping[int, Any], srid: int) -> tuple[float, ...] | None:
    """West, south, east and north of all parcels but the strays, from their middles; None without parcels."""
    kept = np.delete(boxes, list(without), axis=0)
    if len(kept) == 0:
        return None
    to_degrees = Transformer.from_crs(CRS.from_epsg(srid), 4326, always_xy=True)
    middle = (kept[:, :2] + kept[:, 2:]) / 2
    lon, lat = to_degrees.transform(middle[:, 0], middle[:, 1])
    good = np.isfinite(lon) & np.isfinite(lat)
    if not good.any():
        return None
    lon, lat = lon[good], lat[good]
    return tuple(round(float(edge), 5) for edge in (lon.min(), lat.min(), lon.max(), lat.max()))


def _metres(crs: CRS, points: Floats) -> Floats:
    """(2,) factors that make metres of coordinates, accurate enough to distinguish near from far."""
    if crs.is_geographic:
        return METRES_PER_DEGREE * np.array([np.cos(np.radians(np.median(points[:, 1]))), 1.0])
    unit = unit_in_metres(crs)
    return np.array([unit, unit])


def _apart(suspects: Any, others: Any, gap: float) -> Flags:
    """Which of the suspects no chain of suspects ties to the others; places are complex, in metres."""
    if len(suspects) == 0 or len(others) == 0:
        return np.zeros(len(suspects), bool)
    cells, cell_of = _cells(suspects, gap)
    tied = np.zeros(len(cells), bool)
    tied[shapely.STRtree(_cells(others, gap)[0]).query(cells, "dwithin", gap)[0]] = True
    return ~tied[_labels(cells, gap, tied)][cell_of] if tied.any() else np.ones(len(suspects), bool)


def _few_and_far(places: Any) -> Flags:
    """Which places belong to a small group with a wide gap around it."""
    centre = complex(np.median(places.real), np.median(places.imag))
    distances = np.sort(np.abs(places - centre))
    gap = max(GAP_M, SPREADS * float(distances[int(MOST * (len(places) - 1))]))
    if distances[-1] <= gap / 2:
        return np.zeros(len(places), bool)
    cells, cell_of = _cells(places, gap)
    groups = _labels(cells, gap, np.zeros(len(cells), bool))[cell_of]
    sizes = np.bincount(groups)
    small = sizes <= max(FEW, FEW_SHARE * len(places))
    small[np.argmax(sizes)] = False
    apart: Flags = small[groups]
    return apart


def _cells(places: Any, gap: float) -> tuple[Any, npt.NDArray[np.int64]]:
    """The squares of a coarse grid that hold a place, and the number of each place's square."""
    size = gap / CELLS_PER_GAP
    corners, number = np.unique(
        np.floor(places.real / size) + 1j * np.floor(places.imag / size), return_inverse=True
    )
    west, south = corners.real * size, corners.imag * size
    return shapely.box(west, south, west + size, south + size), number


def _labels(cells: Any, gap: float, preferred: Flags) -> npt.NDArray[np.int64]:
    """(n,) one cell's number for all that a chain ties together; a preferred cell's where there is one."""
    one, other = shapely.STRtree(cells).query(cells, "dwithin", gap)
    # the order of labels: preferred cells first, so that the smallest label of a chain is one of them
    order = np.argsort(~preferred, kind="stable")
    label = np.empty(len(cells), np.int64)
    label[order] = np.arange(len(cells))
    while True:
        smallest = label.copy()
        np.minimum.at(smallest, one, label[other])
        if (smallest == label).all():
            return order[label]
        label = smallest
