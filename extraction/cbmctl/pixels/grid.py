"""The raster grid that parcels are put on: an image's own one, never a made-up one."""

from dataclasses import dataclass

from affine import Affine


@dataclass(frozen=True)
class Grid:
    """A north-up raster grid.

    Attributes:
        epsg: the CRS of `transform`, metres for every card of ours.
        transform: pixel (column, row) to CRS coordinates; (0, 0) is the upper left corner of the first pixel.
        height: rows.
        width: columns.

    Raises:
        ValueError: the grid is rotated or not north-up; pixel rows would not be scanlines.
    """

    epsg: int
    transform: Affine
    height: int
    width: int

    def __post_init__(self) -> None:
        t = self.transform
        if t.b or t.d or t.a <= 0 or t.e >= 0:
            raise ValueError(f"the grid is not north-up: {tuple(t)[:6]}")

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Return left, bottom, right, top in the CRS of the grid."""
        t = self.transform
        return t.c, t.f + self.height * t.e, t.c + self.width * t.a, t.f
