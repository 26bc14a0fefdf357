"""A loaded table compared with its file: what an earlier version lost, changed or made up.

The file is read and converted by the code that loads, into a temporary table; PostgreSQL compares the rows.
Nothing is changed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
import shapely
from psycopg import sql
from pyproj import Transformer

from cbmctl.config import Config, TableName
from cbmctl.database import one, query
from cbmctl.errors import UserError, counted
from cbmctl.parcels.columns import Column
from cbmctl.parcels.delivery import Paths
from cbmctl.parcels.filling import expect_parcels, fill
from cbmctl.parcels.findings import Findings
from cbmctl.parcels.places import stray_pids
from cbmctl.parcels.source import read
from cbmctl.parcels.table import ParcelTable

SHOWN = 5
FILE = "cbm_parcels_of_the_file"
OURS = ("ogc_fid", "wkb_geometry")

Names = dict[str, sql.Composable]


@dataclass(frozen=True)
class Rows:
    """Some rows: how many, and the first `ogc_fid` of them."""

    count: int
    ogc_fid: tuple[int, ...]


@dataclass(frozen=True)
class Different:
    """A column in which table and file differ.

    Attributes:
        column: its name in the table.
        problem: `missing` in the table, `extra` there, of another `type`, or with other `values`.
        file_type: PostgreSQL's type for the file's values; None if the file has no such column.
        table_type: the type in the table; None if the table has no such column.
        rows: parcels with a different value; for a missing column, parcels with a value in the file.
        examples: some of these: `ogc_fid`, the value in the `file` and in the `table`, as text.
    """

    column: str
    problem: str
    file_type: str | None = None
    table_type: str | None = None
    rows: int = 0
    examples: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Comparison:
    """What differs between a table and its file.

    Attributes:
        table: the table's name.
        in_file: parcels that the file gives.
        in_table: parcels in the table.
        srid: EPSG codes, the file's and the table's.
        missing: parcels of the file that the table lacks.
        extra: parcels of the table that the file lacks.
        columns: columns that differ.
        geometry: parcels with a different geometry.
        strays: stray parcels of the table (`places`) within the area of interest.
        statistics: whether `sigs` or `hists` has rows.
        findings: of the file, as a load would record them.
    """

    table: str
    in_file: int
    in_table: int
    srid: tuple[int, int]
    missing: Rows
    extra: Rows
    columns: tuple[Different, ...]
    geometry: Rows
    strays: Rows
    statistics: bool
    findings: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def same_parcels(self) -> bool:
        """Whether every parcel has its number and geometry: statistics are right then."""
        return self.srid[0] == self.srid[1] and not (
            self.missing.count or self.extra.count or self.geometry.count
        )

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return self.same_parcels and not self.columns and not self.strays.count


def compare(
    conn: psycopg.Connection,
    config: Config,
    table: ParcelTable,
    *,
    progress: Callable[[int], Callable[[int], None]] = lambda _total: lambda _done: None,
) -> Comparison:
    """Compare the parcel table of the configuration with a file.

    Args:
        conn: the owner's connection, in autocommit mode; the temporary table is gone at the end.
        config: names the tables and the area.
        table: the file, as it was read.
        progress: gets the number of features, gives what to call with each number done.

    Raises:
        UserError: there is no parcel table, or nothing to load in the file.
    """
    parcels = config.tables.parcels
    findings = Findings()
    with conn.transaction(force_rollback=True):
        building = sql.Identifier("pg_temp", FILE)
        columns = fill(conn, building, table, findings=findings, advance=progress(len(table)))
        expect_parcels(findings, table)
        names: Names = {"file": building, "parcels": parcels.sql}
        conn.execute(query("ANALYZE {file}", **names))
        srid = table.srid, _srid(conn, parcels.sql) or table.srid
        return Comparison(
            table=str(parcels),
            in_file=findings.parcels,
            in_table=int(one(conn, query("SELECT count(*) FROM {parcels}", **names))[0]),
            srid=srid,
            missing=_only(conn, building, parcels.sql),
            extra=_only(conn, parcels.sql, building),
            columns=tuple(_columns(conn, parcels, columns, names)),
            geometry=_geometry(conn, names) if srid[0] == srid[1] else Rows(0, ()),
            strays=_strays_in_area(conn, config),
            statistics=_any(conn, config.tables.sigs) or _any(conn, config.tables.hists),
            findings=findings.as_json(),
        )


def options_of_load(conn: psycopg.Connection, config: Config) -> dict[str, Any]:
    """How the file of the parcel table was read, as arguments of `source.read`; nothing if it is not known.

    Raises:
        UserError: there is no parcel table.
    """
    _expect_table(conn, config.tables.parcels)
    row = conn.execute(
        query("SELECT options FROM {sets} WHERE table_name = %s", sets=config.tables.parcel_sets.sql),
        [str(config.tables.parcels)],
    ).fetchone()
    return dict(row[0]) if row else {}


def read_again(
    conn: psycopg.Connection, config: Config, paths: Paths, options: dict[str, Any]
) -> ParcelTable:
    """Read the file of the parcel table.

    Raises:
        UserError: it cannot be read; the sentence also says how many parcels the table has.
    """
    try:
        return read(paths, **options)
    except UserError as error:
        count = one(conn, query("SELECT count(*) FROM {parcels}", parcels=config.tables.parcels.sql))[0]
        raise UserError(
            f"{config.tables.parcels}, with {counted(count, 'parcel')}, cannot be compared: {error}"
        ) from error


def expect_same_parcels(conn: psycopg.Connection, parcels: TableName, building: sql.Composable) -> None:
    """Raise UserError unless two tables have the same numbers and geometries: statistics stay right then.

    Args:
        conn: a connection.
        parcels: the parcel table.
        building: the table that is to replace it.
    """
    _expect_table(conn, parcels)
    names: Names = {"file": building, "parcels": parcels.sql}
    here, there = (_srid(conn, table) for table in (parcels.sql, building))
    missing, extra = _only(conn, building, parcels.sql), _only(conn, parcels.sql, building)
    moved = _geometry(conn, names) if here == there else Rows(0, ())
    if here != there or missing.count or extra.count or moved.count:
        raise UserError(
            f"The parcels of the file are not those of {parcels}: {missing.count} are missing there,"
            f" {extra.count} are not in the file, {moved.count} have a different geometry (EPSG:{here} and"
            f" EPSG:{there}). Their statistics cannot be kept: load with --drop-statistics"
        )


def _expect_table(conn: psycopg.Connection, parcels: TableName) -> None:
    if one(conn, query("SELECT to_regclass(%s)"), [str(parcels)])[0] is None:
        raise UserError(f"The table {parcels} does not exist. Load it with cbmctl parcels load")


def _srid(conn: psycopg.Connection, table: sql.Composable) -> int | None:
    """The EPSG code of a table's geometries; None of an empty one."""
    row = conn.execute(query("SELECT ST_SRID(wkb_geometry) FROM {table} LIMIT 1", table=table)).fetchone()
    return int(row[0]) if row else None


