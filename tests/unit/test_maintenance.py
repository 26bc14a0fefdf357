"""`maintain vacuum` and `compact`: tables are rewritten while others read and write, and nothing is lost."""

import json
import os
import signal
import threading
import uuid
from collections import namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import conninfo

from cbmctl.cli import cbmctl
from cbmctl.config import Config
from cbmctl.errors import UserError
from cbmctl.maintenance import rewrite as rewriting
from cbmctl.maintenance.rewrite import rewrite
from cbmctl.schema import apply

from ..conftest import REPOSITORY, Database, docker, image_to_test

pytestmark = pytest.mark.postgis

Eventually = Callable[[Callable[[], bool]], None]
REPACK = REPOSITORY / "roles" / "database" / "files" / "repack.sql"
PARCELS, SCENES, PASSWORD = 2000, 8, "only-for-tests"


class Tenant:
    """A database with its three roles and the rows of some scenes; connections by role."""

    def __init__(self, database: Database, repack: str) -> None:
        self.database, self.repack = database, repack
        self.config = database.configured(connection={"dbuser": "cbm_owner", "dbpasswd": PASSWORD})
        apply(self.config)
        with database.connect() as conn:
            conn.execute(REPACK.read_bytes())
        with self.connect("cbm_owner") as conn:
            conn.execute("CREATE VIEW season AS SELECT count(*) AS rows FROM sigs")
            for obsid in range(1, SCENES + 1):
                self.write(conn, obsid)
        self.waste()

    def connect(self, role: str) -> psycopg.Connection:
        login = conninfo.make_conninfo(self.database.dsn, user=role, password=PASSWORD)
        return psycopg.connect(login)

    def waste(self) -> None:
        with self.connect("cbm_owner") as conn:
            conn.execute("DELETE FROM sigs WHERE obsid % 2 = 0; DELETE FROM hists WHERE obsid % 2 = 0")

    @staticmethod
    def write(conn: psycopg.Connection, obsid: int) -> None:
        conn.execute(
            """INSERT INTO sigs SELECT pid, %s, band, 9, 1, 1, 1, 1, 1, 1, 1
               FROM generate_series(1, %s) pid, unnest('{B02,B03}'::bpchar[]) band
               ORDER BY pid, band""",
            [obsid, PARCELS],
        )
        conn.execute(
            """INSERT INTO hists SELECT pid, %s, '{"4": 10}' FROM generate_series(1, %s) pid""",
            [obsid, PARCELS],
        )

    def command(self, *arguments: str) -> dict[str, Any]:
        options = ["--config", str(self.database.config_path), "--json", "maintain"]
        result = CliRunner().invoke(cbmctl, [*options, *arguments])
        assert result.exception is None, result.exception
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer

    def rows(self) -> list[Any]:
        with self.connect("cbm_reader") as conn:
            return [
                conn.execute("SELECT count(*), sum(hashtext(s::text)) FROM sigs s").fetchall(),
                conn.execute("SELECT count(*), sum(hashtext(h::text)) FROM hists h").fetchall(),
                conn.execute("SELECT * FROM season").fetchall(),
            ]

    def size(self) -> int:
        with self.connect("cbm_reader") as conn:
            row = conn.execute("SELECT pg_total_relation_size('sigs')").fetchone()
        assert row
        return int(row[0])

    def pages(self) -> list[tuple[int, int]]:
        """On how many pages the rows of a scene and of a parcel lie."""
        with self.connect("cbm_reader") as conn:
            return conn.execute(
                """SELECT count(DISTINCT page) FILTER (WHERE obsid = 1),
                       count(DISTINCT page) FILTER (WHERE pid = 1)
                   FROM (SELECT (ctid::text::point)[0] AS page, * FROM sigs) s"""
            ).fetchall()

    def leftovers(self) -> tuple[Any, ...]:
        with self.database.connect() as conn:
            row = conn.execute(
                """SELECT (SELECT count(*) FROM pg_trigger WHERE tgname = 'repack_trigger'),
                       (SELECT count(*) FROM pg_class WHERE relname ~ '^(log|table)_[0-9]+$'),
                       (SELECT count(*) FROM pg_type WHERE typname ~ '^pk_[0-9]+$')"""
            ).fetchone()
        assert row
        return row

    def compact(self) -> list[Any]:
        return self.rewrite(by_parcel=False)

    def rewrite(self, *, by_parcel: bool) -> list[Any]:
        with psycopg.connect(
            conninfo.make_conninfo(self.database.dsn, user="cbm_owner", password=PASSWORD), autocommit=True
        ) as conn:
            return rewrite(conn, self.config, by_parcel=by_parcel)


