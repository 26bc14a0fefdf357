"""A small season for queue and worker: parcels, an area, and scenes that a test adds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely import Polygon, box

from cbmctl.config import Config
from cbmctl.database import connect
from cbmctl.queue.planning import plan
from cbmctl.worker.pipeline import work
from cbmctl.worker.stop_signal import Stop
from tests.conftest import Database
from tests.support.products_s2 import LEFT, TOP, make_product, metadata

EPSG = 32632
# On an image of 400 x 400 m: a rectangle off the pixels' borders, a triangle, and one far away.
PARCELS: Mapping[int, Polygon] = {
    1: box(LEFT + 23, TOP - 177, LEFT + 161, TOP - 42),
    7: Polygon([(LEFT + 210, TOP - 390), (LEFT + 380, TOP - 215), (LEFT + 395, TOP - 380)]),
    9: box(LEFT + 50_000, TOP, LEFT + 50_100, TOP + 100),
}
BANDS_10, BANDS_20 = ("B02", "B03"), ("B05",)
OFFSET = -1000


@dataclass(frozen=True)
class Season:
    """Parcels, an area and scenes in a database; products on disk."""

    database: Database
    config: Config

    def scene(self, day: int, *, month: int = 3, product: bool = True, shift: float = 0.0) -> int:
        """Enter a scene of 2021, and write its product; return its id. `shift`: degrees east."""
        date = f"2021{month:02d}{day:02d}"
        name = f"S2A_MSIL2A_{date}T102921_N0400_R108_T32TMT_{date}T135811.SAFE"
        folder = f"Sentinel-2/MSI/L2A/2021/{month:02d}/{day:02d}"
        if product:
            xml = metadata(dict.fromkeys(range(13), OFFSET))
            make_product(self.config.eodata, pixels(day), xml, name=name, folder=folder)
        with self.database.connect() as conn:
            row = conn.execute(
                """INSERT INTO dias_catalogue (obstime, reference, sensor, card, path, footprint)
                   VALUES (%s, %s, '2A', 's2', %s, ST_Translate(ST_Transform(
                       ST_MakeEnvelope(%s, %s, %s, %s, 32632), 4326), %s, 0))
                   RETURNING id""",
                [
                    f"2021-{month:02d}-{day:02d} 10:29:21",
                    name,
                    f"{folder}/{name}",
                    LEFT,
                    TOP - 400,
                    LEFT + 400,
                    TOP,
                    shift,
                ],
            ).fetchone()
        assert row
        return int(row[0])

    def extract(self, config: Config | None = None, lines: list[str] | None = None) -> list[str]:
        """Plan and do what is to be done; return what was told, which also goes to `lines`."""
        config, lines = config or self.config, [] if lines is None else lines
        with connect(config, autocommit=True) as conn:
            plan(conn, config)
        work(config, stop=Stop(), note=lines.append)
        return lines

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.database.connect() as conn:
            return conn.execute(query, parameters).fetchall()  # type: ignore[call-overload, no-any-return]

    def tasks(self) -> dict[tuple[int, str], str]:
        return {
            (obsid, bandset): state
            for obsid, bandset, state in self.rows("SELECT obsid, bandset, state FROM tasks")
        }

    def status(self, obsid: int) -> str:
        return str(self.rows("SELECT status FROM dias_catalogue WHERE id = %s", obsid)[0][0])


def waiting(lines: list[str]) -> int:
    """How often a worker has said that it waits for the archive."""
    return len([line for line in lines if "Waiting for it" in line])


def pixels(seed: int) -> dict[str, NDArray[Any]]:
    """Digital numbers of a scene without nodata, 40 x 40 pixels at 10 m, and classes."""
    random = np.random.default_rng(seed)
    images: dict[str, NDArray[Any]] = {
        f"{band}_10m": random.integers(1001, 9000, (40, 40), dtype=np.uint16) for band in BANDS_10
    }
    images |= {f"{band}_20m": random.integers(1001, 9000, (20, 20), dtype=np.uint16) for band in BANDS_20}
    return images | {"SCL_20m": random.integers(3, 9, (20, 20), dtype=np.uint8)}
