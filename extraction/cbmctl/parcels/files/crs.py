"""The one EPSG code behind whatever a parcels file calls its coordinate system."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from cbmctl.errors import UserError
from cbmctl.invocation import option

# PROJ's own score: from 70 on the same definition; below, a similar name, or only the order of axes differs.
SAME, SIMILAR = 70, 25
# Coordinates so many degrees outside the area a code is made for are not in that system.
MARGIN_DEGREES = 2.0
# What --axes says of the order of x and y in a file; without it, the order is judged by where parcels lie.
SWAPPED, AS_IS = "swapped", "as-is"
METRES_PER_DEGREE = 111_320.0
# No parcel is smaller or wider from corner to corner.
SMALLEST_M, WIDEST_M = 0.5, 200_000.0
# No longitude or latitude is larger.
DEGREES = 360.0
# West, south, east and north of the Member States' land in Europe, in degrees, to a tenth.
MEMBER_STATES = (
    (9.5, 46.3, 17.2, 49.1),  # Austria
    (2.5, 49.4, 6.5, 51.6),  # Belgium
    (22.3, 41.2, 28.7, 44.3),  # Bulgaria
    (13.4, 42.3, 19.5, 46.6),  # Croatia
    (32.2, 34.5, 34.7, 35.8),  # Cyprus
    (12.0, 48.5, 18.9, 51.1),  # Czechia
    (8.0, 54.5, 15.2, 57.8),  # Denmark
    (21.7, 57.5, 28.3, 59.8),  # Estonia
    (19.3, 59.7, 31.6, 70.1),  # Finland
    (-5.2, 41.3, 9.6, 51.2),  # France
    (5.8, 47.2, 15.1, 55.1),  # Germany
    (19.3, 34.7, 29.7, 41.8),  # Greece
    (16.1, 45.7, 22.9, 48.6),  # Hungary
    (-10.6, 51.4, -5.9, 55.5),  # Ireland
    (6.6, 35.4, 18.6, 47.1),  # Italy
    (20.9, 55.6, 28.3, 58.1),  # Latvia
    (20.9, 53.8, 26.9, 56.5),  # Lithuania
    (5.7, 49.4, 6.6, 50.2),  # Luxembourg
    (14.1, 35.7, 14.7, 36.1),  # Malta
    (3.3, 50.7, 7.3, 53.6),  # Netherlands
    (14.1, 49.0, 24.2, 54.9),  # Poland
    (-9.6, 36.9, -6.1, 42.2),  # Portugal
    (20.2, 43.6, 29.8, 48.3),  # Romania
    (16.8, 47.7, 22.6, 49.7),  # Slovakia
    (13.3, 45.4, 16.7, 46.9),  # Slovenia
    (-9.4, 35.9, 4.4, 43.8),  # Spain
    (10.9, 55.3, 24.2, 69.1),  # Sweden
)
# Longitude before latitude on purpose: OGC's twins of EPSG codes, the default of GeoParquet and GeoJSON.
TWINS = {"CRS84": 4326, "CRS83": 4269, "CRS27": 4267}


def resolve(definition: str | None, path: Path | str, override: str | None = None) -> tuple[int, str]:
    """The EPSG code and its name.

    Heights are left out, a compound system counts by its horizontal part, a bound one by its source. The
    order of axes does not matter: readers hand over x (east, longitude) before y, as PostGIS wants it.

    Args:
        definition: what the file says: a code, WKT or PROJJSON; None when it says nothing.
        path: the file, for the message.
        override: what the person says (--crs); goes before the file.

    Raises:
        UserError: it is missing, it cannot be understood, is not of the Earth's surface in two dimensions
            (geocentric, vertical, local), or no code of EPSG matches.
    """
    text = override or definition
    if not text:
        raise UserError(
            "parcels.no_crs", f"{path}: no coordinate system found", _set_crs(), about=option("--crs")
        )
    origin = f"{option('--crs')} {override}" if override else f"The coordinate system of {path}"
    try:
        crs = CRS.from_user_input(int(text) if text.isdigit() else text)
    except CRSError as error:
        raise UserError(
            "parcels.invalid_crs", f"{origin} is invalid", _set_crs(), about=option("--crs")
        ) from error
    crs = _horizontal(crs)
    if not (crs.is_projected or crs.is_geographic):
        raise UserError(
            "parcels.invalid_crs",
            f"{origin} ({crs.name}, {crs.type_name}) is neither projected nor geographic",
            _set_crs(),
            about=option("--crs"),
        )
    code = _code(crs)
    if code is None:
        message = f"{origin} ({crs.name}) has no EPSG code"
        raise UserError("parcels.no_epsg_code", message, _set_crs(), about=option("--crs"))
    return code, CRS.from_epsg(code).name


def _correct() -> str:
    """What to do about coordinates that do not fit their system."""
    return f"Correct the file, or set the EPSG code of its coordinates with {option('--crs')}"


def _set_crs(example: int = 25832) -> str:
    """What to do about a missing or wrong code."""
    return (
        f"Set the EPSG code of the coordinates with {option('--crs')}, such as {option('--crs')}"
        f" EPSG:{example}"
    )


def _code(crs: CRS) -> int | None:
    if code := crs.to_epsg(min_confidence=SAME):
        return int(code)
    authority, name = crs.to_authority() or ("", "")
    if authority == "OGC":
        return TWINS.get(name)
    similar = (int(found.code) for found in crs.list_authority("EPSG", min_confidence=SIMILAR))
    return next((code for code in similar if _same_coordinates(crs, CRS.from_epsg(code))), None)


def _same_coordinates(crs: CRS, candidate: CRS) -> bool:
    """Whether a place has the same x and y in both, to a centimetre, at the corners of the area of use."""
    area = candidate.area_of_use
    if area is None or crs.is_projected != candidate.is_projected:
        return False
    lon, lat = np.meshgrid([area.west, area.east], [area.south, area.north])
    x, y = Transformer.from_crs(candidate.geodetic_crs, candidate, always_xy=True).transform(lon, lat)
    again_x, again_y = Transformer.from_crs(candidate, crs, always_xy=True).transform(x, y)
    tolerance = 0.01 if crs.is_projected else 1e-7
    return bool(
        np.allclose(x, again_x, rtol=0, atol=tolerance) and np.allclose(y, again_y, rtol=0, atol=tolerance)
    )


def _horizontal(crs: CRS) -> CRS:
    if crs.is_bound and crs.source_crs is not None:
        return _horizontal(crs.source_crs)
    if crs.is_compound:
        return _horizontal(crs.sub_crs_list[0])
    return crs.to_2d()


def expect_inside(
    points: npt.NDArray[np.float64], srid: int, path: Path | str, *, axes: str | None = None
) -> None:
    """Refuse coordinates that cannot be in their coordinate system: a wrong code, unit or order of axes.

    Args:
        points: (n, 2) x and y of a sample of parcels, as they are to be loaded; half of them may be strays.
        srid: the EPSG code they are said to be in.
        path: the file, for the message.
        axes: SWAPPED if x and y were exchanged already, AS_IS if the file's order is right; None leaves the
            question to this function.

    Raises:
        UserError: most points are degrees in a system of metres or the reverse, lie outside the area that the
            code is made for, or outside the European Union, into which the other order of axes puts them.
    """
    if len(points) == 0:
        return
    crs = CRS.from_epsg(srid)
    system = f"EPSG:{srid} ({crs.name})"
    if _most(zero := (np.abs(points) <= 1).all(axis=1)):
        raise UserError(
            "parcels.no_coordinates",
            (
                f"{_around(points[zero], path)}: the coordinates of {np.mean(zero):.0%} of the parcels are"
                " missing"
            ),
            "Correct the file",
            about=path,
        )
    degrees = (np.abs(points) <= DEGREES).all(axis=1)
    if _most(degrees) == crs.is_projected:
        look, are, example = ("look like", "not ", 4258) if crs.is_projected else ("are not", "", 25832)
        wrong = degrees & ~zero if crs.is_projected else ~degrees
        raise UserError(
            "parcels.wrong_units",
            f"{_around(points[wrong], path)}: these {look} degrees, but {system} is {are}in degrees",
            _set_crs(example),
            about=option("--crs"),
        )
    swapped = points[:, ::-1]
    if not _most(within := within_area(points, crs)):
        other = (
            f"leave out {option('--axes')} swapped" if axes == SWAPPED else f"add {option('--axes')} swapped"
        )
        # systems of Europe reach to North Africa and Asia, where any wrong code may put parcels
        hint = (
            f"Its axes are swapped: {other}"
            if _most(within_area(swapped, crs) & _in_union(swapped, crs))
            else _correct()
        )
        message = f"{_around(points[~within], path)}, outside the area of {system}"
        raise UserError(
            "parcels.outside_crs",
            message,
            hint,
            about=option("--crs") if hint == _correct() else option("--axes"),
        )
    if axes is None and not _most(inside := _in_union(points, crs)) and _most(_in_union(swapped, crs)):
        raise UserError(
            "parcels.swapped_axes",
            (
                f"{_around(points[~inside], path)} ({_place(points[~inside], crs)}), outside the European"
                f" Union; with axes swapped they lie in it ({_place(swapped[~inside], crs)})"
            ),
            f"Choose one with {option('--axes')} swapped or {option('--axes')} as-is",
            about=option("--axes"),
        )


def _around(points: npt.NDArray[np.float64], path: Path | str) -> str:
    """The beginning of a sentence about some of the points."""
    x, y = np.median(points, axis=0)
    return f"{path} has parcels around x={x:.6g} y={y:.6g}"


def expect_sizes(boxes: npt.NDArray[np.float64], srid: int, path: Path | str) -> None:
    """Refuse coordinates in another unit than that of their system, such as kilometres for metres.

    Args:
        boxes: (n, 4) west, south, east and north of a sample of parcels.
        srid: the EPSG code they are said to be in.
        path: the file, for the message.

    Raises:
        UserError: most parcels are too small or too large for any parcel.
    """
    if len(boxes) == 0:
        return
    crs = CRS.from_epsg(srid)
    sizes = np.hypot(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    size = float(np.median(sizes)) * (METRES_PER_DEGREE if crs.is_geographic else unit_in_metres(crs))
    if not SMALLEST_M <= size <= WIDEST_M:
        raise UserError(
            "parcels.wrong_units",
            f"{path} has parcels that would be {size:.3g} m wide in EPSG:{srid} ({crs.name}):"
            " the coordinates are in another unit",
            _correct(),
            about=option("--crs"),
        )


def swapped_place(points: npt.NDArray[np.float64], srid: int) -> str | None:
    """Where parcels would lie with their axes swapped; None where the order of axes leaves no doubt.

    It leaves a doubt where EPSG puts north before east, as some programs do and others do not, and both
    orders make sense.
    """
    crs = CRS.from_epsg(srid)
    doubtful = bool(crs.axis_info) and crs.axis_info[0].direction == "north" and len(points) > 0
    swapped = points[:, ::-1]
    if doubtful and _most(within_area(swapped, crs)) and _most(_in_union(swapped, crs)):
        return _place(swapped, crs)
    return None


def doubtful_axes(points: npt.NDArray[np.float64], srid: int, path: Path | str) -> str | None:
    """A note for the operator if the parcels lie in the Union with both orders of axes; else None."""
    if other := swapped_place(points, srid):
        crs = CRS.from_epsg(srid)
        return (
            f"{path} is in EPSG:{srid}, in which some programs write north before east. The parcels"
            f" lie around {_place(points, crs)}; with {option('--axes')} swapped they would lie"
            f" around {other}. Choose one with {option('--axes')} as-is or {option('--axes')}"
            " swapped."
        )
    return None


def near_origin(points: npt.NDArray[np.float64], crs: CRS) -> npt.NDArray[np.bool_]:
    """(n,) whether points are where no field is: at sea at 0° E 0° N, or degrees among metres."""
    near: npt.NDArray[np.bool_] = (np.abs(points) <= (DEGREES if crs.is_projected else 1.0)).all(axis=1)
    return near


def within_area(points: npt.NDArray[np.float64], crs: CRS) -> npt.NDArray[np.bool_]:
    """(n,) whether points lie in the area that a system is made for, or within MARGIN_DEGREES of it."""
    area = crs.area_of_use
    if area is None:
        return np.ones(len(points), bool)
    lon, lat = _degrees(points, crs)
    east = area.east if area.west <= area.east else area.east + 360  # an area across the date line
    lon = np.where(lon < area.west - MARGIN_DEGREES, lon + 360, lon) if east != area.east else lon
    return _in_box(lon, lat, (area.west, area.south, east, area.north), MARGIN_DEGREES)


def _in_union(points: npt.NDArray[np.float64], crs: CRS) -> npt.NDArray[np.bool_]:
    lon, lat = _degrees(points, crs)
    inside: npt.NDArray[np.bool_] = np.any([_in_box(lon, lat, box) for box in MEMBER_STATES], axis=0)
    return inside


def _in_box(
    lon: npt.NDArray[np.float64],
    lat: npt.NDArray[np.float64],
    box: tuple[float, float, float, float],
    margin: float = 0.0,
) -> npt.NDArray[np.bool_]:
    west, south, east, north = box
    inside: npt.NDArray[np.bool_] = (
        (lon >= west - margin) & (lon <= east + margin) & (lat >= south - margin) & (lat <= north + margin)
    )
    return inside


def _degrees(
    points: npt.NDArray[np.float64], crs: CRS
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    lon, lat = Transformer.from_crs(crs, 4326, always_xy=True).transform(points[:, 0], points[:, 1])
    return lon, lat


def _place(points: npt.NDArray[np.float64], crs: CRS) -> str:
    lon, lat = _degrees(np.median(points, axis=0)[np.newaxis], crs)
    return f"longitude {lon[0]:.2f}, latitude {lat[0]:.2f}"


def unit_in_metres(crs: CRS) -> float:
    """Metres in a unit of a projected system."""
    return float(crs.axis_info[0].unit_conversion_factor) if crs.axis_info else 1.0


def _most(flags: npt.NDArray[np.bool_]) -> bool:
    return bool(np.mean(flags) >= 0.5)


class Metres:
    """Turns coordinates into metres that are true enough to tell a sliver from a field."""

    def __init__(self, srid: int, points: npt.NDArray[np.float64]) -> None:
        """`points` (n, 2) is where the parcels are, in the system of `srid`."""
        crs = CRS.from_epsg(srid)
        self._factor = 1.0
        self._transformer: Transformer | None = None
        if crs.is_geographic and len(points):
            lon, lat = np.median(points, axis=0)
            local = CRS.from_user_input(f"+proj=laea +lon_0={lon} +lat_0={lat} +units=m")
            self._transformer = Transformer.from_crs(crs, local, always_xy=True)
        else:
            self._factor = unit_in_metres(crs)

    def __call__(self, coordinates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(n, 2) coordinates of the system to (n, 2) metres."""
        if self._transformer is None:
            return coordinates * self._factor
        x, y = self._transformer.transform(coordinates[:, 0], coordinates[:, 1])
        return np.column_stack([x, y])
