"""Which connections the server accepts: how many, and with which TLS."""

import socket
import ssl
import struct

import psycopg
import pytest

from tests.support.reader_server import READER_CONNECTIONS, Server

SSL_REQUEST = struct.pack("!ii", 8, 80877103)


@pytest.mark.usefixtures("reader")
def test_workers_and_owner_get_in_when_all_the_readers_connections_are_taken(server: Server) -> None:
    others = [server.connect("reader") for _ in range(READER_CONNECTIONS - 1)]
    try:
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            server.connect("reader")
        for role in ("owner", "writer"):
            server.connect(role).close()
    finally:
        for other in others:
            other.close()


@pytest.mark.parametrize(
    ("version", "ciphers", "accepted"),
    [
        (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES256-GCM-SHA384", True),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-CHACHA20-POLY1305", True),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES256-SHA384", False),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES128-SHA:AES256-SHA", False),
        (ssl.TLSVersion.TLSv1_2, "AES256-GCM-SHA384", False),
        (ssl.TLSVersion.TLSv1_3, "DEFAULT", True),
    ],
    ids=["GCM", "ChaCha20", "CBC", "CBC with SHA-1", "no forward secrecy", "TLS 1.3"],
)
def test_tls_has_only_suites_that_encrypt_and_authenticate_in_one(
    server: Server, version: ssl.TLSVersion, ciphers: str, *, accepted: bool
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as plain:
        plain.sendall(SSL_REQUEST)
        assert plain.recv(1) == b"S"
        if accepted:
            with context.wrap_socket(plain) as encrypted:
                assert encrypted.cipher() is not None
        else:
            with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
                context.wrap_socket(plain)
