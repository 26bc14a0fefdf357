"""Declared parcels over a whole tile, made on the spot: up to 300,000, none of them neat.

They fill the tile and half a kilometre around it. The first 10,000 and the first 100,000 are the same kind of
fields as all 300,000, so that growth is measured with more of the same.
"""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import shapely
from numpy.typing import NDArray
from psycopg import sql

Floats = NDArray[np.float64]

MOST = 300_000
EPSG = 25832
TILE = (499_980.0, 6_190_200.0, 609_780.0, 6_300_000.0)  # 32VNH; its WGS 84 and our ETRS89 do not differ
MARGIN = 550.0  # m around the tile: about 2 % of the parcels lie there
STRIPS, HALVINGS = 37, 13  # 37 × 2**13 places for fields
SEED = 20210601
GAP = 0.985  # of a place's sides are the field's; the rest is a verge
_COPY_START, _COPY_END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"


def make(number: int) -> NDArray[Any]:
    """Make the first `number` parcels: multi-polygons in EPSG:25832.

    1 % have two parts, 2 % a hole, 1 % lie over another one, 7 % are smaller than 0.1 ha or thin strips; on
    average they measure 3.5 ha and have 25 vertices.
    """
    rng = np.random.default_rng(SEED)
    cells = _cells(rng)[:MOST]
    _vary(cells, rng)
    doubled, holed = rng.random(MOST) < 0.01, rng.random(MOST) < 0.02
    holed &= ~doubled
    # rings: those of a parcel one after the other, and a hole after its shell
    rings = 1 + doubled + holed
    owner = np.repeat(np.arange(MOST), rings)
    second = np.flatnonzero(owner[1:] == owner[:-1]) + 1
    box = cells[owner]
    _halve(box, second[doubled[owner[second]]])
    holes = second[holed[owner[second]]]
    box[holes] = _scaled(box[holes], np.array(0.3), np.array(0.3))
    vertices = rng.integers(12, 38, len(box))
    ring = np.repeat(np.arange(len(box)), vertices)
    xy = _outlines(box, ring, vertices, rng)

    wanted = owner[ring] < number
    shapes = np.asarray(shapely.linearrings(_bend(xy[wanted]), indices=ring[wanted]), object)
    is_shell = np.ones(len(box), bool)
    is_shell[holes] = False
    of_polygon = np.cumsum(is_shell) - 1
    count = len(shapes)
    polygons = np.asarray(shapely.polygons(shapes, indices=of_polygon[:count]), object)
    parcels = np.asarray(shapely.multipolygons(polygons, indices=owner[:count][is_shell[:count]]), object)
    # bent between its corners, a strip a metre wide may cross itself: one in fifty thousand
    crossed = np.flatnonzero(~shapely.is_valid(parcels))
    hulls = shapely.convex_hull(parcels[crossed])
    parcels[crossed] = shapely.multipolygons(hulls, indices=np.arange(len(hulls)))
    return parcels


def load(conn: psycopg.Connection, table: sql.Identifier, parcels: NDArray[Any]) -> None:
    """Make a parcel table as it looks after loading: ogc_fid from 1, wkb_geometry, its index."""
    conn.execute(
        sql.SQL(
            "DROP TABLE IF EXISTS {}; CREATE TABLE {} (ogc_fid serial PRIMARY KEY,"
            " wkb_geometry geometry(MultiPolygon, {}))"
        ).format(table, table, sql.Literal(EPSG))
    )
    statement = sql.SQL("COPY {} (ogc_fid, wkb_geometry) FROM STDIN (FORMAT binary)").format(table)
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        for part in _stream(parcels):
            copy.write(part)
    conn.execute(sql.SQL("CREATE INDEX ON {} USING gist (wkb_geometry)").format(table))
    conn.execute(sql.SQL("ANALYZE {}").format(table))


def _stream(parcels: NDArray[Any]) -> Iterator[bytes]:
    yield _COPY_START
    shapes = shapely.to_wkb(shapely.set_srid(parcels, EPSG), include_srid=True)
    for pid, shape in enumerate(shapes.tolist(), start=1):
        yield struct.pack(">hiii", 2, 4, pid, len(shape)) + shape
    yield _COPY_END


