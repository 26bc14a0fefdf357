"""The role `order`: what is missing is ordered through SSH, within the month's budget, and only once."""

import json
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from cbmctl.config import load_config
from tests.conftest import REPOSITORY, Database
from tests.support.keycloak_realm import PASSWORD, USER
from tests.support.level_1_products import level_1
from tests.support.odata_server import Catalogue
from tests.support.odata_server import serve as serve_catalogue
from tests.support.odp_server import Odp
from tests.support.odp_server import serve as serve_orders
from tests.support.role_plays import play

pytestmark = pytest.mark.postgis

TABLES = {
    "parcel_table": "public.parcels_2024",
    "catalog_table": "public.dias_catalogue",
    "sigs_table": "public.sigs",
    "hists_table": "public.hists",
}
START = datetime(2024, 2, 6, 4, 11, 37)


class Place:
    """A tenant whose host is reached by ssh, with a catalogue of three GRD products and an order service."""

    def __init__(self, database: Database, directory: Path, orders: str, catalogue: str) -> None:
        self.database, self.directory = database, directory
        self.secret = directory / "order.password"
        self.secret.write_text(f"{PASSWORD}\n")
        self.secret.chmod(0o600)
        self.arguments = directory / "arguments"
        configuration = json.loads(database.config_path.read_text())
        configuration["catalogue"] = {"urls": {"odata": catalogue}}
        configuration["ordering"] = {
            "user": USER,
            "password_file": str(self.secret),
            "url": f"{orders}/odata/v1",
            "token_url": f"{orders}/realm/token",
        }
        self.configuration = configuration

    def run(self, *, check: bool = False, **variables: Any) -> str:
        given = {
            "order_cards": ["bs"],
            "order_aoi": "there",
            "order_start": "2024-02-01",
            "order_end": "2024-03-01",
            "order_password_file": str(self.secret),
            "order_state_dir": str(self.directory),
            "order_database_host": "not used",
            "order_database_port": 1,
            "order_parcels_table": "parcels_2024",
        }
        host = {
            "ansible_connection": "ssh",
            "ansible_host": "192.0.2.1",
            "ansible_user": "eouser",
            "ansible_ssh_executable": str(REPOSITORY / "tests/support/ssh_forwarder.py"),
        }
        task = {
            "ansible.builtin.import_role": {"name": "order"},
            # a host is given a way to the order service, which is here
            "vars": given | {"order_configuration": self.configuration} | variables,
        }
        return play(self.directory, {"dk": host}, task, check=check)

    def items(self) -> list[tuple[str, str]]:
        with self.database.connect() as conn:
            return conn.execute("SELECT input, state FROM order_items ORDER BY sent_at").fetchall()


@pytest.fixture
def odp() -> Odp:
    return Odp()


