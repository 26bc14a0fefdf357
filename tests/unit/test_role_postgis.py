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


def test_check_mode_works_on_a_host_without_engine_and_files(tmp_path: Path) -> None:
    bare = REQUIRED | {
        "postgis_directory": str(tmp_path / "absent"),
        "container_image_tag": "cbm-postgis:absent",
        "container_image_engine": {"stat": {"exists": False}},
    }
    change = {"ansible.builtin.include_role": {"name": "postgis", "tasks_from": "change"}}
    facts = {"ansible.builtin.setup": {"gather_subset": ["!all", "network"]}}
    told = play(tmp_path, {"one": bare}, facts, change, check=True)
    assert "failed=0" in told[told.rindex("PLAY RECAP") :], told[-3000:]
    assert not (tmp_path / "absent").exists()
