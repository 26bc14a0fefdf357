"""The role `postgis`: what it refuses before anything is changed."""

from pathlib import Path

import pytest

from .role_plays import play

REQUIRED = {
    **dict.fromkeys(["postgis_server_key", "postgis_server_certificate"], "/absent"),
    **dict.fromkeys(["postgis_memory_mb", "postgis_cores"], 1024),
}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            {"postgis_client_cidrs": ["300.1.1.1/24"]},
            "postgis_client_cidrs: '300.1.1.1/24' is not a valid network. Use a form like 192.0.2.0/24,",
        ),
        (
            {"postgis_worker_cidrs": "192.0.2.0/24"},
            "postgis_worker_cidrs: '192.0.2.0/24' is not a list. Use [192.0.2.0/24]. Nothing",
        ),
    ],
)
def test_networks_that_are_none_are_refused(tmp_path: Path, lines: dict[str, object], said: str) -> None:
    """PostgreSQL would go on with its old rules, and not start with the new ones."""
    told = play(tmp_path, {"one": REQUIRED | lines}, {"ansible.builtin.include_role": {"name": "postgis"}})
    assert said in " ".join(told.split())
    assert "TASK [postgis : The PostGIS image is on the host]" not in told
