"""What `eodata` in the configuration may be: a folder, or a bucket of S3 and the limits of an account.

Also `archive_s3`, the service of S3 for archives of seasons.
"""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from urllib.parse import urlsplit

from cbmctl.config.section import Section
from cbmctl.errors import UserError

# Of a general account of the Copernicus Data Space.
CONNECTIONS, REQUESTS_PER_MINUTE = 4, 2000
# What botocore takes, which tells of anything else with a traceback.
_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_HOST, _REGION = rf"{_LABEL}(\.{_LABEL})*\.?", rf"(?![0-9]+$){_LABEL}"
_BUCKET = r"[A-Za-z0-9._-]{1,255}"
# As the roles have it; signatures allow no other characters, and s3fs no second line.
_KEYS, _KEY = r"([!-9;-~]+):([!-~]+)", r"[!-~]+"
_VARIABLES = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


@dataclass(frozen=True)
class S3:
    """A bucket in the archive's layout.

    Attributes:
        endpoint: the server's URL.
        bucket: its name.
        region: what requests are signed for.
        path_style: the bucket in the URL's path (true) or in its host name.
        connections: at most so many at once, of all workers that share a cache.
        requests_per_minute: at most so many, likewise.
        ca_file: the certificate of the CA that signed the server's, where it is no public one.
        keys: returns access key and secret. Raises UserError when they cannot be read.
        keys_from: where they come from, for people.
    """

    endpoint: str
    bucket: str
    region: str
    path_style: bool
    connections: int
    requests_per_minute: int
    ca_file: Path | None
    keys: Callable[[], tuple[str, str]]
    keys_from: str

    def __str__(self) -> str:
        return f"{self.bucket} at {self.endpoint}"


@dataclass(frozen=True)
class Service:
    """A service of S3 that keeps archives of seasons.

    Attributes:
        endpoint: the server's URL.
        region: what requests are signed for.
        path_style: the bucket in the URL's path (true) or in its host name.
        ca_file: the certificate of the CA that signed the server's, if it is not a public CA.
        key_file: has access key and secret.
        keys: returns them. Raises UserError if they cannot be read, or if other users can read them.
    """

    endpoint: str
    region: str
    path_style: bool
    ca_file: Path | None
    key_file: Path
    keys: Callable[[], tuple[str, str]]


def read_eodata(root: Section) -> Path | S3:
    """Read `eodata`: the path of a mount, or an object that describes a bucket.

    Raises:
        UserError: a value is missing or wrong.
    """
    if not isinstance(root.data.get("eodata"), dict):
        return Path(root.text("eodata", "/eodata"))
    section = root.section("eodata")
    from_environment = "AWS_ACCESS_KEY_ID" in os.environ
    if not from_environment:
        section.text("key_file")
    return S3(
        endpoint=_endpoint(section),
        bucket=_named(section, "bucket", "eodata", _BUCKET, "the bucket's name alone, as in eodata"),
        region=_region(section),
        path_style=section.flag("path_style", default=True),
        connections=section.whole("connections", range(1, 101), CONNECTIONS),
        requests_per_minute=section.whole("requests_per_minute", range(1, 1_000_001), REQUESTS_PER_MINUTE),
        ca_file=_ca_file(section),
        keys=lambda: _keys(section),
        keys_from=_VARIABLES if from_environment else section.text("key_file"),
    )


def read_archive_s3(root: Section) -> Service | None:
    """Read `archive_s3`; None if it is missing.

    The keys are in its file, and never in the environment, which may have the keys of `eodata`.

    Raises:
        UserError: a value is missing, invalid or unknown.
    """
    if "archive_s3" not in root.data:
        return None
    section = root.section("archive_s3")
    section.only("endpoint", "region", "path_style", "key_file", "ca_file")
    return Service(
        endpoint=_endpoint(section),
        region=_region(section),
        path_style=section.flag("path_style", default=True),
        ca_file=_ca_file(section),
        key_file=Path(section.text("key_file")),
        keys=lambda: _private_keys(section),
    )


def _region(section: Section) -> str:
    return _named(section, "region", "default", _REGION, "letters, digits and hyphens, as in default")


def _ca_file(section: Section) -> Path | None:
    ca_file = Path(section.text("ca_file")) if "ca_file" in section.data else None
    if ca_file is not None and not ca_file.is_file():
        raise section.error("ca_file", f"names {ca_file}, which does not exist", "Copy the certificate there")
    return ca_file


def _endpoint(section: Section) -> str:
    endpoint = section.text("endpoint").rstrip("/")
    if not endpoint.startswith(("https://", "http://")):
        raise section.error("endpoint", f"is '{endpoint}'", "Write it with https://")
    if not _addresses(endpoint):
        raise section.error(
            "endpoint",
            f"is '{endpoint}', which is not a valid URL",
            "Write https://HOST or https://HOST:PORT",
        )
    return endpoint


def _addresses(endpoint: str) -> bool:
    """Whether a URL has a host, and a port if any, that a request can be sent to."""
    if re.search(r"[\s?#]", endpoint):
        return False
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "", parts.port
        if ":" in host:
            IPv6Address(host)
            return port != 0
    except ValueError:  # a port out of range, or brackets around something else
        return False
    return port != 0 and len(host) <= 255 and bool(re.fullmatch(_HOST, host))


def _named(section: Section, key: str, default: str, pattern: str, example: str) -> str:
    value = section.text(key, default)
    if not re.fullmatch(pattern, value):
        raise section.error(key, f"is '{value}'", f"Write {example}")
    return value


def _keys(section: Section) -> tuple[str, str]:
    """The environment goes before the file, whose one line is as s3fs wants it; no sentence names a key."""
    if "AWS_ACCESS_KEY_ID" in os.environ:
        access, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ.get("AWS_SECRET_ACCESS_KEY", "")
        # apart from each other, so that either may have a colon
        if re.fullmatch(_KEY, access) and re.fullmatch(_KEY, secret):
            return access, secret
        raise UserError(
            "archive.invalid_keys",
            f"{_VARIABLES} are not valid keys",
            "Set both to what the account's page shows, or none of them",
            about="eodata.key_file",
        )
    return _keys_of_file(section, f", or set {_VARIABLES}")


def _private_keys(section: Section) -> tuple[str, str]:
    path = Path(section.text("key_file"))
    with suppress(OSError):  # a file that cannot be read is reported with the reason
        if path.stat().st_mode & 0o007:
            raise section.error(
                "key_file", f"names {path}, which other users can access", f"Run chmod o= {path}"
            )
    return _keys_of_file(section)


def _keys_of_file(section: Section, otherwise: str = "") -> tuple[str, str]:
    path = Path(section.text("key_file"))
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise section.error(
            "key_file",
            f"names {path}, which cannot be read ({reason})",
            f"Make it readable for this user{otherwise}",
        ) from error
    found = re.fullmatch(_KEYS, text)
    if not found:
        raise section.error(
            "key_file",
            f"names {path}, which has no valid keys",
            "Write ACCESS_KEY:SECRET_KEY into it as its only line",
        )
    return found[1], found[2]
