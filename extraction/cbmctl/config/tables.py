"""The tables of a season, by the section `database.tables` of the configuration."""

import re
from dataclasses import dataclass

from psycopg import sql

from cbmctl.config.section import Section

# The schema of the first season, and of what all seasons share.
PUBLIC = "public"
VERSION_TABLE = "cbm_schema"
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


def read_tables(section: Section) -> Tables:
    """Read the section `database.tables`. Raises UserError if a name is missing or wrong."""

    def table(key: str) -> TableName:
        text = section.text(key, DEFAULT_TABLES.get(key))
        # PostgreSQL cuts names at 63 silently; the raster tables append `_32632_10_rast` to the parcels' name
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,47}\.[a-z_][a-z0-9_]{0,47}", text):
            raise section.error(
                key, f"is '{text}'", "Write schema.table in lower case, at most 48 letters each"
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
                    f"is '{table(key)}', but catalog_table is '{tables.catalogue}'",
                    f"Use a table of the schema {tables.schema}",
                )
    return tables
