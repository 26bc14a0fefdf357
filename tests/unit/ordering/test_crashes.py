"""`cbmctl order place` killed at random instants: nothing is ordered twice, nothing is forgotten."""

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.support.effort import THOROUGH
from tests.support.odp_server import Odp
from tests.support.ordering import INCOMPLETE, answered, backscatter, command, names, plan, rows

pytestmark = pytest.mark.postgis

KILLS = int(os.environ.get("CBM_KILLS", "200" if THOROUGH else "4"))


class Killer:
    """Kills a process when the service gets, or has answered, its n-th request; or a moment later."""

    def __init__(self) -> None:
        self.victim: subprocess.Popen[str] | None = None
        self.left = 0
        self.chance = random.Random()  # noqa: S311 - no secret

    def start(self, arguments: list[str]) -> subprocess.Popen[str]:
        self.victim = subprocess.Popen(
            [sys.executable, "-m", "cbmctl", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.left = self.chance.randrange(40)
        return self.victim

    def watch(self, _when: str) -> None:
        self.left -= 1
        if self.left == 0 and self.victim:
            if self.chance.random() < 0.5:
                self.victim.kill()
            else:  # between two requests: while it writes to the database
                threading.Timer(self.chance.uniform(0, 0.02), self.victim.kill).start()


def test_place_killed_at_random_instants(odp: Odp, database: Database, tmp_path: Path) -> None:
    wanted = backscatter(*range(4 * KILLS + 8))
    file = plan(tmp_path, *wanted)
    arguments = ["--config", str(database.config_path), "order", "place", file, "--yes", "--limit", "12"]
    killer = Killer()
    odp.watch = killer.watch
    killed = 0
    for _ in range(KILLS):
        odp.realm.end_sessions()  # of killed processes; by themselves they end within an hour
        process = killer.start(arguments)
        _, errors = process.communicate(timeout=300)
        assert process.returncode in (0, INCOMPLETE, -signal.SIGKILL), errors
        killed += process.returncode == -signal.SIGKILL
        assert max(odp.made().values(), default=0) <= 1
    killer.victim = None
    assert killed > KILLS // 4
    answered(command(database, "place", file, "--yes"))
    unknown = [given for given, state in rows(database) if state == "unknown"]
    assert odp.made() == {given: 1 for given in names(wanted) if given not in unknown}
    # the operator looked at the service's page: it has none of these
    answered(command(database, "place", file, "--yes", "--again", "unknown"))
    assert odp.made() == dict.fromkeys(names(wanted), 1)
    assert {state for _, state in rows(database)} == {"queued"}
    ids = {order["Id"] for order in odp.orders}
    assert {number for (number,) in rows(database, "service_id")} == ids
