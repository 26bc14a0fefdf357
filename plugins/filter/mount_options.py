"""The options of a mount: the site's own are kept, ours are added."""

from collections.abc import Iterable
from typing import Any

DOCUMENTATION = r"""
name: mount_options
short_description: Add options to those that fstab has already
description:
  - An option of the site replaces a contrary option of the role (C(relatime) replaces C(noatime)).
  - C(nofail) is added always, because a missing disk must not keep the host from booting.
options:
  _input:
    description: The options in fstab, empty if there is no entry.
    type: str
    required: true
  ours:
    description: The options to add.
    type: list
    elements: str
    required: true
"""
EXAMPLES = r"""
---
options: "{{ 'rw,relatime' | mount_options(['defaults', 'nofail', 'noatime']) }}"
"""
RETURN = "_value: {description: The options for fstab., type: str}"

# of each group a mount has one: mount(8)
ALTERNATIVES = ({"atime", "noatime", "relatime", "norelatime", "strictatime"}, {"defaults", "rw", "ro"})


def mount_options(found: str, ours: Iterable[str]) -> str:
    """Return the options found, in their order, then those of ours that contradict none of them."""
    kept = [option for option in found.split(",") if option]
    added = [
        option
        for option in ours
        if option not in kept
        and not any(option in group and group.intersection(kept) for group in ALTERNATIVES)
    ]
    # without an entry, "defaults" leads, as people write it
    return ",".join(kept + added)


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Any]:
        """Return the filter by its name."""
        return {"mount_options": mount_options}
