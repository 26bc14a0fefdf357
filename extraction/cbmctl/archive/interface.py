"""What the archive is to its readers: a folder that holds a product for as long as it is read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Protocol

from cbmctl.errors import UserError


class ArchiveError(UserError):
    """The archive itself is away or refuses us: no scene is to blame, and none can be extracted.

    Attributes:
        lasting: whether waiting is of no use: a wrong key, an unknown bucket.
        since: when it began, as time.monotonic() has it; None where that is now.
    """

    def __init__(
        self,
        code: str,
        message: str,
        hint: str,
        *,
        about: object = "",
        lasting: bool = False,
        since: float | None = None,
    ) -> None:
        super().__init__(code, message, hint, about=about)
        self.lasting = lasting
        self.since = since


@dataclass(frozen=True)
class Held:
    """A product's files, there to be read until they are let go.

    Attributes:
        root: stands for the archive's root; the product lies below it as it does in the archive.
        close: lets go of them; may be called twice.
        version: given a file of the product, which need not be held, returns a text that changes when the
            file in the archive does, or None if that is not known. Raises FileNotFoundError if the archive
            has no such file.
        names: given the product's folder, returns the paths below it of all its files in the archive, held or
            not. Raises OSError.
        again: given a held file, fetches it again, or has the next read come from the storage and not from
            memory; the event ends that early. Raises SceneError and ArchiveError as `hold` does.
        copied: whether the files are copies, which may have been damaged on their way.
    """

    root: Path
    close: Callable[[], None] = lambda: None
    version: Callable[[Path], str | None] = lambda _path: None
    names: Callable[[Path], list[str]] = lambda _folder: []
    again: Callable[[Path, Event], None] = lambda _path, _cancelled: None
    copied: bool = False


class Archive(Protocol):
    """Where products are."""

    def hold(self, path: str, files: str) -> Held:
        """Have files of a product at hand.

        Args:
            path: the product folder below the archive's root, the catalogue's `path`.
            files: a regular expression; those whose path below the product folder it matches as a whole.

        Raises:
            SceneError: the product is missing (`!S3 subdir`) or a file of it cannot be had (`Rio error`).
            ArchiveError: the archive cannot be used.
        """
        ...

    def check(self, within: float | None = None) -> None:
        """Raise ArchiveError unless the archive is there and lets us in.

        Args:
            within: a quick look, which takes no longer than so many seconds; None means a patient one.
        """
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...
