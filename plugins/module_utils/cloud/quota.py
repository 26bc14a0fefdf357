"""Whether the project may have what is still to be made."""

from collections.abc import Mapping
from dataclasses import dataclass

from .findings import Findings
from .model import Survey

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


@dataclass(frozen=True)
class Line:
    """One quota as the cloud calls it, in words."""

    name: str

    @property
    def check(self) -> str:
        """The row's name."""
        kind, of = self._parts
        return f"quota: {kind.replace('security_group', 'group').replace('_', ' ')}{of}"

    @property
    def words(self) -> str:
        """What it counts."""
        kind, of = self._parts
        return WORDS[kind] + of

    @property
    def _parts(self) -> tuple[str, str]:
        for kind in ("gigabytes", "volumes"):
            if self.name.startswith(f"{kind}_"):
                return kind, f" of type {self.name.removeprefix(f'{kind}_')}"
        return self.name, ""


def quotas(findings: Findings, survey: Survey, needs: Mapping[str, int | None]) -> None:
    """One row for each. A need of None is not known, because what it hangs on is missing."""
    typed = [name for name in needs if name not in WORDS]
    for name in [*WORDS, *typed]:
        need, line, quota = needs.get(name, 0), Line(name), survey.quotas.get(name)
        unit = f" {UNITS[name]}" if name in UNITS else ""
        wanted = "needed: not known yet" if need is None else f"needed: {need}{unit}"
        if quota is None:
            if name not in typed:
                findings.unknown(line.check, wanted, "not reported by this cloud")
            continue
        if quota.limit < 0:
            findings.ok(line.check, wanted, f"free: unlimited ({quota.used}{unit} used)")
            continue
        free = max(0, quota.limit - quota.used)
        found = f"free: {free}{unit} of {quota.limit}{unit}"
        if need is None:
            findings.unknown(line.check, wanted, found)
        elif need <= free:
            findings.ok(line.check, wanted, found)
        else:
            are = "is" if need == 1 else "are"
            sentence = (
                f"The project's quota of {line.words} is {quota.limit} and leaves {free}, "
                f"but {need} {are} needed"
            )
            findings.wrong(
                line.check,
                wanted,
                sentence,
                f"ask the cloud's support for {need - free} more, or free some in the project",
            )
