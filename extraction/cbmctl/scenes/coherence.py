"""Sentinel-1 coherence: CARD-COH6 and CARD-COH12 products, one GeoTIFF with one or two bands."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cbmctl.pixels.grid import Grid
from cbmctl.reasons import file_missing
from cbmctl.scenes import Band, Scene, SceneError
from cbmctl.scenes.polarisations import stated_polarisations
from cbmctl.scenes.sentinel1 import FlawError, find, opened, polarisations

RESOLUTION = 20
# What is read of a product, as a regular expression.
FILES = r"[^/]+\.tif(\.aux\.xml)?"

# The order of two bands in a file that states none. SNAP's Coherence operator sorts its bands by name, and
# the graph behind CARD-COH selects VH,VV. ec-jrc/cbm takes band 1 for VV; but in the series published there
# "VH" is the higher one wherever the ground is coherent, as VV should be: band 1 was VH.
_SNAP_ORDER = ("VH", "VV")
_COHERENT = 0.5  # above this it is hardly chance
_SAMPLED_BLOCKS = 40
_MIN_SAMPLE = 1000  # coherent pixels; fewer tell nothing
_CONTRADICTION = 2 / 3  # of them with more coherence in VH than in VV


def open_coherence(root: Path, path: str, bands: Sequence[str]) -> Scene:
    """Open a CARD-COH6 or CARD-COH12 product: `VVc`, `VHc`, coherence from 0 to 1, float32, 20 m.

    Which band is which polarisation is what the file states, checked against the product's name where that
    tells. A file with two bands that states nothing has SNAP's order, VH before VV, unless its pixels say
    otherwise: on coherent ground VV is the higher one.

    Args:
        root: the archive's root.
        path: the product folder below it, the catalogue's `path`.
        bands: those wanted; of a product in one polarisation the scene has the ones there are.

    Raises:
        SceneError: the product is missing (`!S3 subdir`), or its image, or all of the bands (`!S3 .tif`);
            the image cannot be used, or it cannot be told which band is which (`Rio error`).
    """
    folder = root / path
    image = find_image(folder)
    with opened(image, folder.name, RESOLUTION) as (grid, dataset):
        if dataset.count not in (1, 2):
            raise FlawError(f"holds {dataset.count} bands instead of one or two")
        _check_length(dataset, image)
        held = _polarisations(dataset, image, polarisations(folder.name))
        found = tuple(Band(band, image, held.index(band[:2]) + 1) for band in bands if band[:2] in held)
    if not found:
        raise SceneError(
            file_missing(".tif"),
            f"{image.name} of {folder.name} has no {' or '.join(bands)}: it holds {' and '.join(held)}",
        )
    return Scene(folder.name, grid, found)


def find_image(folder: Path) -> Path:
    """Return a product's GeoTIFF.

    Raises:
        SceneError: the product is missing (`!S3 subdir`), or its image (`!S3 .tif`).
    """
    images = find(folder, "*.tif")
    if not images:
        raise SceneError(file_missing(".tif"), f"{folder.name} has no {folder.name}.tif")
    return next((image for image in images if image.stem == folder.name), images[0])


def grid_of(folder: Path) -> Grid:
    """Return the grid of a product; SceneError as for find_image, or when it cannot be used."""
    with opened(find_image(folder), folder.name, RESOLUTION) as (grid, _):
        return grid


def _polarisations(dataset: Any, image: Path, promised: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the polarisation of each band."""
    stated = stated_polarisations(dataset, image)
    if stated is None:
        return _unstated_polarisations(dataset, promised)
    if promised is not None and not set(stated) <= set(promised):
        raise FlawError(f"states {' and '.join(stated)}, its product's name {' and '.join(promised)}")
    return stated


def _unstated_polarisations(dataset: Any, promised: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the polarisation of each band where only the product's name and the pixels can tell."""
    if dataset.count == 1:
        if promised is None or len(promised) != 1:
            raise FlawError("does not say which polarisation its band is, and its name does not either")
        return promised
    if set(promised or _SNAP_ORDER) != set(_SNAP_ORDER):
        raise FlawError(f"does not say which of its bands is which of {' and '.join(promised or ())}")
    if _higher(dataset, 1) > _CONTRADICTION:
        raise FlawError(
            "does not state which band is VV and which VH, and its pixels contradict the usual order: "
            "where the ground is coherent, band 1, which should be VH, is higher than band 2"
        )
    return _SNAP_ORDER


def _higher(dataset: Any, number: int) -> float:
    """Return the share of coherent pixels where one of two bands is the higher one; 0: too few to tell."""
    blocks = [window for _, window in dataset.block_windows(1)]
    step = max(1, len(blocks) // _SAMPLED_BLOCKS)
    coherent = higher = 0
    for window in blocks[step // 2 :: step]:
        one, other = dataset.read([number, 3 - number], window=window)
        # 0 and NaN are no observations; NaN compares as False
        usable = (np.minimum(one, other) > 0) & (np.maximum(one, other) > _COHERENT)
        coherent += int(np.count_nonzero(usable))
        higher += int(np.count_nonzero(usable & (one > other)))
    return higher / coherent if coherent >= _MIN_SAMPLE else 0.0


def _check_length(dataset: Any, image: Path) -> None:
    """Raise FlawError when the last block lies beyond the file; GDAL tells only when it gets there."""
    rows, columns = dataset.block_shapes[-1]
    last = f"{(dataset.width - 1) // columns}_{(dataset.height - 1) // rows}"
    start, length = (
        dataset.get_tag_item(f"BLOCK_{what}_{last}", "TIFF", bidx=dataset.count)
        for what in ("OFFSET", "SIZE")
    )
    if start is None or length is None:
        return  # a block that was never written
    size, expected = image.stat().st_size, int(start) + int(length)
    if size < expected:
        raise FlawError(f"is truncated: {size} of at least {expected} bytes")
