"""Makes a product's pixel indexes, in a process of its own: `python -m benchmarks.indexing CONFIG CARD PATH`.

Prints what each of them took: {"10": {"fetch": s, "build": s, "load": s, "pixels": n}, ...}. `build` is all
but the fetch; `load` is what the next worker waits for, with the check that the parcels are still the same.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cbmctl.config import Config, load_config
from cbmctl.config.bandsets import BANDSETS
from cbmctl.database import connect
from cbmctl.pixels.grid import Grid
from cbmctl.scenes.backscatter import open_backscatter
from cbmctl.scenes.coherence import open_coherence
from cbmctl.scenes.sentinel2 import open_product
from cbmctl.worker.index_cache import Indexes


class Timed(Indexes):
    """Knows how long the parcels took to come."""

    fetched = 0.0

    def _fetch(self, grid: Grid, after: int | None) -> tuple[Sequence[int], Any]:
        start = time.perf_counter()
        try:
            return super()._fetch(grid, after)
        finally:
            self.fetched = time.perf_counter() - start


def main() -> None:
    """Make, and load again, one index for each band set of the card."""
    config, card, path = load_config(Path(sys.argv[1])), sys.argv[2], sys.argv[3]
    found = {}
    with connect(config, autocommit=True) as conn:
        for name in (name for name, bandset in BANDSETS.items() if bandset.card == card):
            grid = _grid(config, name, path)
            indexes = Timed(conn, config)
            start = time.perf_counter()
            index = indexes.get(grid, touching=name == "scl")
            made = time.perf_counter() - start
            start = time.perf_counter()
            Indexes(conn, config).get(grid, touching=name == "scl")
            loaded = time.perf_counter() - start
            found[name] = {
                "fetch": indexes.fetched,
                "build": made - indexes.fetched,
                "load": loaded,
                "pixels": int(index.counts().sum()),
            }
    sys.stdout.write(json.dumps(found))


def _grid(config: Config, bandset: str, path: str) -> Grid:
    known = BANDSETS[bandset]
    if known.card == "s2":
        return open_product(config.eodata, path).grid(known.resolution)
    opener = open_backscatter if known.card == "bs" else open_coherence
    return opener(config.eodata, path, known.bands).grid


if __name__ == "__main__":
    main()
