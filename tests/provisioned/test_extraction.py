"""The tenant has what was asked for: parcels, scenes, and statistics that are complete and there once."""

import json

import pytest
from psycopg import Connection, sql
from testinfra.host import Host

from tests.provisioned.conftest import Tenant

CONTAINER_GID = 10001
BANDS = {"10": {"B02", "B03", "B04", "B08"}, "20": {"B05", "B06", "B07", "B8A", "B11", "B12"}}
# Precheck refuses a parcels file that differs by more from what the Paying Agency says.
PARCELS_TOLERANCE = 0.10

SCENES = """
    SELECT id, status FROM dias_catalogue JOIN aois ON ST_Intersects(footprint, wkb_geometry)
    WHERE name = %(aoi)s AND card = 's2' AND obstime >= %(start)s::date AND obstime < %(end)s::date
"""


@pytest.fixture
def configuration(tenant: Tenant) -> str:
    """Name of the season's configuration."""
    return f"db_config.{tenant.season}.json" if tenant.season else "db_config.json"


@pytest.fixture
def configured(root: Host, configuration: str) -> dict[str, set[str]]:
    """By band set, the bands that the workers are told to extract."""
    asked = json.loads(root.file(f"/etc/cbm/worker/{configuration}").content_string)["extraction"]["s2"]
    bandsets = {"scl": {"SCL"} if asked["scl"] else set()} | {metres: set(asked[metres]) for metres in BANDS}
    return {bandset: bands for bandset, bands in bandsets.items() if bands}


@pytest.fixture
def period(tenant: Tenant) -> dict[str, str]:
    """The parameters of SCENES."""
    return {"aoi": tenant.aoi, "start": tenant.start, "end": tenant.end}


@pytest.mark.parametrize(("directory", "user"), [("owner", "cbm_owner"), ("worker", "cbm_writer")])
def test_configuration_is_for_containers_only(
    root: Host, tenant: Tenant, configuration: str, directory: str, user: str
) -> None:
    place = root.file(f"/etc/cbm/{directory}")
    assert (place.user, place.gid, place.mode) == ("root", CONTAINER_GID, 0o750)
    for name in (configuration, "password", "ca.crt"):
        file = root.file(f"/etc/cbm/{directory}/{name}")
        assert (file.user, file.gid, file.mode) == ("root", CONTAINER_GID, 0o640), name
    database = json.loads(root.file(f"/etc/cbm/{directory}/{configuration}").content_string)["database"]
    connection = database["connection"]
    assert (connection["dbuser"], connection["port"], connection["sslmode"]) == (
        user,
        tenant.port,
        "verify-full",
    )
    assert "dbpasswd" not in connection
    assert database["tables"]["catalog_table"] == f"{tenant.schema}.dias_catalogue"


def test_swarm_is_ready_and_its_job_has_ended(root: Host) -> None:
    assert (
        root.check_output("docker info --format '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}'")
        == "active true"
    )
    assert root.check_output("docker service ls --quiet") == ""


def test_worker_image_is_the_one_that_was_rolled_out(root: Host) -> None:
    image = json.loads(root.file("/etc/ansible/facts.d/cbm.fact").content_string)["worker_image"]
    assert image in root.check_output("docker image ls --format '{{.Repository}}:{{.Tag}}'").splitlines()
    assert image in root.file("/usr/local/bin/cbmctl").content_string


def test_the_archive_can_be_read_as_workers_read_it(root: Host) -> None:
    assert root.run("cbmctl eodata check").rc == 0


def test_queue_is_empty(root: Host, tenant: Tenant) -> None:
    season = ["--season", tenant.season] if tenant.season else []
    status = json.loads(root.check_output(" ".join(["cbmctl", *season, "--json", "status"])))
    for bandset, counts in status["tasks"].items():
        assert (counts["ready"], counts["running"]) == (0, 0), bandset


def test_parcels_are_all_there(reader: Connection, tenant: Tenant) -> None:
    loaded = reader.execute(
        "SELECT parcels FROM parcel_sets WHERE table_name = %s", [f"{tenant.schema}.{tenant.parcels_table}"]
    ).fetchone()
    there = reader.execute(
        sql.SQL("SELECT count(*), count(DISTINCT ogc_fid) FROM {}").format(
            sql.Identifier(tenant.parcels_table)
        )
    ).fetchone()
    assert loaded is not None
    assert there == (loaded[0], loaded[0])
    assert loaded[0] == pytest.approx(tenant.expected_parcels, rel=PARCELS_TOLERANCE)


def test_no_scene_of_the_area_and_the_period_is_left_over(reader: Connection, period: dict[str, str]) -> None:
    scenes = reader.execute(SCENES, period).fetchall()
    assert scenes
    assert [scene for scene, status in scenes if status in ("ingested", "inprogress")] == []


