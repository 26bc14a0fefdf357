"""Sentinel-1 backscatter: CARD-BS products, one ENVI image per band as SNAP writes its BEAM-DIMAP."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cbmctl.pixels.grid import Grid
from cbmctl.reasons import UNREADABLE, file_missing
from cbmctl.scenes import Band, RawLayout, Scene, SceneError
from cbmctl.scenes.sentinel1 import FlawError, find, opened, polarisations

RESOLUTION = 10
_BYTE_ORDERS = {"0": "<f4", "1": ">f4"}
_PIXEL_BYTES = 4
# What is read of a product, as a regular expression.
FILES = r"[^/]+\.data/Gamma0_V[VH][^/]*\.(img|hdr)(\.aux\.xml)?"


def open_backscatter(root: Path, path: str, bands: Sequence[str]) -> Scene:
    """Open a CARD-BS product: `VVb`, `VHb`, gamma0 in linear power, float32, 10 m.

    Args:
        root: the archive's root.
        path: the product folder below it, the catalogue's `path`.
        bands: those wanted; of a product in one polarisation the scene has the ones there are.

    Raises:
        SceneError: the product is missing (`!S3 subdir`), or an image that its name promises (`!S3 VV.img`)
            or its header (`!S3 VV.hdr`); it has none of the bands (`!S3 VV.img`); an image cannot be used
            (`Rio error`).
    """
    folder = root / path
    images = find_images(folder)
    promised = polarisations(folder.name) or tuple(images)
    wanted = [band for band in bands if band[:2] in promised]
    if not wanted:
        raise SceneError(
            file_missing(f"{bands[0][:2]}.img"),
            f"{folder.name} has no {' or '.join(bands)}: it holds {' and '.join(promised) or 'no image'}",
        )
    (grid, first), *others = [_open(images, band, folder) for band in wanted]
    for other_grid, other in others:
        if other_grid != grid:
            raise SceneError(
                UNREADABLE, f"{other.path.name} of {folder.name} is not on the grid of {first.path.name}"
            )
    return Scene(folder.name, grid, (first, *(other for _, other in others)))


def find_images(folder: Path) -> dict[str, Path]:
    """Return the images of a product by polarisation, "VH" and "VV".

    Raises:
        SceneError: the product is missing (`!S3 subdir`) or cannot be listed (`Rio error`).
    """
    own = f"{folder.name}.data"
    images: dict[str, Path] = {}
    for image in sorted(find(folder, "*.data/Gamma0_V[VH].img"), key=lambda image: image.parent.name != own):
        images.setdefault(image.stem[-2:], image)
    return images


def any_grid(folder: Path) -> Grid:
    """Return the grid of one of a product's images.

    Raises:
        SceneError: there is none (`!S3 VV.img`), or it cannot be used (`Rio error`).
    """
    image = next(iter(find_images(folder).values()), None)
    if image is None:
        raise SceneError(file_missing("VV.img"), f"{folder.name} has no {folder.name}.data/Gamma0_VV.img")
    with opened(image, folder.name, RESOLUTION) as (grid, _):
        return grid


def _open(images: dict[str, Path], band: str, folder: Path) -> tuple[Grid, Band]:
    polarisation = band[:2]
    image = images.get(polarisation)
    if image is None:
        raise SceneError(
            file_missing(f"{polarisation}.img"),
            f"{folder.name} has no {folder.name}.data/Gamma0_{polarisation}.img",
        )
    if not find(image.parent, f"{image.stem}*.hdr"):
        raise SceneError(
            file_missing(f"{polarisation}.hdr"), f"{image.name} of {folder.name} has no {image.stem}.hdr"
        )
    with opened(image, folder.name, RESOLUTION) as (grid, dataset):
        if dataset.count != 1:
            raise FlawError(f"holds {dataset.count} bands instead of one")
        return grid, Band(band, image, raw=_raw_layout(dataset, image))


def _raw_layout(dataset: Any, image: Path) -> RawLayout | None:
    """Return where the pixels lie when the file is those of one band and nothing else, else None.

    Raises:
        FlawError: the header does not state the byte order, which GDAL would guess; or the file is shorter
            than it says.
    """
    if dataset.driver != "ENVI":
        return None
    header = {key.lower(): value.strip() for key, value in dataset.tags(ns="ENVI").items()}
    dtype, start = _BYTE_ORDERS.get(header.get("byte_order", "")), header.get("header_offset", "0")
    if dtype is None or not start.isdecimal():
        raise FlawError("has a header that does not state byte order (0 or 1) and header offset")
    if header.get("file_compression", "0") != "0":
        return None
    size = image.stat().st_size
    expected = int(start) + dataset.height * dataset.width * _PIXEL_BYTES
    if size < expected:
        raise FlawError(f"is truncated: {size} of {expected} bytes")
    return RawLayout(dtype, int(start)) if size == expected and header.get("data_type") == "4" else None
