"""Level-1 products of Sentinel-1 as OData lists them: recorded ones, of other times and places."""

import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from shapely import Polygon, box
from shapely.geometry import mapping

from tests.support.recorded_answers import Product, recorded

SLICE = timedelta(seconds=27)
PLACE = box(29, 51, 32, 54)  # around recorded.AREA
_NAMES = {
    "grd": "S{}_IW_GRDH_1SDV_{}_{}_{:06d}_06574A_{}.SAFE",
    "slc": "S{}_IW_SLC__1SDV_{}_{}_{:06d}_06574A_{}.SAFE",
}
_RECORDS = {"grd": "odata-product-s1-grd-single.json", "slc": "odata-products-doc-sample.json"}
_TYPES = {"grd": "IW_GRDH_1S", "slc": "IW_SLC__1S"}


def level_1(
    testdata: Path,
    kind: str,
    start: datetime,
    *,
    sensor: str = "1A",
    orbit: int = 52433,
    place: Polygon = PLACE,
    timeliness: str | None = "NRT-3h",
    tail: str = "9703",
    **changes: Any,
) -> Product:
    """A product of `kind` grd or slc; `orbit` is the absolute one, of which the relative one follows."""
    answer = recorded(testdata, _RECORDS[kind])
    product = answer["value"][0] if "value" in answer else answer
    end = start + SLICE
    name = _NAMES[kind].format(sensor, f"{start:%Y%m%dT%H%M%S}", f"{end:%Y%m%dT%H%M%S}", orbit, tail)
    given = {"productType": _TYPES[kind], "timeliness": timeliness, "relativeOrbitNumber": None}
    attributes = [
        each | {"Value": given.get(each["Name"], each["Value"])}
        for each in product["Attributes"]
        if each["Name"] not in given or given[each["Name"]] is not None
    ]
    own = {
        "_collection": "SENTINEL-1",
        "Id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
        "Name": name,
        "S3Path": f"/eodata/Sentinel-1/SAR/{_TYPES[kind]}/{start:%Y/%m/%d}/{name}",
        "ContentDate": {"Start": f"{start:%Y-%m-%dT%H:%M:%S}.189Z", "End": f"{end:%Y-%m-%dT%H:%M:%S}.187Z"},
        "PublicationDate": f"{start + timedelta(hours=3):%Y-%m-%dT%H:%M:%S}.757Z",
        "GeoFootprint": mapping(place),
        "Attributes": attributes,
    }
    return {key: value for key, value in product.items() if key != "@odata.context"} | own | changes
