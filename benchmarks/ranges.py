"""cbmctl whose JPEG 2000 images stay in the bucket: GDAL reads them by byte ranges. For comparison only."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rasterio

from cbmctl.archive.s3 import bucket
from cbmctl.cli import main

_SCRATCH = re.compile(r".*/eodata/scenes/[^/]+/(.+\.jp2)")
_fetch_all, _open = bucket.Bucket._fetch_all, rasterio.open


def _fetch_the_rest(self: bucket.Bucket, wanted: Sequence[Any], root: Path, product: str) -> None:
    """Fetch all but images, and tell GDAL where those are."""
    settings = self._settings
    access, secret = settings.keys()
    os.environ |= {
        "AWS_ACCESS_KEY_ID": access,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": settings.region,
        "AWS_S3_ENDPOINT": settings.endpoint.partition("://")[2],
        "AWS_HTTPS": "YES" if settings.endpoint.startswith("https") else "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "CPL_VSIL_CURL_CHUNK_SIZE": str(2**20),  # a tile of a band takes as much
        "CPL_VSIL_CURL_CACHE_SIZE": str(2**28),
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        "GDAL_HTTP_MAX_RETRY": "5",
    }
    for found in wanted:
        if found.key.endswith(".jp2"):
            (root / found.key).touch()
    _fetch_all(self, [found for found in wanted if not found.key.endswith(".jp2")], root, product)


def _open_there(path: Any, *arguments: Any, **options: Any) -> Any:
    match = _SCRATCH.fullmatch(str(path))
    return _open(f"/vsis3/eodata/{match[1]}" if match else path, *arguments, **options)


if __name__ == "__main__":
    bucket.Bucket._fetch_all = _fetch_the_rest  # type: ignore[method-assign]
    rasterio.open = _open_there
    main()
