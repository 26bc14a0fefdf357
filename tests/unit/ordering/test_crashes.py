"""`cbmctl order` killed at random instants: nothing is ordered twice, nothing is forgotten."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.support.effort import THOROUGH, drawing
from tests.support.odp_server import Odp
from tests.support.ordering import INCOMPLETE, answered, backscatter, command, names, plan, rows

pytestmark = pytest.mark.postgis

KILLS = int(os.environ.get("CBM_KILLS", "200" if THOROUGH else "4"))


class Killer:
    """Kills a process when the service gets, or has answered, its n-th request; or a moment later."""

    def __init__(self) -> None:
        self.victim: subprocess.Popen[str] | None = None
        self.left = 0
        self.chance = drawing()

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


def test_commands_killed_at_random_instants(odp: Odp, database: Database, tmp_path: Path) -> None:
    wanted = backscatter(*range(4 * KILLS + 8))
    file = plan(tmp_path, *wanted)
    place = ["place", file, "--yes", "--limit", "12"]
    commands = [
        place,
        [*place, "--again", "cancelled"],
        ["status", "--retry-failed", "--yes"],
        ["cancel", "--all", "--yes"],
    ]
    killer = Killer()
    odp.watch = killer.watch
    killed = Counter[str]()
    for _ in range(KILLS):
        odp.realm.end_sessions()  # of killed processes; by themselves they end within an hour
        drawn = killer.chance.choices(commands, weights=[4, 1, 2, 1])[0] if odp.orders else place
        if "--retry-failed" in drawn:
            for order in killer.chance.choices(odp.orders, k=4):
                odp.step(order["InputProductReference"]["Reference"], "failed", "No DEM")
        process = killer.start(["--config", str(database.config_path), "order", *drawn])
        _, errors = process.communicate(timeout=300)
        nothing = "No product found whose last order is failed" in errors
        assert process.returncode in (0, INCOMPLETE, -signal.SIGKILL) or nothing, errors
        killed[drawn[0]] += process.returncode == -signal.SIGKILL
        assert max(odp.made().values(), default=0) <= 1
    killer.victim = None
    assert killed.total() > KILLS // 8
    if KILLS >= 100:
        assert set(killed) == {"place", "status", "cancel"}
        assert min(killed.values()) > 0
    answered(command(database, "place", file, "--yes", "--again", "failed", "--again", "cancelled"))
    unknown = [given for given, state in rows(database) if state == "unknown"]
    assert odp.made() == {given: 1 for given in names(wanted) if given not in unknown}
    # the operator looked at the service's page: it has none of these
    answered(command(database, "place", file, "--yes", "--again", "unknown"))
    assert odp.made() == dict.fromkeys(names(wanted), 1)
    with database.connect() as conn:
        known = conn.execute("SELECT input, service_id FROM order_items WHERE state = 'queued'").fetchall()
    made = {
        (order["InputProductReference"]["Reference"], order["Id"])
        for order in odp.orders
        if order["Status"] == "queued"
    }
    assert sorted(known) == sorted(made)
    assert {state for _, state in rows(database)} <= {"queued", "failed", "cancelled"}
    assert {number for (number,) in rows(database, "service_id")} == {order["Id"] for order in odp.orders}
