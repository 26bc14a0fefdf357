"""Parcels as sets of pixels, and what an image says about each of them.

Imports point one way, from top to bottom:

- `statistics`: statistics of bands, histograms of classes.
- `index`, `full_pixels`: which pixels belong to which parcel; how many of them lie in it whole.
- `kernels`, `scanline`: one call for all parcels; polygons to runs of pixels.
- `edges`, `grid`: corners of polygons as the kernels read them; the grid of an image.
- `compiled`: the decorator of every kernel.
"""

from cbmctl.pixels.grid import Grid
from cbmctl.pixels.index import PixelIndex

__all__ = ["Grid", "PixelIndex"]
