"""How a bucket is described in the configuration: what is usual, and what is told of mistakes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cbmctl.archive.interface import ArchiveError
from cbmctl.archive.s3 import bucket
from cbmctl.config import Config, load_config
from cbmctl.config.archive import S3
from cbmctl.errors import UserError
from tests.conftest import Database
from tests.support.s3_stub import SETTINGS


def configured(database: Database, **eodata: object) -> Config:
    data = json.loads(database.config_path.read_text())
    data["eodata"] = {"endpoint": "https://s3.example.org/", "key_file": "/absent/s3.keys"} | eodata
    database.config_path.write_text(json.dumps(data))
    return load_config(database.config_path)


@pytest.mark.postgis
def test_a_bucket_has_the_archives_usual_values(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    found = configured(database).eodata
    assert isinstance(found, S3)
    assert (found.endpoint, found.bucket, found.region, found.path_style) == (
        "https://s3.example.org",
        "eodata",
        "default",
        True,
    )
    assert (found.connections, found.requests_per_minute) == (4, 2000)
    with pytest.raises(UserError, match=r"/absent/s3\.keys, which cannot be read"):
        found.keys()
    # as Swift has them, of which no file could tell where one ends
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "account:A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "S:+/=")
    found = configured(database).eodata
    assert isinstance(found, S3)
    assert found.keys() == ("account:A", "S:+/=")
    assert "AWS_ACCESS_KEY_ID" in found.keys_from


@pytest.mark.postgis
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"endpoint": "s3.example.org"}, "eodata.endpoint is 's3.example.org'. Write it with https://"),
        (
            {"endpoint": "https://s3.example.org,"},
            "eodata.endpoint is 'https://s3.example.org,', which is no",
        ),
        ({"endpoint": "https://<endpoint>"}, "which is not a valid URL. Write https://HOST or https"),
        ({"endpoint": "https://s3.example.org:99999"}, "which is not a valid URL"),
        ({"endpoint": "https://s3.example.org:443s"}, "which is not a valid URL"),
        ({"endpoint": "https://s3 .example.org"}, "which is not a valid URL"),
        ({"endpoint": "https://"}, "eodata.endpoint is 'https:'. Write it with https://"),
        ({"endpoint": "https://[::1"}, "which is not a valid URL"),
        ({"endpoint": "https://[no]:1"}, "which is not a valid URL"),
        ({"bucket": "s3://eodata"}, "eodata.bucket is 's3://eodata'. Write the bucket's name alone"),
        ({"bucket": "eodata/"}, "eodata.bucket is 'eodata/'. Write the bucket's name alone"),
        ({"region": "de_1"}, "eodata.region is 'de_1'. Write letters, digits and hyphens"),
        ({"region": "1"}, "eodata.region is '1'"),
        ({"endpoint": None}, "eodata.endpoint is missing"),
        ({"key_file": None}, "eodata.key_file is missing"),
        ({"connections": 0}, "eodata.connections is 0. Use a whole number from 1 to 100"),
        ({"requests_per_minute": "2000"}, "eodata.requests_per_minute is '2000'"),
        ({"ca_file": "/absent/ca.crt"}, "eodata.ca_file names /absent/ca.crt, which does not exist"),
        ({"path_style": "yes"}, "eodata.path_style must be true or false"),
    ],
)
def test_a_bucket_that_is_described_badly(
    database: Database, changes: dict[str, object], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    with pytest.raises(UserError) as found:
        configured(database, **changes)
    assert sentence in str(found.value)


@pytest.mark.postgis
@pytest.mark.parametrize(
    "text",
    [
        "",
        "only-one",
        ":secret",
        "access:",
        "access: secret",
        "# keys: mine\naccess:secret",
        "access:secret\naccess:secret",
    ],
)
def test_a_key_file_without_keys(
    database: Database, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    (tmp_path / "s3.keys").write_text(text)
    found = configured(database, key_file=str(tmp_path / "s3.keys")).eodata
    assert isinstance(found, S3)
    with pytest.raises(UserError, match="Write ACCESS_KEY:SECRET_KEY into it") as told:
        found.keys()
    assert "access" not in str(told.value)
    assert "secret" not in str(told.value)


@pytest.mark.postgis
@pytest.mark.parametrize("secret", [None, "", "S\n", "S S"])
def test_an_environment_without_keys(
    database: Database, secret: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ACCESS")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    if secret is not None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    found = configured(database).eodata
    assert isinstance(found, S3)
    with pytest.raises(UserError, match=r"AWS_SECRET_ACCESS_KEY are not valid keys\. Set both") as told:
        found.keys()
    assert "ACCESS " not in str(told.value)


@pytest.mark.postgis
@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:9000", "https://[::1]:443", "http://minio", "https://s3.example.org./eo"]
)
def test_addresses_that_are_some(database: Database, tmp_path: Path, endpoint: str) -> None:
    (tmp_path / "s3.keys").write_text("access:secret")
    found = configured(database, endpoint=endpoint, key_file=str(tmp_path / "s3.keys")).eodata
    assert isinstance(found, S3)
    assert found.endpoint == endpoint
    bucket.Bucket(found, tmp_path / "cache").close()  # botocore takes it, too


@pytest.mark.parametrize("changes", [{"region": "de_1"}, {"endpoint": "https://<endpoint>"}])
def test_what_botocore_makes_no_client_of_is_told(tmp_path: Path, changes: dict[str, str]) -> None:
    with pytest.raises(ArchiveError, match="no client can be made for the archive eodata at http") as found:
        bucket.Bucket(replace(SETTINGS, **changes), tmp_path)  # type: ignore[arg-type]
    assert found.value.lasting


def test_a_profile_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "absent")
    with pytest.raises(
        ArchiveError, match=r"\(The config profile \(absent\) .* or the variables AWS_\*"
    ) as found:
        bucket.Bucket(SETTINGS, tmp_path)
    assert found.value.lasting


def test_what_botocore_does_not_ask_is_not_asked_again(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"has an invalid name .*\. Correct bucket of eodata") as found:
        bucket.Bucket(replace(SETTINGS, bucket="s3://eodata"), tmp_path).check()
    assert found.value.lasting
