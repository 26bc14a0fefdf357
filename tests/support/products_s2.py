"""Small products in the archive's true layout, for tests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from cbmctl.scenes import Band

NAME = "S2A_MSIL2A_20220305T102921_N0400_R108_T32TMT_20220305T135811.SAFE"
FOLDER = "Sentinel-2/MSI/L2A/2022/03/05"
LEFT, TOP = 475780.0, 5255000.0  # near Zürich; in degrees about 8.677 E, 47.448 N
BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")


def metadata(
    offsets: Mapping[int, int] | None = None, *, bands: str = "", footprint: str = "", cloud: str = ""
) -> str:
    """MTD_MSIL2A.xml with what differs between products."""
    listed = "".join(
        f'<BOA_ADD_OFFSET band_id="{band}">{value}</BOA_ADD_OFFSET>'
        for band, value in (offsets or {}).items()
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd">
  <n1:General_Info>
    <Product_Info><PROCESSING_BASELINE>04.00</PROCESSING_BASELINE></Product_Info>
    <Product_Image_Characteristics>
      <QUANTIFICATION_VALUES_LIST>
        <BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>
      </QUANTIFICATION_VALUES_LIST>
      {f"<BOA_ADD_OFFSET_VALUES_LIST>{listed}</BOA_ADD_OFFSET_VALUES_LIST>" if listed else ""}
      {f"<Spectral_Information_List>{bands}</Spectral_Information_List>" if bands else ""}
    </Product_Image_Characteristics>
  </n1:General_Info>
  {
        f"<n1:Geometric_Info><Product_Footprint><Product_Footprint><Global_Footprint>"
        f"<EXT_POS_LIST>{footprint}</EXT_POS_LIST></Global_Footprint></Product_Footprint></Product_Footprint>"
        f"</n1:Geometric_Info>"
        if footprint
        else ""
    }
  {
        f"<n1:Quality_Indicators_Info><Cloud_Coverage_Assessment>{cloud}</Cloud_Coverage_Assessment>"
        f"</n1:Quality_Indicators_Info>"
        if cloud
        else ""
    }
</n1:Level-2A_User_Product>"""


def spectral_information(names: tuple[str, ...] = BANDS) -> str:
    return "".join(
        f'<Spectral_Information bandId="{number}" physicalBand="{name}"/>'
        for number, name in enumerate(names)
    )


def write_image(
    path: Path,
    values: NDArray[Any],
    resolution: float,
    epsg: int | None = 32632,
    driver: str = "JP2OpenJPEG",
    *,
    corner: tuple[float, float] = (LEFT, TOP),
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"REVERSIBLE": "YES", "QUALITY": "100"} if driver == "JP2OpenJPEG" else {}
    with rasterio.open(
        path,
        "w",
        driver=driver,
        height=values.shape[0],
        width=values.shape[1],
        count=1,
        dtype=values.dtype,
        crs=None if epsg is None else f"EPSG:{epsg}",
        transform=Affine(resolution, 0, corner[0], 0, -resolution, corner[1]),
        **options,
    ) as dataset:
        dataset.write(values, 1)


def make_product(
    root: Path,
    bands: Mapping[str, NDArray[Any]],
    xml: str | None = None,
    *,
    name: str = NAME,
    folder: str = FOLDER,
    epsg: int = 32632,
    corner: tuple[float, float] = (LEFT, TOP),
) -> str:
    """Write a product with `bands` ("B02_10m" to array) below `root`; return its path there."""
    path = f"{folder}/{name}"
    sensing, tile = name.split("_")[2], name.split("_")[5]
    images = root / path / "GRANULE" / f"L2A_{tile}_A000000_{sensing}" / "IMG_DATA"
    images.mkdir(parents=True)
    (root / path / "MTD_MSIL2A.xml").write_text(metadata({}) if xml is None else xml)
    for band, values in bands.items():
        resolution = band.split("_")[1]
        write_image(
            images / f"R{resolution}" / f"{tile}_{sensing}_{band}.jp2",
            values,
            float(resolution[:-1]),
            epsg,
            corner=corner,
        )
    return path


def read_band(band: Band) -> NDArray[Any]:
    with rasterio.open(band.path) as dataset:
        image: NDArray[Any] = dataset.read(band.number)
    return image


def image_file(root: Path, path: str, band: str) -> Path:
    return next((root / path).glob(f"GRANULE/*/IMG_DATA/*/*_{band}.jp2"))


def reflectance(height: int = 40, width: int = 40, seed: int = 1) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(1, 12000, (height, width), dtype=np.uint16)
