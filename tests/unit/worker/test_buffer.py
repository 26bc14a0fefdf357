"""Statistics of parcels that are shrunk: a method like others, in every band set."""

import numpy as np
import pytest

from cbmctl.config.bandsets import BANDSETS
from cbmctl.database import connect
from cbmctl.pixels.full_pixels import pixel_counts
from cbmctl.queue.planning import plan
from tests.support.season import BANDS_10, BANDS_20, EPSG, PARCELS, Season

pytestmark = pytest.mark.postgis

NEAR = (1, 7)


def pixels(metres: float, resolution: int) -> dict[int, int]:
    shrunk = np.array([PARCELS[pid].buffer(-metres, quad_segs=8) for pid in NEAR], object)
    return dict(zip(NEAR, pixel_counts(shrunk, EPSG, resolution)[0].tolist(), strict=True))


def counts(season: Season) -> dict[str, dict[int, int]]:
    """Pixels by band and parcel; of the histogram as of a band."""
    found: dict[str, dict[int, int]] = {}
    for band, pid, count in season.rows(
        "SELECT band, pid, count FROM sigs UNION ALL"
        " SELECT 'SCL', pid, sum(value::integer) FROM hists, json_each_text(hist::json) GROUP BY pid"
    ):
        found.setdefault(band.strip(), {})[pid] = int(count)
    return found


def test_a_changed_buffer_has_scenes_extracted_again(season: Season) -> None:
    scene = season.scene(5)
    bands = {"10": BANDS_10, "20": BANDS_20, "scl": ("SCL",)}
    s2 = {"10": list(BANDS_10), "20": list(BANDS_20)}
    for metres in (0.0, 12.5, 0.0):
        # a configuration may have a whole number
        config = season.database.configured(extraction={"s2": s2, "parcels_buffer_m": metres or 0})
        season.extract(config)
        assert season.status(scene) == "extracted"
        expected = {
            band: pixels(metres, BANDSETS[bandset].resolution)
            for bandset, names in bands.items()
            for band in names
        }
        assert counts(season) == expected
        assert season.rows("SELECT DISTINCT method ->> 'buffer_m' FROM tasks") == [(str(metres),)]
        with connect(config, autocommit=True) as conn:
            planned = plan(conn, config)
        assert (planned.created, planned.again) == (0, 0)
