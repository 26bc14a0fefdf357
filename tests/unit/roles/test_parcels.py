"""Which files the role `parcels` takes to a tenant, and where to; tests of the filters that say so."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from cbmctl.error_codes import CODES
from tests.conftest import REPOSITORY
from tests.support.parcel_files import content, write
from tests.support.plugins import load as load_plugin
from tests.support.role_plays import rendered

PARTS = ["a.CPG", "A.dbf", "a.prj", "a.SHP", "a.shx"]


def filters() -> dict[str, Any]:
    found: dict[str, Any] = load_plugin("filter", "parcels").FilterModule().filters()
    return found


def touched(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.SHP", PARTS),
        ("b.gpkg", ["b.gpkg", "b.gpkg-wal"]),
        ("GSAA 2025 [final].shp", ["GSAA 2025 [final].dbf", "GSAA 2025 [final].shp"]),
        ("c.zip", ["c.zip"]),
        ("d.gdb", ["d.gdb/a00000001.gdbtable", "d.gdb/gdb"]),
    ],
)
def test_files_that_belong_to_a_parcels_file(tmp_path: Path, name: str, expected: list[str]) -> None:
    touched(tmp_path, *PARTS, "ab.dbf", "b.gpkg", "b.gpkg-wal", "b.gpkg-shm", "c.zip", "c.dbf", "._a.SHP")
    touched(tmp_path, "d.gdb/gdb", "d.gdb/a00000001.gdbtable", "GSAA 2025 f.dbf")
    touched(tmp_path, "GSAA 2025 [final].shp", "GSAA 2025 [final].dbf")
    found = filters()["parcels_files"](str(tmp_path / name))
    assert sorted(file["dest"] for file in found) == sorted(expected)
    assert all(file["src"] == str(tmp_path / file["dest"]) for file in found)
    assert filters()["parcels_named"](str(tmp_path / name)) == [name]


def test_several_files_and_folders_keep_their_places(tmp_path: Path) -> None:
    touched(tmp_path, "fr/R11/p.shp", "fr/R11/p.dbf", "fr/R24/p.shp", "fr/R24/notes.pdf", "fr/.hidden.shp")
    several = [str(tmp_path / "fr/R11/p.shp"), str(tmp_path / "fr/R24/p.shp")]
    found = [file["dest"] for file in filters()["parcels_files"](several)]
    assert found == ["R11/p.shp", "R11/p.dbf", "R24/p.shp"]
    assert filters()["parcels_named"](several) == ["R11/p.shp", "R24/p.shp"]
    found = [file["dest"] for file in filters()["parcels_files"](str(tmp_path / "fr/"))]
    assert found == ["fr/R11/p.shp", "fr/R11/p.dbf", "fr/R24/p.shp"]
    assert filters()["parcels_named"](str(tmp_path / "fr/")) == ["fr"]


def test_what_is_wrong_with_the_files_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AnsibleFilterError, match=r"none.shp does not exist\. Correct the name"):
        filters()["parcels_files"](str(tmp_path / "none.shp"))


def test_files_of_others_that_would_be_read_are_found() -> None:
    foreign = filters()["parcels_foreign"]
    others = ["A.cpg", "ab.cpg", "notes.txt", "a.gpkg", "fr/R11/p.prj", "fr/R24/x.gpkg"]
    assert foreign(others, ["a.shp", "a.dbf"], ["a.shp"]) == ["A.cpg"]
    assert foreign(others, ["fr/R11/p.shp"], ["fr/R11/p.shp"]) == ["fr/R11/p.prj"]
    assert foreign(others, ["fr/R11/p.shp"], ["fr"]) == ["fr/R11/p.prj", "fr/R24/x.gpkg"]
    assert foreign([*others, "b.gpkg-wal"], ["b.gpkg"], ["b.gpkg"]) == ["b.gpkg-wal"]
    assert foreign([], ["a.shp"], ["a.shp"]) == []
    with pytest.raises(AnsibleFilterError, match=r"^On the host, a\.shp: A\.\w+ and A\.\w+"):
        foreign(["A.cpg", "A.CPG"], ["a.shp"], ["a.shp"])


def test_the_host_gets_what_cbmctl_reads_and_files_of_others_stay(tmp_path: Path) -> None:
    paths = []
    for region in ("R11", "R24"):
        (tmp_path / "fr" / region).mkdir(parents=True)
        paths.append(str(write(tmp_path / "fr" / region / "p.fgb", 2)))
    (tmp_path / "first/old/part").mkdir(parents=True)
    first = [str(write(tmp_path / "first" / name, 1)) for name in ("q.fgb", "old/part/p.fgb")]
    incoming = tmp_path / "incoming"
    touched(incoming, "operator.gpkg", "old/notes.txt", "fr/R11/other.fgb")
    role = REPOSITORY / "roles/parcels"

    def copied(file: object) -> dict[str, Any]:
        """The role up to what needs the host's cbmctl."""
        return {
            "ansible.builtin.include_tasks": str(role / "tasks/files.yml"),
            "vars": {"parcels_file": file},
        }

    # a folder, in which a file of others lies
    refused = {
        "block": [copied(str(tmp_path / "fr"))],
        "rescue": [{"ansible.builtin.debug": {"msg": "said:{{ ansible_failed_result.msg }}"}}],
    }
    show = {"msg": "{{ (['load'] + parcels_arguments + ['-a']) | join(':') }}"}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"parcels_aoi_file": "", "parcels_incoming": str(incoming), "parcels_season": ""}
        | {"ansible_python_interpreter": sys.executable, "parcels_file": paths},
        "vars_files": [str(role / "vars/main.yml")],
        "tasks": [copied(first), copied(paths), {"ansible.builtin.debug": show}, refused],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local"]
    run = subprocess.run(
        [*command, str(tmp_path / "play.yml")],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"ANSIBLE_FILTER_PLUGINS": str(REPOSITORY / "plugins/filter")},
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = {str(file.relative_to(incoming)) for file in incoming.rglob("*") if file.is_file()}
    others = {"operator.gpkg", "old/notes.txt", "fr/R11/other.fgb"}
    assert found == {"R11/p.fgb", "R24/p.fgb", ".copied.json"} | others
    assert not (incoming / "old/part").exists(), "an empty folder of an earlier delivery"
    for region in ("R11", "R24"):
        assert content(incoming / region) == content(tmp_path / "fr" / region)
    assert f"load:{incoming}/R11/p.fgb:{incoming}/R24/p.fgb:-a" in run.stdout
    assert "said:fr/R11/other.fgb in" in run.stdout
    assert "would be read as a part of the parcels" in run.stdout


