"""Smooth random fields: soils, clouds and the sensor's grain."""

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.float32]


def smooth(rng: np.random.Generator, shape: tuple[int, int], coarse: tuple[int, int]) -> Grid:
    """Normal noise on a coarse grid, brought to `shape` by linear interpolation."""
    return enlarge(rng.standard_normal((coarse[0] + 1, coarse[1] + 1), dtype=np.float32), shape)


def fractal(rng: np.random.Generator, shape: tuple[int, int], octaves: tuple[int, ...]) -> Grid:
    """A sum of smooth fields, each octave (cells along a side) with less weight; mean 0, deviation 1."""
    field = np.zeros(shape, np.float32)
    for cells in octaves:
        field += smooth(rng, shape, (cells, cells)) * np.float32(octaves[0] / cells) ** np.float32(0.8)
    return np.asarray((field - field.mean()) / field.std(), np.float32)


def enlarge(field: Grid, shape: tuple[int, int]) -> Grid:
    """Linear interpolation of a field to a finer grid over the same extent."""
    return np.asarray(
        _weights(field.shape[0], shape[0]) @ field @ _weights(field.shape[1], shape[1]).T, np.float32
    )


def shrink(field: Grid, factor: int) -> Grid:
    """Mean of blocks of factor × factor pixels; the last two axes are rows and columns."""
    *front, rows, cols = field.shape
    blocks = field.reshape(*front, rows // factor, factor, cols // factor, factor)
    return np.asarray(blocks.mean(axis=(-3, -1)), np.float32)


def _weights(coarse: int, fine: int) -> Grid:
    """The matrix (fine × coarse) of linear interpolation weights."""
    at = (np.arange(fine) + 0.5) * (coarse - 1) / fine
    left = np.minimum(at.astype(int), coarse - 2)
    weights = np.zeros((fine, coarse), np.float32)
    weights[np.arange(fine), left] = 1 - (at - left)
    weights[np.arange(fine), left + 1] = at - left
    return weights
