"""Formats of values: names, ports, networks, dates. Each is defined once, here.

A role's `meta/rules.yml` refers to them by name.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

# names a directory, a server, a container, a certificate's subject (64 characters with words of ours)
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
# PostgreSQL cuts names at 63 characters without an error; raster tables append `_32632_10_rast`
TABLE = re.compile(r"[a-z_][a-z0-9_]{0,47}")
# follows `season_` in the name of a schema, and is part of file names, as `cbmctl --season` takes it
SEASON = re.compile(r"[a-z0-9_]{1,20}")
DAY = re.compile(r"20\d\d-\d\d-\d\d")
PATH = re.compile(r"[/~][^\x00-\x1f\x7f]*")
# these paths go into unit files, mount options and compose files
HOST_PATH = re.compile(r"/(?!(?:[^/]*/)*\.\.?(?:/|$))[^\s'\"\\:,%$]*")
# URL, bucket and region become words of a command, and mount options
URL = re.compile(r"https?://[^\s'\"\\,%$]+")
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
REGION = re.compile(r"(?!\d+$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
# as cbmctl takes it
ARCHIVE_URL = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9._-]{0,254}(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9_.=+@-]+)+/?")
DEVICE = re.compile(r"/dev(?:/(?!\.\.?(?:/|$))[A-Za-z0-9_.:=+@-]+)+")
# an area is never a path, and people name it in their language
LABEL = re.compile(r"\w[\w .,()'-]{0,62}")
# never an option of a command, a path or a pattern
WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+:=~-]{0,127}")
HOST = re.compile(r"[A-Za-z0-9_*:][A-Za-z0-9_*.:-]{0,252}")
IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:@-]*")
RELATIVE = re.compile(r"(?!(?:.*/)?\.\.?(?:/|$))[A-Za-z0-9_.][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_.-]+)*")
SIZE = re.compile(r"[1-9]\d*[bkmgBKMG]?")
# PostgreSQL's own units
DATABASE_SIZE = re.compile(r"\d+(?:\.\d+)? ?(?:B|kB|MB|GB|TB)?")
DURATION = re.compile(r"\d+ ?(us|ms|s|min|h|d)?")
PUBLIC_KEY = re.compile(
    r"(?:[\w=\",.@*?/ -]+ )?"  # options of authorized_keys
    r"(?:ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp(?:256|384|521)|sk-[\w.@-]+) [A-Za-z0-9+/]{40,}={0,3}(?: .*)?"
)


@dataclass(frozen=True)
class Format:
    """What a value must look like.

    Attributes:
        noun: completes "… is not".
        hint: how to write it.
        accepts: whether a value has the format.
    """

    noun: str
    hint: str
    accepts: Callable[[object], bool]


def _matches(pattern: re.Pattern[str]) -> Callable[[object], bool]:
    return lambda value: pattern.fullmatch(str(value)) is not None


def is_name(value: object) -> bool:
    """Whether a value can name a tenant, and what belongs to it."""
    return NAME.fullmatch(str(value)) is not None


def is_day(value: object) -> bool:
    """Whether a value is a day, as text or as what YAML makes of it."""
    if isinstance(value, date):
        return not isinstance(value, datetime)
    if not DAY.fullmatch(str(value)):
        return False
    try:
        date.fromisoformat(str(value))
    except ValueError:
        return False
    return True


def is_network(value: object) -> bool:
    """Whether a value is a network as PostgreSQL's access rules have it: IPv4 or IPv6, with its length."""
    address, slash, length = str(value).partition("/")
    try:
        ipaddress.ip_network(str(value), strict=False)
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return bool(slash) and length.isdecimal()


def is_pool(value: object) -> bool:
    """Whether a value is an IPv4 network from which a container engine can take networks of its own."""
    try:
        return is_network(value) and ipaddress.IPv4Network(str(value)).prefixlen <= 28
    except ValueError:
        return False


def is_address(value: object) -> bool:
    """Whether a value is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(str(value))
    except ValueError:
        return False
    return True


FORMATS = {
    "name": Format(
        "a valid name",
        "Use lower-case letters, digits, _ and -, beginning with a letter or a digit, at most 40 characters.",
        is_name,
    ),
    "table": Format(
        "a valid table name",
        "Use lower-case letters, digits and _, beginning with a letter or _, at most 48 characters.",
        _matches(TABLE),
    ),
    "season": Format(
        "a valid name of a season",
        "Use lower-case letters, digits and _, at most 20 characters.",
        _matches(SEASON),
    ),
    "date": Format("a valid date", "Use YYYY-MM-DD.", is_day),
    "path": Format("an absolute path", "Begin it with / or ~.", _matches(PATH)),
    "host_path": Format(
        "a valid path on the host",
        "Begin it with /. Use no . or .. as a folder, and no spaces, quotes or any of : , % $ \\ in it.",
        _matches(HOST_PATH),
    ),
    "archive": Format(
        "a valid path on the host or URL of an archive",
        "Use a path like /data/cbm/archive/2021, or s3://BUCKET/PREFIX.",
        lambda value: bool(HOST_PATH.fullmatch(str(value)) or ARCHIVE_URL.fullmatch(str(value))),
    ),
    "url": Format(
        "a valid URL",
        "Begin it with https://. Use no spaces, quotes or any of , % $ \\ in it.",
        _matches(URL),
    ),
    "bucket": Format(
        "a valid bucket name",
        "Use letters, digits, _, . and -, beginning with a letter or a digit.",
        _matches(BUCKET),
    ),
    "region": Format(
        "a valid region",
        "Use letters, digits and -, with a letter or a digit at both ends.",
        _matches(REGION),
    ),
    "device": Format("a valid disk", "Use its path below /dev, such as /dev/vdb.", _matches(DEVICE)),
    "label": Format(
        "a valid name of an area",
        "Use letters, digits, spaces and any of _ - . , ' ( ) in it, beginning with a letter, a digit or _,"
        " at most 63 characters.",
        _matches(LABEL),
    ),
    "word": Format(
        "valid",
        "Use letters, digits and any of _ . + : = ~ - in it, beginning with a letter, a digit or _.",
        _matches(WORD),
    ),
    "host": Format(
        "a valid host name or address", "Use a form like db.example or 192.0.2.11.", _matches(HOST)
    ),
    "image": Format("a valid image", "Use a form like registry.example/name:tag.", _matches(IMAGE)),
    "relative_path": Format(
        "a valid relative path",
        "Use letters, digits and any of _ . - / in it, without `..`.",
        _matches(RELATIVE),
    ),
    "network": Format(
        "a valid network", "Use a form like 192.0.2.0/24, with /32 for a single address.", is_network
    ),
    "pool": Format(
        "a valid IPv4 range", "Use a form like 172.20.0.0/15 without host bits, at most /28.", is_pool
    ),
    "address": Format("a valid IP address", "Use a form like 192.0.2.11.", is_address),
    "size": Format("a valid size", "Use a whole number with k, m or g, such as 512m.", _matches(SIZE)),
    "database_size": Format(
        "a valid size", "Use a number with kB, MB, GB or TB, such as 512MB.", _matches(DATABASE_SIZE)
    ),
    "duration": Format(
        "a valid duration", "Use a number with us, ms, s, min, h or d, such as 15min.", _matches(DURATION)
    ),
    "public_key": Format(
        "a public SSH key",
        "Use the whole line of a .pub file, such as 'ssh-ed25519 AAAA…'.",
        _matches(PUBLIC_KEY),
    ),
}
