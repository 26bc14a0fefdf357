#!/usr/bin/python
"""Compares a project of an OpenStack cloud with what a tenant is to have there; changes nothing."""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.cloud_absent import absent
from ansible.module_utils.cloud_diff import diff
from ansible.module_utils.cloud_model import Survey, Wish
from ansible.module_utils.cloud_planning import plan

try:
    from ansible.module_utils.cloud_answers import StoppedError
    from ansible.module_utils.cloud_login import connect
    from ansible.module_utils.cloud_survey import survey

    NO_SDK = None
except ImportError as error:
    NO_SDK = error

DOCUMENTATION = r"""
module: cloud_plan
short_description: Changes that are needed in a tenant's cloud, and the problems that prevent them
description:
  - Looks at a project of an OpenStack cloud and compares it with what a tenant is to have there.
  - It only reads. In check mode, changed is true if changes are needed, and the difference is shown.
  - Problems are listed, all at once where possible; the module itself only fails when it cannot work at all.
  - A resource belongs to the tenant if it has the mark, which is C(cbm_tenant) in the metadata of server and
    volume, or the description C(cbm-onboarding) with the tenant's name on group, ports and addresses. The
    tenant's name without the mark is a problem.
requirements:
  - openstacksdk
options:
  cloud:
    description: Entry of clouds.yaml, found as openstacksdk finds it (C(OS_CLIENT_CONFIG_FILE) among it).
    type: str
    required: true
  region:
    description: Region. Empty, the entry's own; never guessed.
    type: str
    default: ""
  tenant:
    description: The tenant; it names everything.
    type: str
    required: true
  state:
    description: With C(absent), the plan has what offboarding removes.
    type: str
    choices: [present, absent]
    default: present
  delete_data:
    description: Whether offboarding removes the data volume, too. It only changes what the plan says.
    type: bool
    default: false
  image:
    description: Name of the image; of several the newest.
    type: str
    default: ""
  flavor:
    description: Name of the flavor.
    type: str
    default: ""
  min_vcpus:
    description: A flavor with fewer is refused.
    type: int
    default: 8
  min_memory_gb:
    description: A flavor with less is refused.
    type: float
    default: 16
  network:
    description: The project's network, by name or id.
    type: str
    default: ""
  eodata_network:
    description: The archive's network; empty for none.
    type: str
    default: ""
  external_network:
    description: Where floating IPs come from; empty for none.
    type: str
    default: ""
  floating_ips:
    description: How many; the first is the server's.
    type: int
    default: 1
  floating_ip:
    description: An address that the project has, to be the server's.
    type: str
    default: ""
  volume:
    description: Id of an existing volume.
    type: str
    default: ""
  volume_type:
    description: Type of the data volume; empty for the cloud's default.
    type: str
    default: ""
  volume_gb:
    description: Size of the data volume.
    type: int
    default: 0
  needed_gb:
    description: A data volume that is smaller is a problem.
    type: float
    default: 0
  ssh_cidrs:
    description: Networks that reach SSH; C(world) is everyone.
    type: list
    elements: str
    default: []
  database_cidrs:
    description: Networks that reach the database; C(world) is everyone.
    type: list
    elements: str
    default: []
  database_port:
    description: Port of the database.
    type: int
    default: 11039
  rules:
    description: Further openings, each with protocol, port (or port_min and port_max), cidrs, description.
    type: list
    elements: dict
    default: []
  authorized_keys:
    description: Public keys that may log in, those of the operator.
    type: list
    elements: str
    default: []
  operator_keys:
    description: Further public keys of the operator's.
    type: list
    elements: str
    default: []
  further_keys:
    description: Public keys of other users that may log in.
    type: list
    elements: str
    default: []
  contact:
    description: The manual's checklist, with account, name, email, phone, credits.
    type: dict
    default: {}
  also:
    description: Problems found elsewhere, each with check, found, remedy; they join the table.
    type: list
    elements: dict
    default: []
  credential_id:
    description: The application credential, as reported by an earlier plan.
    type: str
    default: ""
  credential_expires:
    description: When that credential ends, as reported by the same plan.
    type: str
    default: ""
author: The CbM onboarding authors
"""

EXAMPLES = r"""
- name: Survey the cloud
  cloud_plan:
    cloud: cdse-dk
    tenant: dk
    image: Ubuntu 24.04 LTS
    flavor: eo2.2xlarge
    network: cloud_00341_1
    ssh_cidrs: [192.0.2.0/24]
  register: planned
"""

RETURN = r"""
plan:
  description: >-
    problems (check, wanted, found, remedy, and text as one sentence), table (lines),
    changes (action, resource, name, text), drift (resource, name, wanted, found, text),
    and the ids of existing resources. With C(state=absent), resources with and without the mark.
  returned: always
  type: dict
"""

STRINGS = (
    "region",
    "image",
    "flavor",
    "network",
    "eodata_network",
    "external_network",
    "floating_ip",
    "volume",
    "volume_type",
    "credential_id",
    "credential_expires",
)


def arguments() -> dict[str, dict[str, Any]]:
    """The module's options."""
    return {
        "cloud": {"type": "str", "required": True},
        "tenant": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "delete_data": {"type": "bool", "default": False},
        "min_vcpus": {"type": "int", "default": 8},
        "min_memory_gb": {"type": "float", "default": 16},
        "floating_ips": {"type": "int", "default": 1},
        "volume_gb": {"type": "int", "default": 0},
        "needed_gb": {"type": "float", "default": 0},
        "database_port": {"type": "int", "default": 11039},
        "ssh_cidrs": {"type": "list", "elements": "str", "default": []},
        "database_cidrs": {"type": "list", "elements": "str", "default": []},
        "rules": {"type": "list", "elements": "dict", "default": []},
        # public keys; told here lest Ansible takes the name for a secret's
        "authorized_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
        "operator_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
        "further_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
        "contact": {"type": "dict", "default": {}},
        "also": {"type": "list", "elements": "dict", "default": []},
        **{name: {"type": "str", "default": ""} for name in STRINGS},
    }


def main() -> None:
    """Look once, and plan."""
    module = AnsibleModule(argument_spec=arguments(), supports_check_mode=True)
    if NO_SDK is not None:
        module.fail_json(msg=missing_required_lib("openstacksdk"), exception=str(NO_SDK))
    asked = dict(module.params)
    state = asked.pop("state")
    wish = Wish(**asked)
    found: Survey | None = None
    stopped = None
    try:
        connection, regions = connect(wish)
        found = survey(connection, wish.cloud, regions, whole=state == "present")
    except StoppedError as reason:
        stopped = reason.check
    planned, findings = (plan if state == "present" else absent)(wish, found, stopped)
    answer: dict[str, Any] = {"plan": planned, "changed": False}
    if module.check_mode:
        answer |= {"changed": bool(findings.changes) and not findings.problems, "diff": diff(findings)}
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
