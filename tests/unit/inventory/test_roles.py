"""Names in an inventory, its tenants beside each other, and what the roles say they take."""

from pathlib import Path

import pytest
import yaml
from ansible.module_utils.inventory.tenants import Tenant

from tests.conftest import REPOSITORY
from tests.support.inventories import MAPPED, NAME, SPECIFICATION, problems, read, said


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("postgis_client_cidr", "postgis_client_cidrs"),
        ("extraction_wokers", "extraction_workers"),
        ("tenant_reflectence", "tenant_reflectance"),
        ("tenant_cloud_flavour", "tenant_cloud_flavor"),
        ("tenant_parcel_file", "tenant_parcels_file"),
        ("base_system_held_package", "base_system_held_packages"),
        # under another role's prefix
        ("tenant_client_cidrs", "postgis_client_cidrs"),
        ("worker_image_workers", "extraction_workers"),
        # of earlier versions
        ("worker_image_scl", "tenant_scl"),
        ("worker_image_checksums", "tenant_checksums"),
        ("tenant_workers", "extraction_workers"),
        ("tenant_port", "tenant_database_port"),
        # the prefix itself
        ("tennant_year", "tenant_year"),
        ("postgres_client_cidrs", "postgis_client_cidrs"),
        ("cbm_state_dri", "cbm_state_dir"),
    ],
)
def test_a_misspelt_variable_is_an_error_with_the_nearest_name(name: str, meant: str) -> None:
    found = problems("dk", {}, SPECIFICATION, names=[name, "cbm_state_dir"], mapped=MAPPED)
    assert [one.sentence for one in found] == [f"Unknown variable {name} (did you mean {meant}?)."]
    assert [(one.code, one.variable) for one in found] == [("inventory.unknown_variable", name)]


def test_a_name_of_ones_own_does_not_begin_like_a_role() -> None:
    (sentence,) = said({}, "tenant_iso")
    assert sentence == (
        "Unknown variable tenant_iso. Names that begin with tenant_ belong to this project;"
        " give a variable of your own another name."
    )
    assert not said({}, "data", "lab_vms", "iso", "ansible_user", "my_tenant_year", "inventory_dir")


def test_names_that_roles_note_during_a_run_are_not_an_operators_mistakes() -> None:
    # registered, a fact, and one whose role has no other prefix
    noted = ["precheck_inspected", "container_image_tag", "tenant_cloud_planned", "docker_engine_routes"]
    assert not said({}, *noted)


def test_a_required_variable_that_is_missing_is_named_with_its_meaning() -> None:
    found = problems("dk", {}, SPECIFICATION, names=["tenant_year"], required_of=["tenant"])
    assert [one.variable for one in found] == ["tenant_parcels_file", "tenant_expected_parcels"]
    assert found[1].sentence == (
        "tenant_expected_parcels is missing. Set it in the inventory:"
        " How many parcels the Paying Agency says there are. Sizes the disk check."
    )


DK = Tenant("dk", "dk", address="192.0.2.11:22", machine="m1 10.0.0.2 fa:16:3e:00:00:01")
NONE: list[str] = []


@pytest.mark.parametrize(
    ("other", "codes"),
    [
        (Tenant("lt", "lt", address="192.0.2.12:22", machine="m1 10.0.0.2 fa:16:3e:00:00:02"), NONE),
        # behind one address, by another port
        (Tenant("lt", "lt", address="192.0.2.11:2222"), NONE),
        # no VM yet
        (Tenant("lt", "lt"), NONE),
        (Tenant("lt", "lt", address="192.0.2.11:22"), ["inventory.shared_host"]),
        (Tenant("lt", "lt", address="lt.example:22", machine=DK.machine), ["inventory.shared_host"]),
        (Tenant("lt", "dk", address="192.0.2.12:22"), ["inventory.shared_name"]),
        (Tenant("lt", "dk", address="192.0.2.11:22"), ["inventory.shared_name", "inventory.shared_host"]),
    ],
)
def test_each_tenant_has_a_name_and_a_host_of_its_own(other: Tenant, codes: list[str]) -> None:
    found = problems("dk", {}, SPECIFICATION, names=[], tenants=[DK, other])
    assert [one.code for one in found] == codes
    found = problems("lt", {}, SPECIFICATION, names=[], tenants=[DK, other])
    assert [one.code for one in found] == codes


