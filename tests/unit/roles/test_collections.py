"""requirements.yml and the pinned package `ansible` bring the same collections; nothing else is used."""

import json
import re
from importlib.resources import files

import yaml

from tests.conftest import REPOSITORY

LISTED = {
    c["name"]: c["version"]
    for c in yaml.safe_load((REPOSITORY / "requirements.yml").read_text())["collections"]
}
# what ansible-core itself brings
CORE = {"ansible.builtin", "ansible.legacy"}


def bundled_version(name: str) -> str:
    manifest = files("ansible_collections") / name.replace(".", "/") / "MANIFEST.json"
    version: str = json.loads(manifest.read_text())["collection_info"]["version"]
    return version


def test_listed_versions_are_the_bundled_ones() -> None:
    assert {name: bundled_version(name) for name in LISTED} == LISTED


def test_every_collection_in_use_is_listed() -> None:
    sources = [p for d in ("roles", "playbooks", "lab", "molecule") for p in (REPOSITORY / d).rglob("*.yml")]
    used = {
        match
        for path in sources
        for match in re.findall(r"^\s*(?:- )?([a-z]+\.[a-z]+)\.[a-z0-9_]+:", path.read_text(), re.MULTILINE)
    }
    assert used - CORE == set(LISTED)
