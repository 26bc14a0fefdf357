"""`maintain compact` refused, killed or interrupted: the table stays as it is, and nothing is left."""

import os
import shutil
import signal
import subprocess
import threading
from collections import namedtuple
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import psycopg
import pytest

from cbmctl.archive.disk_space import KEPT_FREE
from cbmctl.config import Config
from cbmctl.database import one
from cbmctl.errors import UserError
from cbmctl.maintenance import rewrite as rewriting
from cbmctl.maintenance.free_space import log_size
from cbmctl.maintenance.rewrite import rewrite
from tests.conftest import docker
from tests.support.effort import THOROUGH
from tests.support.repacking import SCENES, Tenant, containers

pytestmark = pytest.mark.postgis

Eventually = Callable[[Callable[[], bool]], None]
KILLS = int(os.environ.get("CBM_KILLS", "200" if THOROUGH else "3"))


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
    before, command = tenant.rows(), threading.get_ident()

    def interrupt() -> None:
        try:
            eventually(lambda: tenant.leftovers() != (0, 0, 0))
        finally:  # whatever happens: pg_repack would wait forever for what is held here
            signal.pthread_kill(command, signal.SIGINT)

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
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage(1, 0, 10**9))
    before = tenant.size()
    with pytest.raises(UserError, match=r"public\.hists: rewriting needs .* GB, but .* has 1\.0 GB free\."):
        tenant.compact()
    assert tenant.size() == before


def test_clustering_needs_space_for_the_table_twice(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    with tenant.connect("cbm_owner") as conn:
        conn.execute("ANALYZE sigs")
        heap, total, pages = one(conn, rewriting._SURVEY, {"table": "public.sigs"})
        once = pages * rewriting._PAGE + total - heap + log_size(conn, total) + KEPT_FREE
    usage = namedtuple("usage", "total used free")

    def check(free: int, *, by_parcel: bool) -> list[bool]:
        monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage(1, 0, free))
        with tenant.connect("cbm_owner") as conn:
            tables = rewrite(conn, tenant.config, by_parcel=by_parcel, check=True)
        return [table.needed for table in tables]

    refused = pytest.raises(UserError, match=r"public\.sigs: rewriting needs ")
    between = once + pages * rewriting._PAGE // 2
    with refused:
        check(once - pages * rewriting._PAGE // 2, by_parcel=False)
    assert check(between, by_parcel=False) == [True, True]
    with refused:
        check(between, by_parcel=True)
    assert check(between + pages * rewriting._PAGE, by_parcel=True) == [True, True]


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


def test_a_database_without_the_extension(conn: psycopg.Connection, config: Config) -> None:
    with pytest.raises(UserError, match=r"no extension pg_repack\. Run playbooks/database\.yml"):
        rewrite(conn, config, by_parcel=False)


def test_clustering_killed_at_random_instants(tenant: Tenant, eventually: Eventually) -> None:
    """Between two kills a worker writes a scene, and the oldest one goes."""
    chance, killed, obsid = np.random.default_rng(8), 0, SCENES
    while killed < KILLS:
        obsid += 1
        with tenant.connect("cbm_owner") as conn:
            tenant.write(conn, obsid)
            for table in ("sigs", "hists"):
                conn.execute(f"DELETE FROM {table} WHERE obsid = {obsid - SCENES}".encode())
        before, faults = tenant.rows(), list[BaseException]()

        def work(faults: list[BaseException] = faults) -> None:
            try:
                tenant.rewrite(by_parcel=True)
            except UserError as error:
                faults.append(error)

        run = threading.Thread(target=work)
        run.start()
        eventually(lambda run=run: bool(containers(tenant.repack)) or not run.is_alive())
        run.join(chance.uniform(0, 1.5))
        for container in containers(tenant.repack):
            with suppress(subprocess.CalledProcessError):  # it has ended by itself
                docker("kill", "--signal=KILL", container)
        run.join()
        killed += bool(faults)
        eventually(lambda: not containers(tenant.repack))
        assert tenant.rows() == before
    tenant.rewrite(by_parcel=True)
    assert tenant.rows() == before
    assert tenant.leftovers() == (0, 0, 0)
