"""The forecast of what new parcels cost, against sums made by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import shapely
from click.testing import CliRunner

from cbmctl.cli import cbmctl, commands  # noqa: F401  (the commands register themselves)
from cbmctl.config import Tables
from cbmctl.parcels.load import Options, load
from cbmctl.queue.delta_cost import DeltaCost
from tests.conftest import Database
from tests.support.parcel_loading import rows, write

pytestmark = pytest.mark.postgis

# Each in a tile of its own, at 10 m and at 20 m.
FAR_APART = [shapely.box(500_000 + x, 6_000_000, 500_100 + x, 6_000_100) for x in range(0, 120_000, 30_000)]
# Of each band set: bands, and seconds that its task took.
TASKS = {"scl": ("{SCL}", 10), "10": ("{B02,B03,B04,B08}", 60), "bs": ("{VVb,VHb}", 30)}


@pytest.fixture
def extracted(conn: psycopg.Connection, tables: Tables, tmp_path: Path) -> None:
    """Scene 1 shows all parcels, scene 2 the first two; a worker was busy for 100 seconds with each."""
    load(conn, tables, write(tmp_path / "first.gpkg", FAR_APART, id=list(range(4))), Options())
    for obsid, east in ((1, 12), (2, 9.7)):
        conn.execute(
            """INSERT INTO dias_catalogue (id, obstime, reference, sensor, card, status, footprint)
               VALUES (%(id)s, '2021-03-05', %(id)s::text, '2A', 's2', 'extracted',
                   ST_MakeEnvelope(8, 53, %(east)s, 55, 4326))""",
            {"id": obsid, "east": east},
        )
        for bandset, (bands, seconds) in TASKS.items():
            conn.execute(
                """INSERT INTO tasks (obsid, bandset, bands, method, state, rows, parcels_covered, claimed_at,
                       finished_at)
                   VALUES (%s, %s, %s, '{}', 'done', 4, 1, '2021-03-06', '2021-03-06'::timestamptz
                       + %s * interval '1 s')""",
                [obsid, bandset, bands, seconds],
            )
    conn.execute("INSERT INTO sigs (pid, obsid, band, count) VALUES (1, 1, 'B02', 9)")


def forecast(conn: psycopg.Connection, tables: Tables, path: Path) -> DeltaCost | None:
    updated = load(conn, tables, path, Options(), check_only=True, accept_removals=True).updated
    assert updated
    return updated.cost


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """The last parcel is ten metres wider."""
    wider = shapely.box(*FAR_APART[3].bounds[:2], FAR_APART[3].bounds[2] + 10, FAR_APART[3].bounds[3])
    return write(tmp_path / "moved.gpkg", [*FAR_APART[:3], wider], id=list(range(4)))


@pytest.mark.usefixtures("extracted")
def test_a_parcel_in_one_of_four_tiles(
    database: Database, conn: psycopg.Connection, tables: Tables, moved: Path
) -> None:
    """Scene 1 alone shows it: 7 bands, 5 of them of Sentinel-2, and a quarter of the tiles."""
    cost = forecast(conn, tables, moved)
    assert cost == DeltaCost(
        files=7,
        gigabytes=pytest.approx(2e-3 + 4 * 0.105 + 2 * 0.672),
        tiles=5,
        all_tiles=20,
        worker_seconds=pytest.approx(100 * (0.25 + 0.05)),
    )
    done = CliRunner().invoke(
        cbmctl,
        [
            "--config",
            str(database.config_path),
            "parcels",
            "load",
            str(moved),
            "--check",
            "--accept-removals",
        ],
    )
    assert (
        "This opens about 7 files (1.8 GB in total) and decodes 5 of 20 JPEG 2000 tiles; one worker needs"
        " about 30 seconds. If the archive is in S3, the files are downloaded completely"
    ) in done.stderr
    assert rows(conn, "SELECT to_regclass('pg_temp.cbm_tiles_of_parcels')") == [(None,)]


@pytest.mark.usefixtures("extracted")
def test_parcels_everywhere_cost_no_more_than_the_first_extraction(
    conn: psycopg.Connection, tables: Tables, tmp_path: Path
) -> None:
    """Shown by both scenes: all four tiles of one, both of the other, and the time of all tasks."""
    shifted: list[Any] = [shapely.affinity.translate(parcel, 20, 0) for parcel in FAR_APART]
    cost = forecast(conn, tables, write(tmp_path / "shifted.gpkg", shifted, id=list(range(4))))
    assert cost
    assert (cost.files, cost.tiles, cost.all_tiles) == (14, 30, 30)
    assert cost.worker_seconds == pytest.approx(200)


@pytest.mark.usefixtures("extracted")
def test_times_of_deltas_say_nothing_about_whole_tasks(
    conn: psycopg.Connection, tables: Tables, moved: Path
) -> None:
    """A task claimed after the first update may have read a few parcels only."""
    conn.execute(
        """INSERT INTO parcel_history (table_name, ogc_fid, since, until, valid_to)
           VALUES ('public.parcels_2021', 99, 1, 2, '2021-03-05')"""
    )
    cost = forecast(conn, tables, moved)
    assert cost
    assert cost.worker_seconds is None
    assert "needs" not in cost.sentence()
    assert "about 7 files" in cost.sentence()


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "1 second"), (89, "89 seconds"), (90, "2 minutes"), (7200, "2.0 hours")]
)
def test_durations_are_for_people(seconds: float, said: str) -> None:
    cost = DeltaCost(1, 0.1, 1, 2, 1.0)
    assert f"one worker needs about {said}." in replace(cost, worker_seconds=seconds).sentence()
