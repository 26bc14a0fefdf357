"""Answers that are none of S3's, by what stands before the archive: a redirect, a page, nothing at all."""

import pytest

from cbmctl.eodata import ArchiveError

from .conftest import Season, waiting
from .s3_season import extract, pending
from .s3_server import ELSEWHERE, Proxy

pytestmark = [pytest.mark.postgis, pytest.mark.usefixtures("hasty_bucket")]


@pytest.mark.parametrize(
    "fault", ["301 PermanentRedirect", "307 PermanentRedirect", "301 page", "308 nothing"]
)
def test_an_archive_that_has_moved_is_told_at_the_first_request(
    season: Season, served: Proxy, fault: str
) -> None:
    season.scene(5)
    sentence = f"{served.url} sends requests on to {ELSEWHERE}: correct endpoint and region of eodata in"
    with pytest.raises(ArchiveError, match=sentence) as found:
        extract(season, lambda _number, _path: fault, served)
    assert found.value.lasting
    assert len(served.paths) == 1
    pending(season)


@pytest.mark.parametrize("fault", ["302 page", "303 page", "307 TemporaryRedirect", "302 nothing"])
def test_an_archive_that_sends_us_elsewhere_for_a_while_is_waited_for(
    season: Season, served: Proxy, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr("cbmctl.worker.ARCHIVE_S", 300)
    scene, lines = season.scene(5), list[str]()
    extract(season, lambda *_: None if waiting(lines) else fault, served, lines)
    assert season.status(scene) == "extracted"
    assert season.rows("SELECT DISTINCT attempts FROM tasks") == [(1,)]
    told = next(line for line in lines if waiting([line]))
    assert f"(HTTP {fault[:3]}, requests are sent on to {ELSEWHERE}, 1 attempt)" in told
