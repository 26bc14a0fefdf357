"""What it costs to compare a granule's files with their checksums.

`python -m benchmarks.checking FOLDER FILE...` does it as a worker does, and prints the seconds.
"""

import json
import os
import sys
import time
from pathlib import Path
from threading import Event

from benchmarks.figures import Figure
from benchmarks.measure import decoding, spend
from benchmarks.scenes import BANDS, SCL, Archive
from cbmctl.archive.checksums import Checksums, digest_of
from cbmctl.archive.mount import Mount

LIMIT = 0.03


def measure(archive: Archive) -> Figure:
    """Compare the cost with that of decoding the same files, which is less than the granule's."""
    images = archive.images(archive.clear, SCL, *BANDS)
    decode = decoding(images)
    command = [sys.executable, "-m", "benchmarks.checking", str(archive.root / archive.clear)]
    cost = spend([*command, *map(str, images)])
    found = json.loads(cost.output)
    size = sum(image.stat().st_size for image in images)
    return Figure(
        "comparing a granule's files with their SHA3-256: CPU / decoding them",
        found["cpu"] / decode.cpu, "", LIMIT,
        note=f"{found['cpu']:.2f} s / {decode.cpu:.1f} s user and system time; {size / 1e6:.0f} MB,"
             f" {size / found['cpu'] / 1e6:.0f} MB/s; MD5 {size / found['md5'] / 1e6:.0f} MB/s",
    )  # fmt: skip


def main() -> None:
    """Compare and print {"cpu": s, "wall": s, "md5": s of CPU}; the interpreter's start is not counted."""
    folder, *images = map(Path, sys.argv[1:])
    wall, before = time.perf_counter(), _cpu()
    checks = Checksums(folder, Mount(folder.parent).hold(folder.name, ".*"))
    for image in (folder / "MTD_MSIL2A.xml", *images):
        checks.require(image)
    wall, after = time.perf_counter() - wall, _cpu()
    for image in images:
        digest_of(image, "MD5", Event())
    sys.stdout.write(json.dumps({"wall": wall, "cpu": after - before, "md5": _cpu() - after}))


def _cpu() -> float:
    times = os.times()
    return times.user + times.system


if __name__ == "__main__":
    main()
