"""Which files the role `parcels` takes to a tenant: for a shapefile all of its parts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import REPOSITORY

PARTS = ["a.cpg", "a.dbf", "a.prj", "a.SHP", "a.shx"]


@pytest.mark.parametrize(("name", "expected"), [("a.SHP", PARTS), ("b.gpkg", ["b.gpkg"])])
def test_files_of_the_parcels(tmp_path: Path, name: str, expected: list[str]) -> None:
    for part in [*PARTS, "ab.dbf", "b.gpkg", "b.gpkg-wal"]:
        (tmp_path / part).touch()
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"parcels_file": str(tmp_path / name), "ansible_python_interpreter": sys.executable},
        "vars_files": [str(REPOSITORY / "roles/parcels/vars/main.yml")],
        "tasks": [
            {
                "ansible.builtin.copy": {
                    "content": "{{ parcels_files | to_json }}",
                    "dest": str(tmp_path / "said"),
                }
            }
        ],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local"]
    subprocess.run([*command, str(tmp_path / "play.yml")], check=True, capture_output=True, cwd=tmp_path)
    assert sorted(Path(file).name for file in json.loads((tmp_path / "said").read_text())) == sorted(expected)
