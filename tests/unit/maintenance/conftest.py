"""A real S3 server, and a closed season whose archive goes there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.support.s3_moto import Moto, moto
from tests.support.season_archive_bucket import Bucket
from tests.support.season_archives import fill


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    with moto(tmp_path_factory.mktemp("moto") / "log") as served:
        yield served


@pytest.fixture
def bucket(database: Database, server: Moto, tmp_path: Path) -> Iterator[Bucket]:
    fill(database)
    client = server.client()
    client.create_bucket(Bucket="seasons")
    database.configured(
        cache=str(tmp_path / "cache"),
        archive_s3={"endpoint": server.url, "key_file": str(server.key_file(tmp_path))},
    )
    yield Bucket(client, database)
    for each in client.list_objects_v2(Bucket="seasons").get("Contents", []):
        client.delete_object(Bucket="seasons", Key=each["Key"])
    client.delete_bucket(Bucket="seasons")
