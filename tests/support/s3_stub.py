"""A bucket whose server is a few lines of the test: what it answers, and when, is the test's to say."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cbmctl.archive.s3 import bucket
from cbmctl.config.archive import S3

SETTINGS = S3("http://stub", "eodata", "default", True, 4, 10**6, None, lambda: ("a", "b"), "s3.keys")


class Body:
    """An object's bytes on their way."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def iter_chunks(self, size: int) -> Iterator[bytes]:
        for begin in range(0, len(self._data), size):
            yield self._data[begin : begin + size]

    def read(self, size: int) -> bytes:
        return self._data[:size]

    def close(self) -> None:
        pass


class Stub:
    """botocore's client, as far as it is used.

    Attributes:
        objects: their bytes by key.
        answer: given a key, returns what a GET of it brings; it may wait, or raise.
        listing: given a prefix, called before it is listed; it may wait, or raise.
        tag: given a key, returns its ETag, in lists and answers.
        asked: the arguments of all requests.
    """

    def __init__(self, **objects: bytes) -> None:
        self.objects = objects
        self.answer: Callable[[str], bytes] = lambda key: self.objects[key]
        self.listing: Callable[[str], None] = lambda _prefix: None
        self.tag: Callable[[str], str] = lambda key: f'"{hash(self.objects[key])}"'
        self.asked: list[dict[str, Any]] = []

    def list_objects_v2(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        self.listing(asked["Prefix"])
        found = sorted(key for key in self.objects if key.startswith(asked["Prefix"]))[: asked["MaxKeys"]]
        contents = [{"Key": key, "Size": len(self.objects[key]), "ETag": self.tag(key)} for key in found]
        return {"IsTruncated": False, "Contents": contents}

    def get_object(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        tag = self.tag(asked["Key"])
        return {"Body": Body(self.answer(asked["Key"])), "ETag": tag}

    def opened(self, folder: Path, monkeypatch: pytest.MonkeyPatch, settings: S3 = SETTINGS) -> bucket.Bucket:
        """Return a bucket that asks this stub; another call is another worker of the same machine."""
        monkeypatch.setattr(bucket, "make_client", lambda _settings: self)
        monkeypatch.setattr(bucket, "PAUSE_S", 0.001)
        return bucket.Bucket(settings, folder)
