"""The archive behind S3: a real server, and everything that may go wrong on the way, told as what it is."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cbmctl.config import Config, load_config
from cbmctl.database import connect
from cbmctl.eodata import ArchiveError, Held, bucket
from cbmctl.planning import plan
from cbmctl.stopping import Stop
from cbmctl.worker import work

from . import products_s1 as s1
from .conftest import BANDS_10, PARCELS, Season
from .s3_server import ACCESS, SECRET, Fault, Proxy, hadro, proxy
from .test_rules import backscatter, radar

pytestmark = pytest.mark.postgis

Rows = list[tuple[Any, ...]]
CONNECTIONS = 2


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "PAUSE_S", 0.01)
    monkeypatch.setattr("cbmctl.worker.ARCHIVE_EVERY_S", 0.05)
    monkeypatch.setattr("cbmctl.worker.ARCHIVE_S", 0.3)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)


@pytest.fixture
def served(season: Season, tmp_path: Path) -> Iterator[Proxy]:
    """The season's archive by way of hadro and a proxy; the configuration's file says so."""
    with hadro(tmp_path, tmp_path / "hadro.log") as port, proxy(port) as known:
        s3(season, known.url)
        yield known


def s3(season: Season, endpoint: str, **changes: object) -> Config:
    """Make the season's archive a bucket."""
    path = season.database.config_path
    keys = path.with_name("s3.keys")
    if not keys.exists():
        keys.write_text(f"{ACCESS}:{SECRET}\n")
    data = json.loads(path.read_text())
    bucket_of = {"endpoint": endpoint, "key_file": str(keys), "connections": CONNECTIONS}
    data["eodata"] = bucket_of | {"requests_per_minute": 100_000} | changes
    path.write_text(json.dumps(data))
    return load_config(path)


def extract(
    season: Season,
    fault: Fault | None = None,
    known: Proxy | None = None,
    lines: list[str] | None = None,
) -> list[str]:
    if known and fault:
        known.fault = fault
    lines = [] if lines is None else lines
    config = season.database.configured()
    with connect(config, autocommit=True) as conn:
        plan(conn, config)
    work(config, stop=Stop(), note=lines.append)
    return lines


def checked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the times at which the archive is found usable, as they come; fail a worker that never ends."""
    times: list[float] = []
    check = bucket.Bucket.check

    def counting(self: bucket.Bucket) -> None:
        assert len(times) < 50, "the worker goes on for ever"
        check(self)
        times.append(time.monotonic())

    monkeypatch.setattr(bucket.Bucket, "check", counting)
    return times


def everything(season: Season) -> tuple[Rows, Rows, Rows]:
    return (
        season.rows("SELECT * FROM sigs ORDER BY obsid, pid, band"),
        season.rows("SELECT * FROM hists ORDER BY obsid, pid"),
        season.rows("SELECT id, status, applied_offset FROM dias_catalogue ORDER BY id"),
    )


def forget(season: Season) -> None:
    with season.database.connect() as conn:
        conn.execute("TRUNCATE sigs, hists, tasks")
        conn.execute("UPDATE dias_catalogue SET status = 'ingested', applied_offset = NULL")


def scratch(season: Season) -> list[Path]:
    folder = season.config.cache / "eodata" / "scenes"
    return list(folder.iterdir()) if folder.exists() else []


def pending(season: Season) -> None:
    """Nothing is extracted, and nothing blamed for it."""
    assert season.rows("SELECT DISTINCT state, attempts, reason FROM tasks") == [("ready", 0, None)]
    assert season.rows("SELECT count(*) FROM sigs") == [(0,)]
    assert set(season.rows("SELECT status FROM dias_catalogue")) <= {("ingested",), ("inprogress",)}
    assert not scratch(season)


def test_a_season_through_faults_is_the_season_from_the_disk(
    season: Season, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every fourth object breaks off, and one request in three is refused, by the server or on the way."""
    # parcels of both cards, on one tile
    coherence = s1.make_coherence(season.config.eodata, [s1.power(seed=3) / 2, s1.power(seed=4)])
    card_bs = s1.make_backscatter(season.config.eodata, backscatter())
    radar(season, "c6", coherence)
    radar(season, "bs", card_bs)
    with season.database.connect() as conn:
        for pid, polygon in PARCELS.items():
            conn.execute(
                "INSERT INTO parcels_2021 VALUES (%s, ST_Multi(ST_GeomFromText(%s, 32632)))",
                [100 + pid, polygon.wkt],
            )
    for day in range(1, 7):
        season.scene(day)
    extract(season)
    local = everything(season)
    assert {status for _, status, _ in local[2]} == {"extracted"}
    assert len({band for _, _, band, *_ in season.rows("SELECT pid, obsid, band FROM sigs")}) == 7
    forget(season)
    monkeypatch.setattr("cbmctl.worker.ARCHIVE_S", 30)
    options = {"error_rate": 0.2, "fault_seed": 7, "latency_ms": 3, "latency_jitter_ms": 5}
    with hadro(tmp_path, tmp_path / "hadro.log", **options) as port, proxy(port) as known:
        s3(season, known.url)

        def fault(number: int, path: str) -> str | None:
            if "list-type" not in path and number % 4 == 0:
                return "truncate" if number % 8 else "shorten"
            return {5: "429 TooManyRequests", 0: "hang up"}.get(number % 10)

        lines = extract(season, fault, known)
    assert everything(season) == local
    assert not [line for line in lines if "given up" in line]
    assert len(known.paths) > 100
    assert known.most <= CONNECTIONS
    assert not scratch(season)


