#!/usr/bin/python
"""Removes what a tenant has in its OpenStack cloud."""

from ansible.module_utils.cloud.module import main_absent

DOCUMENTATION = r"""
module: cloud_tenant_absent
short_description: Nothing of a tenant is left in its cloud
description:
  - Removes only what carries the tenant's mark. Volumes and addresses without it are detached and stay.
  - The data volume stays, unless C(delete_data) of the options is true.
  - In check mode, it only looks. C(table) and C(changes) then say what a run would remove.
requirements: [openstacksdk, PyYAML]
options:
  options:
    description: The variables of the role C(tenant_cloud) without this prefix, as its specification explains.
    type: dict
    required: true
  step:
    description: Only this part of the changes, which needs those before it. Empty, all of them.
    type: str
    choices: ["", attachment, addresses, server, ports, volume]
    default: ""
author: The CbM onboarding authors
"""

EXAMPLES = r"""
- name: Nothing of the tenant is left but its data volume
  cloud_tenant_absent:
    options: {tenant: dk, entry: cdse-dk}
"""

RETURN = r"""
problems: {description: "Each with code, option, message, hint, text.", returned: always, type: list}
table: {description: "Lines of a table for people.", returned: when compared, type: list}
changes: {description: "What is still to be removed, with step.", returned: when compared, type: list}
left: {description: "Names of what is still to be removed.", returned: when compared, type: list}
kept: {description: "What is only detached.", returned: when compared, type: list}
"""

if __name__ == "__main__":
    main_absent()
