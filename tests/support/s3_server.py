"""A real S3 server, hadro, over a folder; and a proxy before it that spoils answers as a network may."""

import http.client
import json
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from cbmctl.config import Config, load_config
from tests import peers
from tests.conftest import Database
from tests.support.free_ports import listening

ACCESS, SECRET = "test-access", "test-secret"
CONNECTIONS = 2
_ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
# It is well-formed XML, and may be taken for an answer of S3.
_PAGE = b"<html><head><title>By the tests</title></head><body><p>Come back later</p></body></html>"
_BODIES = {"page": _PAGE, "nothing": b""}
ELSEWHERE = "http://elsewhere.example/maintenance"


@contextmanager
def hadro(data: Path, log: Path, **options: float) -> Iterator[int]:
    """Serve each folder of `data` as a bucket; return the port. Options: latency_ms, error_rate, …"""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    arguments = [str(data), "--port", str(port), "--access-key", ACCESS, "--secret-key", SECRET]
    arguments += ["--region", "default", "--log-level", "error"]
    for name, value in options.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    with peers.serving("hadro", *arguments, environment={}, log=log):
        _await(port, log)
        yield port


def _await(port: int, log: Path) -> None:
    end = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)
        except urllib.error.HTTPError:
            return  # it wants a signature
        except OSError:
            assert time.monotonic() < end, f"hadro does not start: {log.read_text()}"
            time.sleep(0.1)
        else:
            return


Fault = Callable[[int, str], str | None]
# Where a body of this length is spoiled, and how many bytes of it.
_SPOILED: dict[str | None, Callable[[int], tuple[int, int]]] = {
    "spoil": lambda length: (length * 3 // 4, 40),
    "garble": lambda length: (0, length),
}


@dataclass
class Proxy:
    """What goes through a proxy, and what happens to it.

    Attributes:
        fault: given a request's number and its path, says what becomes of it: None, 'truncate' (half of the
            body, under the length of all), 'shorten' (half of the body, and its length), 'spoil' (some bytes
            are others), 'garble' (all bytes are), 'hang up', or a status of HTTP with a code of S3, as in
            '403 ExpiredToken', with a 'page' or with 'nothing'. Who is redirected is sent to ELSEWHERE.
        paths: of all requests, in their order.
        most: connections at once, at most.
        times: of all requests, seconds.
    """

    port: int
    fault: Fault = lambda _number, _path: None
    paths: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    most: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def came(self, path: str) -> str | None:
        with self._lock:
            self.paths.append(path)
            self.times.append(time.monotonic())
            number = len(self.paths)
        return self.fault(number, path)

    def connected(self, change: int) -> None:
        with self._lock:
            self._now += change
            self.most = max(self.most, self._now)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    known: Proxy
    upstream: int

    def handle(self) -> None:
        self.known.connected(1)
        try:
            super().handle()
        except OSError:
            pass  # the client was tired of it
        finally:
            self.known.connected(-1)

    def do_GET(self) -> None:
        fault = self.known.came(self.path)
        if fault == "hang up":
            self.close_connection = True
        elif fault and fault[0].isdigit():
            status, _, code = fault.partition(" ")
            body = _BODIES.get(code, _ERROR.format(code=code, message="by the tests").encode())
            headers = {"Content-Type": "application/xml"}
            if status.startswith("3"):
                headers["Location"] = f"{ELSEWHERE}?asked=true"
            self._send(int(status), headers, body, len(body))
        else:
            self._pass_on(fault)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def _pass_on(self, fault: str | None) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=30)) as connection:
            # the signature is of these headers, the host among them
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection.request(self.command, self.path, sent or None, headers=dict(self.headers))
            response = connection.getresponse()
            body = response.read()
        length = len(body) if self.command != "HEAD" else int(response.headers.get("Content-Length", 0))
        if fault in _SPOILED:
            begin, number = _SPOILED[fault](length)
            other = bytes(byte ^ 0x5A for byte in body[begin : begin + number])
            body = body[:begin] + other + body[begin + number :]
        elif fault:
            body = body[: length // 2]
            length = length if fault == "truncate" else len(body)
            self.close_connection = True
        own = {"content-length", "connection", "transfer-encoding"}
        headers = {name: value for name, value in response.headers.items() if name.lower() not in own}
        self._send(response.status, headers, body, length)

    def _send(self, status: int, headers: dict[str, str], body: bytes, length: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")  # or the client may keep what is about to be closed
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def proxy(upstream: int, tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """Stand before a server on a port of this machine; it speaks no TLS itself."""
    handler = type("Handler", (_Handler,), {"upstream": upstream})
    with listening(handler, tls) as port:
        handler.known = known = Proxy(port)
        yield known


def s3(database: Database, endpoint: str, **changes: object) -> Config:
    """Let the configuration's file say that the archive is a bucket."""
    path = database.config_path
    keys = path.with_name("s3.keys")
    if not keys.exists():
        keys.write_text(f"{ACCESS}:{SECRET}\n")
    data = json.loads(path.read_text())
    bucket_of = {"endpoint": endpoint, "key_file": str(keys), "connections": CONNECTIONS}
    data["eodata"] = bucket_of | {"requests_per_minute": 100_000} | changes
    path.write_text(json.dumps(data))
    return load_config(path)
