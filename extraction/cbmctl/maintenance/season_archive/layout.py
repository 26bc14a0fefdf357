"""The files of an archive, and `archive.json`, which describes them and is written last."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa

from cbmctl.errors import UserError
from cbmctl.invocation import command
from cbmctl.maintenance.season_archive.row_sums import Numbers

DESCRIPTION = "archive.json"
PARTIAL = ".partial"  # the ending of files that are being written
FORMAT = 1
FIGURES = ("count", "mean", "std", "min", "max", "p25", "p50", "p75")
SIGS = pa.schema(
    [
        ("pid", pa.int32()),
        ("obsid", pa.int32()),
        ("band", pa.dictionary(pa.int8(), pa.string())),
        *((name, pa.float32()) for name in FIGURES),
    ]
)
HISTS = pa.schema([("pid", pa.int32()), ("obsid", pa.int32()), ("hist", pa.string())])
SCHEMAS: Mapping[str, pa.Schema] = {"sigs": SIGS, "hists": HISTS}


@dataclass(frozen=True)
class Scene:
    """A scene of an archive: its name, and number and checksum of its rows in sigs and in hists."""

    reference: str
    sigs: Numbers
    hists: Numbers


@dataclass(frozen=True)
class Description:
    """What an archive holds.

    Attributes:
        schema: revision of the database's schema.
        system: identifier of the database server, which tells databases of one name apart; empty if the
            archive is of an earlier version.
        database: its name.
        area: name of the area of interest.
        start: first day of the season, as YYYY-MM-DD.
        end: day after the last.
        parcels: table of the parcels.
        parcels_file: file that they were loaded from; empty if it is not known.
        parcels_checksum: of that file.
        last_id: no parcel, and no row, has a higher `ogc_fid` or `pid`.
        files: Parquet files and their numbers of rows.
        scenes: by id.
    """

    schema: str
    system: str
    database: str
    area: str
    start: str
    end: str
    parcels: str
    parcels_file: str
    parcels_checksum: str
    last_id: int
    files: Mapping[str, int]
    scenes: Mapping[int, Scene]

    @property
    def id(self) -> str:
        """A checksum of all scenes and of the checksums of their rows."""
        return sha256(json.dumps(_scenes(self), sort_keys=True).encode()).hexdigest()[:32]

    def footer(self) -> dict[str, str]:
        """Return what the footer of each Parquet file says."""
        said = {key: value for key, value in asdict(self).items() if isinstance(value, str)}
        return {f"cbm.{key}": value for key, value in said.items()}


# Keys of archive.json before it had a checksum.
_EARLIER = {field.name for field in fields(Description)} - {"system"} | {"format", "id"}


def statistics_file(table: str, card: str) -> str:
    """Return the name of the file of a table ("sigs" or "hists") and a card."""
    return f"{table}_{card}.parquet"


def write_description(folder: Path, description: Description) -> None:
    """Write `archive.json`: from then on the archive is whole."""
    data = asdict(description) | {"format": FORMAT, "id": description.id, "scenes": _scenes(description)}
    data["checksum"] = checksum(data)
    partial = folder / (DESCRIPTION + PARTIAL)
    partial.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    put_in_place(partial)


def checksum(data: Mapping[str, Any]) -> str:
    """Return the checksum of all that `archive.json` says, without the checksum itself."""
    said = {key: value for key, value in data.items() if key != "checksum"}
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def put_in_place(partial: Path) -> None:
    """Give a file that is whole its name, so that it survives a power cut whole or not at all."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(partial.with_name(partial.name.removesuffix(PARTIAL)))
    folder = os.open(partial.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_description(folder: Path) -> Description:
    """Read `archive.json`.

    Raises:
        UserError: the folder holds no archive, an unfinished one, or one of a newer format.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        if folder.is_dir() and any(folder.glob("*.parquet*")):
            raise UserError(
                "season_archive.no_description",
                f"{folder}: {DESCRIPTION} is missing",
                (
                    f"If the folder is a copy, copy {DESCRIPTION} too. If {command('maintain archive')} was"
                    " interrupted, run it again with this folder"
                ),
                about=folder,
            )
        raise UserError(
            "season_archive.missing",
            f"{folder} is not an archive: {DESCRIPTION} not found",
            "Pass the folder of an archive",
            about=folder,
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise UserError(
                "season_archive.other_format",
                f"{path}: format {data['format']} is unsupported; this cbmctl reads format {FORMAT}",
                "Use the version of cbmctl that wrote the archive, or a newer version",
                about=path,
            )
        description = _described(data)
        # archives of earlier versions have only the checksum of their scenes
        whole = data.keys() == _EARLIER or data["checksum"] == checksum(data)
        if not whole or description.id != data["id"]:
            raise ValueError("its checksum differs")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            "season_archive.damaged",
            f"{path} is damaged ({error})",
            "Copy the file again from an intact copy of the archive",
            about=path,
        ) from error
    return description


def _described(data: Mapping[str, Any]) -> Description:
    known = {"system": "", **data}
    texts = {name: str(known[name]) for name, kind in Description.__annotations__.items() if kind is str}
    scenes = {
        int(obsid): Scene(str(one["reference"]), Numbers(*one["sigs"]), Numbers(*one["hists"]))
        for obsid, one in data["scenes"].items()
    }
    files = {str(name): int(rows) for name, rows in data["files"].items()}
    return Description(**texts, last_id=int(data["last_id"]), files=files, scenes=scenes)


def _scenes(description: Description) -> dict[str, Any]:
    return {
        str(obsid): {"reference": one.reference, "sigs": list(one.sigs), "hists": list(one.hists)}
        for obsid, one in sorted(description.scenes.items())
    }
