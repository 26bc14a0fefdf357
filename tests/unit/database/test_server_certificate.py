"""An expired or not yet valid certificate is reported: by precheck, and by what connects to the database."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import SSLError

from cbmctl.archive.s3.client import explain
from cbmctl.catalogue.http import ServiceError, polite_session
from cbmctl.config import Config, Connection
from cbmctl.config.archive import S3
from cbmctl.database import DatabaseError, connect
from cbmctl.errors import UserError
from tests.support.certificates import YEAR, Made, make
from tests.support.plugins import load

certificate_problems = load("filter", "certificates").certificate_problems
DAY = timedelta(days=1)


def ended(days: int = 1) -> str:
    return f"{datetime.now(UTC) - days * DAY:%Y-%m-%d}"


@contextmanager
def showing(shown: Made, *, as_postgresql: bool = True) -> Iterator[int]:
    """A server that shows a certificate, beginning TLS as PostgreSQL does or as a web server; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.file, shown.key_file)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    plain, _ = server.accept()
                except OSError:
                    return
                with plain, suppress(OSError):
                    if as_postgresql:
                        plain.recv(8)
                        plain.sendall(b"S")
                    context.wrap_socket(plain, server_side=True).close()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def refusal(port: int, ca: Path) -> str:
    """What cbmctl says of a server."""
    where = Connection("127.0.0.1", port, "cbm", "cbm_reader", "secret", "verify-full", ca)
    with pytest.raises(DatabaseError) as refused:
        connect(cast(Config, SimpleNamespace(connection=where)))
    return str(refused.value)


def test_an_expired_certificate_of_the_server_is_said_to_be_expired(tmp_path: Path) -> None:
    ca = make(tmp_path / "ca")
    days = [datetime.now(UTC)]
    with showing(make(tmp_path / "server", ca, ends=-DAY)) as port:
        said = refusal(port, ca.file)
    days.append(datetime.now(UTC))  # it may be past midnight
    begin = f"No in db: the certificate of 127.0.0.1:{port} has expired (this machine's clock says"
    assert said.startswith(tuple(f"{begin} {day:%Y-%m-%d}" for day in days))
    assert said.endswith("Run playbooks/database.yml on the control host, which renews it.")


def test_an_expired_certificate_of_the_ca_is_said_to_be_expired(tmp_path: Path) -> None:
    ca = make(tmp_path / "ca", ends=-DAY)
    with showing(make(tmp_path / "server", ca)) as port:
        said = refusal(port, ca.file)
    assert said.startswith(
        f"No in db: the CA certificate {ca.file} expired on {ended()} (this machine's clock"
    )
    assert "Replace it with the CA certificate that belongs to the server now" in said


def test_a_certificate_of_the_future_is_a_clock_that_is_wrong(tmp_path: Path) -> None:
    ca = make(tmp_path / "ca")
    with showing(make(tmp_path / "server", ca, begun=DAY)) as port:
        assert "is not valid yet (this machine's clock says" in refusal(port, ca.file)


def test_a_certificate_of_another_ca_is_not_said_to_be_expired(tmp_path: Path) -> None:
    ca, other = make(tmp_path / "ca"), make(tmp_path / "other")
    with showing(make(tmp_path / "server", other)) as port:
        said = refusal(port, ca.file)
    assert f"does not show a certificate of the CA in {ca.file}. Check sslrootcert" in said


def test_an_expired_certificate_of_the_archive_is_said_to_be_expired() -> None:
    said = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired (_ssl.c:1000)"
    error = SSLError(endpoint_url="https://s.example", error=said)
    with pytest.raises(
        UserError, match=r"the TLS certificate of https://s\.example has expired. Check the clock"
    ):
        explain(error, cast(S3, SimpleNamespace(endpoint="https://s.example")), last=True)