@pytest.fixture
def place(
    area: Database, tmp_path: Path, testdata: Path, odp: Odp, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    monkeypatch.setenv("FORWARDER_ARGUMENTS", str(tmp_path / "arguments"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # the operator's own account is another tenant's
    monkeypatch.setenv("CBM_ORDER_USER", "somebody else")
    products = [level_1(testdata, "grd", START + timedelta(minutes=minutes)) for minutes in range(3)]
    with serve_catalogue(Catalogue(products)) as catalogue, serve_orders(odp) as orders:
        yield Place(area, tmp_path, orders, catalogue)


def recap(said: str) -> str:
    """The line of the host that counts its tasks."""
    return next(line for line in said.splitlines() if line.startswith("dk") and "ok=" in line)


def is_the_way_of_ssh(place: Place) -> None:
    """The database was reached as Ansible reaches the host."""
    arguments = place.arguments.read_text().split("\n")
    assert arguments[-1] == "192.0.2.1"
    assert "User=eouser" in arguments
    assert arguments.index("ControlMaster=no") < arguments.index("ControlMaster=auto")
    database = place.configuration["database"]["connection"]
    forwarded = arguments[arguments.index("-L") + 1]
    assert forwarded.endswith(f":{database['host']}:{database['port']}")


def test_the_month_is_ordered_once(place: Place, odp: Odp) -> None:
    said = place.run(check=True, order_products_per_month=2)
    assert "changed=1" in recap(said), said
    assert "bs: 3 in area and period" in said
    assert "would be ordered now: 2" in said
    assert place.items() == []
    assert odp.made().total() == 0

    is_the_way_of_ssh(place)
    said = place.run(order_products_per_month=2)
    assert "changed=1" in recap(said), said
    assert "failed=0" in recap(said)
    assert len(place.items()) == 2
    assert odp.made().total() == 2
    assert PASSWORD not in said

    said = place.run(order_products_per_month=2)
    assert "changed=0" in recap(said), said
    assert odp.made().total() == 2

    with place.database.connect() as conn:
        conn.execute("UPDATE order_items SET sent_at = sent_at - interval '40 days'")
    assert "changed=1" in recap(place.run(order_products_per_month=2))
    assert odp.made().total() == 3
    assert set(odp.made().values()) == {1}


def test_a_refused_order_fails_the_run_with_its_reason(place: Place, odp: Odp) -> None:
    odp.quota = 0
    said = place.run()
    assert "failed=1" in recap(said), said
    assert "quota" in said
    # how far the orders are is shown all the same
    assert "Not ordered: " in said
    asked = (
        len(odp.orders),
        [path for _, path in odp.asked].count("/odata/v1/ProductionOrder/OData.CSC.Order"),
    )
    odp.quota = None
    for check in (True, False):  # a daily run says it, does not fail, and sends nothing in this month
        said = place.run(check=check)
        assert "failed=0" in recap(said), said
        assert "changed=0" in recap(said)
        assert "not sent: 3, because the service refused the account on " in said
    assert asked == (0, 1)
    assert "failed=0" in recap(place.run(order_retry_refused_account=True))
    assert len(place.items()) == 3


def test_without_a_password_file_nothing_is_asked(place: Place) -> None:
    place.secret.unlink()
    said = place.run()
    assert "does not exist on the control host. Write the password of the ordering account" in said
    assert place.items() == []


def test_a_season_that_is_not_set_up_is_skipped(place: Place, odp: Odp) -> None:
    """Between its line in the inventory and onboard.yml; the other seasons are ordered."""
    password = place.directory / "writer.password"
    connection = place.configuration["database"]["connection"] | {"dbpasswd_file": str(password)}
    database = place.configuration["database"] | {"connection": connection}
    said = place.run(order_configuration=place.configuration | {"database": database})
    assert "failed=0" in recap(said), said
    assert "because the tenant is not set up yet" in said
    assert not place.arguments.exists(), "no connection was made"

    tables = {name: table.replace("public.", "season_2025.") for name, table in TABLES.items()}
    database = place.configuration["database"] | {"tables": tables | {"aoi_table": "public.aois"}}
    for said in (
        place.run(order_configuration=place.configuration | {"database": database}),
        place.run(order_aoi="parcels_2025"),
    ):
        assert "failed=0" in recap(said), said
        assert "bs: nothing is ordered, because the season is not set up yet" in said
    assert odp.asked == []
    assert "failed=0" in recap(place.run())
    assert len(place.items()) == 3


def test_an_inventory_without_orders_orders_nothing(place: Place) -> None:
    said = place.run(order_cards=[])
    assert "tenant_orders of dk is empty. Nothing is ordered." in said
    assert "failed=0" in recap(said)
    assert not place.arguments.exists()


@pytest.mark.thorough
def test_a_command_by_hand(place: Place, odp: Odp) -> None:
    place.run()
    assert odp.made().total() == 3
    said = place.run(order_run=["cancel", "1", "--yes"])
    assert "changed=1" in recap(said), said
    assert {state for _, state in place.items()} == {"cancelled"}


@pytest.mark.parametrize("schema", ["public", "season_2021"])
def test_the_roles_configuration_is_valid(tmp_path: Path, schema: str) -> None:
    variables = yaml.safe_load((REPOSITORY / "roles/order/vars/main.yml").read_text())
    given = {
        "order_database_host": "10.0.0.4",
        "order_database_port": 11039,
        "order_state_dir": str(tmp_path),
        "order_schema": schema,
        "order_parcels_table": "parcels_2021",
        "order_aoi": "parcels_2021",
        "order_start": "2020-10-01",
        "order_end": "2022-01-01",
        "order_user": USER,
        "order_password_file": "/root/p",
        "order_totp_file": "/root/t",
        "order_urls": {"odata": "https://o.example/v1"},
    }
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "writer.password").write_text("x\n")
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "ca.crt").write_text("x")
    file = tmp_path / "db_config.json"
    written = {"content": "{{ order_configuration | to_json }}", "dest": str(file), "mode": "0600"}
    said = play(tmp_path, {"dk": given | variables}, {"ansible.builtin.copy": written})
    assert file.exists(), said
    config = load_config(file)
    assert (config.tables.schema, config.tables.orders.schema) == (schema, "public")
    assert (config.connection.host, config.connection.user, config.connection.password) == (
        "10.0.0.4",
        "cbm_writer",
        "x",
    )
    assert config.catalogue.urls == {"odata": "https://o.example/v1"}
    assert (config.ordering.user, config.ordering.password_file) == (USER, Path("/root/p"))
