"""Files with secrets on the control host are judged before any change, as cbmctl judges them later."""

from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from cbmctl.config.ordering import Ordering
from cbmctl.errors import UserError
from cbmctl.ordering.credentials import read_credentials
from tests.conftest import REPOSITORY
from tests.support.plugins import load
from tests.support.role_plays import precheck

secret_file_problems = load("filter", "secret_files").secret_file_problems
SECRET = "correct horse"
# content, mode, and code of the problem
FILES = {
    "good": (SECRET, 0o600, []),
    "read-only": (f"{SECRET}\n", 0o400, []),
    "open": (SECRET, 0o640, ["secret_file.mode"]),
    "executable": (SECRET, 0o700, ["secret_file.mode"]),
    "empty": ("", 0o600, ["secret_file.empty"]),
    "empty-line": (f"\n{SECRET}", 0o644, ["secret_file.empty", "secret_file.mode"]),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_passes_is_a_secret_to_cbmctl_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for variable in ("CBM_ORDER_PASSWORD", "CBM_ORDER_PASSWORD_FILE", "CBM_ORDER_USER"):
        monkeypatch.delenv(variable, raising=False)
    content, mode, codes = FILES[name]
    file = tmp_path / "order.password"
    file.write_text(content)
    file.chmod(mode)
    found = secret_file_problems({"tenant_orders_password_file": str(file)})
    assert [each["code"] for each in found] == codes
    assert SECRET not in str(found)
    ordering = Ordering(user="agency", password_file=file)
    if codes:
        with pytest.raises(UserError):
            read_credentials(ordering)
    else:
        assert read_credentials(ordering).password == SECRET


def test_missing_files_are_named_and_empty_paths_are_not(tmp_path: Path) -> None:
    found = secret_file_problems({"tenant_orders_password_file": "/absent", "tenant_orders_totp_file": ""})
    assert [each["sentence"] for each in found] == [
        "tenant_orders_password_file: /absent does not exist on the control host."
        " Write the secret into its first line, with mode 0600, or correct the path."
    ]
    (folder,) = secret_file_problems({"tenant_orders_totp_file": str(tmp_path)})
    assert folder["code"] == "secret_file.unreadable"


def test_precheck_lists_them_if_the_inventory_orders(tmp_path: Path) -> None:
    files = {"tenant_orders_password_file": "/absent"}
    (found,), _ = precheck(tmp_path, "control", "precheck_problems_control", [{"order_files": files}])
    assert [each for each in found if each.startswith("tenant_orders_password_file: /absent")]


@pytest.mark.parametrize(("orders", "number"), [({}, 0), ({"user": "agency", "cards": ["bs"]}, 2)])
def test_the_files_of_an_inventory_without_orders_are_not_judged(
    orders: dict[str, object], number: int
) -> None:
    line = yaml.safe_load((REPOSITORY / "playbooks/group_vars/all.yml").read_text())["precheck_order_files"]
    given = {
        "tenant_orders": orders,
        "tenant_orders_password_file": "/a",
        "tenant_orders_totp_file": "/b",
    }
    assert len(Templar(DataLoader(), variables=given).template(trust_as_template(line))) == number
