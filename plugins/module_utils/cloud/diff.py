"""The plan as Ansible shows differences: before and after, resource by resource."""

from collections.abc import Iterable

from .findings import Change, Findings


def diff(findings: Findings) -> list[dict[str, str]]:
    """One difference for each resource that is made, changed or removed; then what is left as it is."""
    resources: dict[tuple[str, str], list[Change]] = {}
    for change in findings.changes:
        # a group's rules are shown as one list
        kind = "security_group" if change.resource == "rule" else change.resource
        resources.setdefault((kind, change.name), []).append(change)
    shown = [
        _difference(
            f"{kind.replace('_', ' ')} {name}",
            [line for change in changes for line in change.before],
            [line for change in changes for line in change.after],
        )
        for (kind, name), changes in resources.items()
    ]
    shown += [
        _difference(
            f"{each.resource.replace('_', ' ')} {each.name}: reported only, never done",
            [each.found],
            [f"{each.wanted}  # reported only"],
        )
        for each in findings.drift
    ]
    return shown


def _difference(header: str, before: Iterable[str], after: Iterable[str]) -> dict[str, str]:
    return {
        "before_header": header,
        "after_header": header,
        "before": "".join(f"{line}\n" for line in before),
        "after": "".join(f"{line}\n" for line in after),
    }
