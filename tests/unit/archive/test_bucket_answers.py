"""Answers that are none of S3's, by what stands before the archive: a redirect, a page, nothing at all."""

from typing import Any

import pytest

from cbmctl.archive.interface import ArchiveError
from cbmctl.archive.s3.listing import ListError, read_page
from tests.support.s3_season import add_files, extract, pending
from tests.support.s3_server import ELSEWHERE, Proxy
from tests.support.season import Season, waiting

pytestmark = pytest.mark.usefixtures("hasty_bucket")


@pytest.mark.postgis
@pytest.mark.parametrize(
    "fault", ["301 PermanentRedirect", "307 PermanentRedirect", "301 page", "308 nothing"]
)
def test_an_archive_that_has_moved_is_told_at_the_first_request(
    season: Season, served: Proxy, fault: str
) -> None:
    season.scene(5)
    sentence = f"{served.url} redirects requests to {ELSEWHERE}. Correct endpoint and region of eodata in"
    with pytest.raises(ArchiveError, match=sentence) as found:
        extract(season, lambda _number, _path: fault, served)
    assert found.value.lasting
    assert len(served.paths) == 1
    pending(season)


@pytest.mark.postgis
@pytest.mark.parametrize("fault", ["302 page", "303 page", "307 TemporaryRedirect", "302 nothing"])
def test_an_archive_that_sends_us_elsewhere_for_a_while_is_waited_for(
    season: Season, served: Proxy, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr("cbmctl.worker.pipeline.ARCHIVE_S", 300)
    scene, lines = season.scene(5), list[str]()
    extract(season, lambda *_: None if waiting(lines) else fault, served, lines)
    assert season.status(scene) == "extracted"
    assert season.rows("SELECT DISTINCT attempts FROM tasks") == [(1,)]
    told = next(line for line in lines if waiting([line]))
    assert f"(HTTP {fault[:3]}, requests are redirected to {ELSEWHERE}, 1 attempt)" in told


@pytest.mark.postgis
@pytest.mark.parametrize("fault", ["200 nothing", "204 nothing", "200 page"])
def test_what_is_no_list_is_not_a_list_of_nothing(
    season: Season, served: Proxy, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr("cbmctl.worker.pipeline.ARCHIVE_S", 300)
    scene, lines = season.scene(5), list[str]()

    def listing(_number: int, path: str) -> str | None:
        return fault if "list-type" in path and not waiting(lines) else None

    extract(season, listing, served, lines)
    assert season.status(scene) == "extracted"
    told = next(line for line in lines if waiting([line]))
    assert "cannot be listed (the answer is not a list of objects, 1 attempt). Check the network" in told


@pytest.mark.postgis
def test_a_later_part_of_a_list_that_does_not_come_is_asked_for_again(season: Season, served: Proxy) -> None:
    scene = season.scene(5)
    add_files(season, 1000)
    faults = iter(["200 nothing", "200 page", "truncate", "shorten"])
    extract(season, lambda _, request: next(faults, None) if "continuation" in request else None, served)
    assert season.status(scene) == "extracted"
    assert season.rows("SELECT DISTINCT attempts FROM tasks") == [(1,)]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"Contents": [{"Key": "a", "Size": 1}]},
        {"IsTruncated": True, "Contents": [{"Key": "a", "Size": 1}]},
        {"IsTruncated": False, "Contents": [{"Key": "a"}]},
    ],
)
def test_a_list_that_lacks_something_is_none(answer: dict[str, Any]) -> None:
    with pytest.raises(ListError):
        read_page(answer)
