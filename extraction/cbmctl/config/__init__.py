"""`db_config.json`: the manual's file, checked, with what it lacked.

The manual's form is kept (sections `database.connection`, `tables`, `args`); added are TLS, a password from
a file or the environment, the archive and its catalogue, where products are ordered, a folder for what may
be computed again, what to extract, and where archives of seasons are kept.
Its `docker` section is not used. Each section has a module, and imports point one way,
from top to bottom:

- `connection`, `tables`: the sections `database.connection` and `database.tables`.
- `archive`: `eodata`, the archive of products, and `archive_s3`, where archives of seasons are kept.
- `ordering`: where products are ordered.
- `catalogue`: where scenes are looked up.
- `extraction`: what to extract, and how.
- `options`: the options of the extraction, of which the inventory's lines are made too.
- `bandsets`: the bands that one task extracts together.
- `section`: a JSON object that knows its place in the file.
"""

import json
import os
import re
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from cbmctl.config.archive import S3, Service, read_archive_s3, read_eodata
from cbmctl.config.catalogue import Catalogue, read_catalogue
from cbmctl.config.connection import Connection, read_connection
from cbmctl.config.extraction import Extraction, read_extraction
from cbmctl.config.ordering import Ordering, read_ordering
from cbmctl.config.section import Section
from cbmctl.config.tables import PUBLIC, VERSION_TABLE, TableName, Tables, read_tables
from cbmctl.errors import UserError

__all__ = [
    "PUBLIC",
    "SEASON_NAME",
    "VERSION_TABLE",
    "Args",
    "Config",
    "Connection",
    "TableName",
    "Tables",
    "load_config",
    "of_season",
    "user_cache",
]

SEARCH_PATH = (Path("db_config.json"), Path("/etc/cbm/db_config.json"))
SEASON_NAME = r"[a-z0-9_]{1,20}"


@dataclass(frozen=True)
class Args:
    """Which scenes count: those that meet the area `name` and lie in [start, end)."""

    name: str
    start: date
    end: date
    aoi_field: str = "name"


@dataclass(frozen=True)
class Config:
    """The whole file."""

    connection: Connection
    tables: Tables
    args: Args
    eodata: Path | S3
    catalogue: Catalogue
    ordering: Ordering
    cache: Path
    extraction: Extraction
    archive_s3: Service | None
    source: Path


def load_config(path: Path | None = None, season: str | None = None) -> Config:
    """Read and check the configuration.

    Args:
        path: the file; None means $CBM_CONFIG, else ./db_config.json, else /etc/cbm/db_config.json.
        season: read the file of this season beside it; None means the file itself.

    Raises:
        UserError: there is no such file, it is not JSON, or a value is missing or wrong.
    """
    source = _find(path, season)
    try:
        text = source.read_text(encoding="utf-8")
        if not text.strip():
            raise UserError(
                "config.empty",
                f"{source} is empty",
                "Write the configuration into it, or name another with --config",
                about="--config",
            )
        data = json.loads(text)
    except OSError as error:
        raise UserError(
            "config.unreadable",
            f"{source} cannot be read ({error.strerror})",
            "Name another file with --config",
            about="--config",
        ) from error
    except ValueError as error:
        raise UserError(
            "config.not_json", f"{source} is not valid JSON ({error})", "Correct that line", about="--config"
        ) from error
    root = Section(source, "", data)
    database = root.section("database")
    return Config(
        connection=read_connection(database.section("connection")),
        tables=read_tables(database.section("tables")),
        args=_args(database.section("args")),
        eodata=read_eodata(root),
        catalogue=read_catalogue(root.section("catalogue", {})),
        ordering=read_ordering(root.section("ordering", {})),
        cache=Path(root.text("cache", str(user_cache()))),
        extraction=read_extraction(root.section("extraction", {})),
        archive_s3=read_archive_s3(root),
        source=source,
    )


def of_season(path: Path, season: str) -> Path:
    """Return the configuration of a season, which lies beside that of the first: `db_config.2027.json`."""
    return path.with_suffix(f".{season}{path.suffix}")


def _find(path: Path | None, season: str | None) -> Path:
    if season and not re.fullmatch(SEASON_NAME, season):
        raise UserError(
            "config.invalid_season",
            f"--season: '{season}' is not a valid name",
            "Use up to 20 letters a-z, digits or _",
            about="--season",
        )
    if named := os.environ.get("CBM_CONFIG"):
        path = path or Path(named)
    found = [of_season(each, season) if season else each for each in ([path] if path else SEARCH_PATH)]
    if path and not season:
        return path
    for candidate in found:
        if candidate.exists():
            return candidate
    if season:
        places = " and ".join(map(str, found))
        raise UserError(
            "config.unknown_season",
            f"The season '{season}' has no configuration: {places} not found",
            (
                "Create it with playbooks/worker_image.yml, or omit --season and unset CBM_SEASON to use"
                " the first season"
            ),
            about="--season",
        )
    raise UserError(
        "config.missing",
        "db_config.json is neither in this folder nor in /etc/cbm",
        "Name one with --config or CBM_CONFIG",
        about="--config",
    )


def user_cache() -> Path:
    """Return this user's folder for files that can be made again."""
    # a container's user may have no home
    home = os.environ.get("HOME") or tempfile.gettempdir()
    return Path(os.environ.get("XDG_CACHE_HOME") or f"{home}/.cache") / "cbmctl"


def _args(section: Section) -> Args:
    def day(key: str) -> date:
        try:
            return date.fromisoformat(section.text(key))
        except ValueError as error:
            raise section.error(key, f"is '{section.text(key)}'", "Write a date as 2021-12-31") from error

    args = Args(
        name=section.text("name"),
        start=day("startdate"),
        end=day("enddate"),
        aoi_field=section.text("aoi_field", "name"),
    )
    if args.start >= args.end:
        raise section.error("enddate", f"({args.end}) must be later than startdate ({args.start})")
    return args