def test_an_expired_certificate_of_a_catalogue_is_said_to_be_expired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = make(tmp_path / "ca")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ca.file))
    with showing(make(tmp_path / "server", ca, ends=-DAY), as_postgresql=False) as port:
        expected = rf"the TLS certificate of https://127\.0\.0\.1:{port}.* has expired. Check the clock"
        with pytest.raises(ServiceError, match=expected):
            polite_session(print).get(f"https://127.0.0.1:{port}/v1")


def judged(folder: Path, **certificates: Path | str) -> list[tuple[str, str]]:
    paths = {variable: str(path) for variable, path in certificates.items()}
    keys = {"postgis_server_certificate": str(folder / "server.key")}
    found: list[dict[str, Any]] = certificate_problems(paths, str(folder / "pki"), keys)
    return [(each["code"], each["sentence"]) for each in found]


def test_certificates_that_are_valid_or_not_made_yet_are_no_problem(tmp_path: Path) -> None:
    ca = make(tmp_path / "ca")
    server = make(tmp_path / "server", ca)
    assert judged(tmp_path, postgis_server_certificate=server.file, worker_image_ca_certificate=ca.file) == []
    assert judged(tmp_path, postgis_server_certificate=tmp_path / "pki/server.crt", ca_file="") == []
    # a bundle is good as long as one of its CAs is
    (tmp_path / "bundle.crt").write_bytes(
        make(tmp_path / "old", ends=-DAY).file.read_bytes() + ca.file.read_bytes()
    )
    assert judged(tmp_path, ca_file=tmp_path / "bundle.crt") == []


def test_a_given_certificate_that_has_expired_is_to_be_replaced(tmp_path: Path) -> None:
    server = make(tmp_path / "server", make(tmp_path / "ca"), ends=-DAY)
    assert judged(tmp_path, postgis_server_certificate=server.file) == [
        (
            "certificate.expired",
            f"postgis_server_certificate: the certificate '{server.file}' expired on {ended()},"
            " and nobody can connect with it. Replace it by a new one.",
        )
    ]


def test_of_our_own_certificates_the_servers_is_renewed_and_the_cas_is_for_a_person(tmp_path: Path) -> None:
    (tmp_path / "pki").mkdir()
    ca = make(tmp_path / "pki/ca", ends=-DAY)
    server = make(tmp_path / "pki/server", ca, ends=-DAY)
    (tmp_path / "server.key").write_bytes(server.key_file.read_bytes())
    found = judged(tmp_path, postgis_server_certificate=server.file, worker_image_ca_certificate=ca.file)
    assert [code for code, _ in found] == ["certificate.renewed", "certificate.expired"]
    assert found[0][1].endswith("playbooks/database.yml renews it.")
    assert found[1][1].endswith("and send the new connection/ca.crt to all users.")
    assert f"Delete it and {tmp_path}/pki/server.crt, run playbooks/onboard.yml" in found[1][1]


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    early = make(tmp_path / "early", begun=DAY, ends=YEAR)
    (tmp_path / "text.crt").write_text("certificate")
    found = judged(tmp_path, a=early.file, b=tmp_path / "text.crt", c=tmp_path / "absent.crt", d=tmp_path)
    assert [code.removeprefix("certificate.") for code, _ in found] == [
        "not_yet_valid",
        "unreadable",
        "missing",
        "unreadable",
    ]
    assert "text.crt' cannot be read (it is not a certificate in PEM). Replace it." in found[1][1]


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    """PostgreSQL would not start with it."""
    ca = make(tmp_path / "ca")
    server = make(tmp_path / "server", ca)
    (tmp_path / "server.key").write_bytes(make(tmp_path / "other", ca).key_file.read_bytes())
    ((code, sentence),) = judged(tmp_path, postgis_server_certificate=server.file)
    assert (code, "does not belong to the key" in sentence) == ("certificate.key", True)
    (tmp_path / "server.key").write_text("key")
    ((_, sentence),) = judged(tmp_path, postgis_server_certificate=server.file)
    assert sentence.endswith("Use a private key in PEM without a password.")
