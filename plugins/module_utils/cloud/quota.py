"""Whether the project may have what is still to be made."""

from collections.abc import Mapping

from .findings import Findings
from .survey import Survey

UNITS = {"ram": "MB", "gigabytes": "GB"}
WORDS = {
    "instances": "servers",
    "cores": "vCPUs",
    "ram": "MB of memory",
    "volumes": "volumes",
    "gigabytes": "GB of volumes",
    "floating_ips": "floating IPs",
    "security_groups": "security groups",
    "security_group_rules": "security group rules",
    "ports": "ports",
}


def quotas(findings: Findings, survey: Survey, needs: Mapping[str, int | None]) -> None:
    """One row for each. A need of None is not known, because what it hangs on is missing."""
    typed = [name for name in needs if name not in WORDS]
    for name in [*WORDS, *typed]:
        kind, _, volume_type = name.partition("_") if name in typed else (name, "", "")
        of = f" of type {volume_type}" if volume_type else ""
        check = f"quota: {kind.replace('security_group', 'group').replace('_', ' ')}{of}"
        need, quota = needs.get(name, 0), survey.quotas.get(name)
        unit = f" {UNITS[name]}" if name in UNITS else ""
        wanted = "needed: not known yet" if need is None else f"needed: {need}{unit}"
        if quota is None:
            if name not in typed:
                findings.ok(check, wanted, "not reported by this cloud", state="not checked")
            continue
        if quota.limit < 0:
            findings.ok(check, wanted, f"free: unlimited ({quota.used}{unit} used)")
            continue
        free = max(0, quota.limit - quota.used)
        if need is None or need <= free:
            found = f"free: {free}{unit} of {quota.limit}{unit}"
            findings.ok(check, wanted, found, state="not checked" if need is None else "ok")
            continue
        needed = f"{need} {'is' if need == 1 else 'are'} needed"
        message = f"The project's quota of {WORDS[kind]}{of} is {quota.limit} and leaves {free}, but {needed}"
        hint = f"ask the cloud's support for {need - free} more, or free some in the project"
        findings.problem(check, "exceeded", wanted, message, hint)