@pytest.mark.parametrize("host", ["Demo", "dk.example.org", "a" * 41])
def test_a_host_whose_name_cannot_be_a_tenants_needs_a_tenant_name(host: str) -> None:
    (found,) = problems(host, {}, SPECIFICATION, names=[], tenants=[Tenant(host, host), DK])
    assert found.sentence == (
        f"tenant_name: the name of the host, '{host}', is not a valid name of a tenant."
        f" Set tenant_name. {NAME}"
    )
    assert not problems(host, {}, SPECIFICATION, names=[], tenants=[Tenant(host, "lt"), DK])


def test_two_tenants_on_one_host_are_named() -> None:
    (found,) = problems("lt", {}, SPECIFICATION, names=[], tenants=[DK, Tenant("lt", "lt", "192.0.2.11:22")])
    assert found.sentence == (
        "ansible_host: lt and dk are the same host (192.0.2.11). Give each a host of its own, or remove one;"
        " they would share the database and the data disk."
    )


def test_two_tenants_with_one_disk_are_named() -> None:
    tenants = [Tenant("dk", "dk", volume="8c1f"), Tenant("lt", "lt", volume="8c1f")]
    (found,) = problems("lt", {}, SPECIFICATION, names=[], tenants=tenants)
    assert found.sentence.startswith("tenant_data_volume_id: lt and dk have the same disk '8c1f'.")


@pytest.mark.parametrize("inventory", ["inventory", "molecule"])
def test_our_own_inventories_pass(inventory: str) -> None:
    """Their names are known, and their values as far as they are no expressions."""
    wrong = {"gamma", "host"}
    for file in sorted((REPOSITORY / inventory).rglob("hosts.yml")):
        tenants = yaml.safe_load(file.read_text())["tenants"]
        for host, lines in tenants["hosts"].items():
            said_of = {**tenants.get("vars", {}), **(lines or {})}
            plain = {name: value for name, value in said_of.items() if "{{" not in str(value)}
            found = problems(host, plain, SPECIFICATION, names=said_of)
            assert not found or host in wrong, (file, found)


def test_a_rule_about_no_variable_is_a_defect(tmp_path: Path) -> None:
    (tmp_path / "a/meta").mkdir(parents=True)
    (tmp_path / "a/meta/argument_specs.yml").write_text(
        "argument_specs: {main: {options: {a_b: {type: int}}}}"
    )
    (tmp_path / "a/meta/rules.yml").write_text("a_c: {min: 1}")
    with pytest.raises(LookupError, match="a_c"):
        read(tmp_path)
    (tmp_path / "a/meta/rules.yml").write_text("a_b: {least: 1}")
    with pytest.raises(LookupError, match="least"):
        read(tmp_path)
    (tmp_path / "a/meta/rules.yml").write_text("a_b: {format: colour}")
    with pytest.raises(LookupError, match="colour"):
        read(tmp_path)


def test_every_default_of_a_role_is_specified_and_valid() -> None:
    assert not set(SPECIFICATION.defaults) - set(SPECIFICATION.options)
    plain = {name: value for name, value in SPECIFICATION.defaults.items() if "{{" not in str(value)}
    assert said(plain) == []


def test_no_required_variable_has_a_default() -> None:
    """Ansible refuses a role with such a variable."""
    required = {name for name, option in SPECIFICATION.options.items() if option.required}
    assert not required & set(SPECIFICATION.defaults)


def test_choices_are_those_of_cbmctl_and_of_precheck() -> None:
    options = SPECIFICATION.options
    precheck = yaml.safe_load((REPOSITORY / "roles/precheck/vars/main.yml").read_text())
    assert precheck["precheck_catalogue_known"] == list(options["tenant_catalogue_urls"].options)
    assert tuple(precheck["precheck_catalogue_uses"]) == options["tenant_catalogue_source"].choices
    assert tuple(precheck["precheck_cards_taken"]) == options["tenant_cards"].choices
