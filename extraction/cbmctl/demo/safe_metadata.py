"""The three XML files of a made-up product, in the words of real ones."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from xml.sax.saxutils import escape

NOTICE = (
    "<!-- SYNTHETIC: made by `cbmctl demo make`; no satellite saw this, only place and form are real. -->"
)
HEAD = f'<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n{NOTICE}\n'
SAFE_FORMAT = "esa/safe/sentinel/1.1/sentinel-2/msi/archive_l2a_user_product"
PSD = "https://psd-15.sentinel2.eo.esa.int/PSD"
# bandId, physicalBand, resolution in m, central wavelength in nm (Sentinel-2B)
SPECTRUM = (
    (0, "B1", 60, 442.2), (1, "B2", 10, 492.1), (2, "B3", 10, 559.0), (3, "B4", 10, 664.9),
    (4, "B5", 20, 703.8), (5, "B6", 20, 739.1), (6, "B7", 20, 779.7), (7, "B8", 10, 832.9),
    (8, "B8A", 20, 864.0), (9, "B9", 60, 943.2), (10, "B10", 60, 1376.9), (11, "B11", 20, 1610.4),
    (12, "B12", 20, 2185.7),
)  # fmt: skip
NAMES = {"S2A": "Sentinel-2A", "S2B": "Sentinel-2B", "S2C": "Sentinel-2C"}


def product_xml(
    *,
    name: str,
    spacecraft: str,
    sensed: datetime,
    orbit: int,
    baseline: str,
    quantification: int,
    offset: int,
    images: Sequence[Path],
    footprint: str,
    shares: Mapping[int, float],
) -> str:
    """MTD_MSIL2A.xml; `footprint` is an EXT_POS_LIST, `shares` the percentage of all pixels by class."""
    start = f"{sensed:%Y-%m-%dT%H:%M:%S.024Z}"
    files = "\n".join(
        f"            <IMAGE_FILE>{path.with_suffix('').as_posix()}</IMAGE_FILE>" for path in images
    )
    offsets = "\n".join(
        f'        <BOA_ADD_OFFSET band_id="{band}">{offset}</BOA_ADD_OFFSET>' for band, *_ in SPECTRUM
    )
    spectrum = "\n".join(
        f'        <Spectral_Information bandId="{band}" physicalBand="{physical}">'
        f"<RESOLUTION>{resolution}</RESOLUTION>"
        f'<Wavelength><CENTRAL unit="nm">{wavelength}</CENTRAL></Wavelength>'
        "</Spectral_Information>"
        for band, physical, resolution, wavelength in SPECTRUM
    )
    return f"""{HEAD}<n1:Level-2A_User_Product xmlns:n1="{PSD}/User_Product_Level-2A.xsd">
  <n1:General_Info>
    <Product_Info>
      <PRODUCT_START_TIME>{start}</PRODUCT_START_TIME>
      <PRODUCT_STOP_TIME>{start}</PRODUCT_STOP_TIME>
      <PRODUCT_URI>{name}</PRODUCT_URI>
      <PROCESSING_LEVEL>Level-2A</PROCESSING_LEVEL>
      <PRODUCT_TYPE>S2MSI2A</PRODUCT_TYPE>
      <PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
      <GENERATION_TIME>1970-01-01T00:00:00.000000Z</GENERATION_TIME>
      <Datatake datatakeIdentifier="G{spacecraft}_{sensed:%Y%m%dT%H%M%S}_000000_N{baseline}">
        <SPACECRAFT_NAME>{NAMES[spacecraft]}</SPACECRAFT_NAME>
        <DATATAKE_TYPE>INS-NOBS</DATATAKE_TYPE>
        <DATATAKE_SENSING_START>{start}</DATATAKE_SENSING_START>
        <SENSING_ORBIT_NUMBER>{orbit}</SENSING_ORBIT_NUMBER>
        <SENSING_ORBIT_DIRECTION>DESCENDING</SENSING_ORBIT_DIRECTION>
      </Datatake>
      <Query_Options completeSingleTile="true">
        <PRODUCT_FORMAT>SAFE_COMPACT</PRODUCT_FORMAT>
      </Query_Options>
      <Product_Organisation>
        <Granule_List>
          <Granule imageFormat="JPEG2000">
{files}
          </Granule>
        </Granule_List>
      </Product_Organisation>
    </Product_Info>
    <Product_Image_Characteristics>
      <Special_Values>
        <SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>
        <SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX>
      </Special_Values>
      <Special_Values>
        <SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>
        <SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX>
      </Special_Values>
      <QUANTIFICATION_VALUES_LIST>
        <BOA_QUANTIFICATION_VALUE unit="none">{quantification}</BOA_QUANTIFICATION_VALUE>
      </QUANTIFICATION_VALUES_LIST>
      <BOA_ADD_OFFSET_VALUES_LIST>
{offsets}
      </BOA_ADD_OFFSET_VALUES_LIST>
      <Spectral_Information_List>
{spectrum}
      </Spectral_Information_List>
    </Product_Image_Characteristics>
  </n1:General_Info>
  <n1:Geometric_Info>
    <Product_Footprint>
      <Product_Footprint>
        <Global_Footprint>
          <EXT_POS_LIST>{footprint} </EXT_POS_LIST>
        </Global_Footprint>
      </Product_Footprint>
    </Product_Footprint>
    <Coordinate_Reference_System>
      <GEO_TABLES version="1">EPSG</GEO_TABLES>
      <HORIZONTAL_CS_TYPE>GEOGRAPHIC</HORIZONTAL_CS_TYPE>
    </Coordinate_Reference_System>
  </n1:Geometric_Info>
  <n1:Quality_Indicators_Info>
    <Cloud_Coverage_Assessment>{_of_valid(shares, 8, 9, 10):.6f}</Cloud_Coverage_Assessment>
    <Image_Content_QI>
{_content(shares)}
    </Image_Content_QI>
  </n1:Quality_Indicators_Info>
