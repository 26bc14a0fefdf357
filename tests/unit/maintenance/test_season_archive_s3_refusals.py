"""Archives in S3 that are refused: damaged or foreign objects, wrong keys, a full disk, no answer."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cbmctl.archive.disk_space import KEPT_FREE
from cbmctl.errors import UserError
from cbmctl.maintenance.season_archive import in_s3, object_errors
from cbmctl.maintenance.season_archive.layout import checksum
from tests.conftest import Database
from tests.support.s3_moto import Moto
from tests.support.s3_server import proxy
from tests.support.season_archive_bucket import URL, Bucket
from tests.support.season_archives import change, done, fill, refused, state

pytestmark = pytest.mark.postgis


@pytest.mark.parametrize("name", ["sigs_s2.parquet", "parcels.parquet", "archive.json", "SHA256SUMS"])
@pytest.mark.parametrize("damage", ["spoiled", "cut", "missing"])
def test_a_damaged_object_is_refused(bucket: Bucket, name: str, damage: str) -> None:
    season = bucket.season
    done(season, "archive", URL)
    done(season, "archive", URL, "--drop", "--check")  # files that are whole stay in the working folder
    data = bucket.get(name)
    if damage == "missing":
        bucket.delete(name)
    else:
        half = len(data) // 2
        other = b"\x00" if data[half] else b"\x01"
        bucket.put(name, data[:half] + (other + data[half + 1 :]) * (damage == "spoiled"))
    before = state(season)
    if (name, damage) == ("SHA256SUMS", "missing"):
        assert done(season, "archive", URL, "--drop", "--check")["scenes"] == 7
        return
    message = refused(season, "archive", URL, "--drop")
    if damage == "missing":
        place = URL if name == "archive.json" else f"{URL}/{name}"
        assert message.startswith(f"{place}: {name} is missing" if place == URL else f"{place} is missing")
    elif name == "SHA256SUMS":
        # the list says something else about another object, or has no such form
        assert (
            "was changed by somebody else or is damaged" in message or f"{URL}/{name} is damaged" in message
        )
    else:
        assert message.startswith(f"{URL}/{name} was changed by somebody else or is damaged: it")
    assert state(season) == before
    bucket.put(name, data)
    done(season, "archive", URL, "--drop")
    done(season, "restore", URL)


def test_an_archive_of_other_rows_is_refused(bucket: Bucket) -> None:
    season = bucket.season
    done(season, "archive", URL)
    data = {name: bucket.get(name) for name in bucket.names()}
    change(season, "UPDATE sigs SET mean = 5 WHERE (pid, obsid) = (1, 1)")
    message = refused(season, "archive", URL)
    assert "differ from the database: sigs of s2_1 has 120 rows as expected, but at least one" in message
    assert (
        f" {bucket.folder} is the working folder of {URL}. If Ansible manages this VM, it is /data" in message
    )
    assert {name: bucket.get(name) for name in bucket.names()} == data
    change(season, "UPDATE dias_catalogue SET reference = 'x' || reference WHERE id = 2")
    assert "is the archive of another database" in refused(season, "archive", URL, "--drop")


@pytest.mark.parametrize("options", [[], ["--check"]])
def test_objects_of_another_season_are_not_overwritten(bucket: Bucket, options: list[str]) -> None:
    season = bucket.season
    done(season, "archive", URL)
    bucket.delete("archive.json")
    data = {name: bucket.get(name) for name in bucket.names() - {"SHA256SUMS"}}
    change(season, "ALTER TABLE parcels_2021 RENAME TO parcels_2022")
    season.configured(tables={"parcel_table": "public.parcels_2022"})
    message = refused(season, "archive", URL, *options)
    assert f"{URL}/dias_catalogue.parquet belongs to another archive (public.parcels_2021)" in message
    assert {name: bucket.get(name) for name in data} == data
    assert not bucket.folder.exists(), "it is refused before any file is written"
    for name in data:
        bucket.delete(name)
    bucket.put("sigs_c6.parquet", data["sigs_bs.parquet"])
    assert f"{URL}/sigs_c6.parquet belongs to another" in refused(season, "archive", URL, *options)


def test_the_only_copy_of_a_scene_is_not_overwritten(bucket: Bucket) -> None:
    season = bucket.season
    change(season, "UPDATE dias_catalogue SET status = 'No parcels' WHERE id > 3")
    done(season, "archive", URL)
    done(season, "archive", URL, "--drop")
    data = {name: bucket.get(name) for name in bucket.names()}
    bucket.delete("archive.json")
    change(season, "UPDATE dias_catalogue SET status = 'extracted' WHERE id > 3")
    for options in (["--check"], []):
        message = refused(season, "archive", URL, *options)
        assert "may be the only copy of scenes that are archived" in message
        assert f"{URL}/archive.json is missing" in message
        assert not list(bucket.folder.rglob("*.parquet")), "it is refused before any file is written"
    for name, whole in data.items():
        assert name == "archive.json" or bucket.get(name) == whole
    assert f"{URL}: archive.json is missing" in refused(season, "restore", URL)
    bucket.put("archive.json", data["archive.json"])
    assert done(season, "restore", URL)["scenes"] == 3


def test_the_bucket_or_the_keys_are_wrong(bucket: Bucket, server: Moto, tmp_path: Path) -> None:
    season = bucket.season
    for command in (("archive",), ("archive", "--drop"), ("restore",)):
        message = refused(season, command[0], "s3://absent/dk/2021", *command[1:])
        assert message.startswith(f"{server.url} has no bucket absent. Create it, or correct the URL")
    for account, secret in (("unknown", ""), ("owner", "wrong")):
        file = server.key_file(tmp_path, account, secret=secret)
        season.configured(archive_s3={"key_file": str(file)})
        message = refused(season, "archive", URL)
        assert message.startswith(f"{server.url} does not accept the keys in {file} (")
        assert message.endswith("and run playbooks/worker_image.yml.")
        assert "wrong" not in message.replace(str(file), "")
    file = server.key_file(tmp_path, "reader")
    season.configured(archive_s3={"key_file": str(file)})
    message = refused(season, "archive", URL)
    assert message.startswith(
        f"The keys in {file} have no permission to write {URL}/SHA256SUMS (ACCESS_DENIED: Access"
    )
    assert bucket.names() == set()
    assert f"{URL} is not an archive: it has no archive.json" in refused(season, "restore", URL)


def test_a_season_that_is_not_over_leaves_the_bucket_empty(bucket: Bucket) -> None:
    change(bucket.season, "UPDATE tasks SET state = 'running' WHERE obsid = 1")
    assert refused(bucket.season, "archive", URL).startswith(
        "2 unfinished tasks found. A season is archived only when"
    )
    assert bucket.names() == set()
    assert not bucket.folder.exists()


def test_the_configuration_is_incomplete(bucket: Bucket, tmp_path: Path) -> None:
    season = bucket.season
    file = tmp_path / "owner.keys"
    file.chmod(0o644)
    assert f"archive_s3.key_file names {file}, which other users can access. Run chmod o= {file}" in refused(
        season, "archive", URL
    )
    file.unlink()
    assert f"archive_s3.key_file names {file}, which cannot be read (No such file" in refused(
        season, "archive", URL
    )
    for wrong, sentence in (
        (
            {"bucket": "seasons"},
            "archive_s3.bucket is unknown. Use one of endpoint, region, path_style, key_file",
        ),
        ({"ca_file": "/absent/ca.crt"}, "archive_s3.ca_file names /absent/ca.crt, which does not exist"),
        ({"endpoint": "s3.example.org"}, "archive_s3.endpoint is 's3.example.org'. Write it with https://"),
        ("https://s3.example", "archive_s3 must be an object in curly brackets"),
    ):
        whole = season.config_path.read_text()
        with pytest.raises(UserError, match=sentence):
            season.configured(archive_s3=wrong)
        assert sentence in refused(season, "archive", URL)
        season.config_path.write_text(whole)
    for url in (
        "s3://",
        "s3://seasons",
        "s3://seasons/",
        "S3://seasons/x",
        "s3://seasons/../x",
        "s3://a b/c",
    ):
        assert f"'{url}' is not a valid URL of an archive. Use s3://BUCKET/PREFIX" in refused(
            season, "archive", url
        )


def test_archive_s3_is_missing(database: Database) -> None:
    fill(database)
    message = refused(database, "archive", URL)
    assert message.startswith(
        f"{database.config_path}: archive_s3 is missing, but {URL} requires it. Add archive_s3"
    )


def test_the_server_does_not_answer(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_errors, "TIMEOUT_S", 2)
    monkeypatch.setattr(object_errors, "CONNECT_TIMEOUT_S", 2)
    monkeypatch.setattr(object_errors, "ATTEMPTS", 2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        bucket.season.configured(archive_s3={"endpoint": endpoint})
        message = refused(bucket.season, "archive", URL)
    assert message.startswith(
        f"{endpoint} does not answer: 2 attempts, up to 2 seconds each. Check the network"
    )
    message = refused(bucket.season, "archive", URL)
    assert message.startswith(f"{endpoint} is unreachable (")


def test_the_disk_of_the_working_folder_is_full(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    season = bucket.season
    usage = shutil.disk_usage(bucket.season.config_path.parent)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        message = refused(season, "archive", URL)
        assert "GB free. Free space, or use a folder on another disk." in message
        assert (
            f" {bucket.folder} is the working folder of {URL}. If Ansible manages this VM, it is /data"
            in message
        )
    done(season, "archive", URL)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: usage._replace(free=KEPT_FREE))
        message = refused(season, "archive", URL, "--drop")
        assert f"{bucket.folder}: the files of {URL} need 2.1 GB, but" in message
        assert "If Ansible manages this VM, free space on its data volume or enlarge it" in message

    class Full:
        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def write(self, _: bytes) -> int:
            raise OSError(28, "No space left on device")

    opened: Callable[..., Any] = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda path, mode="r", **more: Full() if mode == "wb" else opened(path, mode, **more),
    )
    message = refused(season, "restore", URL)
    assert message.startswith(
        f"{bucket.folder}/incoming/archive.json cannot be written (No space left on device)."
    )


def test_a_file_that_is_too_large_for_an_object(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_s3, "LARGEST", 5000)
    message = refused(bucket.season, "archive", URL)
    assert message.startswith(f"{URL}/dias_catalogue.parquet would have 0.0 GB, but an object has at most")
    assert bucket.names() == {"SHA256SUMS"}


def test_a_name_in_the_description_does_not_leave_the_folder(bucket: Bucket) -> None:
    season = bucket.season
    done(season, "archive", URL)
    data = json.loads(bucket.get("archive.json").replace(b"parcels.parquet", b"../../x.parquet"))
    bucket.put("archive.json", json.dumps(data | {"checksum": checksum(data)}).encode())
    bucket.delete("SHA256SUMS")
    message = refused(season, "archive", URL, "--drop")
    assert f"{URL}/archive.json is damaged: '../../x.parquet' is not a valid file name" in message


def test_an_object_that_cannot_be_read_is_not_overwritten(bucket: Bucket, server: Moto) -> None:
    season, asked = bucket.season, list[str]()
    done(season, "archive", URL)
    bucket.delete("archive.json")
    data = bucket.get("hists_bs.parquet")
    change(season, "ALTER TABLE parcels_2021 RENAME TO parcels_2022")

    def fault(_number: int, path: str) -> str | None:
        asked.extend([path] * ("hists_bs.parquet" in path))
        # the object is opened, but its footer is not read
        return "403 AccessDenied" if "hists_bs.parquet" in path and len(asked) == 2 else None

    with proxy(server.port) as known:
        known.fault = fault
        season.configured(tables={"parcel_table": "public.parcels_2022"}, archive_s3={"endpoint": known.url})
        bucket.delete("dias_catalogue.parquet")  # it would be refused first
        message = refused(season, "archive", URL)
    assert f"have no permission to read {URL}/hists_bs.parquet (ACCESS_DENIED" in message
    assert bucket.get("hists_bs.parquet") == data


def test_an_object_with_a_damaged_footer_is_replaced(bucket: Bucket) -> None:
    season = bucket.season
    done(season, "archive", URL)
    bucket.delete("archive.json")
    data = bucket.get("sigs_bs.parquet")
    length = int.from_bytes(data[-8:-4], "little")
    bucket.put("sigs_bs.parquet", data[: -length - 8] + b"\xff" * length + data[-8:])
    done(season, "archive", URL)
    assert bucket.get("sigs_bs.parquet") == data
