"""Only decodes: `python -m benchmarks.decode FILE...` reads one band after the other and prints the seconds.

No engine that reads whole bands with GDAL can be faster; GDAL uses all processors, as it does by default.
"""

import json
import os
import sys
import time

import rasterio


def main() -> None:
    """Read and print {"wall": s, "cpu": s}; the start of the interpreter is not counted."""
    before, start = os.times(), time.perf_counter()
    for path in sys.argv[1:]:
        with rasterio.open(path) as dataset:
            for band in dataset.indexes:
                dataset.read(band)
    wall, after = time.perf_counter() - start, os.times()
    cpu = after.user + after.system - before.user - before.system
    sys.stdout.write(json.dumps({"wall": wall, "cpu": cpu}))


if __name__ == "__main__":
    main()
