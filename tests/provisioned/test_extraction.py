"""The tenant has what was asked for: parcels, scenes, and statistics that are complete and there once."""

import json

import pytest
from psycopg import Connection, sql
from testinfra.host import Host

from .conftest import Tenant

CONTAINER_GID = 10001


@pytest.mark.parametrize(("directory", "user"), [("owner", "cbm_owner"), ("worker", "cbm_writer")])
def test_configuration_is_for_containers_only(root: Host, tenant: Tenant, directory: str, user: str) -> None:
    place = root.file(f"/etc/cbm/{directory}")
    assert (place.user, place.gid, place.mode) == ("root", CONTAINER_GID, 0o750)
    for name in ("db_config.json", "password", "ca.crt"):
        file = root.file(f"/etc/cbm/{directory}/{name}")
        assert (file.user, file.gid, file.mode) == ("root", CONTAINER_GID, 0o640), name
    connection = json.loads(root.file(f"/etc/cbm/{directory}/db_config.json").content_string)["database"][
        "connection"
    ]
    assert (connection["dbuser"], connection["port"], connection["sslmode"]) == (
        user,
        tenant.port,
        "verify-full",
    )
    assert "dbpasswd" not in connection


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


def test_queue_is_empty(root: Host) -> None:
    status = json.loads(root.check_output("cbmctl --json status"))
    for bandset, counts in status["tasks"].items():
        assert (counts["ready"], counts["running"]) == (0, 0), bandset


def test_parcels_are_all_there(reader: Connection, tenant: Tenant) -> None:
    loaded = reader.execute(
        "SELECT parcels FROM parcel_sets WHERE table_name = %s", [f"public.{tenant.parcels_table}"]
    ).fetchone()
    there = reader.execute(
        sql.SQL("SELECT count(*), count(DISTINCT ogc_fid) FROM {}").format(
            sql.Identifier(tenant.parcels_table)
        )
    ).fetchone()
    assert loaded is not None
    assert there == (loaded[0], loaded[0])
    assert loaded[0] > 0


def test_area_of_interest_has_scenes(reader: Connection, tenant: Tenant) -> None:
    scenes = reader.execute(
        "SELECT count(*) FROM dias_catalogue, aois WHERE name = %s AND footprint && wkb_geometry",
        [tenant.aoi],
    ).fetchone()
    assert scenes is not None
    assert scenes[0] > 0


def test_every_projection_has_raster_tables(root: Host, reader: Connection, tenant: Tenant) -> None:
    asked = json.loads(root.file("/etc/cbm/worker/db_config.json").content_string)["extraction"]["s2"]
    resolutions = [metres for metres in (10, 20) if asked[str(metres)] or (metres == 20 and asked["scl"])]
    zones = reader.execute(
        "SELECT DISTINCT epsg FROM dias_catalogue JOIN tasks ON obsid = id WHERE card = 's2' AND rows > 0"
    ).fetchall()
    assert zones
    for (epsg,) in zones:
        for metres in resolutions:
            table = f"{tenant.parcels_table}_{epsg}_{metres}_rast"
            assert reader.execute("SELECT to_regclass(%s)", [table]).fetchone() != (None,), table


@pytest.mark.parametrize(("table", "bandsets"), [("hists", ["scl"]), ("sigs", ["10", "20"])])
def test_statistics_are_complete_and_there_once(reader: Connection, table: str, bandsets: list[str]) -> None:
    """Every finished task wrote as many rows as it says, and no row is there without its task."""
    different = reader.execute(
        sql.SQL(
            """
            SELECT obsid, said.rows, there.rows
            FROM (SELECT obsid, sum(rows) AS rows FROM tasks
                  WHERE bandset = ANY(%s) AND state = 'done' GROUP BY obsid) AS said
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
