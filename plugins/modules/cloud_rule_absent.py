#!/usr/bin/python
"""Removes one rule of a security group by its id."""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.cloud.model import Wish

try:
    from ansible.module_utils.cloud.answers import StoppedError, one_line
    from ansible.module_utils.cloud.login import connect
    from openstack.exceptions import SDKException

    NO_SDK = None
except ImportError as error:
    NO_SDK = error

DOCUMENTATION = r"""
module: cloud_rule_absent
short_description: Remove one rule of a security group
description:
  - Removes exactly the rule of that id.
  - C(openstack.cloud.security_group_rule) removes by attributes, and takes every rule for one without any;
    C(openstack.cloud.resource) does not work for rules, because they cannot be updated.
requirements:
  - openstacksdk
options:
  cloud:
    description: Entry of clouds.yaml.
    type: str
    required: true
  region:
    description: Region. Empty, the entry's own.
    type: str
    default: ""
  id:
    description: The rule's id, as C(cloud_plan) returns it.
    type: str
    required: true
author: The CbM onboarding authors
"""

EXAMPLES = r"""
- name: There are no other rules
  cloud_rule_absent:
    cloud: cdse-dk
    id: "{{ item.id }}"
  loop: "{{ planned.plan.rules_extra }}"
"""

RETURN = r""" # """


def main() -> None:
    """Remove it once."""
    module = AnsibleModule(
        argument_spec={
            "cloud": {"type": "str", "required": True},
            "region": {"type": "str", "default": ""},
            "id": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    if NO_SDK is not None:
        module.fail_json(msg=missing_required_lib("openstacksdk"), exception=str(NO_SDK))
    asked = module.params
    try:
        connection, _ = connect(Wish(tenant="", cloud=asked["cloud"], region=asked["region"]))
        network = connection.network
        there = network.find_security_group_rule(asked["id"], ignore_missing=True) is not None
        if there and not module.check_mode:
            network.delete_security_group_rule(asked["id"], ignore_missing=True)
    except StoppedError as reason:
        module.fail_json(msg=reason.check.text)
    except SDKException as error:
        module.fail_json(
            msg=f"The rule {asked['id']} could not be removed: {one_line(error)}; remove it in the cloud."
        )
    module.exit_json(changed=there)


if __name__ == "__main__":
    main()