def _only(conn: psycopg.Connection, here: sql.Composable, there: sql.Composable) -> Rows:
    """The parcels of one table that another lacks."""
    statement = query(
        "SELECT ogc_fid FROM {here} h WHERE NOT EXISTS (SELECT FROM {there} t WHERE t.ogc_fid = h.ogc_fid)",
        here=here,
        there=there,
    )
    return _rows(conn, statement)


def _geometry(conn: psycopg.Connection, names: Names) -> Rows:
    """Parcels whose geometry differs; where rings begin, and in which direction they go, does not count."""
    statement = query(
        "SELECT f.ogc_fid FROM {file} f JOIN {parcels} p USING (ogc_fid)"
        " WHERE NOT ST_OrderingEquals(f.wkb_geometry, p.wkb_geometry)"
        " AND NOT (ST_IsValid(p.wkb_geometry) AND ST_Equals(f.wkb_geometry, p.wkb_geometry))",
        **names,
    )
    return _rows(conn, statement)


def _rows(conn: psycopg.Connection, statement: sql.Composed) -> Rows:
    row = one(
        conn,
        query(
            "WITH found AS MATERIALIZED ({statement})"
            " SELECT count(*), (SELECT coalesce(array_agg(ogc_fid ORDER BY ogc_fid), '{{}}')"
            " FROM (SELECT ogc_fid FROM found ORDER BY ogc_fid LIMIT {shown}) AS first_ones) FROM found",
            statement=statement,
            shown=sql.Literal(SHOWN),
        ),
    )
    return Rows(int(row[0]), tuple(row[1]))


