#!/usr/bin/python
"""Reads a server's SSH host keys from its console log, where cloud-init writes them; changes nothing."""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.cloud.console import host_keys, last_lines, pauses
from ansible.module_utils.cloud.model import Wish

try:
    from ansible.module_utils.cloud.answers import StoppedError, one_line
    from ansible.module_utils.cloud.login import connect
    from openstack.exceptions import HttpException, NotFoundException, SDKException

    NO_SDK = None
except ImportError as error:
    NO_SDK = error

DOCUMENTATION = r"""
module: cloud_host_key
short_description: A server's SSH host keys, from its console log
description:
  - Asks Nova for the console log until cloud-init's block of host keys is complete.
  - It only reads, also in check mode.
  - The log comes over the cloud's own checked TLS, so the keys are the server's.
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
  server:
    description: The server's id.
    type: str
    required: true
  timeout:
    description: Seconds to wait for the server to boot.
    type: int
    default: 600
  interval:
    description: Seconds between the first two looks; later ones are further apart.
    type: float
    default: 2
author: The CbM onboarding authors
"""

EXAMPLES = r"""
- name: Read the host keys from the console of the server
  cloud_host_key:
    cloud: cdse-dk
    server: "{{ planned.plan.server.id }}"
  register: console
"""

RETURN = r"""
host_keys:
  description: The keys, each as type and base64.
  returned: success
  type: list
  elements: str
console:
  description: The last lines of the console.
  returned: failure
  type: list
  elements: str
"""

BY_HAND = "open the console on the cloud's web page, and write the keys shown there in tenant_cloud_host_keys"


def main() -> None:
    """Look until the keys are there."""
    module = AnsibleModule(
        argument_spec={
            "cloud": {"type": "str", "required": True},
            "region": {"type": "str", "default": ""},
            "server": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 600},
            "interval": {"type": "float", "default": 2.0},
        },
        supports_check_mode=True,
    )
    if NO_SDK is not None:
        module.fail_json(msg=missing_required_lib("openstacksdk"), exception=str(NO_SDK))
    asked = module.params
    log = problem = ""
    try:
        connection, _ = connect(Wish(tenant="", cloud=asked["cloud"], region=asked["region"]))
        for pause in pauses(asked["interval"], asked["timeout"]):
            time.sleep(pause)
            log, problem = console(connection, asked["server"])
            keys = host_keys(log)
            if keys:
                module.exit_json(changed=False, host_keys=keys)
    except NotFoundException:
        module.fail_json(
            msg=f"The server {asked['server']} does not exist; run playbooks/cloud.yml again.", console=[]
        )
    except StoppedError as reason:
        module.fail_json(msg=reason.check.text, console=[])
    reason = problem or ("its console says nothing" if not log.strip() else "its console does not show them")
    found = f"The server {asked['server']} did not show its host keys within {asked['timeout']} s ({reason})"
    module.fail_json(msg=f"{found}; {BY_HAND}.", console=last_lines(log))


def console(connection: Any, server: str) -> tuple[str, str]:
    """The log so far, and why there is none: a server that is only just there has no console yet."""
    try:
        answer = connection.compute.get_server_console_output(server)
        return str(answer.get("output") or ""), ""
    except NotFoundException:
        # Nova says the same of a server without a console
        connection.compute.get_server(server)
        return "", "the cloud shows no console"
    except HttpException as error:
        return "", f"the cloud does not show its console, {error.status_code}: {one_line(error)}"
    except SDKException as error:
        return "", one_line(error)


if __name__ == "__main__":
    main()
