"""The numbers of the report: what was loaded, what was found, what was computed, what failed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from cbmctl.config import Config
from cbmctl.database import one, query
from cbmctl.demo import is_synthetic
from cbmctl.errors import UserError
from cbmctl.invocation import command
from cbmctl.queue.statements import failed


@dataclass(frozen=True)
class Scenes:
    """Scenes of one card with one status."""

    card: str
    status: str
    count: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class Failure:
    """A scene that was not extracted, with the manual's status word and the reason."""

    reference: str
    status: str
    reason: str


@dataclass(frozen=True)
class Facts:
    """The state of one Member State's database.

    Attributes:
        parcels: rows of the parcel table.
        source: the file they came from, None when the table was filled by hand.
        findings: by kind, what was not as it should be in that file: [{"feature", "reason"}].
        scenes: of the area and the period of the configuration, by card and status.
        failures: the scenes among them that have an error status.
        sigs, hists: rows.
        bands: rows in sigs by band.
        observed: parcels with at least one row in sigs.
        observations: the median number of scenes in which such a parcel was seen.
        years: of the extracted scenes.
        synthetic: how many of the scenes are made up.
    """

    table: str
    area: str
    period: tuple[str, str]
    parcels: int
    source: str | None
    findings: dict[str, list[dict[str, Any]]]
    scenes: list[Scenes]
    failures: list[Failure]
    sigs: int
    hists: int
    bands: dict[str, int]
    observed: int
    observations: float
    years: list[int]
    synthetic: int

    @property
    def scene_count(self) -> int:
        """All scenes."""
        return sum(scenes.count for scenes in self.scenes)

    @property
    def current(self) -> int:
        """All scenes but those that another version of the same acquisition stands for."""
        return sum(scenes.count for scenes in self.scenes if scenes.status not in ("superseded", "offered"))

    @property
    def extracted(self) -> int:
        """The scenes whose statistics are in the database."""
        return sum(scenes.count for scenes in self.scenes if scenes.status == "extracted")

    @property
    def attribution(self) -> str:
        """The line that must stand under anything made of these data."""
        made_up = "synthetic data made by `cbmctl demo make`: invented fields, invented images"
        if self.synthetic == self.scene_count > 0:
            return made_up[0].upper() + made_up[1:]
        years = "–".join(dict.fromkeys(str(year) for year in (self.years[:1] + self.years[-1:])))
        real = f"Contains modified Copernicus Sentinel data {years}".rstrip()
        return f"{real}; {self.synthetic} scenes are {made_up}" if self.synthetic else real


def read_facts(conn: psycopg.Connection, config: Config) -> Facts:
    """Read the numbers.

    Raises:
        UserError: tables or parcels are missing; the sentence says which step makes them.
    """
    tables = config.tables
    for table, step in (
        (tables.catalogue, f"`{command('schema apply')}`"),
        (tables.sigs, f"`{command('schema apply')}`"),
        (tables.parcels, f"`{command('parcels load')} FILE`"),
    ):
        if one(conn, query("SELECT to_regclass(%s)"), [str(table)])[0] is None:
            raise UserError(
                "report.nothing",
                f"the table {table} does not exist, so there is nothing to report",
                f"Run {step} first",
            )
    names = {
        "catalogue": tables.catalogue.sql,
        "sigs": tables.sigs.sql,
        "hists": tables.hists.sql,
        "parcels": tables.parcels.sql,
        "sets": tables.parcel_sets.sql,
    }
    parcels = int(one(conn, query("SELECT count(*) FROM {parcels}", **names))[0])
    if parcels == 0:
        raise UserError(
            "parcels.table_empty",
            f"{tables.parcels} is empty, so there is nothing to report",
            f"Load the parcels with `{command('parcels load')} FILE`",
            about=tables.parcels,
        )
    loaded = conn.execute(
        query("SELECT source, findings FROM {sets} WHERE table_name = %s", **names), [str(tables.parcels)]
    ).fetchone()
    scenes = _scenes(conn, config)
    bands = conn.execute(query("SELECT trim(band), count(*) FROM {sigs} GROUP BY 1 ORDER BY 1", **names))
    by_band = {band: int(count) for band, count in bands}
    observed, observations = one(
        conn,
        query(
            "SELECT count(*), coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY seen), 0)"
            " FROM (SELECT count(DISTINCT obsid) AS seen FROM {sigs} GROUP BY pid) per_parcel",
            **names,
        ),
    )
    grouped: dict[tuple[str, str], list[datetime]] = {}
    for _, obstime, card, status, _ in scenes:
        grouped.setdefault((card, status), []).append(obstime)
    return Facts(
        table=str(tables.parcels),
        area=config.args.name,
        period=(str(config.args.start), str(config.args.end)),
        parcels=parcels,
        source=loaded[0] if loaded else None,
        findings=loaded[1] if loaded else {},
        scenes=[
            Scenes(card, status, len(times), min(times), max(times))
            for (card, status), times in sorted(grouped.items())
        ],
        failures=[Failure(reference, status, reason) for reference, _, _, status, reason in scenes if reason],
        sigs=sum(by_band.values()),
        hists=int(one(conn, query("SELECT count(*) FROM {hists}", **names))[0]),
        bands=by_band,
        observed=int(observed),
        observations=float(observations),
        years=sorted({obstime.year for _, obstime, *_ in scenes}),
        synthetic=sum(is_synthetic(reference) for reference, *_ in scenes),
    )


def _scenes(conn: psycopg.Connection, config: Config) -> list[tuple[str, datetime, str, str, str | None]]:
    """The catalogue's scenes of the area and period, of those that failed with the reason.

    If the area is not known, of the period.
    """
    args = config.args
    return conn.execute(
        query(
            """SELECT reference, obstime, card, status,
                   CASE WHEN {failed} THEN coalesce(nullif(reason, ''), 'no reason was recorded') END
               FROM {catalogue} AS scene
               WHERE obstime >= %(start)s AND obstime < %(end)s
                 AND (NOT EXISTS (SELECT FROM {aois} WHERE {field} = %(name)s)
                      OR EXISTS (SELECT FROM {aois} AS aoi WHERE aoi.{field} = %(name)s
                                 AND ST_Intersects(aoi.wkb_geometry, scene.footprint)))
               ORDER BY obstime, reference""",
            catalogue=config.tables.catalogue.sql,
            aois=config.tables.aois.sql,
            failed=failed("scene"),
            field=_identifier(args.aoi_field),
        ),
        {"start": args.start, "end": args.end, "name": args.name},
    ).fetchall()


def _identifier(name: str) -> psycopg.sql.Identifier:
    return psycopg.sql.Identifier(name)
