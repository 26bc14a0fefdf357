"""A tenant is looked for where an earlier run has made its VM."""

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.cloud.absent import ending
from ansible.module_utils.cloud.findings import StoppedError, problem
from ansible.module_utils.cloud.place import recorded
from ansible.module_utils.cloud.plan import plan

from tests.support.cloud_resources import replace
from tests.support.cloud_tenant import WHOLE, WISH

HERE = {"cloud": "cdse-dk", "region": "WAW3-2", "project_id": "p"}
FOUND = replace(WHOLE, project_id="p")


@pytest.mark.parametrize("known", [{}, HERE, {"cloud": "cdse-dk"}, HERE | {"address": "192.0.2.7"}])
def test_the_same_place(known: dict[str, Any]) -> None:
    assert plan(WISH, FOUND, known).findings.problems == []


@pytest.mark.parametrize("other", [{"cloud": "cdse"}, {"region": "WAW4-1"}, {"project_id": "q"}])
def test_another_place_makes_nothing_and_ends_nothing(other: dict[str, str]) -> None:
    wish = replace(WISH, state_dir="/state/dk")
    known = HERE | other
    for found in (plan(wish, FOUND, known), ending(wish, FOUND, known)):
        (told,) = found.findings.problems
        assert told.data() == {
            "code": "place.other",
            "option": "tenant_cloud",
            "message": f"dk's VM is in the cloud {known['cloud']}, region {known['region']}, project"
            f" {known['project_id']}, but the inventory and clouds.yaml say cdse-dk, WAW3-2, project p",
            "hint": "correct them, or offboard the tenant there first. If only the entry's name has changed,"
            " correct it in /state/dk/cloud.yml",
            "text": told.text,
        }


def test_without_an_answer_of_the_cloud_its_entry_is_compared() -> None:
    refused = problem("credentials", "refused", "", "Keystone says no", "ask it again")
    for known, codes in (
        (HERE, ["credentials.refused"]),
        ({"cloud": "x"}, ["credentials.refused", "place.other"]),
    ):
        for found in (plan(WISH, refused, known), ending(WISH, refused, known)):
            assert sorted(each.code for each in found.findings.problems) == codes


def test_what_is_recorded(tmp_path: Path) -> None:
    wish = replace(WISH, state_dir=str(tmp_path))
    assert recorded(wish) == {}
    (tmp_path / "cloud.yml").write_text("cloud: cdse-dk\n")
    assert recorded(wish) == {"cloud": "cdse-dk"}
    (tmp_path / "cloud.yml").write_text("{")
    with pytest.raises(StoppedError) as error:
        recorded(wish)
    assert error.value.check.text == (
        f"{tmp_path}/cloud.yml is not valid YAML; remove it and run playbooks/cloud.yml again."
    )
