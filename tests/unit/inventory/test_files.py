"""An inventory's files: YAML's own reason is reported, with the line, and nothing else is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader

from tests.conftest import REPOSITORY
from tests.support.plugins import load

checked = load("inventory", "checked_yaml")

GOOD = "tenants:\n  hosts:\n    dk: {tenant_year: 2021}\n  vars:\n    ansible_user: eouser\n"


def refused(directory: Path, text: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What is said of a file that is not an inventory; the process would end with Ansible's code for that."""
    (directory / "hosts.yml").write_text(text)
    with pytest.raises(SystemExit) as ended:
        checked.InventoryModule().parse(None, DataLoader(), str(directory / "hosts.yml"))
    assert ended.value.code == 4
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith(f"[ERROR]: The inventory {directory}/hosts.yml is not valid")
    return said.partition("is not valid")[2]


GROUP = "The group tenants"
REASONS = [
    # Ansible would blame a colon for these two
    (
        GOOD.replace("  vars", " vars"),
        "4, column 2: while parsing a block mapping did not find expected key. Correct",
    ),
    (
        GOOD.replace("2021}", "[2021}"),
        "3, column 28: while parsing a flow sequence did not find expected ',' or ']'. Correct",
    ),
    (GOOD.replace("  vars", "\tvars"), "4, column 1: while scanning"),
    (GOOD.replace("2021", "{{ x }}"), 'found unhashable key (an expression needs quotes: "{{ … }}").'),
    (
        GOOD.replace("hosts", "hostss"),
        f"2, column 3: {GROUP} has the unknown key hostss (did you mean hosts?).",
    ),
    (
        GOOD.replace("{tenant_year: 2021}", "2021"),
        "3, column 5: The host dk of the group tenants must be a mapping",
    ),
    ("tenants: dk\n", f"1, column 1: {GROUP} must be a mapping with hosts, vars or children. Correct"),
    (
        "tenants: {hosts: [dk]}\n",
        "1, column 11: The key hosts of the group tenants must be a mapping. Correct",
    ),
    (
        "all: {children: {tenants: {host: {dk: {}}}}}",
        f"{GROUP} has the unknown key host (did you mean hosts?).",
    ),
    (
        "- tenants\n",
        "1, column 1: The file must be a mapping of groups. Correct the file; nothing was changed.",
    ),
    ("", ": The file must be a mapping of groups. Correct the file; nothing was changed."),
]


@pytest.mark.parametrize(("text", "said"), REASONS)
def test_yamls_reason_and_place_are_the_headline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    assert said in refused(tmp_path, text, capsys)


def listed(directory: Path, inventory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "ansible-inventory", "-i", inventory, "--list"],
        cwd=directory,
        env=os.environ | {"ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "file", ["hosts.yml", "group_vars/all.yml", "host_vars/dk/a.yml", "group_vars/tenants"]
)
def test_a_key_twice_is_an_error_wherever_variables_are(tmp_path: Path, file: str) -> None:
    """Without it, the second would win."""
    (tmp_path / "hosts.yml").write_text(GOOD)
    twice = GOOD + "tenants: {}\n" if file == "hosts.yml" else "a: 1\na: 2\n"
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(twice)
    run = listed(tmp_path, tmp_path / "hosts.yml")
    assert run.returncode == 4
    line = twice.count("\n")
    assert run.stderr.startswith(
        f"[ERROR]: The inventory {tmp_path}/{file} is not valid, line {line}, column 1: "
    )
    assert "WARNING" not in run.stderr


def test_good_inventories_of_any_kind_are_read(tmp_path: Path) -> None:
    """Also beside encrypted variables, in INI, and by another plugin of Ansible."""
    (tmp_path / "hosts.yml").write_text(GOOD)
    (tmp_path / "more.yml").write_text(
        "plugin: ansible.builtin.constructed\ngroups: {of_2021: tenant_year == 2021}\n"
    )
    (tmp_path / "hosts").write_text("[tenants]\nlt ansible_host=192.0.2.11\n")
    run = listed(tmp_path, tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert all(word in run.stdout for word in ("of_2021", "192.0.2.11", "eouser"))
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n6162\n")
    assert checked.beside(tmp_path / "hosts.yml") == []
