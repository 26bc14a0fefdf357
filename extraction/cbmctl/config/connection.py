"""Where the database is, by the section `database.connection` of the configuration."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from cbmctl.config.section import Section

SSL_MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True)
class Connection:
    """Where the database is and how to be let in. The password never shows in a repr."""

    host: str
    port: int
    dbname: str
    user: str
    password: str | None = field(default=None, repr=False)
    sslmode: str = "verify-full"
    sslrootcert: Path | None = None


def read_connection(section: Section) -> Connection:
    """Read the section `database.connection`. Raises UserError if a value is missing or wrong."""
    try:
        port = int(section.get("port", 5432))
    except (TypeError, ValueError):
        port = 0
    if not 0 < port < 65536:
        raise section.error("port", f"is {section.get('port')!r}", "Use a number from 1 to 65535")
    sslmode = section.choice("sslmode", SSL_MODES, "verify-full")
    certificate = Path(section.text("sslrootcert")) if "sslrootcert" in section.data else None
    if sslmode.startswith("verify") and certificate is None:
        raise section.error(
            "sslrootcert", "is missing", f"The sslmode {sslmode} needs the CA certificate's file"
        )
    if certificate is not None and not certificate.is_file():
        raise section.error(
            "sslrootcert", f"names {certificate}, which does not exist", "Copy the CA certificate there"
        )
    return Connection(
        host=section.text("host"),
        port=port,
        dbname=section.text("dbname"),
        user=section.text("dbuser"),
        password=_password(section),
        sslmode=sslmode,
        sslrootcert=certificate,
    )


def _password(section: Section) -> str | None:
    """The environment goes before the file, the file before the text here; None leaves it to libpq."""
    if password := os.environ.get("CBM_DBPASSWD"):
        return password
    if "dbpasswd_file" in section.data:
        path = Path(section.text("dbpasswd_file"))
        try:
            return path.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise section.error(
                "dbpasswd_file",
                f"names {path}, which cannot be read ({error.strerror})",
                "Make it readable for this user, or set CBM_DBPASSWD",
            ) from error
    return section.text("dbpasswd") if "dbpasswd" in section.data else None
