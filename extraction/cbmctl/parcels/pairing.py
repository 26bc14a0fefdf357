"""Which parcels of a staged file are parcels of the table: those with the same geometry.

Geometries are the same if all corners agree to a millimetre; where rings and parts begin, and in which
direction they go, does not count. A parcel's key and attributes do not change its statistics. They count only
where several parcels have one geometry: parcels with the same key are paired first, then those with the same
attributes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql
from pyproj import CRS

from cbmctl.config import TableName
from cbmctl.database import one, query
from cbmctl.errors import UserError
from cbmctl.invocation import command
from cbmctl.parcels.files.columns import OURS
from cbmctl.parcels.files.crs import METRES_PER_DEGREE
from cbmctl.parcels.fill_table import FEATURE, PAIRS, STAGED

SAME_M = 0.001
SHOWN = 5  # numbers of parcels that are listed

Names = dict[str, sql.Composable]

_SHAPES = sql.Identifier("pg_temp", "cbm_parcel_shapes")
# By the type of a file's column: types of a stored one, by ogr2ogr or of another file, that hold its values.
# A value that is too long for the column is an error.
_WIDER = {
    "int2": {"int4", "int8", "numeric", "float8"},
    "int4": {"int8", "numeric", "float8"},
    "int8": {"numeric"},
    "float4": {"float8"},
    "float8": {"numeric"},
    "text": {"varchar", "bpchar"},
    "date": {"timestamp"},
}


@dataclass(frozen=True)
class Rows:
    """Some rows of the table: how many, and the first `ogc_fid` of them."""

    count: int = 0
    ogc_fid: tuple[int, ...] = ()


@dataclass(frozen=True)
class Features:
    """Some features of the file: how many, and the first of their numbers, which count from 1."""

    count: int = 0
    feature: tuple[int, ...] = ()


def pair(
    conn: psycopg.Connection,
    parcels: TableName,
    srid: int,
    *,
    key: str | None = None,
    alike: Sequence[str] = (),
) -> None:
    """Make the temporary table PAIRS of a staged file and the table: FEATURE and `ogc_fid`, each unique.

    Args:
        conn: a connection with a transaction under way, and the table STAGED in it.
        parcels: the parcel table, in the coordinate system of the file.
        srid: the EPSG code of both.
        key: a column of both that identifies parcels.
        alike: other columns of both by which parcels of one geometry are paired.
    """
    step = SAME_M / (METRES_PER_DEGREE if CRS.from_epsg(srid).is_geographic else 1.0)
    names = pairing_names(parcels) | {"shapes": _SHAPES, "step": sql.Literal(step)}
    conn.execute(
        query(
            "CREATE TEMPORARY TABLE {pairs} ({feature} integer PRIMARY KEY, ogc_fid integer UNIQUE NOT NULL)"
            " ON COMMIT DROP",
            **names,
        )
    )
    _shapes(conn, names)
    steps = [(key, *alike), (key,)] if key else []
    for values in dict.fromkeys([*steps, tuple(alike), ()]):
        _pair(conn, names, values)
    conn.execute(query("ANALYZE {pairs}", **names))
    _pair_nearly_equal(conn, names)


def _shapes(conn: psycopg.Connection, names: Names) -> None:
    """Make the table of normal forms: by file and table, number, shape, and whether several have it."""
    shape = query(
        # snapped, a parcel narrower than a millimetre would be empty
        """(SELECT md5(ST_AsBinary(ST_Normalize(
                CASE WHEN ST_IsEmpty(snapped) THEN flat ELSE snapped END)))::uuid
            FROM (SELECT flat, ST_SnapToGrid(flat, {step}) AS snapped
                  FROM (SELECT ST_Multi(ST_Force2D(wkb_geometry)) AS flat) a) b)""",
        **names,
    )
    conn.execute(
        query(
            """CREATE TEMPORARY TABLE {shapes} ON COMMIT DROP AS
               SELECT *, count(*) OVER (PARTITION BY of_file, shape) > 1 AS several FROM (
                   SELECT true AS of_file, {feature} AS id, {shape} AS shape FROM {staged}
                   UNION ALL
                   SELECT false, ogc_fid, {shape} FROM {parcels} WHERE wkb_geometry IS NOT NULL) AS found""",
            shape=shape,
            **names,
        )
    )
    conn.execute(query("ANALYZE {shapes}", **names))


def _pair(conn: psycopg.Connection, names: Names, values: Sequence[str]) -> None:
    """Pair parcels of one geometry that also have the same values, compared as text; NULL equals NULL.

    Without values all parcels are paired that have one geometry; with values, only those that share it.
    """

    def ranked(of_file: bool) -> sql.Composed:
        table, number = (STAGED, FEATURE) if of_file else (names["parcels"], sql.Identifier("ogc_fid"))
        joined = query("JOIN {table} t ON t.{number} = s.id", table=table, number=number)
        return query(
            """(SELECT id, shape, v, row_number() OVER (PARTITION BY shape, v ORDER BY id) AS rank FROM (
                   SELECT s.id, s.shape, ARRAY[{values}]::text[] AS v FROM {shapes} s {joined}
                   WHERE {of_file} s.of_file AND NOT EXISTS (SELECT FROM {pairs} q WHERE q.{paired} = s.id)
                   {several}) found)""",
            values=sql.SQL(", ").join(sql.SQL("t.{}::text").format(sql.Identifier(name)) for name in values),
            joined=joined if values else sql.SQL(""),
            of_file=sql.SQL("" if of_file else "NOT"),
            paired=number,
            several=query("AND s.shape IN (SELECT shape FROM {shapes} WHERE several)", **names)
            if values
            else sql.SQL(""),
            shapes=names["shapes"],
            pairs=names["pairs"],
        )

    conn.execute(
        query(
            "INSERT INTO {pairs} SELECT f.id, p.id FROM {file} f JOIN {table} p USING (shape, v, rank)",
            file=ranked(of_file=True),
            table=ranked(of_file=False),
            **names,
        )
    )


def _pair_nearly_equal(conn: psycopg.Connection, names: Names) -> None:
    """Pair what is left and differs by less than a step, but was rounded to different multiples of it."""
    sides = sql.SQL(" AND ").join(
        query("abs({side}(f.wkb_geometry) - {side}(p.wkb_geometry)) <= {step}", side=sql.SQL(side), **names)
        for side in ("ST_XMin", "ST_XMax", "ST_YMin", "ST_YMax")
    )
    statement = query(
        """WITH file AS MATERIALIZED (
               SELECT {feature}, wkb_geometry FROM {staged} s
               WHERE NOT EXISTS (SELECT FROM {pairs} q WHERE q.{feature} = s.{feature}))
           INSERT INTO {pairs}
           SELECT DISTINCT ON (ogc_fid) {feature}, ogc_fid FROM (
               SELECT DISTINCT ON (f.{feature}) f.{feature}, p.ogc_fid
               FROM file f JOIN {parcels} p ON p.wkb_geometry && f.wkb_geometry
               WHERE NOT EXISTS (SELECT FROM {pairs} q WHERE q.ogc_fid = p.ogc_fid)
                 AND {sides} AND ST_NPoints(f.wkb_geometry) = ST_NPoints(p.wkb_geometry)
                 AND ST_HausdorffDistance(f.wkb_geometry, p.wkb_geometry) <= {step}
               ORDER BY f.{feature}, p.ogc_fid) nearest
           ORDER BY ogc_fid, {feature}""",
        sides=sides,
        **names,
    )
    # each turn pairs one of several parcels with the same geometry
    while conn.execute(statement).rowcount:
        pass


def pairing_names(parcels: TableName) -> Names:
    """Names for queries on pairs: the tables `staged`, `pairs` and `parcels`, and the column `feature`."""
    return {"staged": STAGED, "pairs": PAIRS, "feature": FEATURE, "parcels": parcels.sql}


def missing_in_table(conn: psycopg.Connection, parcels: TableName) -> Features:
    """The features of the file without a pair."""
    statement = query(
        "SELECT f.{feature} AS number FROM {staged} f"
        " WHERE NOT EXISTS (SELECT FROM {pairs} q WHERE q.{feature} = f.{feature})",
        **pairing_names(parcels),
    )
    return Features(*_first(conn, statement))


def missing_in_file(conn: psycopg.Connection, parcels: TableName) -> Rows:
    """The parcels of the table without a pair."""
    statement = query(
        "SELECT p.ogc_fid AS number FROM {parcels} p"
        " WHERE NOT EXISTS (SELECT FROM {pairs} q WHERE q.ogc_fid = p.ogc_fid)",
        **pairing_names(parcels),
    )
    return Rows(*_first(conn, statement))


def pair_moved(conn: psycopg.Connection, parcels: TableName) -> Rows:
    """Pair what is left and shares more than half of both areas; return the parcels of the table."""
    statement = query(
        """INSERT INTO {pairs}
           SELECT DISTINCT ON (ogc_fid) {feature}, ogc_fid FROM (
               SELECT DISTINCT ON (f.{feature}) f.{feature}, p.ogc_fid
               FROM {staged} f JOIN {parcels} p ON p.wkb_geometry && f.wkb_geometry,
                   ST_Area(ST_Intersection(f.wkb_geometry, ST_MakeValid(p.wkb_geometry))) shared
               WHERE NOT EXISTS (SELECT FROM {pairs} q WHERE q.{feature} = f.{feature})
                 AND NOT EXISTS (SELECT FROM {pairs} q WHERE q.ogc_fid = p.ogc_fid)
                 AND shared > greatest(ST_Area(f.wkb_geometry), ST_Area(p.wkb_geometry)) / 2
               ORDER BY f.{feature}, shared DESC, p.ogc_fid) best
           ORDER BY ogc_fid, {feature}
           RETURNING ogc_fid""",
        **pairing_names(parcels),
    )
    found = sorted(pid for (pid,) in conn.execute(statement).fetchall())
    return Rows(len(found), tuple(found[:SHOWN]))


def differs(name: str, wanted: Mapping[str, str], stored: Mapping[str, str]) -> sql.Composed:
    """A condition on a staged parcel f and a stored one p; values of unlike types are compared as text."""
    alike = fits(wanted[name], stored[name])
    return query(
        "f.{column}::{kind} IS DISTINCT FROM p.{column}::{kind}",
        column=sql.Identifier(name),
        kind=sql.Identifier(stored[name] if alike else "text"),
    )


def fits(wanted: str, stored: str) -> bool:
    """Whether a stored column holds the values of a file's column of another type."""
    return wanted == stored or stored in _WIDER.get(wanted, ())


