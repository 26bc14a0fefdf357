"""Three ways to an archive behind S3, on one granule: mounted, by byte ranges, whole objects; and the disk.

The server is a real one, slowed down to what a general account of the Copernicus Data Space gets.
"""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import BenchmarkError, peers
from benchmarks.figures import Figure
from benchmarks.measure import Tenant, Work, tenant
from benchmarks.scenes import Archive
from benchmarks.server import Server

LATENCY_MS, STREAM_MBPS, CONNECTIONS = 30, 160, 4  # 20 MB/s a connection
DENSE, SPARSE = 100_000, 30
ACCESS, SECRET = "bench-access", "bench-secret"


def measure(server: Server, archive: Archive, cache: Path, note: Callable[[str], None]) -> Iterator[Figure]:
    """Extract the granule with many parcels and with few, by each way.

    Args:
        server: the database's.
        archive: on the disk; the folder it lies in is what the S3 server serves.
        cache: where that server is installed.
        note: told when that takes a while.
    """
    python = peers.installed(cache / "peers", note)
    with _served(python.with_name("hadro"), archive.root.parent) as (endpoint, keys):
        for number in (DENSE, SPARSE):
            with tenant(server, archive, number) as here:
                local = _work(here, archive, str(archive.root))
                yield _figure(number, "from the disk", local, local)
                bucket = _bucket(endpoint, keys)
                yield _figure(number, "whole objects", _work(here, archive, bucket), local)
                ranged = _work(here, archive, bucket, module="benchmarks.ranges")
                yield _figure(number, "byte ranges (/vsis3)", ranged, local)
                if shutil.which("s3fs") is None:
                    yield Figure(
                        _title(number, "s3fs"), None, "", note="there is no s3fs: apt-get install s3fs"
                    )
                    continue
                with _mounted(endpoint, keys) as mount:
                    yield _figure(number, "s3fs", _work(here, archive, str(mount)), local)


def _title(number: int, way: str) -> str:
    return f"granule, {number:,} parcels, {way}: wall / disk"


def _figure(number: int, way: str, work: Work, local: Work) -> Figure:
    return Figure(
        _title(number, way),
        work.wall / local.wall,
        "times",
        note=f"{work.wall:.1f} s; CPU {work.cost.cpu:.1f} s; {work.rows:,} rows",
        others=work.cost.others,
    )


def _bucket(endpoint: str, keys: Path) -> dict[str, object]:
    return {"endpoint": endpoint, "key_file": str(keys), "connections": CONNECTIONS}


def _work(here: Tenant, archive: Archive, eodata: object, module: str = "cbmctl") -> Work:
    """Extract the granule by one way; the catalogue and the indexes are made from the disk before."""
    _configure(here, str(archive.root))
    here.catalogue(archive.clear, "s2")
    here.indexes(archive.clear, "s2")
    _configure(here, eodata)
    return here.work(module)


def _configure(here: Tenant, eodata: object) -> None:
    data = json.loads(here.config.read_text())
    here.config.write_text(json.dumps(data | {"eodata": eodata}))


@contextmanager
def _served(hadro: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Serve a folder's folders as buckets; yield the endpoint and a file with keys."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(hadro), str(folder), "--port", str(port), "--access-key", ACCESS, "--secret-key", SECRET]
    command += ["--region", "default", "--log-level", "error", "--latency-ms", str(LATENCY_MS)]
    command += [
        "--bandwidth-mbps",
        str(STREAM_MBPS),
        "--total-bandwidth-mbps",
        str(STREAM_MBPS * CONNECTIONS),
    ]
    with tempfile.TemporaryDirectory() as place, subprocess.Popen(command) as process:  # noqa: S603
        try:
            keys = Path(place) / "s3.keys"
            keys.touch(0o600)
            keys.write_text(f"{ACCESS}:{SECRET}\n")
            _await_port(port)
            yield f"http://127.0.0.1:{port}", keys
        finally:
            process.terminate()


def _await_port(port: int) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > end:
                raise BenchmarkError("the S3 server does not start: see the lines above") from None
            time.sleep(0.1)
        else:
            return


@contextmanager
def _mounted(endpoint: str, keys: Path) -> Iterator[Path]:
    """Mount the bucket with s3fs as it comes; the role's limits, for the account's sake, make it slower."""
    place = Path(tempfile.mkdtemp(prefix="cbm-bench-eodata-"))
    options = f"ro,passwd_file={keys},url={endpoint},endpoint=default,use_path_request_style,allow_other"
    try:
        subprocess.run(["s3fs", "eodata", str(place), "-o", options], check=True)  # noqa: S603, S607
        end = time.monotonic() + 30
        while not os.path.ismount(place):
            if time.monotonic() > end:
                raise BenchmarkError("s3fs does not mount the bucket: see the lines above")
            time.sleep(0.1)
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=False)  # noqa: S603, S607
        place.rmdir()
