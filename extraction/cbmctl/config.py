"""`db_config.json`: the manual's file, checked, with what it lacked.

The manual's form is kept (sections `database.connection`, `tables`, `args`); added are TLS, a password from
a file or the environment, the archive and its catalogue, where products are ordered, a folder for what may
be computed again, what to extract, and where archives of seasons are kept.
Its `docker` section is not used.
"""

import json
import os
import re
import tempfile
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from psycopg import sql

from cbmctl.bandsets import Extraction, read_extraction
from cbmctl.catalogue.settings import Catalogue, read_catalogue
from cbmctl.eodata.settings import S3, Service, read_archive_s3, read_eodata
from cbmctl.errors import UserError
from cbmctl.ordering.settings import Ordering, read_ordering
from cbmctl.section import Section

SEARCH_PATH = (Path("db_config.json"), Path("/etc/cbm/db_config.json"))
SSL_MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")
# The schema of the first season, and of what all seasons share.
PUBLIC = "public"
VERSION_TABLE = "cbm_schema"
SEASON_NAME = r"[a-z0-9_]{1,20}"
DEFAULT_TABLES = {
    "aoi_table": f"{PUBLIC}.aois",
    "catalog_table": f"{PUBLIC}.dias_catalogue",
    "sigs_table": f"{PUBLIC}.sigs",
    "hists_table": f"{PUBLIC}.hists",
}


@dataclass(frozen=True)
class TableName:
    """A schema-qualified table."""

    schema: str
    name: str

    @property
    def sql(self) -> sql.Identifier:
        """The quoted name, for psycopg.sql."""
        return sql.Identifier(self.schema, self.name)

    def sibling(self, name: str) -> "TableName":
        """Another table of the same schema."""
        return TableName(self.schema, name)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Connection:
    """Where the database is and how to be let in. The password never shows in a repr."""

    host: str
    port: int
    dbname: str
    user: str
    password: str | None = field(default=None, repr=False)
    sslmode: str = "verify-full"
    sslrootcert: Path | None = None


@dataclass(frozen=True)
class Tables:
    """The tables of a season; the names are the tenant's choice. Areas and orders belong to all seasons."""

    aois: TableName
    parcels: TableName
    catalogue: TableName
    sigs: TableName
    hists: TableName

    @property
    def schema(self) -> str:
        """The schema of the season."""
        return self.catalogue.schema

    @property
    def version(self) -> TableName:
        """The version of the season's tables."""
        return self.catalogue.sibling(VERSION_TABLE)

    @property
    def tasks(self) -> TableName:
        """The queue lies beside the catalogue it refers to."""
        return self.catalogue.sibling("tasks")

    @property
    def parcel_sets(self) -> TableName:
        """What was loaded, from which file; beside the catalogue too."""
        return self.catalogue.sibling("parcel_sets")

    @property
    def parcel_history(self) -> TableName:
        """Since and until which version of its set a parcel is declared."""
        return self.catalogue.sibling("parcel_history")

    @property
    def parcel_lineage(self) -> TableName:
        """Which parcels succeed which."""
        return self.catalogue.sibling("parcel_lineage")

    @property
    def file_checks(self) -> TableName:
        """What became of the files of scenes when they were compared with their checksums."""
        return self.catalogue.sibling("file_checks")

    @property
    def vanished(self) -> TableName:
        """Which workers vanished from which tasks, and whether that counts."""
        return self.catalogue.sibling("vanished_workers")

    @property
    def archived_scenes(self) -> TableName:
        """Scenes whose rows are in an archive only, and in which one."""
        return self.catalogue.sibling("archived_scenes")

    @property
    def restored_files(self) -> TableName:
        """How far an interrupted restore has read the files of an archive."""
        return self.catalogue.sibling("restored_files")

    @property
    def orders(self) -> TableName:
        """Orders of products that the service makes on demand. All seasons share them: none is sent twice."""
        return TableName(PUBLIC, "orders")

    @property
    def order_items(self) -> TableName:
        """The products of each order, and how far they are."""
        return TableName(PUBLIC, "order_items")

    @property
    def syncs(self) -> TableName:
        """How far each search of a catalogue has come."""
        return self.catalogue.sibling("catalogue_syncs")

    @property
    def rejected(self) -> TableName:
        """Products that a search found and could not enter."""
        return self.catalogue.sibling("rejected_products")

    @property
    def completeness(self) -> TableName:
        """The view of what is published and extracted, by card, orbit, tile and day."""
        return self.catalogue.sibling("completeness")


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
                f"{source} is empty: write the configuration into it, or name another with --config"
            )
        data = json.loads(text)
    except OSError as error:
        raise UserError(
            f"{source} cannot be read ({error.strerror}): name another file with --config"
        ) from error
    except ValueError as error:
        raise UserError(f"{source} is not valid JSON ({error}): correct that line") from error
    root = Section(source, "", data)
    database = root.section("database")
    return Config(
        connection=_connection(database.section("connection")),
        tables=_tables(database.section("tables")),
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
        raise UserError(f"--season: '{season}' is not a valid name: use up to 20 letters a-z, digits or _")
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
            f"The season '{season}' has no configuration: {places} not found. Create it with"
            " playbooks/worker_image.yml, or omit --season and unset CBM_SEASON to use the first season"
        )
    raise UserError(
        "db_config.json is neither in this folder nor in /etc/cbm: name one with --config or CBM_CONFIG"
    )