def containers(label: str) -> list[str]:
    return docker("ps", "--all", "--quiet", f"--filter=label=cbm-test={label}").split()


@pytest.fixture
def repack(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """pg_repack from the database's image, as the worker image has it; yields the label of its containers."""
    name = f"repack-{uuid.uuid4().hex[:8]}"
    variables = ["PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGSSLMODE"]
    environment = [f"--env={variable}" for variable in variables]
    command = ["docker", "run", "--rm", "--init", f"--label=cbm-test={name}", "--network=host", *environment]
    monkeypatch.setattr(rewriting, "PROGRAM", (*command, "--entrypoint=pg_repack", image_to_test()))
    yield name
    for container in containers(name):
        docker("rm", "--force", container)


@pytest.fixture
def tenant(database: Database, roles: None, repack: str) -> Tenant:  # noqa: ARG001  (roles first)
    return Tenant(database, repack)


def test_space_is_given_back_and_the_table_is_the_same(tenant: Tenant) -> None:
    before, size = tenant.rows(), tenant.size()
    would = tenant.command("compact", "--check")
    assert [(table["table"], table["needed"]) for table in would["tables"]] == [
        ("public.hists", True),
        ("public.sigs", True),
    ]
    assert (tenant.rows(), tenant.size()) == (before, size), "--check changed something"
    done = tenant.command("compact")
    assert done["changed"]
    sigs = done["tables"][1]
    assert (sigs["before"], sigs["after"]) == (size, tenant.size())
    assert sigs["after"] < 0.7 * size
    assert abs(would["tables"][1]["after"] / sigs["after"] - 1) < 0.2
    assert tenant.rows() == before
    assert tenant.leftovers() == (0, 0, 0)
    again = tenant.command("compact")
    assert (again["changed"], [table["needed"] for table in again["tables"]]) == (False, [False, False])


def test_a_closed_season_is_clustered_by_parcel(tenant: Tenant) -> None:
    before = tenant.rows()
    ((scene, parcel),) = tenant.pages()
    assert tenant.command("cluster", "--check")["changed"]
    assert tenant.command("cluster")["changed"]
    assert tenant.rows() == before
    ((scene_after, parcel_after),) = tenant.pages()
    assert (parcel, parcel_after) == (SCENES / 2, 1)
    assert scene_after > 3 * scene
    assert not tenant.command("cluster")["changed"]
    assert not tenant.command("compact")["changed"], "it gave the space back as well"


def test_a_season_that_goes_on_is_not_clustered(tenant: Tenant) -> None:
    def refused() -> str:
        with pytest.raises(UserError) as raised:
            tenant.rewrite(by_parcel=True)
        return str(raised.value)

    with tenant.connect("cbm_owner") as conn:
        conn.execute(
            """INSERT INTO dias_catalogue (id, obstime, reference, sensor, card)
               VALUES (1, '2021-03-05', 'x', '2A', 's2');
               INSERT INTO tasks (obsid, bandset, bands, method) VALUES (1, '10', '{B02}', '{}')"""
        )
    assert refused().startswith("1 task not done. Tables are clustered only after the last extraction")
    tenant.config = tenant.database.configured(args={"enddate": "2999-01-01"})
    assert refused().startswith("The season ends on 2999-01-01. Tables are clustered only after that")


def test_workers_and_readers_go_on(tenant: Tenant, eventually: Eventually) -> None:
    """A worker writes and replaces scenes from before the copy until after the exchange."""
    stop, faults, written = threading.Event(), list[BaseException](), list[int]()

    def work() -> None:
        try:
            with tenant.connect("cbm_writer") as conn:
                while not stop.is_set():
                    obsid = 100 + len(written) % 5
                    conn.execute("DELETE FROM sigs WHERE obsid = %s", [obsid])
                    conn.execute("DELETE FROM hists WHERE obsid = %s", [obsid])
                    tenant.write(conn, obsid)
                    conn.commit()
                    written.append(obsid)
        except psycopg.Error as error:
            faults.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        eventually(lambda: len(written) > 2 or bool(faults))
        tenant.compact()
        after = len(written)
        eventually(lambda: len(written) > after or bool(faults))
    finally:
        stop.set()
        worker.join()
    assert faults == []
    with tenant.connect("cbm_reader") as conn:
        found = dict(conn.execute("SELECT obsid, count(*) FROM sigs GROUP BY obsid").fetchall())
    assert found == dict.fromkeys([*range(1, SCENES + 1, 2), *sorted({*written})], 2 * PARCELS)
    assert tenant.leftovers() == (0, 0, 0)


def held(tenant: Tenant) -> psycopg.Connection:
    """A transaction that pg_repack waits for, after it has created its trigger."""
    conn = tenant.connect("cbm_writer")
    conn.execute("SELECT count(*) FROM tasks")
    return conn


def test_what_a_killed_run_has_left_is_removed(tenant: Tenant, eventually: Eventually) -> None:
    before, faults = tenant.rows(), list[BaseException]()

    def work() -> None:
        try:
            tenant.compact()
        except UserError as error:
            faults.append(error)

    with held(tenant):
        killed = threading.Thread(target=work)
        killed.start()
        eventually(lambda: tenant.leftovers() != (0, 0, 0))
        with pytest.raises(UserError, match="pg_repack runs already"):
            tenant.compact()
        docker("kill", "--signal=KILL", *containers(tenant.repack))
        killed.join()
    (fault,) = faults
    assert "public.hists was not rewritten" in str(fault)
    assert tenant.leftovers() != (0, 0, 0)
    eventually(lambda: not containers(tenant.repack))
    assert [table.needed for table in tenant.compact()] == [True, True]
    assert tenant.rows() == before
    assert tenant.leftovers() == (0, 0, 0)


def test_an_interrupted_run_cleans_up(tenant: Tenant, eventually: Eventually) -> None:
    before = tenant.rows()

    def interrupt() -> None:
        eventually(lambda: tenant.leftovers() != (0, 0, 0))
        os.kill(os.getpid(), signal.SIGINT)

    with held(tenant):
        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            tenant.compact()
        interrupter.join()
    assert tenant.leftovers() == (0, 0, 0)
    assert tenant.rows() == before


def test_a_lock_that_is_not_granted_leaves_the_table_as_it_is(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewriting, "_LOCK_PATIENCE_S", 1)
    before = tenant.rows()
    with tenant.connect("cbm_writer") as conn:
        conn.execute("LOCK TABLE hists IN ROW EXCLUSIVE MODE")
        with pytest.raises(UserError, match=r"public\.hists was not rewritten.*timeout"):
            tenant.compact()
    assert tenant.rows() == before
    assert tenant.leftovers() == (0, 0, 0)


def test_too_little_space(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(rewriting.shutil, "disk_usage", lambda _folder: usage(1, 0, 10**9))
    before = tenant.size()
    with pytest.raises(UserError, match=r"public\.hists: rewriting needs .* GB, but .* has 1\.0 GB free\."):
        tenant.compact()
    assert tenant.size() == before


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        (("/nowhere/pg_repack",), "pg_repack is not installed here"),
        (
            ("sh", "-c", "echo pg_repack 1.0.0"),
            "pg_repack 1.0.0 cannot be used with the database's extension",
        ),
    ],
)
def test_a_missing_or_other_pg_repack(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, program: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.setattr(rewriting, "PROGRAM", program)
    with pytest.raises(UserError) as raised:
        tenant.compact()
    assert sentence in str(raised.value)


def test_the_role_lets_the_owner_rewrite_tables_once(tenant: Tenant) -> None:
    with tenant.database.connect(autocommit=True) as conn:

        def changes() -> list[str]:
            conn.execute(REPACK.read_bytes())
            row = conn.execute("SELECT current_setting('cbm.changes')").fetchone()
            assert row
            return str(row[0]).splitlines()

        assert changes() == []
        conn.execute("REVOKE SELECT ON repack.tables FROM cbm_owner")
        assert changes() == ["cbm_owner: repack.tables granted"]
        conn.execute("UPDATE pg_extension SET extversion = '1.0' WHERE extname = 'pg_repack'")
        assert changes()[0] == "extension pg_repack created"
        assert changes() == []


def test_a_database_without_the_extension(conn: psycopg.Connection, config: Config) -> None:
    with pytest.raises(UserError, match=r"no extension pg_repack\. Run playbooks/database\.yml"):
        rewrite(conn, config, by_parcel=False)


def test_tables_are_vacuumed_if_they_need_it(tenant: Tenant, eventually: Eventually) -> None:
    def dead() -> int:
        with tenant.connect("cbm_reader") as conn:
            row = conn.execute(
                "SELECT sum(n_dead_tup)::integer FROM pg_stat_user_tables WHERE relname IN ('sigs', 'hists')"
            ).fetchone()
        assert row
        return int(row[0])

    deleted = PARCELS * 3 * SCENES // 2
    eventually(lambda: dead() == deleted)
    would = {table["table"]: table for table in tenant.command("vacuum", "--check")["tables"]}
    assert would["public.sigs"]["dead"] == PARCELS * SCENES
    assert dead() == deleted
    assert tenant.command("vacuum")["changed"]
    eventually(lambda: not tenant.command("vacuum", "--check")["changed"])
    assert dead() == 0
