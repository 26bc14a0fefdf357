"""The inventory's lines about the parcels file become options of `cbmctl parcels`."""

import json
from pathlib import Path

import yaml
from click.testing import CliRunner

from cbmctl.cli import cbmctl, commands  # noqa: F401  (the commands register themselves)
from tests.conftest import REPOSITORY
from tests.support.role_plays import play

LINES = {
    "plain": ({}, []),
    "swapped": (
        {"tenant_parcels_axes": "swapped", "tenant_parcels_crs": "EPSG:3035"},
        ["--crs=EPSG:3035", "--axes=swapped"],
    ),
    "identified": ({"tenant_parcels_id": "FS_KENNUNG"}, ["--key=FS_KENNUNG"]),
    "kept": ({"tenant_parcels_axes": "as-is"}, ["--axes=as-is"]),
}


def test_options_of_the_parcels_file(tmp_path: Path) -> None:
    defaults = yaml.safe_load((REPOSITORY / "roles/tenant/defaults/main.yml").read_text())
    said = play(
        tmp_path,
        {host: defaults | lines for host, (lines, _) in LINES.items()},
        {
            "ansible.builtin.copy": {
                "content": "{{ tenant_parcels_options | to_json }}",
                "dest": f"{tmp_path}/{{{{ inventory_hostname }}}}.json",
                "mode": "0600",
            }
        },
        variables=[str(REPOSITORY / "roles/tenant/vars/main.yml")],
    )
    for host, (_, options) in LINES.items():
        assert json.loads((tmp_path / f"{host}.json").read_text()) == options, said
        if options:
            known = CliRunner().invoke(cbmctl, ["parcels", "inspect", "absent.gpkg", *options])
            assert "absent.gpkg does not exist" in str(known.exception)