def user_cache() -> Path:
    """Return this user's folder for files that can be made again."""
    # a container's user may have no home
    home = os.environ.get("HOME") or tempfile.gettempdir()
    return Path(os.environ.get("XDG_CACHE_HOME") or f"{home}/.cache") / "cbmctl"


def _connection(section: Section) -> Connection:
    try:
        port = int(section.get("port", 5432))
    except (TypeError, ValueError):
        port = 0
    if not 0 < port < 65536:
        raise section.error("port", f"is {section.get('port')!r}: use a number from 1 to 65535")
    sslmode = section.choice("sslmode", SSL_MODES, "verify-full")
    certificate = Path(section.text("sslrootcert")) if "sslrootcert" in section.data else None
    if sslmode.startswith("verify") and certificate is None:
        raise section.error("sslrootcert", f"is missing: sslmode {sslmode} needs the CA certificate's file")
    if certificate is not None and not certificate.is_file():
        raise section.error(
            "sslrootcert", f"names {certificate}, which does not exist: copy the CA certificate there"
        )
    return Connection(
        host=section.text("host"),
        port=port,
        dbname=section.text("dbname"),
        user=section.text("dbuser"),
        password=_password(section),
        sslmode=sslmode,
        sslrootcert=certificate,
    )


def _password(section: Section) -> str | None:
    """The environment goes before the file, the file before the text here; None leaves it to libpq."""
    if password := os.environ.get("CBM_DBPASSWD"):
        return password
    if "dbpasswd_file" in section.data:
        path = Path(section.text("dbpasswd_file"))
        try:
            return path.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise section.error(
                "dbpasswd_file",
                f"names {path}, which cannot be read ({error.strerror}): make it readable for this user,"
                " or set CBM_DBPASSWD",
            ) from error
    return section.text("dbpasswd") if "dbpasswd" in section.data else None


def _tables(section: Section) -> Tables:
    def table(key: str) -> TableName:
        text = section.text(key, DEFAULT_TABLES.get(key))
        # PostgreSQL cuts names at 63 silently; the raster tables append `_32632_10_rast` to the parcels' name
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,47}\.[a-z_][a-z0-9_]{0,47}", text):
            raise section.error(
                key, f"is '{text}': write schema.table in lower case, at most 48 letters each"
            )
        return TableName(*text.split("."))

    tables = Tables(
        aois=table("aoi_table"),
        parcels=table("parcel_table"),
        catalogue=table("catalog_table"),
        sigs=table("sigs_table"),
        hists=table("hists_table"),
    )
    if tables.schema != PUBLIC:
        for key in ("parcel_table", "sigs_table", "hists_table"):
            if table(key).schema != tables.schema:
                raise section.error(
                    key,
                    f"is '{table(key)}', but catalog_table is '{tables.catalogue}': use a table of the schema"
                    f" {tables.schema}",
                )
    return tables


def _args(section: Section) -> Args:
    def day(key: str) -> date:
        try:
            return date.fromisoformat(section.text(key))
        except ValueError as error:
            raise section.error(key, f"is '{section.text(key)}': write a date as 2021-12-31") from error

    args = Args(
        name=section.text("name"),
        start=day("startdate"),
        end=day("enddate"),
        aoi_field=section.text("aoi_field", "name"),
    )
    if args.start >= args.end:
        raise section.error("enddate", f"({args.end}) must be later than startdate ({args.start})")
    return args
