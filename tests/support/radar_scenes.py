"""Scenes of Sentinel-1 and parcels in them, for tests."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from shapely import Polygon, box

from tests.support import products_s1 as s1
from tests.support.rows import insert
from tests.support.season import Season

ORIGIN = s1.LEFT, s1.TOP
FIELDS = {
    1: box(s1.LEFT + 23.7, s1.TOP - 177.1, s1.LEFT + 161, s1.TOP - 42),
    2: box(s1.LEFT - 35, s1.TOP - 250, s1.LEFT + 44, s1.TOP - 180),  # across the left side
    3: Polygon([(s1.LEFT + 110, s1.TOP - 390), (s1.LEFT + 280, s1.TOP - 215), (s1.LEFT + 295, s1.TOP - 380)]),
    4: box(s1.LEFT + 180, s1.TOP - 120, s1.LEFT + 260, s1.TOP - 20),
    5: box(s1.LEFT + 60, s1.TOP - 300, s1.LEFT + 100, s1.TOP - 200),
    6: box(s1.LEFT + 12, s1.TOP - 8, s1.LEFT + 14, s1.TOP - 2),  # no pixel
}


def radar(season: Season, card: str, path: str, day: int = 5) -> int:
    """Enter a scene of a Sentinel-1 card, and put parcels there in place of those that were."""
    with season.database.connect() as conn:
        conn.execute("DELETE FROM parcels_2021")
        row = conn.execute(
            """INSERT INTO dias_catalogue (obstime, reference, sensor, card, path, footprint)
               VALUES (%s, %s, '1A', %s, %s, ST_Transform(ST_MakeEnvelope(%s, %s, %s, %s, 32632), 4326))
               RETURNING id""",
            [
                f"2021-03-{day:02d} 17:25:32",
                Path(path).name,
                card,
                path,
                s1.LEFT,
                s1.TOP - 400,
                s1.LEFT + 300,
                s1.TOP,
            ],
        ).fetchone()
    insert(season, FIELDS)
    assert row
    return int(row[0])


def backscatter() -> dict[str, NDArray[np.float32]]:
    """VV and VH; parcel 3 misses a pixel in VH, parcel 4 has a negative one and parcel 5 NaN in VV."""
    images = {"VV": s1.power(seed=1), "VH": s1.power(seed=2)}
    images["VH"][34, 24] = 0
    images["VV"][7, 22] = -0.001
    images["VV"][25, 8] = np.nan
    return images
