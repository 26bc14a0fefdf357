#!/usr/bin/python
"""Reads why Cinder could not make a volume; changes nothing."""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.cloud_model import Wish

try:
    from ansible.module_utils.cloud_answers import StoppedError, one_line
    from ansible.module_utils.cloud_login import connect
    from keystoneauth1.exceptions import ClientException
    from openstack.exceptions import SDKException

    NO_SDK = None
except ImportError as error:
    NO_SDK = error

DOCUMENTATION = r"""
module: cloud_volume_reason
short_description: Why Cinder could not make a volume
description:
  - Cinder answers a request for a volume before it is made, and keeps what went wrong as a message.
  - It only reads, also in check mode. If the cloud gives no reason or cannot be reached, the module
    does not fail, because the caller reports the failure of the volume.
  - No module of C(openstack.cloud) reads them.
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
  volume:
    description: The volume's id.
    type: str
    required: true
author: The CbM onboarding authors
"""

EXAMPLES = r"""
- name: Read why Cinder failed
  cloud_volume_reason:
    cloud: cdse-dk
    volume: 0c9f3a1e-5f0e-4b0c-9c3e-1f2f4f0f7d11
  register: words
"""

RETURN = r"""
reason:
  description: Cinder's newest message about the volume, or why no message is available. No full stop.
  returned: always
  type: str
"""

# the first version of the API that finds messages by the thing they are about
VERSION = "3.5"


def main() -> None:
    """Ask once."""
    module = AnsibleModule(
        argument_spec={
            "cloud": {"type": "str", "required": True},
            "region": {"type": "str", "default": ""},
            "volume": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    if NO_SDK is not None:
        module.fail_json(msg=missing_required_lib("openstacksdk"), exception=str(NO_SDK))
    asked = module.params
    try:
        connection, _ = connect(Wish(tenant="", cloud=asked["cloud"], region=asked["region"]))
        reason = newest(connection, asked["volume"])
    except StoppedError as stopped:
        reason = f"the cloud does not state the reason: {stopped.check.found}"
    except (ClientException, SDKException, LookupError, TypeError, ValueError) as error:
        reason = f"the cloud does not state the reason: {one_line(error)}"
    module.exit_json(changed=False, reason=reason)


def newest(connection: Any, volume: str) -> str:
    """Cinder's last word about a volume."""
    answer = connection.block_storage.get(
        "/messages", params={"resource_uuid": volume}, microversion=VERSION, raise_exc=False
    )
    if answer.status_code != 200:
        return f"the cloud does not state the reason ({answer.status_code})"
    messages = sorted(answer.json()["messages"], key=lambda each: str(each["created_at"]))
    return str(messages[-1]["user_message"]).strip().rstrip(".") if messages else "the cloud stated no reason"


if __name__ == "__main__":
    main()
