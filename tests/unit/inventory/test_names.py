"""Every text of an inventory that becomes a path, a word of a command, a table or a resource has a rule."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import yaml
from ansible.module_utils.inventory.formats import FORMATS
from ansible.module_utils.inventory.specification import Option

from tests.conftest import REPOSITORY
from tests.support.inventories import SPECIFICATION, said

EVIL = ["../../evil x", "a b -o x", "../../x*", "-x; ../a", "x\ny", "$(x)", "a/../../b,c"]

# texts without a rule, by the reason for it: each is a variable, or all that begin like one with *
FREE = {
    "repeats variables of other roles, which are judged there; only precheck reads it": ["precheck_*"],
    "only playbooks/group_vars/all.yml and the playbooks set it": [
        "database_seasons",
        "report_seasons",
        "tenant_cloud_also",
        "tenant_cloud_contact.*",
        "tenant_cloud_entry",
        "valid_inventory_required_of",
        "worker_image_catalogue_urls",
        "worker_image_archive_s3",
        "worker_image_eodata_s3",
        "worker_image_extraction",
        "worker_image_seasons",
    ],
    "precheck judges and asks the services, and cbmctl judges their URLs": [
        "catalogue_urls.*",
        "order_urls.*",
        "tenant_catalogue_urls.*",
    ],
    "looked up in clouds.yaml or in the cloud, which has names of any form": [
        "tenant_cloud",
        "tenant_cloud_eodata_network",
        "tenant_cloud_external_network",
        "tenant_cloud_flavor",
        "tenant_cloud_image",
        "tenant_cloud_network",
        "tenant_cloud_region",
        "tenant_cloud_volume",
        "tenant_cloud_volume_type",
    ],
    "the module cloud_tenant judges it": [
        "tenant_cloud_database_cidrs",
        "tenant_cloud_rules.*",
        "tenant_cloud_ssh_cidrs",
    ],
    "for people to read": ["tenant_contact"],
    "compared with the file by cbmctl parcels inspect, which gets it as --option=value": [
        "tenant_parcels_attributes",
        "tenant_parcels_crs",
        "tenant_parcels_encoding",
        "tenant_parcels_id",
        "tenant_parcels_layer",
        "tenant_parcels_where",
        "tenant_seasons.parcels_attributes",
        "tenant_seasons.parcels_crs",
        "tenant_seasons.parcels_encoding",
        "tenant_seasons.parcels_id",
        "tenant_seasons.parcels_layer",
        "tenant_seasons.parcels_where",
    ],
    "arguments of cbmctl as such": ["order_run", "parcels_options"],
    "sent to the service of the account": ["order_user", "tenant_orders.user"],
}


def texts(options: Iterable[Option]) -> Iterator[Option]:
    """Options, also inside mappings, whose value is a text or may hold one, without those with choices."""
    for option in options:
        if option.options and not option.open:
            yield from texts(option.options.values())
        elif option.type == "list":
            if option.elements not in ("int", "float", "bool") and not option.choices:
                yield option
        elif option.type not in ("int", "float", "bool") and not option.choices:
            yield option


def is_free(name: str) -> bool:
    return any(
        name.startswith(free.removesuffix("*")) if free.endswith("*") else name == free
        for names in FREE.values()
        for free in names
    )


TEXTS = {option.name: option for option in texts(SPECIFICATION.options.values())}
RULED = [name for name, option in TEXTS.items() if option.rule.format]


def test_every_text_has_a_rule_or_a_reason_for_none() -> None:
    without = {name for name, option in TEXTS.items() if not option.rule.format and not option.options}
    assert not {name for name in without if not is_free(name)}
    # what has a rule needs no reason
    named = {free for names in FREE.values() for free in names if not free.endswith("*")}
    assert named <= without


def given(name: str, value: str) -> dict[str, Any]:
    outer, _, inner = name.partition(".")
    option = TEXTS[name]
    content: Any = [value] if option.type == "list" else value
    if inner:
        content = [{inner: content}] if SPECIFICATION.options[outer].type == "list" else {inner: content}
    return {outer: content}


@pytest.mark.parametrize("value", EVIL)
def test_no_text_with_a_rule_takes_what_ends_a_word_and_climbs_out_of_a_folder(value: str) -> None:
    # paths of the control host have any characters, and areas have spaces: both are one argument of a command
    free = [FORMATS["path"]] + ([FORMATS["label"]] if value == "a b -o x" else [])
    checked = [name for name in RULED if TEXTS[name].rule.format not in free]
    assert not [name for name in checked if not said(given(name, value))]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"tenant_eodata_s3": {"endpoint": "https://s3.example", "bucket": "../../evil x"}},
            "tenant_eodata_s3.bucket: '../../evil x' is not a valid bucket name.",
        ),
        ({"eodata_mount_bucket": "a b -o x"}, "eodata_mount_bucket: 'a b -o x' is not a valid bucket name."),
        ({"tenant_data_volume_id": "../../x*"}, "tenant_data_volume_id: '../../x*' is not valid."),
        ({"tenant_aoi": "-x; ../a"}, "tenant_aoi: '-x; ../a' is not a valid name of an area."),
        (
            {"maintenance_archive": "s3://seasons/../x"},
            "maintenance_archive: 's3://seasons/../x' is not a valid path on the host or URL of an archive.",
        ),
        ({"data_volume_device": "x y"}, "data_volume_device: 'x y' is not a valid disk."),
        ({"data_volume_device": "/dev/../etc"}, "data_volume_device: '/dev/../etc' is not a valid disk."),
        (
            {"tenant_data_mount": "/data/../etc"},
            "tenant_data_mount: '/data/../etc' is not a valid path on the",
        ),
        ({"postgis_directory": "/data/.."}, "postgis_directory: '/data/..' is not a valid path on the host."),
        (
            {"tenant_eodata_s3": {"endpoint": "https://s3.example,allow_root"}},
            "tenant_eodata_s3.endpoint: 'https://s3.example,allow_root' is not a valid URL.",
        ),
        (
            {"base_system_sshd_options": {"Port": 99999}},
            "base_system_sshd_options.Port: 99999 is out of range.",
        ),
        (
            {"postgis_settings": {"max_connections": "lots"}},
            "postgis_settings.max_connections: 'lots' is not a whole number.",
        ),
        (
            {"postgis_settings": {"work_mem": "much"}},
            "postgis_settings.work_mem: 'much' is not a valid size.",
        ),
    ],
)
def test_a_value_that_would_break_a_command_is_refused(values: dict[str, Any], sentence: str) -> None:
    (found,) = said(values)
    assert found.startswith(sentence)


@pytest.mark.parametrize(
    "values",
    [
        {"tenant_eodata_s3": {"endpoint": "https://s3.example:8443/a", "bucket": "DIAS", "region": "waw3-2"}},
        {"tenant_archive_s3": {"endpoint": "https://s3.example", "region": "waw3-1", "path_style": True}},
        {"maintenance_archive": "s3://seasons/dk/2021"},
        {"maintenance_archive": "/data/cbm/archive/2021"},
        {"tenant_data_volume_id": "8c1f2a34-5b6d-4c7e-8f90-a1b2c3d4e5f6"},
        {"tenant_data_device": "/dev/disk/by-path/pci-0000:00:05.0-scsi-0:0:0:1"},
        {"tenant_data_device": "/dev/vdb", "tenant_data_volume_id": ""},
        {"tenant_aoi": "Castilla y León (2025)"},
        {"container_image_release": "2026-11", "worker_image_dockerfile": "extraction/Dockerfile"},
        {"docker_engine_packages": ["docker.io", "docker-ce=5:27.3.1-1~debian.12~bookworm"]},
        {"tenant_secrets_names": ["db.example", "192.0.2.1", "2001:db8::1", "::1", "*.example"]},
        {"extraction_image": "registry.example:5000/cbm/worker:1.0-abc"},
        # other keys are free: the program that reads them judges them
        {"base_system_sshd_options": {"Port": "2222", "PermitRootLogin": "no"}},
        {"postgis_settings": {"max_connections": 250000, "shared_buffers": "2GB", "jit": "off"}},
        {"postgis_settings": {"random_page_cost": 1.1, "work_mem": 65536, "checkpoint_timeout": "30min"}},
    ],
    ids=str,
)
def test_values_as_operators_have_them_are_valid(values: dict[str, Any]) -> None:
    assert not said(values)


def test_defaults_of_the_roles_are_valid() -> None:
    for folder in sorted((REPOSITORY / "roles").iterdir()):
        file = folder / "defaults/main.yml"
        defaults = yaml.safe_load(file.read_text()) if file.exists() else {}
        constant = {name: value for name, value in (defaults or {}).items() if "{{" not in str(value)}
        assert not said(constant)
