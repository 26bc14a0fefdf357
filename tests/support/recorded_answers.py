"""Recorded answers of catalogue services, and products made of them for other days and places."""

import copy
import json
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from shapely import box
from shapely.affinity import translate
from shapely.geometry import mapping, shape

Product = dict[str, Any]
DAY = datetime(2024, 2, 6, 4, 11, 37)


def recorded(testdata: Path, name: str) -> Any:
    """A recorded answer; without it the test says that it proves nothing."""
    path = testdata / "catalogue" / name
    if not path.is_file():
        pytest.skip(f"RECORDED ANSWERS ABSENT: {path} is not there; this test proves nothing here")
    return json.loads(path.read_text())


def backscatter(testdata: Path, number: int, **changes: Any) -> Product:
    """The recorded CARD-BS product, sensed `number` minutes later and moved a little: one of many."""
    (product,) = recorded(testdata, "odata-products-card-bs.json")["value"]
    return moved(product, number, **changes)


def moved(product: Product, number: int, **changes: Any) -> Product:
    """A CARD-BS product of another time."""
    start = DAY + timedelta(minutes=number)
    end = start + timedelta(seconds=25)
    times = f"{start:%Y%m%dT%H%M%S}_{end:%Y%m%dT%H%M%S}"
    name = f"S1A_IW_GRDH_1SDV_{times}_052433_06574A_{number % 65536:04X}_CARD_BS"
    own = copy.copy(product)
    own |= {
        "_collection": "SENTINEL-1",
        "Id": str(uuid.UUID(int=number)),
        "Name": name,
        "S3Path": f"/eodata/Sentinel-1/SAR/CARD-BS/{start:%Y/%m/%d}/{name}",
        "ContentDate": {"Start": f"{start:%Y-%m-%dT%H:%M:%S}.189Z", "End": f"{end:%Y-%m-%dT%H:%M:%S}.187Z"},
        "PublicationDate": f"{start + timedelta(hours=22):%Y-%m-%dT%H:%M:%S}.757Z",
    }
    return own | changes


def many(testdata: Path, numbers: range) -> Iterator[Product]:
    """Many of them."""
    (product,) = recorded(testdata, "odata-products-card-bs.json")["value"]
    return (moved(product, number) for number in numbers)


def east(product: Product, degrees: float) -> Any:
    """The product's outline further east."""
    return mapping(translate(shape(product["GeoFootprint"]), degrees))


AREA = box(30, 52, 31, 53)  # within the recorded outline


def sentinel2(testdata: Path, number: int, tile: str = "32TMT", **changes: Any) -> Product:
    """The recorded Sentinel-2 product as one of level 2A over AREA, sensed `number` days after DAY."""
    product = recorded(testdata, "odata-products-search-eodag.json")["value"][0]
    start = DAY + timedelta(days=number)
    name = f"S2A_MSIL2A_{start:%Y%m%dT%H%M%S}_N0510_R045_T{tile}_20240516T022440.SAFE"
    given = {
        "tileId": tile,
        "productType": "S2MSI2A",
        "processorVersion": "05.10",
        "processingLevel": "S2MSI2A",
    }
    attributes = [each | {"Value": given.get(each["Name"], each["Value"])} for each in product["Attributes"]]
    time = f"{start:%Y-%m-%dT%H:%M:%S}.024000Z"
    own = {
        "_collection": "SENTINEL-2",
        "Id": str(uuid.UUID(int=2**64 + number)),
        "Name": name,
        "S3Path": f"/eodata/Sentinel-2/MSI/L2A_N0500/{start:%Y/%m/%d}/{name}",
        "ContentDate": {"Start": time, "End": time},
        "Attributes": attributes,
        "GeoFootprint": mapping(AREA),
    }
    return product | own | changes
