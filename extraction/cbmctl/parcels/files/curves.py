"""Curves in WKB become the many short lines that GDAL makes of them everywhere, also those in collections."""

import struct
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyogrio

from cbmctl.parcels.files import gdal

MEMORY = "/vsimem/cbm_curves.gpkg"
# WKB codes of OGC 06-103r4 and ISO SQL/MM, without Z and M
POINT, LINE, POLYGON, COLLECTION, CIRCULAR, TIN_TRIANGLE = 1, 2, 3, 7, 8, 17
CURVES = {8, 9, 10, 11, 12, 13, 14}
RINGS = {POLYGON, TIN_TRIANGLE}


def wkb_type(wkb: bytes | None) -> int:
    """The geometry type of WKB, without Z and M; 0 for none."""
    if wkb is None or len(wkb) < 5:
        return 0
    code = int.from_bytes(wkb[1:5], "little" if wkb[0] else "big")
    return (code & 0x1FFFFFFF) % 1000


def straightened(geometry: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same geometries, without curves; a collection that had some keeps its members, without nesting.

    What is damaged stays as it is, for `check` to find.

    Args:
        geometry: (n,) WKB, as GDAL's Arrow stream hands it over: curves are left as they are.
    """
    return pa.chunked_array([_straightened(chunk) for chunk in geometry.chunks], pa.binary())


def _straightened(chunk: pa.Array) -> pa.Array:
    wkb: list[bytes | None] = chunk.to_pylist()
    curved = {i: several for i, g in enumerate(wkb) if g is not None and (several := _with_curves(g))}
    if not curved:
        return chunk
    strokes = iter(_stroked([member for several in curved.values() for member in several]))
    for i, several in curved.items():
        linear = [stroke for _ in several if (stroke := next(strokes)) is not None]
        if len(linear) == len(several):
            wkb[i] = linear[0] if wkb_type(wkb[i]) != COLLECTION else _collection(linear)
    return pa.array(wkb, pa.binary())


def _with_curves(wkb: bytes) -> list[bytes]:
    """The geometry, or the members of a collection, if there are curves in it; nothing if it is damaged."""
    kind = wkb_type(wkb)
    if kind != COLLECTION:
        return [wkb] if kind in CURVES else []
    try:
        members = list(_members(memoryview(wkb)))
    except (struct.error, IndexError, RecursionError):  # it ends early, or is nested without end
        return []
    return members if any(wkb_type(member) in CURVES for member in members) else []


def _collection(members: list[bytes]) -> bytes:
    # Z and M of a collection are those of its members; readers look at the members
    return struct.pack("<BII", 1, COLLECTION, len(members)) + b"".join(members)


def _members(wkb: memoryview) -> Iterator[bytes]:
    """The geometries in a collection, those of collections within it one by one; else the geometry itself."""
    if wkb_type(bytes(wkb[:5])) != COLLECTION:
        yield bytes(wkb)
        return
    order = "<" if wkb[0] else ">"
    (number,) = struct.unpack_from(f"{order}I", wkb, 5)
    start = 9
    for _ in range(number):
        end = _end(wkb, start)
        yield from _members(wkb[start:end])
        start = end


def _end(wkb: memoryview, start: int) -> int:
    """Where the geometry that begins at a position ends."""
    order = "<" if wkb[start] else ">"
    code, number = (int(n) for n in struct.unpack_from(f"{order}II", wkb, start + 1))
    kind, size = wkb_type(bytes(wkb[start : start + 5])), 8 * _dimensions(code)
    if kind == POINT:
        return start + 5 + size
    position = start + 9
    if kind in (LINE, CIRCULAR):
        return position + number * size
    for _ in range(number):
        if kind in RINGS:
            points = int(struct.unpack_from(f"{order}I", wkb, position)[0])
            position += 4 + points * size
        else:
            position = _end(wkb, position)
    return position


def _dimensions(code: int) -> int:
    thousands = (code & 0x1FFFFFFF) // 1000
    has_z = bool(code & 0x80000000) or thousands in (1, 3)
    has_m = bool(code & 0x40000000) or thousands in (2, 3)
    return 2 + has_z + has_m


def _stroked(geometries: list[bytes]) -> list[bytes | None]:
    """GDAL reads what was curved as lines, unless it is asked through Arrow; None for what it cannot read."""
    # the coordinate system does not matter: lengths of chords are angles of the arcs
    table = pa.table({"geom": pa.array(geometries, pa.binary())})
    try:
        gdal.write_arrow(
            table,
            MEMORY,
            layer="curves",
            driver="GPKG",
            geometry_name="geom",
            geometry_type="Unknown",
            crs="EPSG:3857",
        )
        _, _, linear, _ = gdal.read_linear(MEMORY, layer="curves")
    finally:
        pyogrio.vsi_unlink(MEMORY)
    return [None if wkb is None else bytes(wkb) for wkb in np.asarray(linear, dtype=object)]
