"""Write the Sentinel-2 products of an archive as STAC items in the form of the Copernicus Data Space."""

import argparse
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry import mapping

from cbmctl.catalogue.archive_walk import walk
from cbmctl.catalogue.record import Record

COLLECTION = "sentinel-2-l2a"
BUCKET = "s3://eodata"
DELAY = timedelta(hours=8)  # from sensing to publication
METADATA = {
    "manifest.safe": "safe_manifest",
    "MTD_MSIL2A.xml": "product_metadata",
    "MTD_TL.xml": "granule_metadata",
}
ROLES = {".jp2": "data", ".xml": "metadata", ".safe": "metadata"}


def item(archive: Path, record: Record) -> dict[str, Any]:
    """Return a product as the service describes it; of its properties those that anybody asks for."""
    properties = {
        "datetime": stamp(record.obstime),
        "start_datetime": stamp(record.obstime),
        "end_datetime": stamp(record.obstime),
        "published": stamp(record.obstime + DELAY),
        "platform": f"sentinel-{record.sensor.lower().removeprefix('s')}",
        "constellation": "sentinel-2",
        "product:type": "S2MSI2A",
        "grid:code": f"MGRS-{record.tile}",
        "eo:cloud_cover": record.cloud_cover,
        "processing:version": record.baseline,
        "processing:datetime": stamp(record.processed) if record.processed else None,
        "eopf:datatake_id": record.datatake,
        "eopf:datastrip_id": record.datastrip,
    }
    files = sorted((archive / (record.path or "")).rglob("*"))
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": record.reference.removesuffix(".SAFE"),
        "collection": COLLECTION,
        "geometry": mapping(record.footprint),
        "bbox": list(record.footprint.bounds),
        "links": [],
        "properties": {name: value for name, value in properties.items() if value is not None},
        "assets": dict(asset(file, archive) for file in files if file.suffix in ROLES),
    }


def asset(file: Path, archive: Path) -> tuple[str, dict[str, Any]]:
    """Return a file as an asset, and what the service calls it."""
    key = METADATA.get(file.name) or "_".join(file.stem.split("_")[-2:])
    kind = "image/jp2" if file.suffix == ".jp2" else "application/xml"
    described = {"type": kind, "roles": [ROLES[file.suffix]], "file:size": file.stat().st_size}
    return key, {"href": f"{BUCKET}/{file.relative_to(archive).as_posix()}", **described}


def stamp(time: datetime) -> str:
    """Return a time without a zone, which is UTC, as the service writes it."""
    return time.replace(tzinfo=UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def collection() -> dict[str, Any]:
    """Return the collection of the items."""
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": COLLECTION,
        "description": "The products of the lab's archive",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2015-06-27T10:25:31Z", None]]},
        },
        "links": [],
    }


def main() -> None:
    """Write collections.ndjson and items.ndjson, the same for the same archive."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="example: python lab/stac/items.py .lab/demo/eodata .lab/stac"
    )
    parser.add_argument("archive", type=Path, help="the folder that products' paths begin below")
    parser.add_argument("directory", type=Path, help="where collections.ndjson and items.ndjson are written")
    asked = parser.parse_args()
    everywhere, always = shapely.box(-180, -90, 180, 90), (date.min, date.max)
    found = walk(asked.archive, everywhere, *always, "s2").records
    asked.directory.mkdir(parents=True, exist_ok=True)
    objects = {"collections": [collection()], "items": [item(asked.archive, record) for record in found]}
    for name, each in objects.items():
        text = "".join(json.dumps(one) + "\n" for one in each)
        (asked.directory / f"{name}.ndjson").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
