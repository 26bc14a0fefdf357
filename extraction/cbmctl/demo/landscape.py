"""An invented stretch of farmland of 4 km by 4 km: fields along curved roads, a stream, woods, a village.

All coordinates are metres in the landscape's own frame: x from the west edge, y from the south edge.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from shapely import LineString, Point, Polygon, affinity
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from cbmctl.demo.crops import CROPS, MEADOW, ORCHARD, Crop

SIDE = 4000.0  # m
MARGIN = 75.0  # of open ground between the outermost field and the edge; more than the bend of the roads
ROAD, TRACK = 9.0, 1.2  # widths of the gaps between blocks and between fields, m
LARGEST_BLOCK = 42e4  # m², blocks between roads

VILLAGE = Point(2350, 2250).buffer(250)
WOODS = (
    affinity.scale(Point(700, 3250).buffer(430), 1.2, 0.8),
    affinity.scale(Point(3480, 620).buffer(310), 0.8, 1.2),
)
HOLDERS = (
    "Kmetija Žižek", "Kmetija Horvat", "Kmetija Küčan", "Kmetija Šömen", "Kmetija Kovačič", "Kmetija Györek",
    "Kmetija Čerpnjak", "Kmetija Vörös", "Kmetija Časar", "Kmetijska zadruga Zeleni Log, z.o.o.",
    "Posestvo Široko polje d.o.o.", "Kmetija Škrilec",
)  # fmt: skip


@dataclass(frozen=True)
class Parcel:
    """A declared parcel: `drawn` is what the file holds, `ground` what lies there (faulty ones differ)."""

    parcel_id: str
    crop: Crop
    holder: str
    drawn: BaseGeometry
    ground: BaseGeometry


@dataclass(frozen=True)
class Landscape:
    """The parcels in the order of their ids, and the rest of the ground."""

    parcels: tuple[Parcel, ...]
    woods: BaseGeometry
    settlement: BaseGeometry
    roads: BaseGeometry
    water: BaseGeometry


def make_landscape(seed: int) -> Landscape:
    """Lay out the landscape; the same seed gives the same one."""
    rng = np.random.default_rng([seed, 1])
    stream = LineString([(x, 780 + 210 * math.sin(x / 610) + 0.17 * x) for x in np.arange(-200, 4300, 25.0)])
    blocks = list(_blocks(box(MARGIN, MARGIN, SIDE - MARGIN, SIDE - MARGIN), rng))
    fields = [field for block in blocks for field in _fields(block, rng)]
    banks = stream.buffer(20)
    kept = [_bend(f.difference(banks)) for f in fields if not _is_taken(f)]
    settlement = shapely.union_all([_bend(f) for f in fields if VILLAGE.contains(f.centroid)])
    woods = shapely.union_all([_bend(f) for f in fields if any(w.contains(f.centroid) for w in WOODS)])
    polygons = [
        part
        for field in kept
        for part in shapely.get_parts(field)
        if isinstance(part, Polygon) and part.area > 1200
    ]
    polygons.sort(key=lambda p: (-p.centroid.y // 500, p.centroid.x))
    water = _bend(stream).buffer(7)
    parcels, ponds = _declare(polygons, water, rng)
    network = shapely.union_all([_bend(b).boundary.buffer(2.5) for b in blocks])
    return Landscape(parcels, woods, settlement, network, shapely.union_all([water, *ponds]))


def _is_taken(field: Polygon) -> bool:
    return any(area.contains(field.centroid) for area in (VILLAGE, *WOODS))


def _blocks(area: Polygon, rng: np.random.Generator) -> Iterator[Polygon]:
    """Divide by roads until no block is larger than LARGEST_BLOCK."""
    if area.area <= LARGEST_BLOCK:
        yield area
        return
    for part in _cut(area, rng.uniform(0.36, 0.64), rng.normal(0, 7), ROAD):
        yield from _blocks(part, rng)


def _fields(block: Polygon, rng: np.random.Generator) -> Iterator[Polygon]:
    """Divide a block into fields of about one size: parallel strips in most, squarer ones in others."""
    target = float(np.clip(rng.lognormal(math.log(5.9e4), 0.62), 1.1e4, 17e4))
    direction = _long_direction(block) + rng.normal(0, 3) if rng.random() < 0.6 else None
    pending = [block]
    while pending:
        area = pending.pop()
        if area.area <= target * rng.uniform(1.1, 2.0):
            yield area
        else:
            pending.extend(_cut(area, rng.uniform(0.3, 0.7), rng.normal(0, 1.5), TRACK, direction))


def _long_direction(area: Polygon) -> float:
    """Direction of the longer side, degrees from the x axis."""
    corners = shapely.get_coordinates(shapely.minimum_rotated_rectangle(area))
    sides = corners[1:3] - corners[:2]
    longer = sides[int(np.argmax(np.hypot(*sides.T)))]
    return math.degrees(math.atan2(longer[1], longer[0]))


def _cut(
    area: Polygon, share: float, turn: float, gap: float, direction: float | None = None
) -> list[Polygon]:
    """Cut square to `direction` (default: the longer side) at `share` of its way, leaving `gap` metres.

    `turn` degrees off square, because no real boundary is exact.
    """
    angle = (_long_direction(area) if direction is None else direction) + turn
    along = np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle))])
    reached = shapely.get_coordinates(area) @ along
    at = reached.min() + share * (reached.max() - reached.min())
    reach = 2 * SIDE
    middle = np.array(area.centroid.coords[0])
    dx, dy = middle + along * (at - middle @ along)
    sides = (box(gap / 2, -reach, reach, reach), box(-reach, -reach, -gap / 2, reach))
    halves = (affinity.translate(affinity.rotate(side, angle, origin=(0, 0)), dx, dy) for side in sides)
    parts = (area.intersection(half) for half in halves)
    return [part for part in parts if isinstance(part, Polygon) and part.area > 0]


def _bend(geometry: BaseGeometry) -> BaseGeometry:
    """Give straight cuts the sweep of real roads: a smooth shift of at most 45 m."""

    def shift(xy: np.ndarray) -> np.ndarray:
        x, y = xy[:, 0], xy[:, 1]
        dx = 30 * np.sin(y / 370 + 0.7) + 14 * np.sin((x + y) / 250)
        dy = 28 * np.sin(x / 410 + 1.9) + 16 * np.sin((x - y) / 290 + 0.4)
        return np.column_stack([x + dx, y + dy])

    return shapely.simplify(shapely.transform(shapely.segmentize(geometry, 30), shift), 0.4)


def _declare(
    polygons: list[Polygon], water: BaseGeometry, rng: np.random.Generator
) -> tuple[tuple[Parcel, ...], list[Polygon]]:
    """Turn fields into declared parcels, with the oddities every real file has."""
    crops = [_crop_of(p, water, rng) for p in polygons]
    holders = [HOLDERS[i] for i in rng.integers(0, len(HOLDERS), len(polygons))]
    ground: list[BaseGeometry] = list(polygons)

    ponds = []
    for i in [i for i, p in enumerate(polygons) if p.area > 6.5e4][:14:2]:
        pond = affinity.rotate(affinity.scale(polygons[i].centroid.buffer(18), 1.5, 0.8), rng.uniform(0, 180))
        if polygons[i].contains(pond.buffer(10)):
            ponds.append(pond)
            ground[i] = polygons[i].difference(pond)

    joined = _join_pairs(ground)
    for kept, gone in joined:
        ground[kept] = shapely.union_all([ground[kept], ground[gone]])
    away = {gone for _, gone in joined}

    rows = [(crops[i], holders[i], g, g) for i, g in enumerate(ground) if i not in away]
    plain = [row for row in rows if isinstance(row[2], Polygon) and len(row[2].interiors) == 0]
    rows.remove(tied := next(row for row in plain if 0.9e4 < row[2].area < 2.5e4))
    rows.append((tied[0], tied[1], _bow_tie(tied[2]), tied[3]))
    rows.append(next(row for row in plain if 2e4 < row[2].area < 4e4 and row is not tied))  # declared twice
    rows.extend((MEADOW, holders[k], sliver, sliver) for k, sliver in enumerate(_slivers(polygons)))
    return tuple(Parcel(f"P{n:04d}", *row) for n, row in enumerate(rows, start=1)), ponds


def _crop_of(field: Polygon, water: BaseGeometry, rng: np.random.Generator) -> Crop:
    shares = np.array([crop.share for crop in CROPS])
    drawn = CROPS[int(rng.choice(len(CROPS), p=shares / shares.sum()))]
    if field.distance(water) < 40 and rng.random() < 0.55:
        return MEADOW
    if field.area < 2e4 and field.distance(VILLAGE) < 200 and rng.random() < 0.4:
        return ORCHARD
    return drawn


def _join_pairs(fields: list[BaseGeometry]) -> list[tuple[int, int]]:
    """Pairs of small fields, near but not touching, that are declared as one parcel."""
    small = [i for i, f in enumerate(fields) if 0.4e4 < f.area < 3e4][::9]
    pairs: list[tuple[int, int]] = []
    used: set[int] = set()
    for i in small:
        near = (j for j in range(i + 1, len(fields)) if 15 < fields[i].distance(fields[j]) < 250)
        j = next((j for j in near if j not in used and fields[j].area < 3e4), None)
        if j is not None and i not in used:
            pairs.append((i, j))
            used.update((i, j))
    return pairs[:9]


def _bow_tie(field: BaseGeometry) -> Polygon:
    """The same field with two corners in the wrong order, as a slip of the mouse leaves it."""
    corners = shapely.get_coordinates(shapely.minimum_rotated_rectangle(field))
    return Polygon([corners[0], corners[1], corners[3], corners[2]])


def _slivers(fields: list[Polygon]) -> list[Polygon]:
    """Strips 1.6 m wide along a field's edge: left over from digitising, too thin to hold a pixel."""
    edges = (LineString(field.exterior.coords[:3]) for field in fields[20::70])
    return [edge.buffer(0.8, cap_style="flat") for edge in edges][:4]
