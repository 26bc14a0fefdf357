"""An archive whose certificate is of a CA that this machine does not know."""

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cbmctl.archive.interface import ArchiveError
from tests.support.s3_season import extract, pending
from tests.support.s3_server import hadro, proxy, s3
from tests.support.season import Season

pytestmark = [pytest.mark.postgis, pytest.mark.usefixtures("hasty_bucket")]


def certificate(file: Path) -> ssl.SSLContext:
    """Write a certificate of this machine, which is its own CA, and return what a server does with it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    secret = file.with_suffix(".key")
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, secret)
    return context


def test_a_ca_of_ones_own_is_trusted_where_it_is_named(season: Season, tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    tls = certificate(ca)
    scene = season.scene(5)
    with hadro(tmp_path, tmp_path / "hadro.log") as port, proxy(port, tls) as served:
        endpoint = served.url.replace("http:", "https:")
        s3(season.database, endpoint)
        with pytest.raises(ArchiveError, match=r"the TLS certificate of .* is not trusted .* as ca_file"):
            extract(season)
        pending(season)
        assert not served.paths
        s3(season.database, endpoint, ca_file=str(ca))
        extract(season)
    assert season.status(scene) == "extracted"
