"""What other programs mean by what they print, as codes: they have no codes of their own.

This module is the only one that reads their texts. tests/unit/roles/test_other_programs.py has recorded ones.
"""

import re
from collections.abc import Sequence

# what s3fs 1.90 to 1.95 writes into the journal
_S3FS = (
    (
        "keys_refused",
        r"InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|AccessDenied|HTTP response code 403"
        r"|invalid credentials",
    ),
    ("no_bucket", r"NoSuchBucket|bucket or key not found|bucket not found"),
    ("certificate_untrusted", r"CURLE_PEER_FAILED_VERIFICATION|CURLE_SSL_CACERT|certificate"),
    ("disk_full", r"(?i)no enough disk space"),
)


def s3fs(lines: Sequence[str]) -> dict[str, str]:
    """Why a mount of s3fs failed: `code`, and in `said` the last line that is not only information."""
    last = next((line for line in reversed(lines) if "[INF]" not in line), "s3fs says nothing")
    code = next((code for code, pattern in _S3FS if re.search(pattern, last)), "no_answer")
    return {"code": code, "said": re.sub(r"^\S+ \[CRT\] \S+: *", "", last)}


def ssh(text: str) -> dict[str, str]:
    """Why Ansible could not log in: `code`, and in `said` the last line without its full stop."""
    last = last_line(text).rstrip(".")
    return {"code": "host_key_changed" if "ost key" in last else "no_login", "said": last}


def docker_missing(text: str) -> bool:
    """Whether Docker refuses a command because there is no such container or service."""
    return bool(re.search(r"(?i)no such (container|service)", text))


def grown(text: str) -> bool:
    """Whether the module community.general.filesystem has enlarged a filesystem."""
    return bool(re.search("is now|blocks changed|resizing", text))


def last_line(text: str) -> str:
    """The last line of a text, which has the reason."""
    return (text.strip().splitlines() or ["no reason given"])[-1].strip()


def http(text: str) -> str:
    """Why Ansible's module uri got no answer, without its words about the status that it expected."""
    return re.sub(r"^Status code was -1 and not \[200\]: ", "", text)
