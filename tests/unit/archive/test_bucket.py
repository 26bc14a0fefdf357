"""The archive behind S3, a real server: what comes of it is what is on the disk, or is told of its scene."""

import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cbmctl.archive.s3 import bucket
from cbmctl.archive.s3.listing import below
from cbmctl.config.archive import S3
from tests.support import products_s1 as s1
from tests.support.radar_scenes import backscatter, radar
from tests.support.s3_season import add_files, extract, scratch
from tests.support.s3_server import CONNECTIONS, Proxy, hadro, proxy, s3
from tests.support.season import BANDS_10, PARCELS, Season

pytestmark = [pytest.mark.postgis, pytest.mark.usefixtures("hasty_bucket")]

Rows = list[tuple[Any, ...]]


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


def test_a_season_through_faults_is_the_season_from_the_disk(
    season: Season, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every fourth object breaks off, every third list is none, and one request in three is refused.

    That is by the server or on the way.
    """
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
    monkeypatch.setattr("cbmctl.worker.pipeline.ARCHIVE_S", 30)
    options = {"error_rate": 0.2, "fault_seed": 7, "latency_ms": 3, "latency_jitter_ms": 5}
    with hadro(tmp_path, tmp_path / "hadro.log", **options) as port, proxy(port) as known:
        s3(season.database, known.url)

        def fault(number: int, path: str) -> str | None:
            if "list-type" in path and number % 3 == 0:
                return ("200 nothing", "200 page", "truncate", "shorten")[number % 4]
            if "list-type" not in path and number % 4 == 0:
                return "truncate" if number % 8 else "shorten"
            return {5: "429 TooManyRequests", 0: "hang up"}.get(number % 10)

        lines = extract(season, fault, known)
    assert everything(season) == local
    assert not [line for line in lines if "given up" in line]
    assert len(known.paths) > 100
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


@pytest.mark.parametrize(
    ("fault", "attempts"),
    [
        ("truncate", bucket.ATTEMPTS),
        ("shorten", bucket.ATTEMPTS),
        ("hang up", bucket.ATTEMPTS),
        ("500 InternalError", bucket.ATTEMPTS),
        # closed to us, as nothing else in the archive is
        ("403 AccessDenied", 1),
    ],
)
def test_an_object_that_never_comes_is_an_error_of_its_scene(
    season: Season, served: Proxy, fault: str, attempts: int
) -> None:
    bad, good = season.scene(5), season.scene(6)
    extract(season, lambda _, path: fault if "20210305" in path and "B03_10m" in path else None, served)
    assert season.status(bad) == "Rio error"
    ((reason,),) = season.rows("SELECT reason FROM tasks WHERE state = 'failed'")
    assert "B03_10m.jp2 of S2A_MSIL2A_20210305" in reason
    assert "cannot be fetched" in reason
    assert f"{attempts} attempt" in reason
    assert season.status(good) == "extracted"
    assert season.rows("SELECT DISTINCT band FROM sigs WHERE obsid = %s", bad) == [("B05",)]


def test_a_product_that_is_replaced_meanwhile_is_fetched_anew(season: Season, served: Proxy) -> None:
    scene = season.scene(5)
    ((path,),) = season.rows("SELECT path FROM dias_catalogue")
    (image,) = (season.config.eodata / path).rglob("*_B03_10m.jp2")
    asked = Counter[str]()

    def replaced(_number: int, request: str) -> None:
        asked[request] += 1
        if image.name in request and asked[request] == 1:
            os.utime(image, (0, 0))  # the server's tag is made of that

    extract(season, replaced, served)
    assert season.status(scene) == "extracted"
    assert season.rows("SELECT DISTINCT attempts FROM tasks") == [(1,)]
    assert len([request for request in served.paths if image.name in request]) == 2
    # one for each of three sets of bands, and another for the one that was replaced
    assert len([request for request in served.paths if "list-type" in request]) == 4


def test_the_limits_hold_for_requests(season: Season, served: Proxy) -> None:
    s3(season.database, served.url, requests_per_minute=600)
    season.scene(5)
    extract(season)
    taken = served.times[-1] - served.times[0]
    assert taken >= 0.9 * (len(served.times) - 1) * 60 / 600


def test_two_workers_have_no_more_connections_than_one(season: Season, served: Proxy) -> None:
    """Each has as many threads, and images enough to fetch; attempts after a refusal are counted, too."""
    for day in (5, 6):
        season.scene(day)
    paths = [path for (path,) in season.rows("SELECT path FROM dias_catalogue")]
    settings = season.database.configured().eodata
    assert isinstance(settings, S3)
    now, most, lock = 0, 0, threading.Lock()

    def answer(number: int, path: str) -> str | None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.1)  # so that all who may come are here
        with lock:
            now -= 1
        return "503 SlowDown" if number % 7 == 5 and "list-type" not in path else None

    served.fault = answer
    workers = [bucket.Bucket(settings, season.config.cache) for _ in paths]
    with ThreadPoolExecutor(len(workers)) as pool:
        for held in pool.map(lambda worker, path: worker.hold(path, ".*"), workers, paths):
            held.close()
    assert 1 < most <= CONNECTIONS
    assert len([path for path in served.paths if "list-type" not in path]) > 2 * CONNECTIONS


def test_a_product_of_many_objects_is_listed_to_its_end(season: Season, served: Proxy) -> None:
    scene = season.scene(5)
    add_files(season, 1050)
    extract(season)
    assert season.status(scene) == "extracted"
    assert any("continuation-token" in found for found in served.paths)


def test_an_object_does_not_leave_its_folder(tmp_path: Path) -> None:
    with pytest.raises(bucket.SceneError, match="not a valid file name"):
        below(tmp_path, "a/../../b")


def test_the_walk_of_the_archive_needs_a_mount(season: Season, served: Proxy) -> None:
    from cbmctl.catalogue.sources import source
    from cbmctl.errors import UserError

    config = replace(season.config, eodata=s3(season.database, served.url).eodata)
    with pytest.raises(UserError, match="Use --source stac or odata"):
        source("archive", "s2", None, config, lambda _line: None)
