"""`maintain archive`, `--drop` and `restore` killed at any step: no row is lost, and none is doubled."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Database, Eventually
from tests.support.effort import THOROUGH, drawing
from tests.support.season_archives import done, fill, idle, rows, state

pytestmark = pytest.mark.postgis

KILLS = int(os.environ.get("CBM_KILLS", "200" if THOROUGH else "8"))
# A process that kills itself before or after its n-th statement, batch, file or transaction.
VICTIM = """
import os, pathlib, signal, sys
import psycopg, pyarrow.parquet
from cbmctl.maintenance.season_archive import database_rows, parquet

left = number = int(sys.argv[1])
database_rows.BATCH = parquet.BATCH = 150

def tick():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def watched(owner, name):
    whole = getattr(owner, name)
    def call(*arguments, **named):
        tick()
        result = whole(*arguments, **named)
        tick()
        return result
    setattr(owner, name, call)

for owner, *names in (
    (psycopg.Cursor, "execute"), (psycopg.Copy, "write", "write_row", "__exit__"),
    (psycopg.Transaction, "__enter__", "__exit__"), (pyarrow.parquet.ParquetWriter, "write_table", "close"),
    (pathlib.Path, "replace", "write_text", "unlink"),
):
    for name in names:
        watched(owner, name)
sys.argv = ["cbmctl", *sys.argv[2:]]
from cbmctl.cli import cbmctl
cbmctl.main(standalone_mode=False)
print("steps:", number - left)
"""
COMMANDS = {"archive": ("archive",), "drop": ("archive", "--drop"), "restore": ("restore",)}
NEXT = {"archive": "drop", "drop": "restore", "restore": "drop"}


def start(database: Database, folder: Path, phase: str, steps: int) -> subprocess.CompletedProcess[str]:
    command, *options = COMMANDS[phase]
    arguments = ["--config", str(database.config_path), "maintain", command, str(folder), *options]
    return subprocess.run(
        [sys.executable, "-c", VICTIM, str(steps), *arguments], capture_output=True, text=True, check=False
    )


def test_killed_at_random_steps(database: Database, tmp_path: Path, eventually: Eventually) -> None:
    fill(database, scenes=5, parcels=20)
    folder = tmp_path / "2021"
    before = state(database)
    chance = drawing()
    steps: dict[str, int] = dict.fromkeys(COMMANDS, 250)  # at first a guess
    phase, killed = "archive", 0
    while killed < KILLS:
        process = start(database, folder, phase, chance.randrange(20, steps[phase]))
        assert process.returncode in (0, -signal.SIGKILL), process.stderr
        eventually(lambda: idle(database))
        after = state(database)
        if phase == "archive":
            assert after == before
        archived = {row[0] for row in after["archived_scenes"]}
        words = dict(rows(database, "SELECT id, status FROM dias_catalogue"))
        assert {obsid for obsid, word in words.items() if word == "archived"} == archived
        for name in ("sigs", "hists"):
            here = [row for row in before[name] if row[1] not in archived]
            assert [row for row in after[name] if row[1] not in archived] == here
            assert set(after[name]) <= set(before[name])
        assert after["tasks"] == before["tasks"]
        assert not archived or (folder / "archive.json").exists()
        if process.returncode == 0:
            steps[phase] = max(int(process.stdout.rpartition("steps: ")[2]), 30)
            phase = NEXT[phase]
        else:
            killed += 1
            steps[phase] += 20
            if phase == "restore" and chance.random() < 0.2:
                phase = "drop"  # the operator's mind changes
    done(database, "archive", folder)
    done(database, "archive", folder, "--drop")
    assert state(database)["sigs"] == []
    done(database, "restore", folder)
    assert state(database) == before
