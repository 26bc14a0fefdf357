"""A loaded table compared with its file: what an earlier version lost, changed or made up.

The file is read and converted by the code that loads, into a temporary table; PostgreSQL compares the rows.
Parcels are paired by geometry, because `ogc_fid` need not follow the file. Nothing is changed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
import shapely
from psycopg import sql
from pyproj import Transformer

from cbmctl.config import Config
from cbmctl.database import one, query
from cbmctl.errors import UserError, counted
from cbmctl.parcels.files.columns import Column
from cbmctl.parcels.files.delivery import Paths
from cbmctl.parcels.files.findings import Findings
from cbmctl.parcels.files.parcel_table import ParcelTable
from cbmctl.parcels.files.read_delivery import read
from cbmctl.parcels.fill_table import expect_parcels, stage
from cbmctl.parcels.pairing import (
    SHOWN,
    Features,
    Names,
    Rows,
    columns_of,
    differs,
    expect_table,
    missing_in_file,
    missing_in_table,
    pair,
    pair_moved,
    pairing_names,
    srid_of,
)
from cbmctl.parcels.places import stray_pids
from cbmctl.parcels.supersede import in_use


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
        geometry: parcels whose geometry differs from a parcel of the file that covers more than half of both.
        strays: stray parcels of the table (`places`) within the area of interest.
        statistics: whether `sigs` or `hists` has rows.
        findings: of the file, as a load would record them.
    """

    table: str
    in_file: int
    in_table: int
    srid: tuple[int, int]
    missing: Features
    extra: Rows
    columns: tuple[Different, ...]
    geometry: Rows
    strays: Rows
    statistics: bool
    findings: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def same_parcels(self) -> bool:
        """Whether every parcel has its geometry: statistics are right then."""
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
        columns = stage(conn, table, findings=findings, advance=progress(len(table)))
        expect_parcels(findings, table)
        names = pairing_names(parcels)
        stored = columns_of(conn, parcels)
        srid = table.srid, srid_of(conn, parcels.sql) or table.srid
        missing, extra, moved = Features(), Rows(), Rows()
        if srid[0] == srid[1]:
            pair(conn, parcels, table.srid, alike=[c.name for c in columns if c.name in stored])
            moved = pair_moved(conn, parcels)
            missing, extra = missing_in_table(conn, parcels), missing_in_file(conn, parcels)
        return Comparison(
            table=str(parcels),
            in_file=findings.parcels,
            in_table=int(one(conn, query("SELECT count(*) FROM {parcels}", **names))[0]),
            srid=srid,
            missing=missing,
            extra=extra,
            columns=tuple(_columns(conn, stored, columns, names)) if srid[0] == srid[1] else (),
            geometry=moved,
            strays=_strays_in_area(conn, config),
            statistics=in_use(conn, config.tables),
            findings=findings.as_json(),
        )


def options_of_load(conn: psycopg.Connection, config: Config) -> dict[str, Any]:
    """How the file of the parcel table was read, as arguments of `read_delivery.read`; nothing if not known.

    Raises:
        UserError: there is no parcel table.
    """
    expect_table(conn, config.tables.parcels)
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
        told = (
            f"{config.tables.parcels}, with {counted(count, 'parcel')}, cannot be compared: {error.message}"
        )
        raise UserError(error.code, told, error.hint, about=error.about) from error


def _columns(
    conn: psycopg.Connection, stored: dict[str, str], planned: list[Column], names: Names
) -> list[Different]:
    wanted = {column.name: column.type for column in planned}
    both = [name for name in wanted if name in stored]
    found = []
    for name, rows in zip(both, _counts(conn, names, both, wanted, stored), strict=True):
        problem = "values" if stored[name] == wanted[name] else "type"
        if rows or problem == "type":
            examples = _examples(conn, names, name, differs(name, wanted, stored)) if rows else ()
            found.append(Different(name, problem, wanted[name], stored[name], rows, examples))
    for name in wanted.keys() - stored.keys():
        filled = query("SELECT count({column}) FROM {staged}", column=sql.Identifier(name), **names)
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
        query("count(*) FILTER (WHERE {differs})", differs=differs(name, wanted, stored)) for name in both
    )
    statement = query(
        "SELECT {counted} FROM {staged} f JOIN {pairs} USING ({feature}) JOIN {parcels} p USING (ogc_fid)",
        counted=counted,
        **names,
    )
    return [int(count) for count in one(conn, statement)]


def _examples(
    conn: psycopg.Connection, names: Names, column: str, differs: sql.Composed
) -> tuple[dict[str, Any], ...]:
    rows = conn.execute(
        query(
            "SELECT ogc_fid, left(f.{column}::text, 80), left(p.{column}::text, 80)"
            " FROM {staged} f JOIN {pairs} USING ({feature}) JOIN {parcels} p USING (ogc_fid)"
            " WHERE {differs} ORDER BY ogc_fid LIMIT {shown}",
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
