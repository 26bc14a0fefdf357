"""A later season does all that the first one can, and needs no table of the first one."""

import json
import shlex
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import conninfo, sql
from shapely import MultiPolygon

from cbmctl.cli import cbmctl
from tests.conftest import Database
from tests.support.odp_server import Odp
from tests.support.parcel_loading import write
from tests.support.season import PARCELS
from tests.support.second_season import SCHEMA, later, stored
from tests.unit.cli.test_help_examples import NEWER, RUN, before, tenant

__all__ = ["tenant"]  # a fixture
SHARED = {"aois", "orders", "order_items", "spatial_ref_sys", "cbm_schema"}
pytestmark = pytest.mark.postgis


def run(line: str) -> Any:
    words = shlex.split(line)[1:]
    target = words[words.index(">") + 1] if ">" in words else None
    given = words[: words.index(">")] if target else words
    result = CliRunner().invoke(cbmctl, given, input="y\n", standalone_mode=False)
    assert result.exception is None, f"{line}: {result.exception!r} {result.output}"
    if target:
        Path(target).write_text(result.stdout)
    return json.loads(result.stdout) if "--json" in words else None


def own(conn: psycopg.Connection) -> set[str]:
    """Return the tables in the schema of the first season."""
    found = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return {name for (name,) in found}


@pytest.fixture
def alone(tenant: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The tables that seasons share, and a later season whose scene is that of the examples."""
    config = later(tenant)
    for name in ("owner", "writer"):
        path = config.source.with_name(name) / config.source.name
        path.write_text(config.source.read_text())
    monkeypatch.setenv("CBM_SEASON", "2022")
    run("cbmctl schema apply")
    with tenant.connect() as conn:
        conn.execute(
            f"INSERT INTO {SCHEMA}.dias_catalogue"
            " (obstime, reference, sensor, card, path, footprint, tile, baseline)"
            " SELECT obstime, reference, sensor, card, path, footprint, tile, baseline"
            " FROM public.dias_catalogue"
        )
        for name in own(conn) - SHARED:
            conn.execute(sql.SQL("DROP TABLE {} CASCADE").format(sql.Identifier("public", name)))
    dsn = conninfo.make_conninfo(tenant.dsn, options=f"-c search_path={SCHEMA}")
    return Database(dsn, config, config.source, has_schema=True)


def test_the_examples_of_all_commands(alone: Database, odp: Odp, tmp_path: Path) -> None:
    for line in RUN:
        before(line, odp)
        run(line)
    with alone.connect() as conn:
        assert conn.execute("SELECT count(*) > 0 FROM sigs").fetchone() == (True,)
        # what the services listed is not in the archive
        listed = conn.execute(
            "DELETE FROM dias_catalogue WHERE reference = %s OR card = 'bs' RETURNING card", [f"{NEWER}.SAFE"]
        ).fetchall()
        assert sorted(listed) == [("bs",), ("s2",)]
    # parcels that change
    parcels = [MultiPolygon([each]) for each in PARCELS.values()]
    write(tmp_path / "changed.gpkg", [parcels[0], parcels[1].buffer(-1)])
    changed = run("cbmctl --json parcels load changed.gpkg --accept-removals")
    assert changed["updated"]["gone_table"] == f"{SCHEMA}.parcels_2021_gone"
    run("cbmctl extract run")
    # the season is over: it is archived, and comes back
    with alone.connect() as conn:
        state = "SELECT obsid, bandset, state, parcels_covered FROM tasks ORDER BY 1, 2"
        (version,) = conn.execute("SELECT version FROM parcel_sets").fetchone() or (0,)
        assert version > 1
        assert conn.execute(state).fetchall() == [(1, name, "done", version) for name in ("10", "20", "scl")]
        rows = stored(conn, SCHEMA)
    run("cbmctl maintain archive season")
    assert run("cbmctl --json maintain archive season --drop")["changed"]
    with alone.connect() as conn:
        assert conn.execute("SELECT status FROM dias_catalogue").fetchall() == [("archived",)]
        assert conn.execute("SELECT count(*) FROM sigs").fetchone() == (0,)
    run("cbmctl maintain restore season")
    with alone.connect() as conn:
        back = stored(conn, SCHEMA)
        for table in ("sigs", "hists"):
            assert sorted(str(row[2:]) for row in back[table]) == sorted(str(row[2:]) for row in rows[table])
    complete = run("cbmctl --json status --complete")
    assert [(day["card"], day["extracted"]) for day in complete["days"]] == [("s2", 1)]
    run("cbmctl report --output report --title Season")
    with alone.connect() as conn:
        assert own(conn) <= SHARED
