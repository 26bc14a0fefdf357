#!/usr/bin/python
"""Runs cbmctl: its JSON becomes `result`, its own `changed` the task's, its error `error` and `msg`."""

import json
import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cbmctl_output import NOT_SET_UP, OPTION_NAMES, error_of, said

DOCUMENTATION = r"""
module: cbmctl
short_description: Run the tenant's cbmctl command
description:
  - Runs C(cbmctl --json) with the given arguments. Changed is what the command itself says.
  - In check mode a command that changes something is given C(--check), and says what it would do.
  - In check mode, a command for a season that has no tables yet is skipped. Only a real run creates them.
  - A failure has the sentences that cbmctl writes for people as C(msg), and its data as C(error).
options:
  arguments:
    description: The command and its arguments.
    type: list
    elements: str
    required: true
  config:
    description: The configuration to use instead of the one that the command finds.
    type: path
  season:
    description:
      - Name of a later season, whose configuration is used. Empty means that of the first season.
      - In check mode, a season whose configuration is not on the host yet is skipped.
    type: str
    default: ""
  configurations:
    description: Directory with the configurations that the command finds.
    type: path
    default: /etc/cbm/owner
  mutates:
    description: Whether the command can change anything, so that it knows C(--check).
    type: bool
    default: true
  text:
    description:
      - Return the lines that the command prints for people as C(lines), instead of C(result).
      - Only for commands that change nothing.
    type: bool
    default: false
  option_names:
    description: What messages write instead of options of cbmctl, such as lines of an inventory.
    type: dict
    default: {}
  executable:
    description: The command.
    type: path
    default: /usr/local/bin/cbmctl
author: The CbM onboarding authors
"""

EXAMPLES = r"""
- name: The raster tables exist
  cbmctl:
    arguments: [parcels, rasterise]
"""

RETURN = r"""
result:
  description: The JSON object that the command printed. Absent in check mode where cbmctl is not there yet.
  returned: when the command ran, and C(text) is false
  type: dict
lines:
  description: What the command printed for people.
  returned: when the command ran, and C(text) is true
  type: list
error:
  description: Code, about, message and hint of the error (docs/errors.md), and its sentences as C(text).
  returned: when the command failed
  type: dict
notes:
  description: What the command said on the way, one entry a line, without its progress.
  returned: when the command ran
  type: list
"""

NOT_YET = "cbmctl is not on {host} yet: what the next steps would change there cannot be predicted"
NO_SEASON_YET = (
    "season {season} has no configuration on {host} yet: changes of the next steps cannot be predicted"
)
NO_TABLES_YET = "{season} has no tables on {host} yet: changes of the next steps cannot be predicted"
MISSING = "{path} is not installed on {host}. Run playbooks/worker_image.yml first."


def main():
    """Run the command once."""
    module = AnsibleModule(
        argument_spec={
            "arguments": {"type": "list", "elements": "str", "required": True},
            "config": {"type": "path"},
            "season": {"type": "str", "default": ""},
            "configurations": {"type": "path", "default": "/etc/cbm/owner"},
            "mutates": {"type": "bool", "default": True},
            "text": {"type": "bool", "default": False},
            "option_names": {"type": "dict", "default": {}},
            "executable": {"type": "path", "default": "/usr/local/bin/cbmctl"},
        },
        supports_check_mode=True,
    )
    asked = module.params
    if module.check_mode and not os.access(asked["executable"], os.X_OK):
        module.warn(NOT_YET.format(host=os.uname().nodename))
        module.exit_json(changed=False, skipped=True)
    if not os.access(asked["executable"], os.X_OK):
        module.fail_json(msg=MISSING.format(path=asked["executable"], host=os.uname().nodename))
    season = Path(asked["configurations"], f"db_config.{asked['season']}.json")
    if module.check_mode and asked["season"] and not asked["config"] and not season.exists():
        module.warn(NO_SEASON_YET.format(season=asked["season"], host=os.uname().nodename))
        module.exit_json(changed=False, skipped=True)

    command = [
        asked["executable"],
        *(["--config", asked["config"]] if asked["config"] else []),
        *(["--season", asked["season"]] if asked["season"] else []),
        *([] if asked["text"] else ["--json"]),
        *asked["arguments"],
    ]
    if module.check_mode and asked["mutates"]:
        command.append("--check")
    # on the control host, an operator's own season must not count
    environment = {"LC_ALL": "C.UTF-8", "CBM_SEASON": "", OPTION_NAMES: json.dumps(asked["option_names"])}
    code, stdout, stderr = module.run_command(command, environ_update=environment)
    if module.check_mode and code == NOT_SET_UP:
        season = f"season {asked['season']}" if asked["season"] else "the first season"
        module.warn(NO_TABLES_YET.format(season=season, host=os.uname().nodename))
        module.exit_json(changed=False, skipped=True)
    if code != 0:
        error = error_of(code, stdout, stderr)
        module.fail_json(msg=error["text"], error=error, rc=code, notes=said(stderr))
    if asked["text"]:
        module.exit_json(changed=False, lines=stdout.splitlines(), notes=said(stderr))
    try:
        result = json.loads(stdout)
    except ValueError:
        module.fail_json(msg=f"{' '.join(command)} printed no JSON object", stdout=stdout, stderr=stderr)
    module.exit_json(changed=asked["mutates"] and result["changed"], result=result, notes=said(stderr))


if __name__ == "__main__":
    main()
