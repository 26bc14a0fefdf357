"""A filled database, and pg_repack of the database's image, for tests of `maintain`."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import conninfo

from cbmctl.cli import cbmctl
from cbmctl.maintenance import rewrite as rewriting
from cbmctl.maintenance.rewrite import rewrite
from cbmctl.schema import apply
from tests.conftest import REPOSITORY, Database, docker, image_to_test

REPACK = REPOSITORY / "roles" / "database" / "files" / "repack.sql"
PARCELS, SCENES, PASSWORD = 2000, 8, "only-for-tests"
# Scenes whose rows `Tenant.waste` leaves, and those that `replace_scenes` writes.
KEPT, NEW = range(1, SCENES + 1, 2), range(100, 105)


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

    def waits_for_transactions(self) -> bool:
        """Whether pg_repack waits for transactions that began before it."""
        with self.database.connect() as conn:
            row = conn.execute(
                """SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                       AND pid <> pg_backend_pid() AND query ~ 'virtualtransaction = ANY')"""
            ).fetchone()
        return row == (True,)

    def compact(self) -> list[Any]:
        return self.rewrite(by_parcel=False)

    def rewrite(self, *, by_parcel: bool) -> list[Any]:
        with psycopg.connect(
            conninfo.make_conninfo(self.database.dsn, user="cbm_owner", password=PASSWORD), autocommit=True
        ) as conn:
            return rewrite(conn, self.config, by_parcel=by_parcel)


def replace_scenes(tenant: Tenant, stop: Event, written: list[int]) -> None:
    """Write and replace five scenes as a worker does, again and again."""
    with tenant.connect("cbm_writer") as conn:
        while not stop.is_set():
            obsid = NEW[len(written) % len(NEW)]
            conn.execute("DELETE FROM sigs WHERE obsid = %s", [obsid])
            conn.execute("DELETE FROM hists WHERE obsid = %s", [obsid])
            tenant.write(conn, obsid)
            conn.commit()
            written.append(obsid)


def read_scenes(tenant: Tenant, stop: Event, read: list[int]) -> None:
    """Read as a client does, again and again: each answer has all rows of the scenes that are there, once."""
    with tenant.connect("cbm_reader") as conn:
        conn.autocommit = True
        conn.execute("SET lock_timeout = '60s'")
        while not stop.is_set():
            series = conn.execute(
                "SELECT obsid, count(*) FROM sigs JOIN hists USING (pid, obsid) WHERE pid = 7 GROUP BY 1"
            ).fetchall()
            assert {*KEPT} <= dict(series).keys() <= {*KEPT, *NEW}
            assert {rows for _, rows in series} == {2}
            scenes = conn.execute("SELECT obsid, count(*) FROM hists GROUP BY 1").fetchall()
            assert {*KEPT} <= dict(scenes).keys()
            assert {rows for _, rows in scenes} == {PARCELS}
            read.append(len(scenes))


def containers(label: str) -> list[str]:
    return docker("ps", "--all", "--quiet", f"--filter=label=cbm-test={label}").split()


@contextmanager
def repack_of_image(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """pg_repack from the database's image, as the worker image has it; yields the label of its containers."""
    name = f"repack-{uuid.uuid4().hex[:8]}"
    variables = ["PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGSSLMODE"]
    environment = [f"--env={variable}" for variable in variables]
    command = ["docker", "run", "--rm", "--init", f"--label=cbm-test={name}", "--network=host", *environment]
    monkeypatch.setattr(rewriting, "PROGRAM", (*command, "--entrypoint=pg_repack", image_to_test()))
    yield name
    for container in containers(name):
        docker("rm", "--force", container)
