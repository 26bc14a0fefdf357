#!/usr/bin/python
"""Reads a server's SSH host keys from its console log; changes nothing."""

from ansible.module_utils.cloud.module import main_host_key

DOCUMENTATION = r"""
module: cloud_host_key
short_description: A server's SSH host keys
description:
  - They come from C(host_keys) of the options, or from the console log, where cloud-init writes them. It is
    read until they are complete, at most C(ssh_timeout) seconds; recorded ones are not read again.
  - It only reads, also in check mode.
requirements: [openstacksdk, PyYAML]
options:
  options:
    description: The variables of the role C(tenant_cloud) without this prefix, as its specification explains.
    type: dict
    required: true
  server:
    description: The server's id.
    type: str
    required: true
  interval:
    description: Seconds between the first two looks; later ones are further apart.
    type: float
    default: 2
author: The CbM onboarding authors
"""

EXAMPLES = r"""
- name: Read the host keys of the server
  cloud_host_key:
    options: {tenant: dk, entry: cdse-dk, state_dir: ~/.local/state/cbm/dk}
    server: "{{ planned.server.id }}"
"""

RETURN = r"""
host_keys: {description: "The keys, each as type and base64.", returned: success, type: list, elements: str}
source: {description: "One of inventory, recorded, console.", returned: success, type: str}
console: {description: "The last lines of the console.", returned: failure, type: list, elements: str}
"""

if __name__ == "__main__":
    main_host_key()
