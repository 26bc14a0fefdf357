"""The service of S3 for archives of seasons, from the inventory to the configuration of cbmctl."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from cbmctl.config.archive import read_archive_s3
from cbmctl.config.section import Section
from tests.conftest import REPOSITORY
from tests.support.role_plays import play, precheck

ROLE = REPOSITORY / "roles/worker_image"
SERVICE = {"endpoint": "https://s3.example", "region": "waw3-1", "path_style": False}
SECRET = "first-line-of-a-secret"


def written(role: str, service: dict[str, Any]) -> dict[str, Any]:
    """The configuration of cbmctl that the role writes."""
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    lines = {name: value for name, value in defaults.items() if "{{" not in str(value)}
    lines |= {"worker_image_database": "any", "worker_image_database_host": "any"}
    lines["worker_image_season"] = dict.fromkeys(["schema", "parcels_table", "aoi", "start", "end"], "any")
    lines |= {"worker_image_database_port": 1, "worker_image_archive_s3": service}
    lines["worker_image_identity"] = {"role": role, "directory": f"/etc/cbm/{role}"}
    template = (ROLE / "templates/db_config.json.j2").read_text()
    text = Templar(DataLoader(), variables=lines).template(trust_as_template(template))
    found: dict[str, Any] = text if isinstance(text, dict) else json.loads(text)
    return found


def test_only_the_owner_s_configuration_has_the_service(tmp_path: Path) -> None:
    assert "archive_s3" not in written("owner", {})
    assert "archive_s3" not in written("writer", SERVICE)
    service = read_archive_s3(Section(tmp_path, "", written("owner", SERVICE)))
    assert service
    assert (service.endpoint, service.region, service.path_style) == ("https://s3.example", "waw3-1", False)
    assert (service.key_file, service.ca_file) == (Path("/etc/cbm/archive.keys"), None)
    described = written("owner", SERVICE | {"ca_file": "~/ca.crt"})["archive_s3"]
    assert described["ca_file"] == "/etc/cbm/archive-ca.crt"


def test_keys_are_copied_as_those_of_eodata_are() -> None:
    tasks = yaml.safe_load((ROLE / "tasks/configuration.yml").read_text())
    eodata, archive = (
        next(task for task in tasks if str(task.get("ansible.builtin.copy", {}).get("dest")).endswith(name))
        for name in ("/eodata.keys", "/archive.keys")
    )
    for key in ("owner", "group", "mode"):
        assert archive["ansible.builtin.copy"][key] == eodata["ansible.builtin.copy"][key]
    assert archive["no_log"] is True


@pytest.mark.parametrize("holds", ["", "no colon", None])
def test_keys_that_are_missing_are_reported(tmp_path: Path, holds: str | None) -> None:
    file = tmp_path / "archive.keys"
    if holds is not None:
        file.write_text(holds)
        file.chmod(0o600)
    required = {
        **dict.fromkeys(["database_host", "secrets_dir", "ca_certificate", "eodata"], "/absent"),
        "seasons": [],
        "database_port": 1,
        "archive_s3": SERVICE,
        "archive_keys_file": str(file),
    }
    lines = {f"worker_image_{name}": value for name, value in required.items()}
    said = play(tmp_path, {"host": lines}, {"ansible.builtin.include_role": {"name": "worker_image"}})
    word = "does not exist" if holds is None else "holds no valid keys"
    assert f"tenant_archive_keys_file: {file} on the control host {word}." in " ".join(said.split())
    assert "no colon" not in said


def test_precheck_reports_a_service_that_is_described_badly(tmp_path: Path) -> None:
    file = tmp_path / "archive.keys"
    file.write_text(SECRET)
    file.chmod(0o644)
    cases = [
        {"archive_keys_file": str(file), "archive_s3": SERVICE},
        {"archive_keys_file": "/absent", "archive_s3": {"region": "waw3-1"}},
        {},
    ]
    (open_file, absent, none), said = precheck(tmp_path, "control", "precheck_problems_control", cases)
    about = "tenant_archive_keys_file: "
    assert [each for each in open_file if each.startswith(f"{about}{file} has mode 0644, expected 0600")]
    assert [each for each in absent if each.startswith(f"{about}/absent does not exist on the control host")]
    assert "tenant_archive_s3.endpoint: '' is not a valid URL. Begin it with https://." in absent
    assert not [each for each in (*open_file, *none) if each.startswith("tenant_archive_s3")]
    assert not [each for each in none if each.startswith(about)]
    assert SECRET not in said