</n1:Level-2A_User_Product>
"""


def tile_xml(
    *, tile: str, sensed: datetime, epsg: int, corner: tuple[int, int], side: int, shares: Mapping[int, float]
) -> str:
    """MTD_TL.xml: the grid of the piece (not of the whole tile), sizes and corner in metres."""
    zone, hemisphere = epsg % 100, "N" if epsg // 100 == 326 else "S"
    sizes = "\n".join(
        f'      <Size resolution="{r}"><NROWS>{side // r}</NROWS><NCOLS>{side // r}</NCOLS></Size>'
        for r in (10, 20)
    )
    places = "\n".join(
        f'      <Geoposition resolution="{r}"><ULX>{corner[0]}</ULX><ULY>{corner[1]}</ULY>'
        f"<XDIM>{r}</XDIM><YDIM>-{r}</YDIM></Geoposition>"
        for r in (10, 20)
    )
    return f"""{HEAD}<n1:Level-2A_Tile_ID xmlns:n1="{PSD}/S2_PDI_Level-2A_Tile_Metadata.xsd">
  <n1:General_Info>
    <TILE_ID metadataLevel="Brief">S2_SYNTHETIC_MSI_L2A_TL_{sensed:%Y%m%dT%H%M%S}_A000000_T{tile}</TILE_ID>
    <SENSING_TIME metadataLevel="Standard">{sensed:%Y-%m-%dT%H:%M:%S.024Z}</SENSING_TIME>
  </n1:General_Info>
  <n1:Geometric_Info>
    <Tile_Geocoding metadataLevel="Brief">
      <HORIZONTAL_CS_NAME>WGS84 / UTM zone {zone}{hemisphere}</HORIZONTAL_CS_NAME>
      <HORIZONTAL_CS_CODE>EPSG:{epsg}</HORIZONTAL_CS_CODE>
{sizes}
{places}
    </Tile_Geocoding>
  </n1:Geometric_Info>
  <n1:Quality_Indicators_Info metadataLevel="Standard">
    <Image_Content_QI>
{_content(shares)}
    </Image_Content_QI>
  </n1:Quality_Indicators_Info>
</n1:Level-2A_Tile_ID>
"""


def manifest_xml(name: str, files: Sequence[tuple[Path, int, str]]) -> str:
    """manifest.safe: every file with its size in bytes and its SHA3-256."""
    objects = "\n".join(
        f"""    <dataObject ID="object{n}">
      <byteStream mimeType="application/{"xml" if path.suffix == ".xml" else "octet-stream"}" size="{size}">
        <fileLocation locatorType="URL" href="./{escape(path.as_posix())}"/>
        <checksum checksumName="SHA3-256">{digest}</checksum>
      </byteStream>
    </dataObject>"""
        for n, (path, size, digest) in enumerate(files, start=1)
    )
    return f"""{HEAD}<xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1" version="{SAFE_FORMAT}">
  <informationPackageMap>
    <xfdu:contentUnit textInfo="SENTINEL-2 MSI Level-2A User Product {name}" unitType="Product_Level-2A"/>
  </informationPackageMap>
  <dataObjectSection>
{objects}
  </dataObjectSection>
</xfdu:XFDU>
"""


def _content(shares: Mapping[int, float]) -> str:
    """Image_Content_QI: percentages of the valid pixels, except for the share of no data itself."""
    values = {
        "CLOUDY_PIXEL_PERCENTAGE": _of_valid(shares, 8, 9, 10),
        "NODATA_PIXEL_PERCENTAGE": shares[0],
        "CLOUD_SHADOW_PERCENTAGE": _of_valid(shares, 3),
        "VEGETATION_PERCENTAGE": _of_valid(shares, 4),
        "NOT_VEGETATED_PERCENTAGE": _of_valid(shares, 5),
        "WATER_PERCENTAGE": _of_valid(shares, 6),
        "UNCLASSIFIED_PERCENTAGE": _of_valid(shares, 7),
        "MEDIUM_PROBA_CLOUDS_PERCENTAGE": _of_valid(shares, 8),
        "HIGH_PROBA_CLOUDS_PERCENTAGE": _of_valid(shares, 9),
        "THIN_CIRRUS_PERCENTAGE": _of_valid(shares, 10),
    }
    return "\n".join(f"      <{element}>{value:.6f}</{element}>" for element, value in values.items())


def _of_valid(shares: Mapping[int, float], *classes: int) -> float:
    return 100 * sum(shares[number] for number in classes) / max(100 - shares[0], 1e-9)
