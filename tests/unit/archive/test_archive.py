"""The archive without a server: a mount that goes away, limits of all processes together, scratch folders."""

import itertools
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.errors import RasterioError
from rasterio.transform import from_origin
from rasterio.windows import Window

from cbmctl.archive.account_limits import SHARE, CancelledError, Limits
from cbmctl.archive.open_archive import open_archive
from cbmctl.archive.scratch import Scratch
from cbmctl.config.archive import S3
from tests.support.s3_stub import SETTINGS

HOLD = """
import sys, threading
from pathlib import Path
from cbmctl.archive.account_limits import Limits
with Limits(Path(sys.argv[1]), 2, 10**6).request(threading.Event()):
    print("holds", flush=True)
    sys.stdin.read()
"""
SCRATCH = """
import sys
from pathlib import Path
from cbmctl.archive.scratch import Scratch
place = Scratch(Path(sys.argv[1])).new()
(place / "image").write_bytes(b"x")
print(place, flush=True)
sys.stdin.read()
"""


@contextmanager
def process(code: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run code until it is killed; yield it and what it says first."""
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        try:
            yield running, running.stdout.readline().strip()
        finally:
            running.kill()


# Limits


def test_connections_are_shared_by_processes_and_freed_by_their_death(tmp_path: Path) -> None:
    limits, cancelled = Limits(tmp_path, 2, 10**6), threading.Event()
    with process(HOLD, tmp_path) as (first, said), process(HOLD, tmp_path) as (_, said_too):
        assert said == said_too == "holds"
        threading.Timer(0.4, cancelled.set).start()
        with pytest.raises(CancelledError), limits.request(cancelled):
            pytest.fail("a third connection")
        first.send_signal(signal.SIGKILL)
        first.wait()
        with limits.request(threading.Event()):
            pass


def test_no_more_connections_than_allowed(tmp_path: Path) -> None:
    now, most, lock = 0, 0, threading.Lock()

    def one(_: int) -> None:
        nonlocal now, most
        with Limits(tmp_path, 3, 10**6).request(threading.Event()):
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.01)
            with lock:
                now -= 1

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(one, range(60)))
    assert most == 3


def test_requests_keep_their_distance(tmp_path: Path) -> None:
    limits, begun = Limits(tmp_path, 8, 1200), time.monotonic()

    def one(_: int) -> None:
        with limits.request(threading.Event()):
            pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(21)))
    assert time.monotonic() - begun >= 20 * 60 / (1200 * SHARE)


def test_a_turn_from_before_a_reboot_is_not_waited_for(tmp_path: Path) -> None:
    limits, begun = Limits(tmp_path, 1, 2000), time.monotonic()
    for written in (os.urandom(3), b"\0\0\0\0\0\0\xf0\x7f"):  # half written; in all eternity
        (tmp_path / "next-request").write_bytes(written)
        with limits.request(threading.Event()):
            pass
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize(("connections", "requests_per_minute"), [(4, 1), (4, 3), (100, 60)])
def test_a_rate_holds_however_low_it_is(tmp_path: Path, connections: int, requests_per_minute: int) -> None:
    interval = 60 / (requests_per_minute * SHARE)
    begun = time.monotonic()
    turns = [Limits(tmp_path, connections, requests_per_minute)._wait() for _ in range(connections)]
    took = time.monotonic() - begun
    # each is told how far away its turn is, and time passes from one to the next
    for number, turn in enumerate(turns):
        assert number * interval - took <= turn <= number * interval
    (tmp_path / "next-request").write_bytes(struct.pack("d", begun + (connections + 1) * interval + 3600))
    assert Limits(tmp_path, connections, requests_per_minute)._wait() == 0


# Scratch


def test_what_a_dead_worker_leaves_is_swept_and_a_live_ones_is_not(tmp_path: Path) -> None:
    own = Scratch(tmp_path)
    first = own.new()
    with process(SCRATCH, tmp_path) as (alive, his), process(SCRATCH, tmp_path) as (dead, left):
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        second = own.new()
        assert {path.name for path in tmp_path.iterdir()} == {Path(his).name, first.name, second.name}
        assert not Path(left).exists()
        assert alive.poll() is None
    own.remove(first)
    own.remove(first)
    assert not first.exists()
    own.close()
    assert not second.exists()


def test_what_is_removed_takes_no_room_though_it_is_open_still(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    image = scratch.new() / "GRANULE" / "B02.jp2"
    image.parent.mkdir()
    image.write_bytes(b"x" * 100_000)
    with image.open("rb") as kept:
        scratch.remove(image.parents[1])
        assert os.fstat(kept.fileno()).st_blocks == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("eodata", [SETTINGS, Path("/")], ids=["bucket", "mount"])
def test_an_archive_that_is_opened_sweeps_what_the_dead_have_left(tmp_path: Path, eodata: S3 | Path) -> None:
    scenes = tmp_path / "eodata" / "scenes"
    with process(SCRATCH, scenes) as (_, his), process(SCRATCH, scenes) as (dead, _left):
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        open_archive(eodata, tmp_path).close()
        assert list(scenes.iterdir()) == [Path(his)]
        (scenes / "file").touch()  # nobody knows whose that is
        open_archive(eodata, tmp_path).close()
    open_archive(eodata, tmp_path / "new").close()


def test_scratch_of_many_threads_is_never_taken_for_a_dead_ones(tmp_path: Path) -> None:
    places: Counter[Path] = Counter()

    def one(_: int) -> None:
        scratch = Scratch(tmp_path)
        for _ in range(20):
            place = scratch.new()
            places[place] += 1
            (place / "image").write_bytes(b"x")
            scratch.remove(place)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(one, range(6)))
    assert len(places) == 120
    assert not list(tmp_path.iterdir())


# Images that end early


def test_a_jpeg_2000_image_that_ends_early_gives_no_number(tmp_path: Path) -> None:
    """Wherever it is cut: each tile is read whole and right, or is an error."""
    values = np.random.default_rng(3).integers(1, 9000, (256, 256), dtype=np.uint16)
    plain, image, cut = tmp_path / "plain.tif", tmp_path / "image.jp2", tmp_path / "cut.jp2"
    profile = {"width": 256, "height": 256, "count": 1, "dtype": "uint16", "crs": "EPSG:32632"}
    with rasterio.open(plain, "w", driver="GTiff", transform=from_origin(0, 0, 10, 10), **profile) as file:
        file.write(values, 1)
    tiles = {"BLOCKXSIZE": "64", "BLOCKYSIZE": "64", "REVERSIBLE": "YES", "QUALITY": "100", "GEOJP2": "NO"}
    rasterio.shutil.copy(plain, image, driver="JP2OpenJPEG", **tiles)
    whole = image.read_bytes()
    errors = 0
    for length in [*range(1, len(whole), len(whole) // 80), *range(len(whole) - 20, len(whole))]:
        cut.write_bytes(whole[:length])
        for row, column in itertools.product(range(0, 256, 64), repeat=2):
            try:
                with rasterio.open(cut) as file:
                    found = file.read(1, window=Window(column, row, 64, 64))
            except RasterioError:
                errors += 1
            else:
                assert np.array_equal(found, values[row : row + 64, column : column + 64])
    assert errors > 100
