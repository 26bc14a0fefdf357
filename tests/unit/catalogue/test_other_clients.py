"""The OData server of the tests is no mirror of our own beliefs: others' clients find in it what we find."""

import json
from datetime import datetime
from pathlib import Path

import pytest
from shapely import box

from cbmctl.catalogue import http
from cbmctl.catalogue.http import Manners
from cbmctl.catalogue.odata import OData
from cbmctl.catalogue.record import CARDS
from cbmctl.catalogue.service_interface import Question
from cbmctl.catalogue.slicing import complete
from tests import peers
from tests.support.odata_server import Catalogue, serve
from tests.support.recorded_answers import AREA, many, sentinel2

START, END = datetime(2024, 2, 1), datetime(2024, 3, 1)

# Without its downloader, which asks the identity service even where nothing is downloaded.
EODAG = """
import json, sys
from eodag import EODataAccessGateway
from eodag.api.product import EOProduct
EOProduct._register_downloader_from_manager = lambda *_: None
dag = EODataAccessGateway()
dag.update_providers_config(
    dict_conf={"cop_dataspace": {"search": {"api_endpoint": sys.argv[1] + "/Products"}}})
found = dag.search_all(
    provider="cop_dataspace", collection="S2_MSI_L2A", start="2024-02-01", end="2024-03-01",
    geom={"lonmin": 30, "latmin": 52, "lonmax": 31, "latmax": 53}, items_per_page=7,
)
print(json.dumps([product.properties["title"] for product in found]))
"""

CDSETOOL = """
import json, sys
from cdsetool.query import FeatureQuery, query_features
build = FeatureQuery._build_query_url
FeatureQuery._build_query_url = lambda self, **options: build(self, **options).replace(
    "https://catalogue.dataspace.copernicus.eu/odata/v1", sys.argv[1])
found = query_features("SENTINEL-1", {
    "productType": "CARD-BS", "contentDateStart": "[2024-02-01,2024-03-01)",
    "geometry": "POLYGON((30 52,31 52,31 53,30 53,30 52))", "top": 100,
}, options={"expand_attributes": True})
print(json.dumps([[len(found)], [p["Name"] for p in found]]))
"""


def ours(url: str, card: str) -> list[str]:
    odata = OData(http.polite_session(print, Manners(per_second=1e6)), url)
    question = Question(CARDS[card], START, END, box(*AREA.bounds))
    return sorted(str(product["Name"]) for product in complete(odata, question))


@pytest.mark.thorough
def test_eodag(testdata: Path, tmp_path: Path) -> None:
    known = Catalogue(
        [*(sentinel2(testdata, number) for number in range(-10, 40)), *many(testdata, range(5))]
    )
    with serve(known) as url:
        environment = {
            "EODAG_CFG_DIR": str(tmp_path),
            "EODAG_EXT_COLLECTIONS_CFG_FILE": "",
            "HOME": str(tmp_path),
        }
        found = json.loads(peers.run("python", "-c", EODAG, url, environment=environment).splitlines()[-1])
        assert sorted(f"{title}.SAFE" for title in found) == ours(url, "s2")
    assert len(found) == 29


def test_cdsetool(testdata: Path) -> None:
    known = Catalogue(
        [*many(testdata, range(0, 60_000, 90)), *(sentinel2(testdata, day) for day in range(9))]
    )
    with serve(known) as url:
        (count,), names = json.loads(peers.run("python", "-c", CDSETOOL, url).splitlines()[-1])
        assert count == len(names) > 300
        assert sorted(names) == ours(url, "bs")
