"""Files with secrets on the control host: missing, unreadable, empty, or open to others."""

import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from .problem import Problem

# One line, as cbmctl (cbmctl.config.archive) and s3fs want it; signatures allow no other characters.
KEYS = r"[!-9;-~]+:[!-~]+"
_OTHERS = 0o177  # bits of a mode that cbmctl refuses: it requires 0600 or less


def has_keys(path: str) -> bool:
    """Whether a file has the keys of an S3 account, and nothing else. No caller gets to see them."""
    try:
        text = Path(path).expanduser().read_text(encoding="ascii")
    except (OSError, ValueError):
        return False
    return re.fullmatch(KEYS, text.strip()) is not None


def problems(files: Mapping[str, str]) -> Iterator[Problem]:
    """Problems of files that hold one secret each, of which only the first line is looked at.

    Args:
        files: paths by the variable that names them; empty ones are skipped.
    """
    for variable, said in files.items():
        path = Path(str(said)).expanduser()
        if not path.is_absolute():  # what is not a path is reported as such
            continue
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            with path.open("rb") as file:
                empty = not file.readline().strip()
        except FileNotFoundError:
            yield _problem(
                "missing",
                variable,
                path,
                "does not exist on the control host",
                "Write the secret into its first line, with mode 0600, or correct the path.",
            )
        except OSError as error:
            yield _problem(
                "unreadable",
                variable,
                path,
                f"cannot be read by the user that runs Ansible ({error.strerror})",
                "Correct the path or the owner.",
            )
        else:
            if empty:
                yield _problem("empty", variable, path, "is empty", "Write the secret into its first line.")
            if mode & _OTHERS:
                yield _problem(
                    "mode",
                    variable,
                    path,
                    f"has mode {mode:04o}, expected 0600, because it holds a secret",
                    f"Run chmod 600 {path}; replace the secret if others could read it.",
                )


def _problem(code: str, variable: str, path: Path, wrong: str, remedy: str) -> Problem:
    return Problem(f"secret_file.{code}", variable, f"{variable}: {path} {wrong}.", remedy)
