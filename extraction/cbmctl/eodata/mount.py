"""The archive as a folder that something else has mounted."""

from pathlib import Path

from cbmctl.eodata import ArchiveError, Held


class Mount:
    """A mounted archive, in which products are read where they lie."""

    def __init__(self, root: Path) -> None:
        """Take the archive's root."""
        self._root = root

    def hold(self, path: str, files: str) -> Held:  # noqa: ARG002 - all are at hand
        """Return the root itself."""
        return Held(self._root)

    def check(self, within: float | None = None) -> None:  # noqa: ARG002
        """Raise ArchiveError when the root is missing, empty or cannot be listed: the mount is gone."""
        try:
            if next(self._root.iterdir(), None) is not None:
                return
            reason = "is empty"
        except OSError as error:
            reason = f"cannot be listed ({error.strerror})"
        raise ArchiveError(
            f"the archive {self._root} {reason}: mount it again, or correct eodata in db_config.json"
        )

    def close(self) -> None:
        """Nothing is held."""
