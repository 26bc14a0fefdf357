#!/usr/bin/python
"""Completes an interrupted package installation, refreshes apt's lists, and names sources that fail."""

import re
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: apt_ready
short_description: Make apt ready for an installation
description:
  - Completes what dpkg was interrupted at (a power cut during an installation), before anything else.
  - Runs C(apt-get update) if the package lists are missing or old. A source that does not answer is a warning
    with its name, as for apt itself, because the packages may come from elsewhere or be installed already.
  - In check mode the lists are not refreshed.
options:
  lists_valid_seconds:
    description: Lists younger than this are not refreshed.
    type: int
    default: 86400
  lock_timeout:
    description: Seconds to wait for another package manager to end.
    type: int
    default: 600
author: The CbM onboarding authors
"""

EXAMPLES = r"""
- name: Apt is ready
  apt_ready:
    lists_valid_seconds: 3600
"""

RETURN = r"""
lists:
  description: Whether apt has package lists.
  returned: always
  type: bool
failing_sources:
  description: Package sources that failed, each as a sentence with the reason.
  returned: always
  type: list
unfinished:
  description: Whether an installation was interrupted.
  returned: always
  type: bool
"""

LISTS = Path("/var/lib/apt/lists")
STAMP = Path("/var/lib/apt/periodic/update-success-stamp")
UPDATES = Path("/var/lib/dpkg/updates")
ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "a", "LC_ALL": "C.UTF-8"}
KEEP_CONFIGURATION = ["--force-confdef", "--force-confold"]
SECONDS_BETWEEN_ATTEMPTS = 5
# states of dpkg(1) between the beginning and the end of an installation
BEGUN = {"half-installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending"}
# words of dpkg and apt while another process works; both print them in English under LC_ALL=C.UTF-8
LOCKED = re.compile(
    r"lock.*(held by|Resource temporarily unavailable)|locked by another process|Unable to lock", re.DOTALL
)


def failed_sources(output):
    """Return a sentence for each package source that apt-get update could not use, each once."""
    found = {}
    for line in output.splitlines():
        fetch = re.match(r"[WE]: Failed to fetch (\S+)\s+(.*)", line)
        release = re.match(r"[WE]: The repository '([^']+)' (.*)", line)
        signature = re.match(r"[WE]: GPG error: (\S+ \S+)(?: \S+)?: (.*)", line)
        if fetch:
            source = re.sub(r"/(dists/.*|InRelease|Release|Packages\S*)$", "", fetch[1])
            found.setdefault(source, fetch[2])
        elif release or signature:
            told = release or signature
            found.setdefault(told[1], told[2])
    return [f"The package source {source} fails: {reason.rstrip('.')}." for source, reason in found.items()]


def have_lists():
    """Whether apt knows any package."""
    return any(LISTS.glob("*Packages*"))


def fresh_lists(valid_seconds, now):
    """Whether there are lists and they are young enough. Deleted lists leave a fresh time stamp behind."""
    stamps = [path.stat().st_mtime for path in (STAMP, LISTS) if path.exists()]
    return have_lists() and bool(stamps) and now - max(stamps) < valid_seconds


def patiently(module, command, timeout):
    """Run a command until no other package manager is in its way; return (code, output)."""
    deadline = time.monotonic() + timeout
    while True:
        code, stdout, stderr = module.run_command(command, environ_update=ENVIRONMENT)
        output = stdout + stderr
        if code == 0 or not LOCKED.search(output) or time.monotonic() > deadline:
            return code, output
        time.sleep(SECONDS_BETWEEN_ATTEMPTS)


def unfinished(module):
    """Return the packages that dpkg has begun to install; a status that is not written down yet counts."""
    _, listed, _ = module.run_command(
        ["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package}\n"],
        environ_update=ENVIRONMENT,
    )
    packages = [
        name for status, _, name in (line.partition(" ") for line in listed.splitlines()) if status in BEGUN
    ]
    return packages or [path.name for path in UPDATES.glob("[0-9]*")]


def finish(module, timeout):
    """Configure what is unpacked, and fetch what its dependencies lack."""
    code, output = patiently(module, ["dpkg", *KEEP_CONFIGURATION, "--configure", "--pending"], timeout)
    if unfinished(module):
        options = [f"-oDpkg::Options::={option}" for option in KEEP_CONFIGURATION]
        lock = f"-oDPkg::Lock::Timeout={timeout}"
        repair = ["apt-get", "--yes", lock, *options, "--fix-broken", "install"]
        code, output = patiently(module, repair, timeout)
    left = unfinished(module)
    if code != 0 or left:
        last = (output.strip() or "dpkg printed nothing").splitlines()[-1]
        module.fail_json(
            msg=f"The interrupted installation of {', '.join(left) or 'packages'} cannot be completed: {last}"
            " See 'dpkg --audit'."
        )


def main():
    """Finish, then refresh."""
    module = AnsibleModule(
        argument_spec={
            "lists_valid_seconds": {"type": "int", "default": 86400},
            "lock_timeout": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    asked = module.params
    interrupted = bool(unfinished(module))
    if interrupted and not module.check_mode:
        finish(module, asked["lock_timeout"])
    sources = []
    if not module.check_mode and not fresh_lists(asked["lists_valid_seconds"], time.time()):
        code, output = patiently(module, ["apt-get", "update"], asked["lock_timeout"])
        sources = failed_sources(output)
        if not have_lists():
            reason = " ".join(sources) or (output.strip() or "it printed nothing").splitlines()[-1]
            module.fail_json(
                msg=f"apt-get update downloaded no package lists. {reason} Correct /etc/apt/sources.list*."
            )
        if code != 0 and not sources:
            module.fail_json(msg=f"apt-get update failed: {output.strip().splitlines()[-1]}")
        for sentence in sources:
            module.warn(f"{sentence} Packages that only this source has are not updated.")
    module.exit_json(changed=interrupted, lists=have_lists(), failing_sources=sources, unfinished=interrupted)


if __name__ == "__main__":
    main()
