#!/usr/bin/python
"""Makes what a tenant is to have in its OpenStack cloud."""

from ansible.module_utils.cloud.module import main_present

DOCUMENTATION = r"""
module: cloud_tenant
short_description: A tenant's VM, data volume, addresses and security group
description:
  - Compares a project of an OpenStack cloud with what the tenant is to have there, and makes the difference.
  - Problems are found before anything is changed, all at once where possible; with one, the module fails.
  - In check mode, it only compares. C(table), C(changes) and C(problems) then say what a run would do.
  - The tenant's is what carries the mark, C(cbm_tenant) in the metadata of server and volume, or the
    description C(cbm-onboarding) with the tenant's name on group, ports and addresses.
requirements: [openstacksdk, PyYAML]
options:
  options:
    description: The variables of the role C(tenant_cloud) without this prefix, as its specification explains.
    type: dict
    required: true
  step:
    description: Only this part of the changes, which needs those before it. Empty, all of them.
    type: str
    choices: ["", group, ports, volume, server, attachment, addresses]
    default: ""
author: The CbM onboarding authors
"""

EXAMPLES = r"""
- name: Data volume exists
  cloud_tenant:
    options: {tenant: dk, entry: cdse-dk, network: cloud_00341_1, volume_gb: 200, ssh_cidrs: [192.0.2.0/24]}
    step: volume
"""

RETURN = r"""
problems: {description: "Each with code, option, message, hint, text.", returned: always, type: list}
table: {description: "Lines of a table for people.", returned: when compared, type: list}
changes: {description: "What is still to be done, with step and text.", returned: when compared, type: list}
drift: {description: "What differs and is left as it is, with text.", returned: when compared, type: list}
server: {description: "Id and status; null before the server exists.", returned: when compared, type: dict}
volume: {description: "Id and size; null before the volume exists.", returned: when compared, type: dict}
address: {description: "Where the server is reached.", returned: when compared, type: str}
"""

if __name__ == "__main__":
    main_present()