def test_what_cbmctl_asks_permission_for_is_said_with_the_operators_variable() -> None:
    load, refusal = yaml.safe_load((REPOSITORY / "roles/parcels/tasks/main.yml").read_text())[1:3]
    given = {"parcels_arguments": ["p.gpkg"], "parcels_options": ["--key=id"]}
    arguments = load["cbmctl"]["arguments"]
    assert rendered("parcels", arguments, **given) == ["parcels", "load", "p.gpkg", "--key=id"]
    allowed = given | {"parcels_accept_removals": "true", "parcels_drop_statistics": True}
    assert rendered("parcels", arguments, **allowed)[4:] == ["--accept-removals", "--drop-statistics"]
    names = load["cbmctl"]["option_names"]
    for chosen, ending in (
        ({}, ""),
        ({"parcels_season": "2022"}, " -e cbm_season_name=2022"),
        ({"parcels_season": "", "parcels_season_chosen": "2021"}, " -e cbm_season_name=2021"),
    ):
        found = rendered("parcels", names, **chosen)
        assert found["--accept-removals"] == f"-e tenant_parcels_accept_removals=true{ending}"
        assert found["--drop-statistics"] == f"-e parcels_drop_statistics=true{ending}"
        assert found["--layer"] == "tenant_parcels_layer"
    for code, permission in (
        ("parcels.in_use", True),
        ("parcels.many_gone", True),
        ("parcels.statistics_would_go", True),
        ("parcels.missing", False),
    ):
        loaded = {"msg": "No.", "failed": True, "error": {"code": code}}
        assert rendered("parcels", "{{ parcels_permission }}", parcels_loaded=loaded) is permission
        assert code in CODES
        said = rendered("parcels", refusal["ansible.builtin.assert"]["fail_msg"], parcels_loaded=loaded)
        assert said == "No."
    assert rendered("parcels", "{{ parcels_permission }}", parcels_loaded={}) is False