def test_what_is_missing_gets_the_manuals_word(season: Season, served: Proxy) -> None:
    gone, lacking, headless, whole = (season.scene(day, product=day != 5) for day in (5, 6, 7, 8))
    paths = dict(season.rows("SELECT id, path FROM dias_catalogue"))
    root = season.config.eodata
    for image in (root / paths[lacking]).rglob("*_10m.jp2"):
        image.unlink()
    (root / paths[headless] / "MTD_MSIL2A.xml").unlink()
    extract(season)
    assert season.status(gone) == "!S3 subdir"
    assert season.status(lacking) == f"!S3 {BANDS_10[0]}.jp2"
    assert season.status(headless) == "!S3 MTD_MSIL2A.xml"
    assert season.status(whole) == "extracted"
    assert not scratch(season)
    # of a product the metadata and the bands asked for, and nothing else
    wanted = {path.partition("?")[0].rpartition("/")[2] for path in served.paths}
    assert not [name for name in wanted if name.endswith(".jp2") and "B05" not in name and "SCL" not in name
                and "B02" not in name and "B03" not in name]  # fmt: skip


@pytest.mark.parametrize("fault", ["truncate", "shorten", "hang up", "500 InternalError"])
def test_an_object_that_never_comes_is_an_error_of_its_scene(
    season: Season, served: Proxy, fault: str
) -> None:
    bad, good = season.scene(5), season.scene(6)
    extract(season, lambda _, path: fault if "20210305" in path and "B03_10m" in path else None, served)
    assert season.status(bad) == "Rio error"
    ((reason,),) = season.rows("SELECT reason FROM tasks WHERE state = 'failed'")
    assert "B03_10m.jp2 of S2A_MSIL2A_20210305" in reason
    assert "cannot be fetched" in reason
    assert f"{bucket.ATTEMPTS} attempts" in reason
    assert season.status(good) == "extracted"
    assert season.rows("SELECT DISTINCT band FROM sigs WHERE obsid = %s", bad) == [("B05",)]


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
            r"cannot be fetched \(AccessDenied.* 1 attempt\): the keys from .*s3\.keys",
            True,
        ),
        ("401 Unauthorized", r"the keys from .*s3\.keys", True),
        ("429 TooManyRequests", r"the account's connections, or its quota is spent", False),
        ("503 SlowDown", r"the account's connections, or its quota is spent", False),
        ("509 BandwidthLimitExceeded", r"the account's connections, or its quota is spent", False),
        ("500 InternalError", r"can be listed, but Sentinel-.* in it not be read", False),
        ("hang up", r"can be listed, but Sentinel-.* in it not be read", False),
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


