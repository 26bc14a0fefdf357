"""Products of the archive as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from affine import Affine
from numpy.typing import NDArray

from cbmctl.pixels.grid import Grid


class SceneError(Exception):
    """A product cannot be used; the next one can.

    Attributes:
        status: the manual's word for `dias_catalogue.status`: `!S3 subdir`, `!S3 B02.jp2`, `Rio error`.
        reason: one sentence that names the file and says what is wrong with it.
    """

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason


@dataclass(frozen=True, eq=False)
class Raster:
    """Bands of one product on one grid.

    Attributes:
        bands: band name to an array of shape (height, width).
        transform: pixel (column, row) to CRS coordinates.
        epsg: the CRS.
        nodata: the value that means "not observed"; NaN always means that too.
    """

    bands: Mapping[str, NDArray[Any]]
    transform: Affine
    epsg: int
    nodata: float | None

    @property
    def grid(self) -> Grid:
        """The grid that all bands share."""
        height, width = next(iter(self.bands.values())).shape
        return Grid(self.epsg, self.transform, height, width)
