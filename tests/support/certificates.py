"""Certificates of a CA and of a server, with the time that a test wants."""

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

YEAR = timedelta(days=365)


@dataclass(frozen=True)
class Made:
    """A certificate and its key, in PEM, in files."""

    file: Path
    key_file: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def context(self) -> ssl.SSLContext:
        """What a server does with it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key_file)
        return context


def make(file: Path, by: Made | None = None, *, begun: timedelta = -YEAR, ends: timedelta = YEAR) -> Made:
    """Write FILE.crt and FILE.key: of a CA, or of a server at 127.0.0.1 that a CA signs; times from now."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, file.stem)])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = (
        x509.CertificateBuilder(
            by.certificate.subject if by else name, name, key.public_key(), x509.random_serial_number()
        )
        .not_valid_before(now + begun)
        .not_valid_after(now + ends)
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    )
    signed = builder.sign(by.key if by else key, hashes.SHA256())
    made = Made(file.with_suffix(".crt"), file.with_suffix(".key"), signed, key)
    made.file.write_bytes(signed.public_bytes(Encoding.PEM))
    made.key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return made