def _cells(rng: np.random.Generator) -> Floats:
    """Divide the area into rectangles of very different sizes (west, south, east, north), in random order."""
    west, south, east, north = TILE[0] - MARGIN, TILE[1] - MARGIN, TILE[2] + MARGIN, TILE[3] + MARGIN
    x = np.linspace(west, east, STRIPS + 1)
    cells = np.column_stack([x[:-1], np.full(STRIPS, south), x[1:], np.full(STRIPS, north)])
    for _ in range(HALVINGS):
        share = rng.uniform(0.33, 0.67, len(cells))
        tall = (cells[:, 3] - cells[:, 1] > cells[:, 2] - cells[:, 0]).astype(int)
        low = np.take_along_axis(cells, tall[:, None], 1)[:, 0]
        high = np.take_along_axis(cells, tall[:, None] + 2, 1)[:, 0]
        cut = low + share * (high - low)
        first, second = cells.copy(), cells
        np.put_along_axis(first, tall[:, None] + 2, cut[:, None], 1)
        np.put_along_axis(second, tall[:, None], cut[:, None], 1)
        cells = np.concatenate([first, second])
    return np.asarray(rng.permutation(cells), np.float64)


def _vary(cells: Floats, rng: np.random.Generator) -> None:
    """Leave verges, make some parcels tiny or thin, and lay some over others."""
    across, along = np.full(MOST, GAP), np.full(MOST, GAP)
    tiny, thin = rng.random(MOST) < 0.05, rng.random(MOST) < 0.02
    size = rng.uniform(0.02, 0.15, MOST)
    across[tiny], along[tiny] = size[tiny], size[tiny]
    across[thin] = 0.2 * size[thin]
    cells[:] = _scaled(cells, across, along)
    over = np.flatnonzero(rng.random(MOST) < 0.01)
    over = over[over > 0]
    cells[over] = cells[over - 1] + np.array([31.0, 17.0, 31.0, 17.0])


def _scaled(cells: Floats, across: Floats, along: Floats) -> Floats:
    """Shrink rectangles about their middles."""
    middle = (cells[:, :2] + cells[:, 2:]) / 2
    half = (cells[:, 2:] - cells[:, :2]) / 2 * np.stack([across, along], -1)
    return np.concatenate([middle - half, middle + half], 1)


def _halve(box: Floats, second: NDArray[np.intp]) -> None:
    """Let two parts of a parcel share its place, with a gap between them."""
    width = box[second, 2] - box[second, 0]
    box[second - 1, 2] -= 0.55 * width
    box[second, 0] += 0.55 * width


def _outlines(
    box: Floats, ring: NDArray[np.intp], vertices: NDArray[Any], rng: np.random.Generator
) -> Floats:
    """Walk round each rectangle with irregular steps, never outside it: so no outline crosses itself."""
    number = np.arange(len(ring)) - np.repeat(np.cumsum(vertices) - vertices, vertices)
    way = 4 * (number + rng.uniform(0, 0.6, len(ring))) / vertices[ring]
    side, at = np.floor(way).astype(int), 2 * (way % 1) - 1
    x = np.choose(side, [at, np.ones_like(at), -at, -np.ones_like(at)])
    y = np.choose(side, [-np.ones_like(at), at, np.ones_like(at), -at])
    reach = 1 - 0.02 * rng.random(len(ring))
    middle, half = (box[:, :2] + box[:, 2:]) / 2, (box[:, 2:] - box[:, :2]) / 2
    return np.asarray(middle[ring] + half[ring] * np.stack([x, y], -1) * reach[:, None], np.float64)


def _bend(xy: Floats) -> Floats:
    """Turn straight boundaries by up to 20 degrees, neighbours alike: a smooth shift that folds nothing."""
    x, y = xy[:, 0], xy[:, 1]
    dx = 160 * np.sin(y / 900 + 0.7) + 60 * np.sin((x + y) / 700)
    dy = 150 * np.sin(x / 800 + 1.9) + 70 * np.sin((x - y) / 900 + 0.4)
    return np.column_stack([x + dx, y + dy])
