"""The section `ordering` of the configuration: the order service, and where the account's secrets are."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cbmctl.config.catalogue import unusable
from cbmctl.config.section import Section

URL = "https://odp.dataspace.copernicus.eu/odata/v1"
TOKEN_URL = "https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/openid-connect/token"  # noqa: S105
CLIENT_ID = "cdse-public"
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Ordering:
    """Where products are ordered. Secrets are never in the configuration, only names of their files.

    Attributes:
        url: of the On-Demand Production API.
        token_url: token endpoint of the account's Keycloak realm.
        client_id: the public client of that realm.
        user: name of the account; None means from the environment.
        password_file: file with the password, mode 0600.
        totp_file: file with the TOTP secret (base32), mode 0600; None without two-factor login.
    """

    url: str = URL
    token_url: str = TOKEN_URL
    client_id: str = CLIENT_ID
    user: str | None = None
    password_file: Path | None = None
    totp_file: Path | None = None


def read_ordering(section: Section) -> Ordering:
    """Read the section `ordering`; all of it may be left out.

    Raises:
        UserError: a value is wrong.
    """
    section.only("url", "token_url", "client_id", "user", "password_file", "totp_file")

    def url(key: str, default: str) -> str:
        text = section.text(key, default)
        if mend := unusable(text):
            raise section.error(key, f"is '{text}'", mend)
        if not text.startswith("https://") and urlsplit(text).hostname not in _THIS_MACHINE:
            raise section.error(key, f"is '{text}'", "Write it with https://, because secrets are sent there")
        return text.rstrip("/")

    def file(key: str) -> Path | None:
        return Path(section.text(key)).expanduser() if key in section.data else None

    return Ordering(
        url=url("url", URL),
        token_url=url("token_url", TOKEN_URL),
        client_id=section.text("client_id", CLIENT_ID),
        user=section.text("user") if "user" in section.data else None,
        password_file=file("password_file"),
        totp_file=file("totp_file"),
    )
