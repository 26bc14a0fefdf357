"""`maintain vacuum` and `compact`: tables are rewritten while others read and write, and nothing is lost."""

import threading
from collections.abc import Callable

import psycopg
import pytest

from cbmctl.errors import UserError
from tests.support.repacking import PARCELS, REPACK, SCENES, Tenant

pytestmark = pytest.mark.postgis

Eventually = Callable[[Callable[[], bool]], None]


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
    assert refused().startswith("1 unfinished task found. Tables are clustered only when no task is ready or")
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
