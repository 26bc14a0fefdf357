"""What a folder holds. Storage that fails is an error here; pathlib takes it for a folder without files."""

import stat
from fnmatch import fnmatchcase
from pathlib import Path


def is_folder(path: Path) -> bool:
    """Whether there is such a folder. Raises OSError when that cannot be told."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def glob(folder: Path, pattern: str) -> list[Path]:
    """List what matches a pattern of names and `*`, sorted. Raises OSError when that cannot be told."""
    places = [folder]
    for part in pattern.split("/"):
        places = [place / name for place in places for name in _names(place) if fnmatchcase(name, part)]
    return sorted(places)


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
