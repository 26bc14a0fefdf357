"""The cloud in which an earlier run has made the tenant's VM."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .findings import Findings, StoppedError
from .wish import Wish


def recorded(wish: Wish) -> dict[str, Any]:
    """What the role has written to the tenant's state directory; nothing before the first run."""
    file = _file(wish)
    try:
        return dict(yaml.safe_load(file.read_text()) or {})
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, TypeError, ValueError, yaml.YAMLError) as error:
        hint = "remove it and run playbooks/cloud.yml again"
        raise StoppedError("place", "unreadable", str(file), f"{file} is not valid YAML", hint) from error


def place(findings: Findings, wish: Wish, known: Mapping[str, Any], region: str, project: str) -> None:
    """Elsewhere there is nothing of the tenant: a second VM would be made, or the one that runs forgotten."""
    here = {"cloud": wish.entry, "region": region, "project_id": project}
    if all(not value or known.get(name, value) == value for name, value in here.items()):
        return
    there = f"region {known.get('region', '')}, project {known.get('project_id', 'unknown')}"
    message = (
        f"{wish.tenant}'s VM is in the cloud {known.get('cloud', '')}, {there}, but the inventory and "
        f"clouds.yaml say {wish.entry}, {region or 'no region'}, project {project or 'unknown'}"
    )
    hint = (
        "correct them, or offboard the tenant there first. If only the entry's name has changed, "
        f"correct it in {_file(wish)}"
    )
    findings.problem("place", "other", str(known.get("cloud", "")), message, hint)


def _file(wish: Wish) -> Path:
    return Path(wish.state_dir).expanduser() / "cloud.yml"
