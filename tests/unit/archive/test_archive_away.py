"""A bucket, or a disk, that cannot be used: no scene is blamed, and the worker waits or ends in words."""

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from cbmctl.archive import disk_space
from cbmctl.archive.interface import ArchiveError, Held
from cbmctl.archive.s3 import bucket
from tests.support.clock import Clock
from tests.support.s3_season import extract, pending
from tests.support.s3_server import ACCESS, SECRET, Fault, Proxy, s3
from tests.support.season import Season, waiting

pytestmark = [pytest.mark.postgis, pytest.mark.usefixtures("hasty_bucket")]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("403 ExpiredToken", "s3.keys"),
        ("403 InvalidAccessKeyId", "s3.keys"),
        ("403 AccessDenied", "s3.keys"),
        ("403 RequestTimeTooSkewed", "clock"),
        ("503 SlowDown", "SlowDown"),
        ("hang up", "cannot be listed"),
    ],
)
def test_an_archive_that_refuses_everything_fails_no_scene(
    season: Season, served: Proxy, fault: str, sentence: str
) -> None:
    for day in (5, 6):
        season.scene(day)
    with pytest.raises(ArchiveError, match=sentence):
        extract(season, lambda _number, _path: fault, served)
    pending(season)


@pytest.mark.parametrize(
    ("fault", "sentence", "lasting"),
    [
        (
            "403 AccessDenied",
            r"cannot be read \(AccessDenied.* 1 attempt\). The keys from .*s3\.keys",
            True,
        ),
        ("403 page", r"cannot be read \(HTTP 403, 1 attempt\). The keys from .*s3\.keys", True),
        ("404 page", r"cannot be read \(HTTP 404, 1 attempt\). Check the network", False),
        ("401 Unauthorized", r"The keys from .*s3\.keys", True),
        ("429 TooManyRequests", r"the account's connections, or its quota is spent", False),
        ("503 SlowDown", r"the account's connections, or its quota is spent", False),
        ("509 BandwidthLimitExceeded", r"the account's connections, or its quota is spent", False),
        ("500 InternalError", r"can be listed, but Sentinel-.* cannot be read", False),
        ("hang up", r"can be listed, but Sentinel-.* cannot be read", False),
    ],
)
def test_an_archive_that_lists_and_gives_nothing_fails_no_scene(
    season: Season, served: Proxy, fault: str, sentence: str, lasting: bool
) -> None:
    for day in (5, 6):
        season.scene(day)
    with pytest.raises(ArchiveError, match=sentence) as found:
        extract(season, lambda _, path: None if "list-type" in path else fault, served)
    assert found.value.lasting is lasting
    pending(season)


