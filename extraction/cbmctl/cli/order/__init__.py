"""`cbmctl order`: Sentinel-1 products that the Copernicus Data Space makes on demand.

- `plan`, `place`, `status`, `cancel`: a module for each command, which registers itself in the group.
- `account`: what the commands that talk to the order service share.
- `group`: the group.
"""

from cbmctl.cli.order import cancel, place, plan, status

__all__ = ["cancel", "place", "plan", "status"]
