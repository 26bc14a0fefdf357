"""One peer on a sample of parcels, in the peers' own environment: `python peer.py NAME IMAGE GEOMETRIES`.

Prints {"cpu": s, "wall": s, "parcels": n, "bands": n}. Decoding, and fetching parcels, are not counted.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

# each function imports its own peer
# ruff: noqa: PLC0415
QUANTILES = (0.25, 0.5, 0.75)
# how many parcels and bands each can do in some ten seconds
SAMPLES = {"rasterstats": (2_000, 1), "exactextract": (10_000, 4)}


def rasterstats(features: list[dict[str, Any]], image: Any, transform: Any, _crs: Any, _bands: int) -> None:
    """One band; the statistics of `sigs`."""
    from rasterstats import zonal_stats  # type: ignore[import-not-found]

    wanted = ["count", "mean", "std", "min", "max", *(f"percentile_{100 * q:.0f}" for q in QUANTILES)]
    geometries = [feature["geometry"] for feature in features]
    zonal_stats(geometries, image, affine=transform, nodata=0, stats=wanted, all_touched=False)


def exactextract(features: list[dict[str, Any]], image: Any, transform: Any, crs: Any, bands: int) -> None:
    """All bands at once; it weighs pixels by the area that is covered."""
    from exactextract import exact_extract  # type: ignore[import-not-found]
    from exactextract.raster import NumPyRasterSource  # type: ignore[import-not-found]

    rows, columns = image.shape
    west, north = transform * (0, 0)
    east, south = transform * (columns, rows)
    sources = [
        NumPyRasterSource(image, west, south, east, north, nodata=0, name=f"b{band}", srs_wkt=crs.to_wkt())
        for band in range(bands)
    ]
    wanted = ["count", "mean", "stdev", "min", "max", *(f"quantile(q={q})" for q in QUANTILES)]
    exact_extract(sources, features, wanted)


PEERS: dict[str, Callable[..., None]] = {"rasterstats": rasterstats, "exactextract": exactextract}


def main() -> None:
    """Decode, run, print."""
    name, image, geometries = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    number, bands = SAMPLES[name]
    features = json.loads(geometries.read_text())[:number]
    with rasterio.open(image) as dataset:
        pixels, transform, crs = dataset.read(1), dataset.transform, dataset.crs
    PEERS[name](
        features[:1], np.ascontiguousarray(pixels), transform, crs, bands
    )  # what it imports and compiles
    cpu, wall = time.process_time(), time.perf_counter()
    PEERS[name](features, pixels, transform, crs, bands)
    cost = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    sys.stdout.write(json.dumps(cost | {"parcels": len(features), "bands": bands}))


if __name__ == "__main__":
    main()
