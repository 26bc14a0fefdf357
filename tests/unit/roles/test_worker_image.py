"""The command cbmctl that the role installs on the VM."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.conftest import REPOSITORY

ROLE = REPOSITORY / "roles/worker_image"


@pytest.mark.parametrize("season", ["2022", None])
def test_the_season_of_the_environment_reaches_the_container(tmp_path: Path, season: str | None) -> None:
    lines = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    lines |= {"ansible_managed": "Ansible", "worker_image_eodata": "/eodata", "worker_image_tag": "cbm"}
    text = (ROLE / "templates/cbmctl.j2").read_text()
    command = Templar(DataLoader(), variables=lines).template(trust_as_template(text))
    docker = tmp_path / "docker"
    # --env NAME passes the value that docker's own environment has
    docker.write_text('#!/bin/sh\nfor each; do echo "$each"; done\necho "season: ${CBM_SEASON-none}"\n')
    docker.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "CBM_SEASON"}
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    run = subprocess.run(
        ["sh", "-c", command.replace("/run/docker.sock", str(docker)), "cbmctl", "parcels", "load", "a b"],
        env=environment | ({"CBM_SEASON": season} if season else {}),
        capture_output=True,
        text=True,
        check=True,
    )
    printed = run.stdout.splitlines()
    assert printed[-6:] == ["cbm", "cbmctl", "parcels", "load", "a b", f"season: {season or 'none'}"]
    assert printed[printed.index("CBM_SEASON") - 1] == "--env"
