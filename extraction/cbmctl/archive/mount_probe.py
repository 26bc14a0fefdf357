"""Look whether a folder holds an archive: a program of its own, as a mount may never answer; see mount."""

import os
import sys

USABLE, EMPTY, VOID = 0, 10, 11
# An error is told as this and its number.
FAILED = 100


def look(root: str) -> int:
    """Return one of the above. An archive has a folder Sentinel-*, or anything that is no empty folder.

    A folder that is empty may be where something was mounted below the root.
    """
    try:
        entries = list(os.scandir(root))
    except OSError as error:
        return FAILED + (error.errno or 0)
    if any(entry.name.startswith("Sentinel-") for entry in entries):
        return USABLE
    found = VOID if entries else EMPTY
    for entry in entries:
        try:
            if not entry.is_dir() or next(os.scandir(entry), None):
                return USABLE
        except PermissionError:
            return USABLE  # something is there
        except OSError as error:
            found = FAILED + (error.errno or 0)
    return found


if __name__ == "__main__":
    sys.exit(look(sys.argv[1]))