def columns_of(conn: psycopg.Connection, parcels: TableName) -> dict[str, str]:
    """The columns of a parcel table that come from its file, in order, and their types."""
    return dict(
        conn.execute(
            "SELECT attname, typname FROM pg_attribute JOIN pg_type t ON t.oid = atttypid"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attname <> ALL(%s)"
            " ORDER BY attnum",
            [str(parcels), list(OURS)],
        ).fetchall()
    )


def expect_table(conn: psycopg.Connection, parcels: TableName) -> None:
    """Raise UserError if there is no parcel table."""
    if one(conn, query("SELECT to_regclass(%s)"), [str(parcels)])[0] is None:
        raise UserError(
            "parcels.table_missing",
            f"The table {parcels} does not exist",
            f"Load it with {command('parcels load')}",
        )


def srid_of(conn: psycopg.Connection, table: sql.Composable) -> int | None:
    """The EPSG code of a table's geometries; None of an empty one."""
    row = conn.execute(query("SELECT ST_SRID(wkb_geometry) FROM {table} LIMIT 1", table=table)).fetchone()
    return int(row[0]) if row else None


def _first(conn: psycopg.Connection, statement: sql.Composed) -> tuple[int, tuple[int, ...]]:
    """How many numbers a statement finds, and the smallest of them."""
    row = one(
        conn,
        query(
            "WITH found AS MATERIALIZED ({statement})"
            " SELECT count(*), (SELECT coalesce(array_agg(number ORDER BY number), '{{}}')"
            " FROM (SELECT number FROM found ORDER BY number LIMIT {shown}) AS first_ones) FROM found",
            statement=statement,
            shown=sql.Literal(SHOWN),
        ),
    )
    return int(row[0]), tuple(row[1])
