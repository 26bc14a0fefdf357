"""Servers that trickle, or fall silent: what has come is seen at once, and nobody is waited for for ever."""

import base64
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import FlexibleChecksumError

from cbmctl.archive import time_limits
from cbmctl.archive.s3 import bucket
from cbmctl.archive.s3.client import make_client
from cbmctl.scenes import SceneError
from tests.support.clock import Clock
from tests.support.free_ports import listening
from tests.support.s3_stub import SETTINGS, Body, Stub

LIST = b"""<ListBucketResult><Name>eodata</Name><IsTruncated>false</IsTruncated>
<Contents><Key>p/a.img</Key><Size>3</Size></Contents></ListBucketResult>"""
HOLD = """
import signal, sys
from dataclasses import replace
from pathlib import Path
from cbmctl.archive.s3 import bucket, client
from cbmctl.config.archive import S3
signal.signal(signal.SIGINT, signal.default_int_handler)
client.READ_TIMEOUT_S = 3600
settings = S3(sys.argv[1], "eodata", "default", True, 4, 10**6, None, lambda: ("a", "b"), "s3.keys")
bucket.Bucket(settings, Path(sys.argv[2])).hold("p", ".*")
"""


class Slow(BaseHTTPRequestHandler):
    """Answers with a list, or with a byte of an object, and the others when it is told to."""

    protocol_version = "HTTP/1.1"
    begun: threading.Event
    going_on: threading.Event
    checksum: str | None

    def do_GET(self) -> None:
        body = LIST if "list-type" in self.path else b"abc"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if self.checksum and body != LIST:
            self.send_header("x-amz-checksum-crc32", self.checksum)
        self.end_headers()
        if body != LIST:
            self.wfile.write(body[:1])
            self.begun.set()
            self.going_on.wait(120)
            body = body[1:]
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def slow(checksum: str | None = None) -> Iterator[tuple[str, type[Slow]]]:
    """Let it be asked; yield its address, and what it is told by."""
    told = {"begun": threading.Event(), "going_on": threading.Event(), "checksum": checksum}
    handler: Any = type("Handler", (Slow,), told)
    with listening(handler) as port:
        try:
            yield f"http://127.0.0.1:{port}", handler
        finally:
            handler.going_on.set()


def test_what_has_come_is_given_before_more_comes() -> None:
    with slow() as (url, server):
        body = make_client(replace(SETTINGS, endpoint=url)).get_object(Bucket="eodata", Key="a")["Body"]
        pieces = body.iter_chunks(bucket.CHUNK)
        assert next(pieces) == b"a"
        server.going_on.set()
        assert b"".join(pieces) == b"bc"


def test_what_comes_is_still_compared_with_its_sum() -> None:
    with slow(base64.b64encode(b"none").decode()) as (url, server):
        server.going_on.set()
        body = make_client(replace(SETTINGS, endpoint=url)).get_object(Bucket="eodata", Key="a")["Body"]
        with pytest.raises(FlexibleChecksumError):
            list(body.iter_chunks(bucket.CHUNK))


class Trickle(Body):
    """A byte every four seconds."""

    clock: Clock

    def iter_chunks(self, size: int) -> Iterator[bytes]:  # noqa: ARG002
        for byte in self._data:
            self.clock.sleep(4)
            yield bytes([byte])


def test_an_object_that_trickles_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub, clock = Stub(**{"p/a.img": b"a" * 100}), Clock(1000.0)
    monkeypatch.setattr(time_limits, "time", clock)
    monkeypatch.setattr(bucket, "time", clock)
    monkeypatch.setattr(Trickle, "clock", clock, raising=False)
    monkeypatch.setattr("tests.support.s3_stub.Body", Trickle)
    with pytest.raises(SceneError, match=r"only 15 bytes were received in 60 s, 6 attempts"):
        stub.opened(tmp_path, monkeypatch).hold("p", ".*")
    assert clock.now == 1000 + bucket.ATTEMPTS * time_limits.SLOW_S


def test_a_pace_is_one_of_every_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(time_limits, "time", clock)

    def pieces() -> Iterator[bytes]:
        for size in [time_limits.SLOW_BYTES, time_limits.SLOW_BYTES, time_limits.SLOW_BYTES - 1]:
            clock.sleep(time_limits.SLOW_S)
            yield bytes(size)

    given = time_limits.in_pace(pieces())
    assert [len(next(given)) for _ in range(3)] == [60_000, 60_000, 59_999]
    with pytest.raises(TimeoutError):
        next(given)


def test_a_process_that_ends_does_not_wait_for_a_silent_server(tmp_path: Path) -> None:
    with slow() as (url, server):
        command = [sys.executable, "-c", HOLD, url, str(tmp_path)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert server.begun.wait(60)
                process.send_signal(signal.SIGINT)
                assert process.wait(60)
            finally:
                process.kill()
            assert process.stderr
            assert process.stderr.read().rstrip().endswith("KeyboardInterrupt")
    assert not list((tmp_path / "scenes").iterdir())


def test_hands_do_what_they_are_given_and_no_more() -> None:
    hands, go = time_limits.Hands(1, "hand"), threading.Event()
    first, second, third = hands.submit(go.wait), hands.submit(lambda: 1 / 0), hands.submit(lambda: 3)
    assert second.cancel()
    go.set()
    assert first.result(60)
    assert third.result(60) == 3
    with pytest.raises(ZeroDivisionError):
        hands.submit(lambda: 1 / 0).result(60)
    hands.close()
    for thread in hands._threads:
        thread.join(60)
        assert not thread.is_alive()


def test_a_system_without_threads_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With none at all nobody would ever do the work; with some, they do."""
    hands = time_limits.Hands(2, "hand")

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for _ in range(3):
            with pytest.raises(RuntimeError, match="can't start"):
                hands.submit(list)
    assert hands.submit(lambda: 5).result(60) == 5
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert hands.submit(lambda: 6).result(60) == 6
    hands.close()
    with pytest.raises(RuntimeError, match="threads have ended"):
        hands.submit(list)
