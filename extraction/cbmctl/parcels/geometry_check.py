"""Geometries made fit for the table, and a list of everything that was not as it should be.

- *refused*: no geometry, not a polygon, or nothing of the area left; such a feature is not loaded.
- *repaired*: invalid, or polygons mixed with points and lines; the area is loaded, made valid.
- *duplicate*: exactly the geometry of an earlier feature, in whatever order of points; loaded all the same.
- *sliver*: may hold no centre of a 10 m pixel: smaller than one pixel (100 m²), or narrower than 10 m. Its
  width is the short side of the rectangle with the same area and perimeter: strips are found, fields are not.
- *stray*: lies where no other parcel of the file is (see `places`); loaded, but not in the area of interest.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from cbmctl.parcels.files.crs import Metres
from cbmctl.parcels.files.curves import wkb_type
from cbmctl.parcels.files.findings import Finding, Findings
from cbmctl.parcels.files.parcel_table import ParcelTable, parse, sample_points
from cbmctl.parcels.files.values import values
from cbmctl.parcels.places import bounds_in_degrees, strays

PIXEL_M = 10.0
POLYGON, MULTIPOLYGON = 3, 6
VALID = "Valid Geometry"
TYPE_NAMES = {1: "point", 2: "line", 4: "multi-point", 5: "multi-line", 15: "polyhedral surface", 16: "TIN"}

Geometries = npt.NDArray[np.object_]
Rows = Iterator[tuple[Any, ...]]  # the values of a parcel, as psycopg copies them


@dataclass(frozen=True)
class Clean:
    """A piece of the file, ready for the table: row numbers in the piece, feature and geometry of each."""

    rows: npt.NDArray[np.int64]
    feature: npt.NDArray[np.int64]
    geometry: Geometries


def check(table: ParcelTable, advance: Callable[[int], None] = lambda _: None) -> Findings:
    """Look at every parcel and convert every value, without keeping any."""
    findings = Findings()
    for _ in cleaned(table, findings, advance):
        pass
    return findings


def cleaned(
    table: ParcelTable, findings: Findings, advance: Callable[[int], None] = lambda _: None
) -> Iterator[tuple[Rows, Clean]]:
    """Yield the file piece by piece: its clean geometries and the values of each, in the order of the file.

    Args:
        table: the file.
        findings: is filled on the way.
        advance: called with the number of features done.
    """
    for found in table.found:
        findings.value(found)
    metres = Metres(table.srid, sample_points(table))
    seen: dict[bytes, int] = {}
    numbers, boxes = [np.empty(0, np.int64)], [np.empty((0, 4))]
    for first, attributes, wkb in table.batches():
        clean = _clean(wkb, first, findings)
        _report_duplicates(clean, seen, findings)
        _report_slivers(clean, metres, findings)
        findings.parcels += len(clean.rows)
        numbers.append(clean.feature)
        boxes.append(shapely.bounds(clean.geometry))
        yield values(attributes, clean.rows.tolist(), clean.feature.tolist(), findings), clean
        advance(len(wkb))
    _report_strays(np.concatenate(numbers), np.concatenate(boxes), table.srid, findings)


def _clean(wkb: npt.NDArray[np.object_], first: int, findings: Findings) -> Clean:
    geometry = parse(wkb)
    types = shapely.get_type_id(geometry)
    finite = np.isfinite(shapely.bounds(geometry)).all(axis=1)
    good = (
        np.isin(types, (POLYGON, MULTIPOLYGON))
        & shapely.is_valid(geometry)
        & finite
        & (shapely.area(geometry) > 0)
    )
    singles = np.flatnonzero(good & (types == POLYGON))
    geometry[singles] = shapely.multipolygons(geometry[singles], indices=np.arange(len(singles)))
    for row in np.flatnonzero(~good):
        geometry[row], finding = _mended(wkb[row], geometry[row], first + int(row))
        findings.found.append(finding)
        good[row] = geometry[row] is not None
    rows = np.flatnonzero(good)
    return Clean(rows, rows + first, geometry[rows])


def _mended(wkb: bytes | None, geometry: Any, feature: int) -> tuple[shapely.MultiPolygon | None, Finding]:
    """What can be kept of a geometry that is not a valid polygon, and the finding to tell."""
    if unfit := _unfit(wkb, geometry):
        return None, Finding(feature, "refused", unfit)
    reason = str(shapely.is_valid_reason(geometry))
    # 'structure' fills what overlapping rings share; 'linework' would turn it into holes that no farmer has
    area = _polygonal_part(shapely.make_valid(geometry, method="structure", keep_collapsed=False))
    if area is None:
        return None, Finding(feature, "refused", f"no area: {reason}" if reason != VALID else "no area")
    return area, Finding(feature, "repaired", reason if reason != VALID else "points or lines left out")


def _unfit(wkb: bytes | None, geometry: Any) -> str | None:
    """Why nothing can be made of a geometry; None when something might."""
    code = wkb_type(wkb)
    if wkb is None:
        return "no geometry"
    if code in TYPE_NAMES:
        return f"a {TYPE_NAMES[code]}, not a polygon"
    if geometry is None:
        return "geometry that cannot be read"
    if shapely.is_empty(geometry):
        return "empty geometry"
    return (
        None if np.isfinite(shapely.get_coordinates(geometry)).all() else "coordinates that are not numbers"
    )


def _polygonal_part(geometry: Any) -> Any:
    """The multipolygon in a geometry of any type; None when there is no area."""
    parts = shapely.get_parts(geometry)
    while any(shapely.get_num_geometries(parts) > 1) or any(shapely.get_type_id(parts) > POLYGON):
        parts = shapely.get_parts(parts)
    polygons: list[Any] = list(parts[shapely.area(parts) > 0])
    if not polygons:
        return None
    together = shapely.MultiPolygon(polygons)
    # members of a collection may overlap, those of a multipolygon may not
    whole: Any = together if together.is_valid else shapely.union_all(polygons)
    return whole if isinstance(whole, shapely.MultiPolygon) else shapely.MultiPolygon([whole])


def _report_strays(
    feature: npt.NDArray[np.int64], boxes: npt.NDArray[np.float64], srid: int, findings: Findings
) -> None:
    found = strays(boxes, srid)
    findings.found += [Finding(int(feature[row]), "stray", reason) for row, reason in found.items()]
    findings.bounds = bounds_in_degrees(boxes, found, srid)


def _report_duplicates(clean: Clean, seen: dict[bytes, int], findings: Findings) -> None:
    for feature, wkb in zip(
        clean.feature.tolist(), shapely.to_wkb(shapely.normalize(clean.geometry)), strict=True
    ):
        before = seen.setdefault(blake2b(wkb, digest_size=16).digest(), feature)
        if before != feature:
            findings.found.append(Finding(feature, "duplicate", f"same geometry as feature {before}"))


def _report_slivers(clean: Clean, metres: Metres, findings: Findings) -> None:
    measured = shapely.transform(clean.geometry, metres)
    area, half = shapely.area(measured), shapely.length(measured) / 2
    # the sides of the rectangle: w + l = half, w × l = area; rounder than a square has none and is wide
    width = half / 2 - np.sqrt(np.maximum(half**2 / 4 - area, 0))
    for row in np.flatnonzero((area < PIXEL_M**2) | (width < PIXEL_M)):
        reason = f"{area[row]:.0f} m², about {width[row]:.1f} m wide"
        findings.found.append(Finding(int(clean.feature[row]), "sliver", reason))
