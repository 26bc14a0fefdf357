"""Parcels as sets of pixels, and what an image says about each of them."""

from cbmctl.pixels.grid import Grid
from cbmctl.pixels.index import PixelIndex

__all__ = ["Grid", "PixelIndex"]
