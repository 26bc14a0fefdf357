"""The grids of Sentinel-2 on which parcels are looked at, and the identity of a load of parcels."""

from itertools import product

import psycopg

from cbmctl.config import Config, TableName, Tables
from cbmctl.config.bandsets import BANDSETS
from cbmctl.database import one, query
from cbmctl.errors import UserError
from cbmctl.invocation import command
from cbmctl.parcels.pairing import expect_table


def grids(conn: psycopg.Connection, config: Config) -> list[tuple[int, int]]:
    """The EPSG code and the resolution of every grid: UTM zones of the scenes, resolutions of the bands.

    Raises:
        UserError: no parcels, no such area, or no scenes.
    """
    expect_table(conn, config.tables.parcels)
    # each Sentinel-1 scene has a grid of its own
    bandsets = [BANDSETS[name] for name in config.extraction.bandsets]
    wanted = sorted({bandset.resolution for bandset in bandsets if bandset.card == "s2"})
    return list(product(zones(conn, config) if wanted else [], wanted))


def zones(conn: psycopg.Connection, config: Config) -> list[int]:
    """The EPSG codes of the UTM zones in which Sentinel-2 scenes show the area in the configured period.

    If the catalogue has no code for a scene, the code is taken from its name, as in the manual: …_T32TMT_… is
    zone 32, and bands of latitude from N on are north of the equator.

    Raises:
        UserError: there is no such area, or no scene meets it.
    """
    args, tables = config.args, config.tables
    names = {
        "catalogue": tables.catalogue.sql,
        "aois": tables.aois.sql,
        "field": psycopg.sql.Identifier(args.aoi_field),
    }
    if not one(conn, query("SELECT count(*) FROM {aois} WHERE {field} = %s", **names), [args.name])[0]:
        raise UserError(
            "area.missing",
            f"{tables.aois} has no area '{args.name}'",
            f"Create it with {command('aoi set')} {args.name}",
            about=tables.aois,
        )
    rows = conn.execute(
        query(
            r"""
            SELECT DISTINCT coalesce(epsg, CASE WHEN reference ~ '^([^_]*_){{5}}T\d\d[C-X]' THEN
                CASE WHEN substr(split_part(reference, '_', 6), 4, 1) >= 'N' THEN 32600 ELSE 32700 END
                + substr(split_part(reference, '_', 6), 2, 2)::integer END) AS zone
            FROM {catalogue} c JOIN {aois} a ON ST_Intersects(c.footprint, a.wkb_geometry)
            WHERE a.{field} = %s AND card = 's2' AND obstime >= %s AND obstime < %s ORDER BY zone
            """,
            **names,
        ),
        [args.name, args.start, args.end],
    ).fetchall()
    found = [zone for (zone,) in rows if zone is not None]
    if not found:
        raise UserError(
            "catalogue.no_scene",
            (
                f"{tables.catalogue} has no Sentinel-2 scene over '{args.name}' from {args.start} to"
                f" {args.end}"
            ),
            f"Fill it first with {command('catalogue sync')}",
            about=tables.catalogue,
        )
    return found


def stamp_of(conn: psycopg.Connection, tables: Tables) -> str:
    """Return a text that changes with the parcels: the record of their load, else the OID of the table."""
    name = str(tables.parcels)
    row = conn.execute(
        query(
            "SELECT 'parcels loaded ' || to_char(placed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
            " FROM {sets} WHERE table_name = %s",
            sets=tables.parcel_sets.sql,
        ),
        [name],
    ).fetchone()
    return (
        str(row[0]) if row else f"parcels of table {one(conn, query('SELECT %s::regclass::oid'), [name])[0]}"
    )


def comment_of(conn: psycopg.Connection, table: TableName) -> str | None:
    """The comment on a table; None if the table has none or does not exist."""
    comment: str | None = one(
        conn, query("SELECT obj_description(to_regclass(%s), 'pg_class')"), [str(table)]
    )[0]
    return comment
