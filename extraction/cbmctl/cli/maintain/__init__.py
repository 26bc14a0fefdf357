"""`cbmctl maintain`: care of a filled database.

- `table_care`: `purge`, `vacuum`, `compact` and `cluster`.
- `season_archive`: `archive` and `restore`.
- `group`: the group, in which the commands register themselves.
"""

from cbmctl.cli.maintain import season_archive, table_care

__all__ = ["season_archive", "table_care"]
