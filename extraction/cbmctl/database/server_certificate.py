"""Why a PostgreSQL server's certificate is refused; libpq does not give the reason."""

import socket
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

# asks a PostgreSQL server for TLS: length, then the code that no protocol version has
SSL_REQUEST = (8).to_bytes(4) + (80877103).to_bytes(4)
TIMEOUT_S = 5
# OpenSSL's codes of a verification (X509_V_ERR_…)
NOT_YET_VALID, HAS_EXPIRED = 9, 10


def fault(host: str, port: int, ca: Path) -> tuple[str, str, str] | None:
    """Code, message and hint for a certificate that expired or is not valid yet; None for another reason.

    Args:
        host: the server.
        port: its port.
        ca: the certificate of the CA that the server's is checked against.
    """
    now = datetime.now(UTC)
    clock = f"this machine's clock says {now:%Y-%m-%d %H:%M} UTC"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    try:
        context.load_verify_locations(ca)
    except (OSError, ssl.SSLError):
        return None
    if ended := _ended(context, now):
        return (
            "database.certificate_expired",
            f"the CA certificate {ca} expired on {ended:%Y-%m-%d} ({clock})",
            "Replace it with the CA certificate that belongs to the server now",
        )
    code = _refused(host, port, context)
    if code == HAS_EXPIRED:
        return (
            "database.certificate_expired",
            f"the certificate of {host}:{port} has expired ({clock})",
            "Run playbooks/database.yml on the control host, which renews it",
        )
    if code == NOT_YET_VALID:
        return (
            "database.certificate_not_yet_valid",
            f"the certificate of {host}:{port} is not valid yet ({clock})",
            "Set the clock of this machine",
        )
    return None


def _ended(context: ssl.SSLContext, now: datetime) -> datetime | None:
    """When the last of the CA's certificates expired; None if one is still valid."""
    ends = [
        datetime.fromtimestamp(ssl.cert_time_to_seconds(str(each["notAfter"])), UTC)
        for each in context.get_ca_certs()
    ]
    return max(ends) if ends and max(ends) < now else None


def _refused(host: str, port: int, context: ssl.SSLContext) -> int | None:
    """OpenSSL's code for the reason why the certificate of the server is refused; None if it is not."""
    with suppress(OSError):
        try:
            with socket.create_connection((host, port), TIMEOUT_S) as plain:
                plain.sendall(SSL_REQUEST)
                if plain.recv(1) == b"S":
                    with context.wrap_socket(plain):
                        return None
        except ssl.SSLCertVerificationError as error:
            return error.verify_code
    return None