def test_statistics_are_of_the_configured_bands(
    reader: Connection, period: dict[str, str], configured: dict[str, set[str]]
) -> None:
    """No band is missing, and none is left of a time when the inventory asked for it."""
    found: dict[int, set[str]] = {}
    for obsid, band in reader.execute("SELECT obsid, band FROM sigs GROUP BY obsid, band").fetchall():
        found.setdefault(obsid, set()).add(band)
    # without a row a scene meets no parcel, or only ones that it does not show whole
    done = reader.execute(
        f"""SELECT obsid, bandset FROM tasks JOIN ({SCENES}) scenes ON id = obsid
            WHERE state = 'done' AND rows > 0 AND status <> 'archived'""",
        period,
    ).fetchall()
    different = [
        (obsid, bandset, found.get(obsid))
        for obsid, bandset in done
        if bandset in BANDS.keys() & configured.keys()
        and found.get(obsid, set()) & BANDS[bandset] != configured[bandset]
    ]
    assert different == []


def test_every_scene_with_parcels_has_every_band_set(
    reader: Connection, period: dict[str, str], configured: dict[str, set[str]]
) -> None:
    tasks: dict[int, set[str]] = {}
    for obsid, bandset in reader.execute(
        f"""SELECT id, bandset FROM ({SCENES}) scenes LEFT JOIN tasks ON id = obsid
            WHERE status NOT IN ('No parcels', 'superseded', 'offered', 'offline')""",
        period,
    ).fetchall():
        tasks.setdefault(obsid, set()).add(bandset)
    assert {obsid: sets for obsid, sets in tasks.items() if not sets >= configured.keys()} == {}


def test_every_projection_has_raster_tables(
    reader: Connection, tenant: Tenant, configured: dict[str, set[str]]
) -> None:
    resolutions = {20 if bandset == "scl" else int(bandset) for bandset in configured}
    zones = reader.execute(
        "SELECT DISTINCT epsg FROM dias_catalogue JOIN tasks ON obsid = id WHERE card = 's2' AND rows > 0"
    ).fetchall()
    assert zones
    for (epsg,) in zones:
        for metres in resolutions:
            table = f"{tenant.parcels_table}_{epsg}_{metres}_rast"
            assert reader.execute("SELECT to_regclass(%s)", [table]).fetchone() != (None,), table


@pytest.mark.parametrize(
    ("table", "bandsets"), [("hists", ["scl"]), ("sigs", ["10", "20", "bs", "c6", "c12"])]
)
def test_statistics_are_complete_and_there_once(reader: Connection, table: str, bandsets: list[str]) -> None:
    """Every task wrote as many rows as it says, no row is without its task or of an archived scene."""
    different = reader.execute(
        sql.SQL(
            """
            SELECT obsid, said.rows, there.rows
            FROM (SELECT obsid, sum(rows) AS rows FROM tasks JOIN dias_catalogue ON id = obsid
                  WHERE bandset = ANY(%s) AND status <> 'archived' GROUP BY obsid) AS said
            FULL JOIN (SELECT obsid, count(*) AS rows FROM {} GROUP BY obsid) AS there USING (obsid)
            WHERE coalesce(said.rows, 0) <> coalesce(there.rows, 0)
            """
        ).format(sql.Identifier(table)),
        [bandsets],
    ).fetchall()
    assert different == []


def test_a_failed_scene_has_a_reason(reader: Connection) -> None:
    silent = reader.execute(
        "SELECT obsid, bandset FROM tasks WHERE state = 'failed' AND coalesce(reason, '') = ''"
    ).fetchall()
    assert silent == []


def test_no_damaged_file_is_behind_the_statistics(reader: Connection) -> None:
    """As far as it was checked: the docs say what to do with a scene that is named here."""
    damaged = reader.execute(
        """SELECT reference, file, detail FROM file_checks JOIN dias_catalogue ON id = obsid
           WHERE outcome = 'differs' AND status = 'extracted'"""
    ).fetchall()
    assert damaged == []


def test_a_parcel_is_counted_once_in_a_datatake(reader: Connection, tenant: Tenant) -> None:
    """Of a thousand parcels by chance; unless the inventory asks for every tile's rows."""
    twice = reader.execute(
        sql.SQL(
            """
            SELECT pid, sensor, obstime, array_agg(DISTINCT tile)
            FROM sigs JOIN dias_catalogue d ON d.id = obsid
            WHERE pid = ANY(ARRAY(SELECT ogc_fid FROM {} ORDER BY random() LIMIT 1000))
              AND card = 's2' AND status = 'extracted'
              AND NOT EXISTS (SELECT FROM tasks t WHERE t.obsid = d.id AND method ->> 'overlap' = 'all')
            GROUP BY pid, sensor, obstime HAVING count(DISTINCT obsid) > 1
            """
        ).format(sql.Identifier(tenant.parcels_table))
    ).fetchall()
    assert twice == []
