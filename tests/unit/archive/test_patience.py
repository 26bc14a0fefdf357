"""How long an archive that is away is tried and waited for, by the test's own clock."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from cbmctl.archive.interface import ArchiveError, Held
from cbmctl.archive.mount import Mount
from cbmctl.archive.s3 import bucket
from cbmctl.archive.s3.client import READ_TIMEOUT_S
from cbmctl.reasons import UNREADABLE
from cbmctl.scenes import SceneError
from tests.support.clock import Clock
from tests.support.s3_stub import SETTINGS, Stub
from tests.support.season import Season, waiting

PATIENCE_S = 300.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock(1000.0)
    monkeypatch.setattr(bucket, "time", found)
    return found


def silent(clock: Clock, seconds: float = READ_TIMEOUT_S) -> bytes:
    clock.sleep(seconds)
    raise ReadTimeoutError(endpoint_url="http://stub")


def test_a_silent_server_is_tried_for_two_minutes_and_all_of_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    stub = Stub(**{"p/a.img": b"a"})
    stub.listing = lambda _prefix: silent(clock) and None
    with pytest.raises(SceneError, match=r"p cannot be listed: .* attempts") as found:
        stub.opened(tmp_path, monkeypatch).hold("p", ".*")
    assert found.value.since == 1000
    assert bucket.TRIED_S <= clock.now - 1000 <= bucket.TRIED_S + READ_TIMEOUT_S


def test_what_comes_slowly_and_breaks_off_is_not_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """A large image may take longer than all patience, and be had at the sixth attempt."""
    stub = Stub(**{"p/a.img": b"a"})
    stub.answer = lambda _key: silent(clock, 400)
    with pytest.raises(SceneError, match=f"{bucket.ATTEMPTS} attempts") as found:
        stub.opened(tmp_path, monkeypatch).hold("p", ".*")
    assert found.value.since is not None
    assert 0 < clock.now - found.value.since < 60


def test_a_quick_look_asks_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    stub = Stub(**{"Sentinel-2/a.img": b"a"})
    stub.listing = lambda _prefix: silent(clock) and None
    with pytest.raises(ArchiveError, match=r"cannot be listed .* 1 attempt\)") as found:
        stub.opened(tmp_path, monkeypatch).check(60)
    assert found.value.since == 1000
    assert len(stub.asked) == 1


def test_a_quick_look_takes_a_new_key_for_none_that_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = Stub()

    def unknown(_prefix: str) -> None:
        answer = {"Error": {"Code": "InvalidAccessKeyId"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        raise ClientError(answer, "ListObjectsV2")  # type: ignore[arg-type]

    stub.listing = unknown
    with pytest.raises(ArchiveError, match="cannot be listed") as found:
        stub.opened(tmp_path, monkeypatch).check(60)
    assert not found.value.lasting
    with pytest.raises(ArchiveError, match="does not accept the keys") as found:
        stub.opened(tmp_path, monkeypatch).check()
    assert found.value.lasting


def test_a_quick_look_ends_on_time_whatever_the_server_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub, end = Stub(), threading.Event()
    stub.listing = lambda _prefix: end.wait(60) and None
    try:
        with pytest.raises(ArchiveError, match=r"eodata at http://stub does not answer in 1 s\. Check"):
            stub.opened(tmp_path, monkeypatch).check(1)
    finally:
        end.set()


def test_a_connection_that_was_kept_and_is_closed_is_not_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub, closed = Stub(**{"Sentinel-2/a.img": b"a"}), iter(range(2))

    def listing(_prefix: str) -> None:
        if next(closed, None) is not None:
            raise ConnectionClosedError(endpoint_url="http://stub")

    stub.listing = listing
    archive = stub.opened(tmp_path, monkeypatch)
    archive.check(60)
    closed = iter(range(bucket.CLOSED))
    with pytest.raises(ArchiveError, match=f"cannot be listed .*{bucket.CLOSED} attempts"):
        archive.check(60)


def test_a_quick_look_waits_for_a_connection_that_others_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are served, so nothing is wrong with the archive."""
    stub = Stub(**{"Sentinel-2/a.img": b"a"})
    archive = stub.opened(tmp_path, monkeypatch)
    everything = ExitStack()
    for _ in range(SETTINGS.connections):
        everything.enter_context(archive._limits.request(threading.Event()))
    with ThreadPoolExecutor(1) as pool:
        look = pool.submit(archive.check, 0.2)
        with pytest.raises(TimeoutError):
            look.result(1)
        everything.close()
        look.result(60)
    assert stub.asked


@pytest.mark.postgis
def test_the_wait_counts_from_the_first_silence_and_ends_on_time(
    season: Season, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, looks, lines = Clock(), list[float](), list[str]()
    season.scene(5)

    def hold(_self: Mount, path: str, files: str) -> Held:  # noqa: ARG001
        since = clock.now
        clock.sleep(140)
        raise SceneError(UNREADABLE, "it does not come", since=since)

    def check(_self: Mount, within: float | None = None) -> None:
        assert within is not None
        looks.append(within)
        clock.sleep(within)
        raise ArchiveError("archive.no_answer", f"it is silent, look {len(looks)}", "Wait")

    monkeypatch.setattr(Mount, "hold", hold)
    monkeypatch.setattr(Mount, "check", check)
    monkeypatch.setattr("cbmctl.worker.pipeline.time", clock)
    monkeypatch.setattr("cbmctl.worker.pipeline.ARCHIVE_S", PATIENCE_S)
    with pytest.raises(ArchiveError, match="look 2"):  # the third was cut short
        season.extract(lines=lines)
    assert clock.now == PATIENCE_S
    # after 140 s, 205 s and 270 s
    assert looks == [60, 60, 30]
    assert waiting(lines) == 1
    assert season.rows("SELECT DISTINCT state, attempts FROM tasks") == [("ready", 0)]