@pytest.mark.parametrize(
    "fault",
    [
        lambda _number, _path: "503 ServiceUnavailable",
        # an account that is used elsewhere: small objects come, the images do not
        lambda _number, path: "429 TooManyRequests" if "B05" in path else None,
    ],
)
def test_an_archive_that_comes_back_is_waited_for(
    season: Season, served: Proxy, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    """However long that takes: the archive comes back when the worker has said that it waits."""
    monkeypatch.setattr("cbmctl.worker.pipeline.ARCHIVE_S", 300)
    scene, lines = season.scene(5), list[str]()
    extract(season, lambda *request: None if waiting(lines) else fault(*request), served, lines)
    assert season.status(scene) == "extracted"
    assert waiting(lines) == 1
    assert season.rows("SELECT DISTINCT attempts FROM tasks") == [(1,)]


def test_keys_that_expire_end_the_worker_and_new_ones_go_on(season: Season, served: Proxy) -> None:
    for day in (5, 6, 7):
        season.scene(day)
    with pytest.raises(ArchiveError, match=r"s3\.keys .*have expired; make new ones"):
        extract(season, lambda number, _: "403 ExpiredToken" if number > 8 else None, served)
    states = dict(season.rows("SELECT state, count(*) FROM tasks GROUP BY 1"))
    assert states["done"] > 0
    assert states["ready"] > 0
    assert states.keys() == {"done", "ready"}
    served.fault = lambda _number, _path: None
    extract(season)
    assert season.rows("SELECT DISTINCT status FROM dias_catalogue") == [("extracted",)]


def test_a_new_key_is_given_some_seconds(season: Season, served: Proxy) -> None:
    scene = season.scene(5)
    extract(season, lambda number, _: "403 InvalidAccessKeyId" if number < 4 else None, served)
    assert season.status(scene) == "extracted"


@pytest.mark.parametrize(
    ("changes", "keys", "sentence"),
    [
        ({}, f"{ACCESS}:wrong", r"does not accept the keys from .*s3\.keys"),
        ({}, f"wrong:{SECRET}", r"does not accept the keys from .*s3\.keys"),
        ({"bucket": "absent"}, None, "the archive absent at http"),
        ({"endpoint": "http://127.0.0.1:9"}, None, "connection refused, 1 attempt"),
    ],
)
def test_wrong_settings_are_told_in_one_sentence(
    season: Season,
    served: Proxy,
    changes: dict[str, str],
    keys: str | None,
    sentence: str,
) -> None:
    if keys:
        season.database.config_path.with_name("s3.keys").write_text(keys)
    s3(season.database, **{"endpoint": served.url} | changes)
    season.scene(5)
    with pytest.raises(ArchiveError, match=sentence):
        extract(season)
    pending(season)


def checked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the times at which the archive is found usable, as they come; fail a worker that never ends."""
    times: list[float] = []
    check = bucket.Bucket.check

    def counting(self: bucket.Bucket, within: float | None = None) -> None:
        assert len(times) < 50, "the worker goes on for ever"
        check(self, within)
        times.append(time.monotonic())

    monkeypatch.setattr(bucket.Bucket, "check", counting)
    return times


def test_a_full_disk_stops_the_worker_and_not_the_scenes(
    season: Season, served: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive can be used all the while, and the task claimed; yet it comes to an end."""
    season.scene(5)
    monkeypatch.setattr(disk_space, "KEPT_FREE", 2**60)
    monkeypatch.setattr("cbmctl.worker.pipeline.time", Clock())
    # a look takes real time, of which a busy machine needs more than the hasty seconds
    monkeypatch.setattr("cbmctl.worker.pipeline.ARCHIVE_S", 300)
    monkeypatch.setattr("cbmctl.worker.pipeline.ARCHIVE_EVERY_S", 60)
    checks = checked(monkeypatch)
    lines: list[str] = []
    with pytest.raises(ArchiveError, match=r"needs 0\.0 GB in .* must stay free\. Free space"):
        extract(season, lines=lines)
    assert waiting(lines) == 1
    assert len(checks) > 1  # each after a pause, until its patience has passed
    pending(season)
    # not one object but the byte of each check
    assert len([path for path in served.paths if "list-type" not in path]) == len(checks)


@pytest.mark.parametrize("place", ["scenes", "next-request"])
def test_a_folder_that_takes_no_more_stops_the_worker_and_not_the_scenes(
    season: Season, served: Proxy, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    season.scene(5)
    folder = season.config.cache / "eodata"
    folder.mkdir(parents=True, exist_ok=True)
    blocked = folder / place
    if place == "scenes":
        blocked.touch()  # a file where a folder is wanted
    else:
        blocked.mkdir()
    checked(monkeypatch)
    with pytest.raises(ArchiveError, match=r"cannot be written to \(.*\)\. Make it a folder of this user"):
        extract(season, known=served)
    blocked.unlink() if place == "scenes" else blocked.rmdir()
    pending(season)


def test_a_task_that_ends_is_progress(season: Season, served: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors over a longer time than the worker waits, and a task done between any two of them.

    Time is what the test makes of it, as a slow machine could make it longer than the worker's patience.
    """
    patience, clock = 300.0, Clock()
    monkeypatch.setattr("cbmctl.worker.pipeline.ARCHIVE_S", patience)
    monkeypatch.setattr("cbmctl.worker.pipeline.time", clock)
    for day in range(5, 10):
        season.scene(day)
    hold, tried, failures = bucket.Bucket.hold, Counter[str](), list[float]()

    def twice_in_vain(self: bucket.Bucket, path: str, files: str) -> Held:
        tried[path] += 1
        if tried[path] > 2:
            if tried[path] == 3:
                clock.now += 0.4 * patience
            return hold(self, path, files)
        failures.append(clock.now)
        raise ArchiveError("archive.no_answer", "it is away", "Wait")

    monkeypatch.setattr(bucket.Bucket, "hold", twice_in_vain)
    extract(season, known=served)
    assert failures[-1] - failures[0] > patience
    assert season.rows("SELECT DISTINCT status FROM dias_catalogue") == [("extracted",)]
    assert season.rows("SELECT DISTINCT attempts FROM tasks") == [(1,)]


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (lambda _number, _path: None, 0, "can be used"),
        (lambda _number, _path: "403 ExpiredToken", 1, "s3.keys"),
        # keys that may list and not read
        (lambda _, path: None if "list-type" in path else "403 AccessDenied", 1, "not be read (AccessDenied"),
        # one object that is closed, the request after two lists being for that
        (lambda number, _: "403 AccessDenied" if number == 3 else None, 0, "can be used"),
    ],
)
def test_the_command_tells_whether_the_archive_can_be_used(
    season: Season, served: Proxy, fault: Fault, code: int, said: str
) -> None:
    for day in (5, 6):
        season.scene(day)
    served.fault = fault
    found = check_command(season)
    assert found.returncode == code
    assert said in found.stdout + found.stderr
    assert ("s3.keys" in found.stderr) is bool(code)


def test_an_empty_archive_is_told(season: Season, served: Proxy, tmp_path: Path) -> None:
    (tmp_path / "void").mkdir()
    s3(season.database, served.url, bucket="void")
    found = check_command(season)
    assert found.returncode == 1
    assert "the archive void at http" in found.stderr
    assert "is empty" in found.stderr
    season.scene(5)
    with pytest.raises(ArchiveError, match="is empty"):
        extract(season)
    pending(season)


def check_command(season: Season) -> subprocess.CompletedProcess[str]:
    path = str(season.database.config_path)
    command = [sys.executable, "-m", "cbmctl", "--config", path, "eodata", "check"]
    return subprocess.run(command, capture_output=True, text=True, check=False)
