"""Objects and the listing that they are of: of one version, and of more than one mission."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from cbmctl.archive.interface import ArchiveError
from cbmctl.archive.s3 import bucket
from cbmctl.scenes import SceneError
from tests.support.s3_stub import SETTINGS, Stub

OLD = {f"p/{name}.img": b"old" for name in "abc"}
NEW = dict.fromkeys(OLD, b"new")


def denied(_key: str = "") -> bytes:
    answer = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    raise ClientError(answer, "GetObject")  # type: ignore[arg-type]


def test_a_product_that_is_replaced_while_it_is_fetched_is_no_mixture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub, asked = Stub(**OLD), Counter[str]()

    def replacing(key: str) -> bytes:
        asked[key] += 1
        found = stub.objects[key]
        if asked.total() == 1:
            stub.objects = NEW  # of the same length
        return found

    stub.answer = replacing
    held = stub.opened(tmp_path, monkeypatch, replace(SETTINGS, connections=1)).hold("p", ".*")
    assert {(held.root / key).read_bytes() for key in OLD} == {b"new"}


def test_a_product_that_does_not_come_to_rest_is_to_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub, versions = Stub(**OLD), iter(range(1000))
    stub.tag = lambda _key: str(next(versions))
    with pytest.raises(SceneError, match="p was replaced while it was fetched") as found:
        stub.opened(tmp_path, monkeypatch).hold("p", ".*")
    assert found.value.status == "Rio error"
    assert not list((tmp_path / "scenes").iterdir())


def test_tags_of_lists_that_are_not_those_of_answers_say_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = Stub(**OLD)
    get = stub.get_object
    monkeypatch.setattr(stub, "get_object", lambda **asked: get(**asked) | {"ETag": '"another"'})
    held = stub.opened(tmp_path, monkeypatch).hold("p", ".*")
    assert {(held.root / key).read_bytes() for key in OLD} == {b"old"}


@pytest.mark.parametrize("closed", ["Sentinel-1", "Sentinel-2"])
def test_a_mission_that_is_closed_to_us_is_not_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    stub = Stub(**{f"Sentinel-{mission}/{n}.img": b"a" for mission in "12" for n in range(200)})
    stub.answer = lambda key: denied() if key.startswith(closed) else b"a"
    stub.opened(tmp_path, monkeypatch).check()
    # not even its list
    listed = {"closed": [closed]}

    def closes(prefix: str) -> None:
        if any(prefix.startswith(each) for each in listed["closed"]):
            denied(prefix)

    stub.listing = closes
    stub.opened(tmp_path, monkeypatch).check()
    listed["closed"] = ["Sentinel-1", "Sentinel-2"]
    with pytest.raises(ArchiveError, match="cannot be listed") as found:
        stub.opened(tmp_path, monkeypatch).check()
    assert found.value.lasting
    listed["closed"] = []
    stub.answer = denied
    with pytest.raises(ArchiveError, match=r"but .* cannot be read") as found:
        stub.opened(tmp_path, monkeypatch).check()
    assert found.value.lasting
    assert len([asked for asked in stub.asked if "Range" in asked]) <= 2 * 2 * bucket.SAMPLES


def test_an_archive_of_other_folders_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Stub(**{"products/a.img": b"a"}).opened(tmp_path, monkeypatch).check()
    with pytest.raises(ArchiveError, match="is empty"):
        Stub().opened(tmp_path, monkeypatch).check()
