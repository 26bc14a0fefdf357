"""What a changed parcels file changes: unchanged, edited, new and gone parcels, and their successors.

A parcel whose geometry stays is unchanged or edited (`pairing`). Every other parcel of the file is new, and
every other parcel of the table is gone. A new parcel succeeds a gone one if they share a tenth of the area of
either, or have the same value in the column that identifies parcels.
"""

from dataclasses import dataclass

import psycopg
from psycopg import sql

from cbmctl.config import TableName
from cbmctl.database import one, query
from cbmctl.errors import counted
from cbmctl.parcels.files.columns import Column
from cbmctl.parcels.pairing import columns_of, differs, pair, pairing_names, srid_of

SUCCESSORS = sql.Identifier("pg_temp", "cbm_parcel_successors")
SHARED = 0.1  # of the area of either parcel
# Of the parcels: if more are gone, half of the file may be missing, or its coordinates may be other ones.
MANY_GONE = 0.1


@dataclass(frozen=True)
class Changes:
    """Numbers of parcels that a changed file keeps, edits, adds and removes.

    Attributes:
        before: parcels in the table.
        unchanged: of these, with the same geometry and attributes in the file.
        edited: with the same geometry and other attributes.
        gone: without their geometry in the file.
        gone_without_successor: of these, without a new parcel in their place.
        new: parcels of the file whose geometry the table lacks.
        new_without_predecessor: of these, without a gone parcel in their place.
    """

    before: int
    unchanged: int
    edited: int
    gone: int
    gone_without_successor: int
    new: int
    new_without_predecessor: int

    @property
    def same_geometries(self) -> bool:
        """Whether table and file have the same geometries: statistics stay right then."""
        return not (self.gone or self.new)

    @property
    def doubtful(self) -> bool:
        """Whether so many parcels are gone that the file may be incomplete, or its coordinates inexact."""
        return self.gone > MANY_GONE * self.before

    def sentences(self) -> list[str]:
        """For people."""
        said = [
            f"Of {counted(self.before, 'parcel')}, {self.unchanged} are unchanged, {self.edited} have other"
            f" attributes, {self.gone} are gone ({self.gone_without_successor} without a successor);"
            f" {self.new} are new ({self.new_without_predecessor} without a predecessor)."
        ]
        if self.gone_without_successor > MANY_GONE * self.before:
            said.append(
                f"More than {MANY_GONE:.0%} of the parcels are gone without a successor:"
                " check that the file is complete."
            )
        elif self.doubtful:
            said.append(
                f"More than {MANY_GONE:.0%} of the parcels have another geometry:"
                " check that the coordinates were not rounded or shifted."
            )
        return said


def changes(
    conn: psycopg.Connection, parcels: TableName, columns: list[Column], srid: int, *, key: str | None
) -> Changes | None:
    """Compare a staged file with the parcel table.

    Makes the temporary tables PAIRS (`pairing`) and SUCCESSORS in the caller's transaction. SUCCESSORS has
    FEATURE, `ogc_fid` and `share`: the area that both share, as a part of the smaller one; NULL if only the
    key links them.

    Args:
        conn: a connection with a transaction under way, and the staged file in it.
        parcels: the parcel table, which need not exist.
        columns: of the staged file.
        srid: its EPSG code.
        key: the column that identifies parcels, as `keys.expect_key` returns it.

    Returns:
        None if there is no table of that name with parcels in the coordinate system of the file.
    """
    if not has_parcels(conn, parcels) or srid_of(conn, parcels.sql) != srid:
        return None
    stored = columns_of(conn, parcels)
    both = {column.name: column.type for column in columns if column.name in stored}
    common = key if key in both else None
    pair(conn, parcels, srid, key=common, alike=[name for name in both if name != common])
    _succeed(conn, parcels, common)
    added = [column.name for column in columns if column.name not in stored]
    conditions = [differs(name, both, stored) for name in both] + [
        query("f.{column} IS NOT NULL", column=sql.Identifier(name)) for name in added
    ]
    names = pairing_names(parcels) | {"successors": SUCCESSORS}
    row = one(
        conn,
        query(
            """SELECT (SELECT count(*) FROM {parcels}), (SELECT count(*) FROM {staged}),
                   (SELECT count(*) FROM {pairs}),
                   (SELECT count(*) FROM {staged} f JOIN {pairs} USING ({feature})
                       JOIN {parcels} p USING (ogc_fid) WHERE {edited}),
                   (SELECT count(DISTINCT ogc_fid) FROM {successors}),
                   (SELECT count(DISTINCT {feature}) FROM {successors})""",
            edited=sql.SQL(" OR ").join(conditions) if conditions else sql.SQL("false"),
            **names,
        ),
    )
    before, after, paired, edited, succeeded, succeeding = map(int, row)
    gone, new = before - paired, after - paired
    return Changes(before, paired - edited, edited, gone, gone - succeeded, new, new - succeeding)


def has_parcels(conn: psycopg.Connection, parcels: TableName) -> bool:
    """Whether a relation is a table with the columns `ogc_fid` and `wkb_geometry`."""
    number = one(
        conn,
        query(
            "SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid"
            " WHERE c.oid = to_regclass(%s) AND relkind IN ('r', 'p') AND NOT attisdropped"
            " AND attname IN ('ogc_fid', 'wkb_geometry')"
        ),
        [str(parcels)],
    )[0]
    return bool(number == 2)


def _succeed(conn: psycopg.Connection, parcels: TableName, key: str | None) -> None:
    """Make the table SUCCESSORS: each new parcel with the gone parcels that it succeeds."""
    names = pairing_names(parcels) | {"successors": SUCCESSORS, "share": sql.Literal(SHARED)}
    conn.execute(
        query(
            """CREATE TEMPORARY TABLE {successors} ON COMMIT DROP AS
               WITH new AS MATERIALIZED (
                   SELECT * FROM {staged} f
                   WHERE NOT EXISTS (SELECT FROM {pairs} q WHERE q.{feature} = f.{feature})
               ), gone AS MATERIALIZED (
                   SELECT * FROM {parcels} p
                   WHERE NOT EXISTS (SELECT FROM {pairs} q WHERE q.ogc_fid = p.ogc_fid)
               )
               SELECT {feature}, ogc_fid, max(share)::real AS share FROM (
                   SELECT {feature}, ogc_fid, least(share, 1) AS share FROM (
                       SELECT f.{feature}, p.ogc_fid, ST_Area(ST_Intersection(f.wkb_geometry, valid))
                           / nullif(least(ST_Area(f.wkb_geometry), ST_Area(valid)), 0) AS share
                       FROM new f JOIN {parcels} p ON p.wkb_geometry && f.wkb_geometry,
                           ST_MakeValid(p.wkb_geometry) valid
                       WHERE NOT EXISTS (SELECT FROM {pairs} q WHERE q.ogc_fid = p.ogc_fid)
                   ) overlapping WHERE share >= {share}
                   {same_key}
               ) links GROUP BY 1, 2""",
            same_key=query(
                """UNION ALL SELECT f.{feature}, p.ogc_fid, NULL
                   FROM new f JOIN gone p ON f.{key}::text = p.{key}::text""",
                key=sql.Identifier(key),
                **names,
            )
            if key
            else sql.SQL(""),
            **names,
        )
    )
