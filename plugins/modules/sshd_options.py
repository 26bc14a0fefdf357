#!/usr/bin/python
"""Compares the options in force in sshd with the wanted ones, and names the line that overrules one."""

import re
import shlex
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: sshd_options
short_description: Find what overrules options of sshd
description:
  - Asks C(sshd -T), with the command line of the running daemon, which options are in force for a login.
  - Also reports blocks of C(Match) that set an option to another value for some logins.
  - It only reads, also in check mode.
options:
  wanted:
    description: Options and their values.
    type: dict
    required: true
  user:
    description: The login user.
    type: str
    required: true
  configuration:
    description: The main configuration file.
    type: path
    default: /etc/ssh/sshd_config
author: The CbM onboarding authors
"""

EXAMPLES = r"""
- name: Look for files that overrule the SSH options
  sshd_options:
    wanted: {PasswordAuthentication: "no"}
    user: eouser
  register: overruled
"""

RETURN = r"""
problems:
  description: One sentence for each option that has another value, with the file and the line that set it.
  returned: always
  type: list
"""

# older names of an option, and of a value, which sshd still takes
OPTION_ALIASES = {"challengeresponseauthentication": "kbdinteractiveauthentication"}
VALUE_ALIASES = {"without-password": "prohibit-password"}
INSTEAD = "Remove that line, or change base_system_sshd_options."


def option_name(text):
    """Return the lower-case name that sshd -T prints."""
    return OPTION_ALIASES.get(text.lower(), text.lower())


def normal(value):
    """Return a value as it is compared: lower case, single spaces, one name for each meaning."""
    text = " ".join(str(value).split()).lower()
    return VALUE_ALIASES.get(text, text)


def settings(path):
    """Yield (option, value, file, line number, condition or None) in the order in which sshd reads them."""
    condition = None
    for number, raw in enumerate(path.read_text(errors="replace").splitlines(), 1):
        found = re.match(r"\s*([A-Za-z]\w*)(?:\s*=\s*|\s+)(.*?)\s*$", raw)
        if not found:
            continue
        name, value = option_name(found[1]), found[2]
        if name == "match":
            condition = None if value.lower() == "all" else value
        elif name == "include":
            for pattern in shlex.split(value):
                # sshd_config(5): a relative path is below /etc/ssh, which is where the main file lies
                for included in sorted(path.parent.glob(pattern) if pattern[0] != "/" else absolute(pattern)):
                    for option, text, file, line, inner in settings(included):
                        yield option, text, file, line, inner or condition
        else:
            yield name, value.strip('"'), path, number, condition


def absolute(pattern):
    """Expand an absolute glob pattern."""
    return Path("/").glob(pattern.lstrip("/"))


def problems(wanted, effective, read):
    """Return a sentence for each option whose value is another one.

    `effective` has sshd's own words by option, `read` what settings() yields.
    """
    found = []
    read = list(read)
    for option, value in wanted.items():
        name = option_name(option)
        in_force = effective.get(name)
        if in_force is not None and normal(in_force) != normal(value):
            source = next(
                (entry for entry in read if entry[0] == name and normal(entry[1]) == normal(in_force)), None
            )
            where = (
                f"{source[2]}, line {source[3]}, sets it. {INSTEAD}"
                if source
                else "No file sets it. Check the options of ssh.service and /etc/default/ssh."
            )
            found.append(f"{option} is '{in_force}' instead of '{value}'. {where}")
        for _, text, file, line, condition in (entry for entry in read if entry[0] == name and entry[4]):
            if normal(text) != normal(value) and normal(text) != normal(in_force):
                found.append(
                    f"{option} is '{text}' instead of '{value}' for logins that match '{condition}'."
                    f" {file}, line {line}, sets it. {INSTEAD}"
                )
    return found


def daemon_options(title):
    """Return the command-line options of the running daemon from its process title."""
    found = re.match(r"sshd: \S*sshd (.*?) \[listener\]", title)
    given = shlex.split(found[1]) if found else []
    return [word for word in given if word not in {"-D", "-d", "-e", "-i"}]


def running_options(module):
    """Return the command-line options of the daemon that listens, if systemd knows it."""
    _, pid, _ = module.run_command(["systemctl", "show", "--property=MainPID", "--value", "ssh.service"])
    title = Path("/proc") / (pid.strip() or "0") / "cmdline"
    try:
        return daemon_options(title.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip())
    except OSError:
        return []  # socket-activated and idle: the next daemon reads the files


def main():
    """Ask sshd once and compare."""
    module = AnsibleModule(
        argument_spec={
            "wanted": {"type": "dict", "required": True},
            "user": {"type": "str", "required": True},
            "configuration": {"type": "path", "default": "/etc/ssh/sshd_config"},
        },
        supports_check_mode=True,
    )
    asked = module.params
    sshd = module.get_bin_path("sshd", required=True, opt_dirs=["/usr/sbin", "/usr/local/sbin"])
    login = "user={},host=localhost,addr=127.0.0.1".format(asked["user"])
    command = [sshd, "-T", "-f", asked["configuration"], *running_options(module), "-C", login]
    code, stdout, stderr = module.run_command(command)
    if code != 0:
        module.fail_json(msg=f"sshd refuses its configuration: {stderr.strip()}")
    effective = {}
    for line in stdout.splitlines():
        name, _, value = line.partition(" ")
        effective.setdefault(name.lower(), value)
    module.exit_json(
        changed=False, problems=problems(asked["wanted"], effective, settings(Path(asked["configuration"])))
    )


if __name__ == "__main__":
    main()
