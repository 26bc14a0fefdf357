"""An archive in S3 with commands killed at any step: no row is lost, and the next run continues."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Database, Eventually
from tests.support.effort import THOROUGH, drawing
from tests.support.s3_moto import moto
from tests.support.season_archives import done, fill, idle, state

pytestmark = pytest.mark.postgis

URL = "s3://seasons/dk/2021"
KILLS = int(os.environ.get("CBM_KILLS", "60" if THOROUGH else "5"))
# A process that kills itself before or after its n-th request, or the n-th file that gets its name.
VICTIM = """
import os, pathlib, signal, sys
from cbmctl.maintenance.season_archive import objects

left = number = int(sys.argv[1])
objects._PART = 3000

def tick():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

class Watched:
    def __init__(self, whole):
        self.whole = whole
    def __getattr__(self, name):
        method = getattr(self.whole, name)
        def call(*arguments, **named):
            tick()
            result = method(*arguments, **named)
            tick()
            return Watched(result) if name.startswith("open_") else result
        return call
    def __enter__(self):
        return self
    def __exit__(self, *_):
        self.whole.close()

made = objects._file_system
objects._file_system = lambda service: Watched(made(service))
replace = pathlib.Path.replace
def replaced(*arguments):
    tick()
    replace(*arguments)
    tick()
pathlib.Path.replace = replaced
sys.argv = ["cbmctl", *sys.argv[2:]]
from cbmctl.cli import cbmctl
cbmctl.main(standalone_mode=False)
print("steps:", number - left)
"""
COMMANDS = {"archive": ("archive",), "drop": ("archive", "--drop"), "restore": ("restore",)}
NEXT = {"archive": "drop", "drop": "restore", "restore": "archive"}


@pytest.fixture
def client(database: Database, tmp_path: Path) -> Iterator[Any]:
    with moto(tmp_path / "moto.log") as server:
        database.configured(archive_s3={"endpoint": server.url, "key_file": str(server.key_file(tmp_path))})
        client = server.client()
        client.create_bucket(Bucket="seasons")
        yield client


def start(database: Database, phase: str, steps: int) -> subprocess.CompletedProcess[str]:
    command, *options = COMMANDS[phase]
    arguments = ["--config", str(database.config_path), "maintain", command, URL, *options]
    return subprocess.run(
        [sys.executable, "-c", VICTIM, str(steps), *arguments], capture_output=True, text=True, check=False
    )


def test_killed_at_random_requests(client: Any, database: Database, eventually: Eventually) -> None:
    fill(database, scenes=5, parcels=20)
    before = state(database)
    chance = drawing()
    steps: dict[str, int] = dict.fromkeys(COMMANDS, 100)  # at first a guess
    phase, killed = "archive", 0
    while killed < KILLS:
        process = start(database, phase, chance.randrange(1, steps[phase]))
        assert process.returncode in (0, -signal.SIGKILL), process.stderr
        eventually(lambda: idle(database))
        after = state(database)
        if phase == "archive":
            assert after == before
        found = client.list_objects_v2(Bucket="seasons", Prefix="dk/2021/").get("Contents", [])
        names = {each["Key"].rpartition("/")[2] for each in found}
        # nothing is deleted before the archive is whole
        assert after["sigs"] == before["sigs"] or {"archive.json", "SHA256SUMS", "sigs_s2.parquet"} <= names
        if process.returncode == 0:
            steps[phase] = max(int(process.stdout.rpartition("steps: ")[2]), 3)
            phase = NEXT[phase]
        else:
            killed += 1
            steps[phase] += 5
        if phase == "archive" and after == before:
            for each in found:  # so that uploads are killed as often
                client.delete_object(Bucket="seasons", Key=each["Key"])
    done(database, "archive", URL)
    done(database, "archive", URL, "--drop")
    assert state(database)["sigs"] == []
    done(database, "restore", URL)
    assert state(database) == before
