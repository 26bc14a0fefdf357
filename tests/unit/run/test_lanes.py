"""Lanes of `./run test`: named lines, a log of each, failures at the end, and a clean-up after a signal."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.unit.run.test_steps import SCRIPTS, shell

LANES = f"""
    . {SCRIPTS}/lib.sh; . {SCRIPTS}/lanes.sh
    clean_up() {{ sleep 1; echo cleaned; touch cleaned; exit 1; }}
    slow() {{ trap clean_up INT TERM; touch up; while :; do sleep 0.1; done; }}
    side_by_side slow slow"""


def test_a_lane_that_fails_is_repeated_at_the_end_and_ends_no_other(tmp_path: Path) -> None:
    lanes = """
        bad() { echo why; false; }
        good() { until [ -e .lab/log/bad ]; do sleep 0.1; done; sleep 1; echo done; }
        side_by_side bad bad + good good"""
    ended = shell(tmp_path, lanes)
    assert ended.returncode == 1
    assert ended.stderr.strip() == "Failed: bad."
    named, repeated = ended.stdout.split("\n\n")
    assert sorted(named.splitlines()) == ["bad     | why", "good    | done"]
    assert repeated == "=== What bad said last (all of it: .lab/log/bad)\nwhy\n"
    assert (tmp_path / ".lab/log/good").read_text() == "done\n"


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_waits_for_the_clean_up_and_shows_its_lines(
    tmp_path: Path, sent: signal.Signals, status: int
) -> None:
    with subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", LANES], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as run:
        while not (tmp_path / "up").exists():
            assert run.poll() is None, "the lane never began"
            time.sleep(0.05)
        run.send_signal(sent)
        output, _ = run.communicate(timeout=30)
    assert run.returncode == status
    assert output.endswith("slow    | cleaned\n")
    assert (tmp_path / "cleaned").exists()
