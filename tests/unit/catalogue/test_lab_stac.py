"""The items of the lab's catalogue: in the recorded service's form, and read as the archive itself is."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from shapely import box

from cbmctl.catalogue import http
from cbmctl.catalogue.archive_walk import walk
from cbmctl.catalogue.record import CARDS
from cbmctl.catalogue.service_products import normal
from cbmctl.catalogue.stac import Stac
from tests.conftest import REPOSITORY
from tests.support.products_s2 import make_product, reflectance
from tests.support.recorded_answers import recorded

ITEMS = REPOSITORY / "lab" / "stac" / "items.py"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "eodata"
    (root / make_product(root, {"B02_10m": reflectance()}) / "manifest.safe").touch()
    return root


@pytest.fixture
def item(root: Path, tmp_path: Path) -> dict[str, Any]:
    subprocess.run([sys.executable, str(ITEMS), str(root), str(tmp_path / "stac")], check=True)
    (line,) = (tmp_path / "stac" / "items.ndjson").read_text().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_items_are_in_the_services_form(item: dict[str, Any], testdata: Path) -> None:
    given = recorded(testdata, "stac-item-s2-l2a.json")
    assert item.keys() <= given.keys()
    assert item["properties"].keys() <= given["properties"].keys()
    assert item["assets"].keys() <= given["assets"].keys()
    for name, value in item["properties"].items():
        assert isinstance(value, type(given["properties"][name])), name
    for name, asset in item["assets"].items():
        assert asset.keys() <= given["assets"][name].keys()
        below = given["assets"][name]["href"].split("/IMG_DATA/")[-1].count("/")
        assert asset["href"].split("/IMG_DATA/")[-1].count("/") == below, name


def test_an_item_is_the_record_that_a_walk_makes(item: dict[str, Any], root: Path) -> None:
    (walked,) = walk(root, box(-180, -90, 180, 90), date(2022, 1, 1), date(2023, 1, 1), "s2").records
    told = normal(CARDS["s2"], Stac(http.polite_session(print)).tell(item))
    assert told.published is not None
    # what only the product's own metadata say is read when it is extracted
    assert replace(told, published=None, boa_offset=walked.boa_offset) == walked