def test_an_account_that_is_used_elsewhere_is_waited_for(
    season: Season, served: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small objects come, the images do not, for a while."""
    monkeypatch.setattr("cbmctl.worker.ARCHIVE_S", 30)
    scene = season.scene(5)
    away = threading.Timer(1.5, lambda: setattr(served, "fault", lambda _number, _path: None))
    away.start()
    lines = extract(season, lambda _, path: "429 TooManyRequests" if "B05" in path else None, served)
    away.join()
    assert season.status(scene) == "extracted"
    assert len([line for line in lines if "waiting for it" in line]) == 1
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
        ({"bucket": "absent"}, None, "there is no archive absent at http"),
        ({"endpoint": "http://127.0.0.1:9"}, None, "connection refused, 6 attempts"),
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
    s3(season, **{"endpoint": served.url} | changes)
    season.scene(5)
    with pytest.raises(ArchiveError, match=sentence):
        extract(season)
    pending(season)


def test_an_archive_that_comes_back_is_waited_for(
    season: Season, served: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cbmctl.worker.ARCHIVE_S", 30)
    scene = season.scene(5)
    away = threading.Timer(1.5, lambda: setattr(served, "fault", lambda _number, _path: None))
    away.start()
    lines = extract(season, lambda _number, _path: "503 ServiceUnavailable", served)
    away.join()
    assert season.status(scene) == "extracted"
    assert any("waiting for it" in line for line in lines)
    assert season.rows("SELECT DISTINCT attempts FROM tasks") == [(1,)]


def test_a_full_disk_stops_the_worker_and_not_the_scenes(
    season: Season, served: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive can be used all the while, and the task claimed; yet it comes to an end."""
    season.scene(5)
    monkeypatch.setattr(bucket, "KEPT_FREE", 2**60)
    checks = checked(monkeypatch)
    lines: list[str] = []
    with pytest.raises(ArchiveError, match=r"needs 0\.0 GB in .* must stay so: free space"):
        extract(season, lines=lines)
    assert len([line for line in lines if "waiting for it" in line]) == 1
    assert len(checks) > 1
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
    with pytest.raises(ArchiveError, match=r"cannot be written to .*: free space on that disk"):
        extract(season, known=served)
    blocked.unlink() if place == "scenes" else blocked.rmdir()
    pending(season)


def test_a_task_that_ends_is_progress(season: Season, served: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors over a longer time than the worker waits, and a task done between any two of them."""
    patience = 2.0
    monkeypatch.setattr("cbmctl.worker.ARCHIVE_S", patience)
    for day in range(5, 10):
        season.scene(day)
    hold, tried, failures = bucket.Bucket.hold, Counter[str](), list[float]()

    def twice_in_vain(self: bucket.Bucket, path: str, files: str) -> Held:
        tried[path] += 1
        if tried[path] > 2:
            if tried[path] == 3:
                time.sleep(0.7)
            return hold(self, path, files)
        failures.append(time.monotonic())
        raise ArchiveError("it is away")

    monkeypatch.setattr(bucket.Bucket, "hold", twice_in_vain)
    extract(season, known=served)
    assert failures[-1] - failures[0] > patience
    assert season.rows("SELECT DISTINCT status FROM dias_catalogue") == [("extracted",)]
    assert season.rows("SELECT DISTINCT attempts FROM tasks") == [(1,)]


def test_the_limits_hold_for_requests(season: Season, served: Proxy) -> None:
    s3(season, served.url, requests_per_minute=600)
    season.scene(5)
    extract(season)
    taken = served.times[-1] - served.times[0]
    assert taken >= 0.9 * (len(served.times) - 1) * 60 / 600


def test_a_product_of_many_objects_is_listed_to_its_end(season: Season, served: Proxy) -> None:
    scene = season.scene(5)
    ((path,),) = season.rows("SELECT path FROM dias_catalogue")
    many = season.config.eodata / path / "AUX_DATA"  # before GRANULE
    many.mkdir()
    for number in range(1050):
        (many / f"{number}.txt").touch()
    extract(season)
    assert season.status(scene) == "extracted"
    assert any("continuation-token" in found for found in served.paths)


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (lambda _number, _path: None, 0, "can be used"),
        (lambda _number, _path: "403 ExpiredToken", 1, "s3.keys"),
        # keys that may list and not read
        (lambda _, path: None if "list-type" in path else "403 AccessDenied", 1, "not be read (AccessDenied"),
        # one object that is closed, the second request being for that
        (lambda number, _: "403 AccessDenied" if number == 2 else None, 0, "can be used"),
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
    s3(season, served.url, bucket="void")
    found = check_command(season)
    assert found.returncode == 1
    assert "the archive void at http" in found.stderr
    assert "is empty" in found.stderr
    season.scene(5)
    with pytest.raises(ArchiveError, match="is empty"):
        extract(season)
    pending(season)


def check_command(season: Season) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "cbmctl",
        "--config",
        str(season.database.config_path),
        "eodata",
        "check",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_object_does_not_leave_its_folder(tmp_path: Path) -> None:
    with pytest.raises(bucket.SceneError, match="no file's name"):
        bucket._below(tmp_path, "a/../../b")


def test_the_walk_of_the_archive_needs_a_mount(season: Season, served: Proxy) -> None:
    from cbmctl.catalogue.sources import source
    from cbmctl.errors import UserError

    config = replace(season.config, eodata=s3(season, served.url).eodata)
    with pytest.raises(UserError, match="use --source stac or odata"):
        source("archive", "s2", None, config, lambda _line: None)
