"""The role `database`: what it reports."""

from pathlib import Path
from typing import Any

import yaml

from tests.conftest import REPOSITORY
from tests.support.role_plays import play, role_variables


def test_a_number_of_connections_that_the_memory_cannot_hold_is_reported(tmp_path: Path) -> None:
    """3 / 8 of 4096 MB are 9 times 160 MB; 6 of these are the parallel workers'."""
    tasks = yaml.safe_load((REPOSITORY / "roles/database/tasks/sizes.yml").read_text())
    [report] = [task for task in tasks if task["name"].startswith("Report a lower number")]
    limits = {"connections": 117, "workers": 6, "memory_mb": 4096, "reader_memory_mb": 160}
    wanted: dict[str, Any] = {
        **{name: value for name, value in role_variables("database").items() if "reader" in name},
        "database_limits": {"query_result": [limits]},
    }
    hosts = {f"wants{number}": wanted | {"database_reader_connections": number} for number in (3, 30)}
    told = " ".join(play(tmp_path, hosts, report).split())
    assert told.count("but the reader gets") == 1
    assert "database_reader_connections is 30, but the reader gets 3 connections." in told
