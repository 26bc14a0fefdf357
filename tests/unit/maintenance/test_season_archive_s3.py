"""`maintain archive` and `restore` with an archive in S3, against a real server: verified as in a folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cbmctl.errors import UserError
from cbmctl.maintenance.season_archive import make, object_errors
from cbmctl.maintenance.season_archive.objects import Objects
from tests.support import certificates
from tests.support.s3_moto import Moto
from tests.support.s3_server import proxy
from tests.support.season_archive_bucket import URL, Bucket
from tests.support.season_archives import FILES, change, done, refused, rows, spoken, state, words

pytestmark = pytest.mark.postgis


def test_a_season_comes_back_from_s3_as_it_was(bucket: Bucket) -> None:
    season, before = bucket.season, state(bucket.season)
    assert done(season, "archive", URL, "--check")["changed"]
    assert bucket.names() == set()
    made = done(season, "archive", URL)
    assert (made["changed"], made["scenes"], made["compared"]) == (True, 7, 7)
    assert bucket.names() == FILES | {"SHA256SUMS"}
    assert not bucket.folder.exists()
    assert state(season) == before, "archiving deletes nothing"
    assert done(season, "archive", URL) == made | {"changed": False}
    assert f"{URL} already holds 7 scenes with {made['rows']} rows" in spoken(season, "archive", URL)

    assert done(season, "archive", URL, "--drop", "--check")["scenes"] == 7
    assert state(season) == before
    assert done(season, "archive", URL, "--drop")["rows"] == made["rows"]
    assert words(rows(season, "SELECT status FROM dias_catalogue")) == {"archived"}
    assert rows(season, "SELECT (SELECT count(*) FROM sigs), (SELECT count(*) FROM hists)") == [(0, 0)]
    assert done(season, "archive", URL)["compared"] == 0

    assert done(season, "restore", URL, "--check")["scenes"] == 7
    assert done(season, "restore", URL)["rows"] == made["rows"]
    assert state(season) == before
    assert not bucket.folder.exists()
    assert done(season, "restore", URL) == {
        "check": False,
        "changed": False,
        "scenes": 0,
        "rows": 0,
        "others": 7,
        "elsewhere": 0,
    }


def test_an_archive_that_was_copied_from_a_folder_is_restored(bucket: Bucket, tmp_path: Path) -> None:
    season, before = bucket.season, state(bucket.season)
    done(season, "archive", tmp_path / "2021")
    for file in (tmp_path / "2021").iterdir():
        bucket.put(file.name, file.read_bytes())
    done(season, "archive", URL, "--drop")
    assert state(season)["sigs"] == []
    done(season, "restore", URL)
    assert state(season) == before


def test_only_what_is_missing_or_differs_is_copied(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    season, uploaded, downloaded = bucket.season, list[str](), list[str]()
    write, download = Objects._write, Objects.download
    monkeypatch.setattr(
        Objects, "_write", lambda self, name, chunks: (uploaded.append(name), write(self, name, chunks))[1]
    )
    monkeypatch.setattr(
        Objects,
        "download",
        lambda self, name, *more: (downloaded.append(name), download(self, name, *more))[1],
    )
    done(season, "archive", URL)
    assert uploaded[0] == "SHA256SUMS"
    assert uploaded[-2:] == ["SHA256SUMS", "archive.json"]
    bucket.delete("archive.json")
    bucket.put("sigs_bs.parquet", b"PAR1")
    uploaded.clear()
    done(season, "archive", URL)
    assert uploaded == ["sigs_bs.parquet", "SHA256SUMS", "archive.json"]

    done(season, "archive", URL, "--drop", "--check")
    damaged = bucket.folder / "sigs_s2.parquet"
    damaged.write_bytes(damaged.read_bytes()[::-1])
    downloaded.clear()
    done(season, "archive", URL, "--drop", "--check")
    assert downloaded == ["archive.json", "sigs_s2.parquet"]

    bucket.put("tasks.parquet", bucket.get("tasks.parquet")[::-1])
    for command in (("archive",), ("archive", "--drop")):
        message = refused(season, command[0], URL, *command[1:])
        assert message.startswith(
            f"{URL}/tasks.parquet was changed by somebody else or is damaged: its SHA-256"
        )


@pytest.mark.parametrize("emptied", [False, True])
def test_files_that_were_not_uploaded_are_made_again_if_rows_changed(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, emptied: bool
) -> None:
    season = bucket.season

    def fails(*_: Any, **__: Any) -> Any:
        raise UserError("season_archive.no_answer", "the service is away")

    monkeypatch.setattr(Objects, "upload", fails)
    assert "the service is away" in refused(season, "archive", URL)
    monkeypatch.undo()
    assert (bucket.folder / "archive.json").exists()
    if emptied:
        bucket.delete("SHA256SUMS")
    for statement in ("", "UPDATE sigs SET mean = 5 WHERE (pid, obsid) = (1, 1)"):
        if statement:
            change(season, statement)
        there = bucket.names()
        assert done(season, "archive", URL, "--check")["changed"]
        assert "7 scenes with about" in spoken(season, "archive", URL, "--check")
        assert bucket.names() == there
    assert (bucket.folder / "archive.json").exists()
    assert done(season, "archive", URL)["compared"] == 7
    assert bucket.names() == FILES | {"SHA256SUMS"}


def test_an_object_that_somebody_else_changes_during_the_upload(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    season, write = bucket.season, Objects._write

    def spoiled(self: Objects, name: str, chunks: Iterator[bytes]) -> None:
        write(self, name, chunks)
        if name == "sigs_bs.parquet":
            bucket.put("sigs_bs.parquet", b"another")

    def removed(self: Objects, name: str, chunks: Iterator[bytes]) -> None:
        write(self, name, chunks)
        if name == "tasks.parquet":
            bucket.delete("hists_bs.parquet")

    monkeypatch.setattr(Objects, "_write", spoiled)
    message = refused(season, "archive", URL)
    assert f"{URL}/sigs_bs.parquet was changed by somebody else or is damaged: it has 7 bytes" in message
    monkeypatch.undo()
    bucket.delete("tasks.parquet")
    monkeypatch.setattr(Objects, "_write", removed)
    assert f"{URL}/hists_bs.parquet was changed by somebody else during" in refused(season, "archive", URL)
    assert "archive.json" not in bucket.names()
    monkeypatch.undo()
    assert done(season, "archive", URL)["changed"]
    whole = bucket.get("archive.json")
    sizes, lists = Objects.sizes, []

    def stale(self: Objects) -> dict[str, int]:
        lists.append(sizes(self))
        return lists[-1] if len(lists) > 1 else {}

    change(season, "UPDATE sigs SET mean = 5 WHERE (pid, obsid) = (1, 1)")
    monkeypatch.setattr(Objects, "sizes", stale)
    monkeypatch.setattr(Objects, "require_writable", lambda _: None)
    assert f"{URL}/archive.json was changed by somebody else during" in refused(season, "archive", URL)
    assert bucket.get("archive.json") == whole


def test_an_interrupted_upload_leaves_no_part_of_an_object(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chunks(path: Path) -> Iterator[bytes]:
        yield path.read_bytes()[:10]
        raise KeyboardInterrupt

    season, write = bucket.season, Objects._write

    def interrupted(self: Objects, name: str, content: Iterator[bytes]) -> None:
        write(self, name, chunks(bucket.folder / name) if name == "sigs_s2.parquet" else content)

    monkeypatch.setattr(Objects, "_write", interrupted)
    with pytest.raises(BaseException):  # noqa: B017, PT011 - as click turns it
        done(season, "archive", URL)
    assert "sigs_s2.parquet" not in bucket.names()
    monkeypatch.undo()
    done(season, "archive", URL)
    assert bucket.names() == FILES | {"SHA256SUMS"}


def test_a_season_goes_through_faults_of_the_network(bucket: Bucket, server: Moto) -> None:
    season, before = bucket.season, state(bucket.season)
    with proxy(server.port) as known:
        known.fault = lambda number, _: {3: "503 SlowDown", 8: "hang up", 5: "500 InternalError"}.get(
            number % 10
        )
        season.configured(archive_s3={"endpoint": known.url})
        done(season, "archive", URL)
        assert bucket.names() == FILES | {"SHA256SUMS"}
        done(season, "archive", URL, "--drop")
        done(season, "restore", URL)
        assert state(season) == before
        # bytes that are damaged on the way look like a damaged object
        known.fault = lambda _, path: "spoil" if "sigs_s2" in path else None
        message = refused(season, "archive", URL, "--drop")
        assert message.startswith(
            f"{URL}/sigs_s2.parquet was changed by somebody else or is damaged: its SHA-256"
        )
        known.fault = lambda _, path: "503 SlowDown" if "sigs_s2" in path else None
        message = refused(season, "archive", URL, "--drop")
        assert message == (
            f"Cannot read {URL}/sigs_s2.parquet: {known.url} is overloaded or unavailable (HTTP status 503)."
            " Run the command again later."
        )
    assert state(season) == before


def test_a_ca_of_ones_own(
    bucket: Bucket, server: Moto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_errors, "ATTEMPTS", 1)
    ca = certificates.make(tmp_path / "ca")
    made = certificates.make(tmp_path / "server", ca)
    with proxy(server.port, made.context()) as served:
        endpoint = served.url.replace("http:", "https:")
        bucket.season.configured(archive_s3={"endpoint": endpoint})
        message = refused(bucket.season, "archive", URL)
        assert message.startswith(f"{endpoint}: the TLS connection is refused (")
        bucket.season.configured(archive_s3={"ca_file": str(ca.file)})
        done(bucket.season, "archive", URL)
        assert bucket.names() == FILES | {"SHA256SUMS"}


def test_the_files_in_s3_are_those_of_a_folder(bucket: Bucket, tmp_path: Path) -> None:
    season = bucket.season
    done(season, "archive", URL)
    done(season, "archive", tmp_path / "2021")
    for file in (tmp_path / "2021").iterdir():
        assert bucket.get(file.name) == file.read_bytes()
    assert make.DESCRIPTION in bucket.names()


def test_an_archive_is_made_again_after_its_prefix_was_emptied(bucket: Bucket) -> None:
    season = bucket.season
    done(season, "archive", URL)
    done(season, "archive", URL, "--drop", "--check")  # leaves the working folder
    for name in bucket.names():
        bucket.delete(name)
    change(season, "UPDATE sigs SET mean = 5 WHERE (pid, obsid) = (1, 1)")
    assert done(season, "archive", URL)["compared"] == 7
    assert bucket.names() == FILES | {"SHA256SUMS"}
