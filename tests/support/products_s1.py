"""Small Sentinel-1 products as SNAP writes them, for tests."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

BS_NAME = "S1A_IW_GRDH_1SDV_20220305T172532_20220305T172557_042192_050747_0A1B_CARD_BS"
BS_FOLDER = "Sentinel-1/SAR/CARD-BS/2022/03/05"
C6_NAME = "S1B_20210302T172619__1A__20210224T172620_20210224T172647_CARD-COH6"
C6_FOLDER = "Sentinel-1/SAR/CARD-COH6/2021/03/02"
LEFT, TOP = 475783.4, 5255006.8  # near Zürich, off the 10 m grid as SNAP's origins are
PAIR = "12Feb2021_18Feb2021"


def power(height: int = 40, width: int = 30, seed: int = 1) -> NDArray[np.float32]:
    """Backscatter as linear power, without nodata."""
    return np.random.default_rng(seed).gamma(4, 0.03, (height, width)).astype(np.float32) + np.float32(1e-4)


def coherences(height: int = 60, width: int = 50, seed: int = 1) -> dict[str, NDArray[np.float32]]:
    """Coherence of fields in winter: nearly everywhere VV is the higher one."""
    random = np.random.default_rng(seed)
    means = {"VV": 0.65, "VH": 0.38}
    return {
        name: random.normal(mean, 0.08, (height, width)).clip(0.01, 0.99).astype(np.float32)
        for name, mean in means.items()
    }


def envi_header(
    shape: tuple[int, int],
    *,
    epsg: int = 32632,
    step: float = 10,
    left: float = LEFT,
    changes: Mapping[str, str | None] | None = None,
) -> str:
    """Text of a `.hdr`; `changes` replaces fields, None takes one away."""
    zone, half = f"{epsg % 100}", "South" if epsg // 100 == 327 else "North"
    fields: dict[str, str | None] = {
        "description": "{Sentinel-1 gamma0\n  - Unit: intensity}",
        "samples": str(shape[1]),
        "lines": str(shape[0]),
        "bands": "1",
        "header offset": "0",
        "file type": "ENVI Standard",
        "data type": "4",
        "interleave": "bsq",
        "byte order": "1",
        "map info": f"{{UTM, 1.0, 1.0, {left}, {TOP}, {step}, {step}, {zone}, {half}, WGS-84, units=Meters}}",
    }
    fields |= changes or {}
    return "ENVI\n" + "".join(f"{key} = {value}\n" for key, value in fields.items() if value is not None)


def write_envi(image: Path, values: NDArray[Any], header: str | None = None) -> None:
    """Write an image with big-endian pixels, whatever the header says."""
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(values.astype(values.dtype.newbyteorder(">")).tobytes())
    image.with_suffix(".hdr").write_text(envi_header(values.shape) if header is None else header)


def make_backscatter(
    root: Path,
    images: Mapping[str, NDArray[Any]],
    *,
    name: str = BS_NAME,
    folder: str = BS_FOLDER,
    **header: Any,
) -> str:
    """Write a CARD-BS product with `images` by polarisation; return its path. `header`: see envi_header."""
    path = f"{folder}/{name}"
    (root / path).mkdir(parents=True, exist_ok=True)
    for polarisation, values in images.items():
        image = root / path / f"{name}.data" / f"Gamma0_{polarisation}.img"
        write_envi(image, values, envi_header(values.shape, **header))
    return path


def make_coherence(
    root: Path,
    bands: Sequence[NDArray[Any]],
    descriptions: Sequence[str] = (),
    *,
    name: str = C6_NAME,
    folder: str = C6_FOLDER,
    epsg: int | None = 32632,
    step: float = 20,
    **options: Any,
) -> str:
    """Write a CARD-COH product with GDAL; return its path. `options`: of rasterio, or `tags` of the file."""
    path = f"{folder}/{name}"
    (root / path).mkdir(parents=True)
    tags = options.pop("tags", {})
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": bands[0].shape[0],
        "width": bands[0].shape[1],
        "count": len(bands),
        "dtype": bands[0].dtype,
        "crs": None if epsg is None else f"EPSG:{epsg}",
        "transform": Affine(step, 0, LEFT, 0, -step, TOP),
    }
    with rasterio.open(root / path / f"{name}.tif", "w", **(profile | options)) as dataset:
        dataset.update_tags(**tags)
        for number, values in enumerate(bands, start=1):
            dataset.write(values, number)
        for number, description in enumerate(descriptions, start=1):
            dataset.set_band_description(number, description)
    return path


def dimap(names: Sequence[str], virtual: Sequence[str] = ()) -> str:
    """BEAM-DIMAP header of a product with these bands; `virtual` ones are listed and not stored."""
    bands = "".join(
        f"<Spectral_Band_Info><BAND_INDEX>{index}</BAND_INDEX><BAND_NAME>{name}</BAND_NAME>"
        f"{'<VIRTUAL_BAND>true</VIRTUAL_BAND>' if name in virtual else ''}</Spectral_Band_Info>"
        for index, name in enumerate([*virtual, *names])
    )
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?><Dimap_Document name="coh.dim">'
        f"<Image_Interpretation>{bands}</Image_Interpretation></Dimap_Document>"
    )


def write_snap_tiff(
    tif: Path, bands: Sequence[NDArray[np.float32]], text: str, *, epsg: int = 32632, big: bool = False
) -> None:
    """Write a GeoTIFF as SNAP does: big-endian, one strip per band, its DIMAP header in tag 65000."""
    height, width = bands[0].shape
    count, strip = len(bands), height * width * 4
    model = [(1024, 0, 1, 1), (1025, 0, 1, 1), (3072, 0, 1, epsg)]
    geokeys = [1, 1, 0, len(model), *(number for key in model for number in key)]
    wide, entry, layout = (8, ">HHQ", "Q") if big else (4, ">HHI", "I")
    fields: list[tuple[int, int, str, list[Any]]] = [
        (256, 4, "I", [width]),
        (257, 4, "I", [height]),
        (258, 3, "H", [32] * count),
        (259, 3, "H", [1]),
        (262, 3, "H", [1]),
        (273, 4, "I", [0] * count),
        (277, 3, "H", [count]),
        (278, 4, "I", [height]),
        (279, 4, "I", [strip] * count),
        (284, 3, "H", [2]),
        (339, 3, "H", [3] * count),
        (33550, 12, "d", [20.0, 20.0, 0.0]),
        (33922, 12, "d", [0.0, 0.0, 0.0, LEFT, TOP, 0.0]),
        (34735, 3, "H", geokeys),
        (65000, 2, "s", [text.encode("latin-1") + b"\0"]),
    ]
    start = 16 if big else 8
    directory_end = start + struct.calcsize(">Q" if big else ">H") + len(fields) * (4 + 2 * wide) + wide
    sizes = [
        len(value[0]) if code == "s" else struct.calcsize(f">{len(value)}{code}")
        for _, _, code, value in fields
    ]
    pixels = directory_end + sum(size for size in sizes if size > wide)
    directory = struct.pack(">Q" if big else ">H", len(fields))
    beside = b""
    for tag, kind, code, value in fields:
        numbers = [pixels + number * strip for number in range(count)] if tag == 273 else value
        data = numbers[0] if code == "s" else struct.pack(f">{len(numbers)}{code}", *numbers)
        directory += struct.pack(entry, tag, kind, len(data) if code == "s" else len(numbers))
        if len(data) > wide:
            directory += struct.pack(f">{layout}", directory_end + len(beside))
            beside += data
        else:
            directory += data.ljust(wide, b"\0")
    magic = b"MM\0+\0\x08\0\0" if big else b"MM\0*"
    tif.parent.mkdir(parents=True, exist_ok=True)
    tif.write_bytes(
        magic
        + struct.pack(f">{layout}", start)
        + directory
        + bytes(wide)
        + beside
        + b"".join(values.astype(">f4").tobytes() for values in bands)
    )
