"""The files that a delivery of parcels consists of, for the role that copies them to the host.

Which files belong to a parcels file is what `cbmctl` itself says; there is no second list.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: parcels
short_description: Files of a delivery of parcels
description:
  - C(parcels_files) lists every file of a delivery, with the path that it gets below a folder of the host.
  - C(parcels_named) lists what the delivery names, as paths below that folder.
  - C(parcels_foreign) lists files of the host that C(cbmctl) would read, but that the delivery lacks.
options:
  _input:
    description: Path of a file, an archive or a folder; or a list of them.
    type: raw
    required: true
"""
EXAMPLES = r"""
---
files: "{{ '~/gsaa/Marker.shp' | parcels_files }}"
"""
RETURN = "_value: {description: Paths, or dictionaries with C(src) and C(dest)., type: list, elements: raw}"


def files(named: str | Sequence[str]) -> list[dict[str, str]]:
    """`src` on this machine and `dest` below the host's folder of every file of a delivery.

    Raises:
        AnsibleFilterError: a path does not exist, two files could be one companion, or cbmctl is missing.
    """
    try:
        from cbmctl.errors import UserError  # noqa: PLC0415
        from cbmctl.parcels.files.delivery import files_of  # noqa: PLC0415
    except ImportError as error:
        raise AnsibleFilterError(
            f"cbmctl is not installed beside Ansible ({error}). Run scripts/setup-python."
        ) from error
    paths, above = _paths(named)
    try:
        found = dict.fromkeys(file for path in paths for file in files_of(path))
    except UserError as error:
        raise AnsibleFilterError(str(error)) from error
    return [{"src": str(file), "dest": str(file.relative_to(above))} for file in found]


def names(named: str | Sequence[str]) -> list[str]:
    """What a delivery names, as paths below the host's folder."""
    paths, above = _paths(named)
    return [str(path.relative_to(above)) for path in paths]


def foreign(found: Sequence[str], wanted: Sequence[str], named: Sequence[str]) -> list[str]:
    """Files of the host that are not in the delivery, but that cbmctl would read as a part of it.

    Args:
        found: files of the host's folder, as paths below it.
        wanted: the files of the delivery, as paths below it.
        named: what the delivery names, as paths below it.

    Raises:
        AnsibleFilterError: two files could be one companion.
    """
    from cbmctl.errors import UserError  # noqa: PLC0415
    from cbmctl.parcels.files.delivery import files_of  # noqa: PLC0415

    # which files are parts depends on their names alone
    with TemporaryDirectory() as folder:
        for name in {*found, *wanted}:
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        try:
            read = {str(file.relative_to(folder)) for name in named for file in files_of(Path(folder, name))}
        except UserError as error:
            raise AnsibleFilterError("On the host, " + str(error).replace(f"{folder}/", "")) from error
    return sorted(read - set(wanted))


def _paths(named: str | Sequence[str]) -> tuple[list[Path], Path]:
    """Absolute paths, and the folder above all of them."""
    several = [named] if isinstance(named, str) else list(named)
    # not resolved: a link has the name that the operator gave it
    paths = [Path(os.path.abspath(Path(name).expanduser())) for name in several]  # noqa: PTH100
    return paths, Path(os.path.commonpath([path.parent for path in paths]))


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"parcels_files": files, "parcels_named": names, "parcels_foreign": foreign}
