"""The parcels of a delivery in memory: attributes as Arrow, geometries as WKB."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from cbmctl.parcels.files.curves import wkb_type
from cbmctl.parcels.files.findings import Finding
from cbmctl.parcels.files.layers import Layer

SAMPLE = 1000  # parcels to look at to see whether their coordinates can be right
SOURCE_COLUMN = "source_layer"


@dataclass(frozen=True)
class ParcelTable:
    """The parcels of one or more layers, in file order; features are numbered from 1.

    `geometry` holds WKB as the file has it (linear, maybe with Z, null where missing), `attributes` all the
    rest. With several layers, the last attribute (`SOURCE_COLUMN`) says which one a parcel is from.
    `shown` is what messages call the delivery; `notes` are sentences for the operator about how it was read,
    `found` what is wrong with values, as far as only the file itself can tell.
    """

    shown: str
    layers: tuple[Layer, ...]
    srid: int
    crs: str
    attributes: pa.Table
    geometry: pa.ChunkedArray
    notes: tuple[str, ...] = ()
    found: tuple[Finding, ...] = ()

    def __len__(self) -> int:
        return len(self.geometry)

    def batches(self, size: int = 20_000) -> Iterator[tuple[int, pa.Table, npt.NDArray[np.object_]]]:
        """Pieces that fit in memory as Python objects: first feature, attributes, (n,) WKB bytes or None."""
        for start in range(0, len(self), size):
            wkb = np.array(self.geometry.slice(start, size).to_pylist(), dtype=object)
            yield start + 1, self.attributes.slice(start, size), wkb


def with_axes_swapped(table: ParcelTable) -> ParcelTable:
    """The same parcels with x and y exchanged, in two dimensions; what cannot be read stays as it is."""
    chunks = []
    for chunk in table.geometry.chunks:
        wkb = chunk.to_pylist()
        swapped = shapely.to_wkb(shapely.transform(parse(wkb), lambda points: points[:, ::-1]))
        chunks.append(pa.array([new or old for new, old in zip(swapped, wkb, strict=True)], pa.binary()))
    return replace(table, geometry=pa.chunked_array(chunks, pa.binary()))


def sample_points(table: ParcelTable) -> npt.NDArray[np.float64]:
    """(n, 2) one point each of some parcels, spread over the file."""
    step = max(1, len(table) // SAMPLE)
    some = table.geometry.take(pa.array(range(0, len(table), step), pa.int64())).to_pylist()
    corners = [shapely.get_coordinates(geometry)[:1] for geometry in parse(some)]
    points = np.concatenate([np.empty((0, 2)), *corners])
    return points[np.isfinite(points).all(axis=1)]


def sample_boxes(table: ParcelTable) -> npt.NDArray[np.float64]:
    """(n, 4) west, south, east and north of some parcels, spread over the file."""
    step = max(1, len(table) // SAMPLE)
    some = table.geometry.take(pa.array(range(0, len(table), step), pa.int64())).to_pylist()
    boxes: npt.NDArray[np.float64] = shapely.bounds(parse(some))
    return boxes[np.isfinite(boxes).all(axis=1)]


def parse(wkb: Iterable[bytes | None]) -> npt.NDArray[np.object_]:
    """(n,) shapely geometries in two dimensions; None for what is missing, broken, or no simple feature."""
    simple = [geometry if 1 <= wkb_type(geometry) <= 7 else None for geometry in wkb]
    with np.errstate(invalid="ignore"):  # coordinates that are not numbers are for `check` to find
        parsed: npt.NDArray[np.object_] = shapely.force_2d(
            shapely.from_wkb(np.array(simple, dtype=object), on_invalid="ignore")
        )
    return parsed
