"""A real STAC server, stac-fastapi with pgstac on the tests' PostGIS, with items like the recorded one."""

import copy
import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from psycopg import conninfo
from shapely import box
from shapely.geometry import mapping

from tests import peers
from tests.support.recorded_answers import recorded

Item = dict[str, Any]
COLLECTION = "sentinel-2-l2a"
TILES = [f"32V{column}{row}" for column in "KLMNP" for row in "HJKLMN"]
AREA = box(6, 55, 16, 61)
SEASON = datetime(2021, 1, 1, 10, 29, 21)
# Of the 43 assets of an item these stay: as many as it takes to be in the service's shape, and 10,000 items
# are loaded in a minute and not in ten.
_ASSETS = ("safe_manifest", "product_metadata", "B02_10m", "SCL_20m", "thumbnail", "Product")


class Maker:
    """Makes items of the recorded one."""

    def __init__(self, testdata: Path) -> None:
        self._item: Item = recorded(testdata, "stac-item-s2-l2a.json")
        self._item["assets"] = {name: self._item["assets"][name] for name in _ASSETS}
        self._name = self._item["id"]

    def item(self, number: int, tile: str, baseline: str = "0500", made: str = "20230301T010203") -> Item:
        """The item of a tile on the day `number` of the season; the tiles of a day are one datatake."""
        sensed = SEASON + timedelta(days=number)
        platform = "AB"[number % 2]
        name = f"S2{platform}_MSIL2A_{sensed:%Y%m%dT%H%M%S}_N{baseline}_R108_T{tile}_{made}"
        text = json.dumps(self._item).replace("2022/02/17", f"{sensed:%Y/%m/%d}").replace(self._name, name)
        item: Item = json.loads(text)
        place = TILES.index(tile)
        x, y = 6 + 2 * (place // 6), 55 + place % 6
        outline = box(x - 0.1, y - 0.05, x + 2.1, y + 1.05)
        time = f"{sensed:%Y-%m-%dT%H:%M:%S}.024000Z"
        item["geometry"], item["bbox"] = mapping(outline), list(outline.bounds)
        item["properties"] |= {
            "datetime": time,
            "start_datetime": time,
            "end_datetime": time,
            "published": f"{sensed + timedelta(hours=8):%Y-%m-%dT%H:%M:%S}.150523Z",
            "platform": f"sentinel-2{platform.lower()}",
            "grid:code": f"MGRS-{tile}",
            "processing:version": f"{baseline[:2]}.{baseline[2:]}",
            "processing:datetime": f"{datetime.strptime(made, '%Y%m%dT%H%M%S').isoformat()}.000000Z",
            "eopf:datatake_id": f"GS2{platform}_{sensed:%Y%m%dT%H%M%S}_034773_N{baseline[:2]}.{baseline[2:]}",
            "eopf:datastrip_id": f"S2{platform}_OPER_MSI_L2A_DS_S2RP_{made}_S{sensed:%Y%m%dT%H%M%S}_N05.00",
        }
        return item


@contextmanager
def stac_server(dsn: str, items: Iterator[Item], collection: Item, folder: Path) -> Iterator[str]:
    """Load items into a database that has PostGIS, serve them, and yield the address of the landing page."""
    where = conninfo.conninfo_to_dict(dsn)
    environment = {
        "PGHOST": str(where["host"]),
        "PGPORT": str(where["port"]),
        "PGUSER": str(where["user"]),
        "PGPASSWORD": str(where["password"]),
        "PGDATABASE": str(where["dbname"]),
    }
    peers.run("pypgstac", "migrate", environment=environment)
    for kind, objects in (("collections", [collection]), ("items", items)):
        file = folder / f"{kind}.ndjson"
        with file.open("w") as lines:
            lines.writelines(json.dumps(each) + "\n" for each in objects)
        peers.run("pypgstac", "load", kind, str(file), "--method", "insert_ignore", environment=environment)
        file.unlink()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = ["--factory", "stac_fastapi.pgstac.app:create_app", "--host", "127.0.0.1", "--port", str(port)]
    address, log = f"http://127.0.0.1:{port}", folder / "stac.log"
    with peers.serving("uvicorn", *program, environment=environment, log=log):
        _until_it_answers(address, log)
        yield address


def collection(testdata: Path) -> Item:
    """The recorded collection."""
    found: Item = copy.deepcopy(recorded(testdata, "stac-collection-sentinel-2-l2a.json"))
    return found


def _until_it_answers(address: str, log: Path) -> None:
    end = time.monotonic() + 180
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310 - this machine's
                return
        except OSError:
            assert time.monotonic() < end, f"the STAC server does not start: {log.read_text()[-2000:]}"
            time.sleep(0.3)
