"""Time-based one-time passwords (RFC 6238) with the parameters of Keycloak: SHA-1, 6 digits, 30 s."""

import base64
import binascii
import hashlib
import hmac

PERIOD_S = 30
DIGITS = 6


def key(secret: str) -> bytes:
    """Return the key in a base32 text; spaces, dashes, case and missing padding do not matter.

    Raises:
        ValueError: the text is empty or not base32.
    """
    text = "".join(secret.split()).replace("-", "").rstrip("=").upper()
    if not text:
        raise ValueError("empty")
    try:
        return base64.b32decode(text + "=" * (-len(text) % 8))
    except binascii.Error as error:
        raise ValueError("not base32") from error


def window(time_s: float) -> int:
    """Return the number of the period that a Unix time lies in."""
    return int(time_s // PERIOD_S)


def code(key: bytes, window: int) -> str:
    """Return the code of a period (RFC 4226, section 5.3: dynamic truncation)."""
    digest = hmac.new(key, window.to_bytes(8), hashlib.sha1).digest()
    start = digest[-1] & 0xF
    number = int.from_bytes(digest[start : start + 4]) & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"
