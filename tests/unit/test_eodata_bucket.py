"""The archive behind S3: a real server, and everything that may go wrong on the way, told as what it is."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cbmctl.config import Config, load_config
from cbmctl.database import connect
from cbmctl.eodata import ArchiveError, bucket
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


def extract(season: Season, fault: Fault | None = None, known: Proxy | None = None) -> list[str]:
    if known and fault:
        known.fault = fault
    lines: list[str] = []
    config = season.database.configured()
    with connect(config, autocommit=True) as conn:
        plan(conn, config)
    work(config, stop=Stop(), note=lines.append)
    return lines


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


def test_a_season_through_faults_is_the_season_from_the_disk(season: Season, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("fault", ["truncate", "shorten", "hang up", "503 SlowDown", "429 TooManyRequests"])
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
    season.scene(5)
    monkeypatch.setattr(bucket, "KEPT_FREE", 2**60)
    monkeypatch.setattr("cbmctl.worker.ARCHIVE_S", 0)
    with pytest.raises(ArchiveError, match=r"needs 0\.0 GB in .* must stay so: free space"):
        extract(season)
    pending(season)
    assert all("list-type" in path for path in served.paths)


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
    ("fault", "code", "said"), [(None, 0, "can be used"), ("403 ExpiredToken", 1, "s3.keys")]
)
def test_the_command_tells_whether_the_archive_can_be_used(
    season: Season, served: Proxy, fault: str | None, code: int, said: str
) -> None:
    served.fault = lambda _number, _path: fault
    command = [
        sys.executable,
        "-m",
        "cbmctl",
        "--config",
        str(season.database.config_path),
        "eodata",
        "check",
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == code
    assert said in found.stdout + found.stderr


def test_an_object_does_not_leave_its_folder(tmp_path: Path) -> None:
    with pytest.raises(bucket.SceneError, match="no file's name"):
        bucket._below(tmp_path, "a/../../b")


def test_the_walk_of_the_archive_needs_a_mount(season: Season, served: Proxy) -> None:
    from cbmctl.catalogue.sources import source
    from cbmctl.errors import UserError

    config = replace(season.config, eodata=s3(season, served.url).eodata)
    with pytest.raises(UserError, match="use --source stac or odata"):
        source("archive", "s2", None, config, lambda _line: None)