def _columns(
    conn: psycopg.Connection, parcels: TableName, planned: list[Column], names: Names
) -> list[Different]:
    stored: dict[str, str] = dict(
        conn.execute(
            "SELECT attname, typname FROM pg_attribute JOIN pg_type t ON t.oid = atttypid"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attname <> ALL(%s)"
            " ORDER BY attnum",
            [str(parcels), list(OURS)],
        ).fetchall()
    )
    wanted = {column.name: column.type for column in planned}
    both = [name for name in wanted if name in stored]
    found = []
    for name, rows in zip(both, _counts(conn, names, both, wanted, stored), strict=True):
        problem = "values" if stored[name] == wanted[name] else "type"
        if rows or problem == "type":
            examples = _examples(conn, names, name, _differs(name, wanted, stored)) if rows else ()
            found.append(Different(name, problem, wanted[name], stored[name], rows, examples))
    for name in wanted.keys() - stored.keys():
        filled = query("SELECT count({column}) FROM {file}", column=sql.Identifier(name), **names)
        found.append(Different(name, "missing", wanted[name], None, int(one(conn, filled)[0])))
    found += [Different(name, "extra", None, stored[name]) for name in stored if name not in wanted]
    order = [*wanted, *stored]
    return sorted(found, key=lambda different: order.index(different.column))


def _counts(
    conn: psycopg.Connection, names: Names, both: list[str], wanted: dict[str, str], stored: dict[str, str]
) -> list[int]:
    """For each column the number of parcels whose value differs."""
    if not both:
        return []
    counted = sql.SQL(", ").join(
        query("count(*) FILTER (WHERE {differs})", differs=_differs(name, wanted, stored)) for name in both
    )
    statement = query(
        "SELECT {counted} FROM {file} f JOIN {parcels} p USING (ogc_fid)", counted=counted, **names
    )
    return [int(count) for count in one(conn, statement)]


def _differs(name: str, wanted: dict[str, str], stored: dict[str, str]) -> sql.Composed:
    """A condition on f and p; values of different types are compared as text."""
    cast = "" if wanted[name] == stored[name] else "::text"
    return query(
        "f.{column}{cast} IS DISTINCT FROM p.{column}{cast}",
        column=sql.Identifier(name),
        cast=sql.SQL("::text") if cast else sql.SQL(""),
    )


def _examples(
    conn: psycopg.Connection, names: Names, column: str, differs: sql.Composed
) -> tuple[dict[str, Any], ...]:
    rows = conn.execute(
        query(
            "SELECT ogc_fid, left(f.{column}::text, 80), left(p.{column}::text, 80)"
            " FROM {file} f JOIN {parcels} p USING (ogc_fid) WHERE {differs} ORDER BY ogc_fid LIMIT {shown}",
            column=sql.Identifier(column),
            differs=differs,
            shown=sql.Literal(SHOWN),
            **names,
        )
    ).fetchall()
    return tuple({"ogc_fid": number, "file": there, "table": here} for number, there, here in rows)


def _strays_in_area(conn: psycopg.Connection, config: Config) -> Rows:
    """Stray parcels that the area of interest reaches to: it was set around them."""
    parcels, args = config.tables.parcels, config.args
    pids = list(stray_pids(conn, parcels))
    area = conn.execute(
        query(
            "SELECT ST_AsBinary(wkb_geometry) FROM {aois} WHERE {field} = %s",
            aois=config.tables.aois.sql,
            field=sql.Identifier(args.aoi_field),
        ),
        [args.name],
    ).fetchone()
    if not pids or area is None:
        return Rows(0, ())
    places = conn.execute(
        query(
            "SELECT ogc_fid, ST_SRID(wkb_geometry), (ST_XMin(wkb_geometry) + ST_XMax(wkb_geometry)) / 2,"
            " (ST_YMin(wkb_geometry) + ST_YMax(wkb_geometry)) / 2 FROM {parcels}"
            " WHERE ogc_fid = ANY(%s) ORDER BY ogc_fid",
            parcels=parcels.sql,
        ),
        [pids],
    ).fetchall()
    to_degrees = Transformer.from_crs(places[0][1], 4326, always_xy=True)
    outline = shapely.from_wkb(bytes(area[0]))
    within = [
        number for number, _, x, y in places if shapely.intersects_xy(outline, *to_degrees.transform(x, y))
    ]
    return Rows(len(within), tuple(within[:SHOWN]))


def _any(conn: psycopg.Connection, table: TableName) -> bool:
    return bool(one(conn, query("SELECT EXISTS (SELECT FROM {table})", table=table.sql))[0])
