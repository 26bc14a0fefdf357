"""`maintain vacuum` and `compact`: tables are rewritten while others read and write, and nothing is lost."""

import threading
from collections.abc import Callable

import psycopg
import pytest

from cbmctl.config import Config
from cbmctl.database import query
from cbmctl.errors import UserError
from cbmctl.maintenance import statement_progress as watching
from cbmctl.maintenance.rewrite import rewrite
from cbmctl.maintenance.statement_progress import watched
from tests.support.repacking import KEPT, PARCELS, REPACK, SCENES, Tenant, read_scenes, replace_scenes

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


def catching(what: Callable[[], None], faults: list[BaseException]) -> None:
    """Run in a thread; the test looks at the faults."""
    try:
        what()
    except BaseException as error:  # noqa: BLE001
        faults.append(error)


def test_workers_and_readers_go_on(tenant: Tenant, eventually: Eventually) -> None:
    """A worker replaces scenes, and a client reads, from before the copy until after the exchange.

    While there is a copy, pg_repack waits here for another client, so both are seen to go on meanwhile.
    """
    stop, faults = threading.Event(), list[BaseException]()
    written, read, points = list[int](), list[int](), list[int]()

    def compact() -> None:
        def progress(_label: str, _length: int) -> Callable[[int], None]:
            return points.append

        with tenant.connect("cbm_owner") as conn:
            conn.autocommit = True
            rewrite(conn, tenant.config, by_parcel=False, progress=progress)

    def go_on() -> None:
        begin = len(written), len(read)
        eventually(lambda: (len(written) > begin[0] + 1 and len(read) > begin[1] + 1) or bool(faults))

    def run(what: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=catching, args=(what, faults))
        thread.start()
        return thread

    threads = [
        run(lambda: replace_scenes(tenant, stop, written)),
        run(lambda: read_scenes(tenant, stop, read)),
    ]
    try:
        go_on()
        with tenant.connect("cbm_reader") as client:
            with tenant.connect("cbm_writer") as earlier:
                earlier.execute("SELECT FROM tasks")
                threads.append(run(compact))
                eventually(lambda: tenant.waits_for_transactions() or bool(faults))
                client.execute("SELECT FROM hists LIMIT 1")
            # the copy is made, and cannot be exchanged
            eventually(lambda: sum(points) > 50 or bool(faults))
            go_on()
            assert tenant.leftovers()[0] == 1
        threads[2].join()
        go_on()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert faults == []
    assert all(point > 0 for point in points)
    with tenant.connect("cbm_reader") as conn:
        found = dict(conn.execute("SELECT obsid, count(*) FROM sigs GROUP BY obsid").fetchall())
    assert found == dict.fromkeys([*KEPT, *sorted({*written})], 2 * PARCELS)
    assert tenant.leftovers() == (0, 0, 0)


def test_progress_is_reported_while_a_statement_runs(
    conn: psycopg.Connection, config: Config, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_EVERY_S", 0.02)
    conn.execute("CREATE TABLE done (share float8); INSERT INTO done VALUES (NULL)")
    points = list[int]()
    with watched(config, query("SELECT share FROM done WHERE share < %(most)s"), {"most": 9}, points.append):
        # what is estimated may be less than before, or more than all
        for share, reported in ((0.25, [25]), (0.1, [25]), (0.5, [25, 25]), (7, [25, 25, 50])):
            conn.execute("UPDATE done SET share = %s", [share])
            eventually(lambda reported=reported: points == reported)
        conn.execute("DELETE FROM done")
    assert sum(points) == 100
    with watched(config, query("SELECT share FROM nowhere"), {}, points.append):
        pass
    assert sum(points) == 100


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
