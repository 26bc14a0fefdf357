"""A bucket with the archive of a closed season."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cbmctl.maintenance.season_archive.in_s3 import working_folder
from cbmctl.maintenance.season_archive.objects import Url
from tests.conftest import Database

URL = "s3://seasons/dk/2021"


@dataclass(frozen=True)
class Bucket:
    """A bucket, and a closed season in a database that is configured to archive to it."""

    client: Any
    season: Database

    def get(self, name: str) -> bytes:
        data: bytes = self.client.get_object(Bucket="seasons", Key=f"dk/2021/{name}")["Body"].read()
        return data

    def put(self, name: str, data: bytes) -> None:
        self.client.put_object(Bucket="seasons", Key=f"dk/2021/{name}", Body=data)

    def delete(self, name: str) -> None:
        self.client.delete_object(Bucket="seasons", Key=f"dk/2021/{name}")

    def names(self) -> set[str]:
        found = self.client.list_objects_v2(Bucket="seasons", Prefix="dk/2021/").get("Contents", [])
        return {each["Key"].rpartition("/")[2] for each in found} - {""}

    @property
    def folder(self) -> Path:
        return working_folder(self.season.configured(), Url("seasons", "dk/2021"))
