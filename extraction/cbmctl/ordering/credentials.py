"""User, password and TOTP secret of the account that orders: from the environment, or files of mode 0600."""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cbmctl.config.ordering import Ordering
from cbmctl.errors import UserError
from cbmctl.ordering import totp

# with _FILE appended: the name of a file that holds the value
USER, PASSWORD, TOTP_SECRET = "CBM_ORDER_USER", "CBM_ORDER_PASSWORD", "CBM_ORDER_TOTP_SECRET"


@dataclass(frozen=True)
class Credentials:
    """An account. Its secrets never show in a repr.

    Attributes:
        user: name of the account.
        password: of the account.
        totp_key: key of the second factor; None if the account has none.
    """

    user: str
    password: str = field(repr=False)
    totp_key: bytes | None = field(default=None, repr=False)


def read_credentials(ordering: Ordering) -> Credentials:
    """Return the account. The environment overrides the configuration, and a value overrides a file.

    Raises:
        UserError: user or password is missing, a file is unreadable, empty or open to others, or the TOTP
            secret is not base32.
    """
    user = _read(USER, ordering.user, None, secret=False)
    password = _read(PASSWORD, None, ordering.password_file)
    secret = _read(TOTP_SECRET, None, ordering.totp_file)
    if user is None:
        raise _missing("user", USER, "user")
    if password is None:
        raise _missing("password", PASSWORD, "password_file")
    return Credentials(user, password, None if secret is None else _key(secret))


def _missing(what: str, name: str, option: str) -> UserError:
    return UserError(
        "order.no_credentials",
        f"the {what} of the ordering account is missing",
        f"Set {name} or {name}_FILE, or ordering.{option} in the configuration",
        about=f"ordering.{option}",
    )


def _read(name: str, given: str | None, file: Path | None, *, secret: bool = True) -> str | None:
    if value := os.environ.get(name):
        return value
    if named := os.environ.get(f"{name}_FILE"):
        return _content(Path(named).expanduser(), secret=secret)
    if given is not None:
        return given
    return None if file is None else _content(file, secret=secret)


def _content(path: Path, *, secret: bool) -> str:
    """Return the first line of a file."""
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if secret and mode & 0o177:
                raise UserError(
                    "order.secret_readable_by_others",
                    f"{path} has mode {mode:04o}, expected 0600, because it holds a secret",
                    f"Run chmod 600 {path}; replace the secret if others could read it",
                    about=path,
                )
            text = file.readline().rstrip("\r\n")
    except OSError as error:
        raise UserError(
            "order.secret_unreadable",
            f"{path} cannot be read ({error.strerror})",
            "Check the path and the owner",
            about=path,
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(
            "order.invalid_secret",
            f"{path} is not a text file in UTF-8",
            "Write only the secret into it",
            about=path,
        ) from error
    if not text:
        raise UserError(
            "order.invalid_secret", f"{path} is empty", "Write the secret into its first line", about=path
        )
    return text


def _key(secret: str) -> bytes:
    try:
        return totp.key(secret)
    except ValueError as error:
        raise UserError(
            "order.invalid_totp_secret",
            "the TOTP secret is not valid base32",
            "Use the text that the account's page shows beside the QR code (letters A-Z and digits 2-7)",
        ) from error
