"""The worker on small real products: its rows are numpy's, and a broken scene stops no other."""

import psycopg
import pytest

from cbmctl.database import connect
from cbmctl.queue import tasks
from cbmctl.queue.planning import plan
from cbmctl.worker.pipeline import work
from cbmctl.worker.stop_signal import Stop
from tests.support.expected_rows import expected_hists, expected_sigs, found_sigs, members
from tests.support.products_s2 import image_file
from tests.support.season import OFFSET, Season, pixels

pytestmark = pytest.mark.postgis


def test_rows_are_numpys(season: Season) -> None:
    days = {season.scene(day): day for day in (5, 6)}
    lines = season.extract()
    assert len(lines) == 6
    assert found_sigs(season) == [row for obsid, day in days.items() for row in expected_sigs(obsid, day)]
    assert season.rows("SELECT pid, obsid, hist FROM hists ORDER BY obsid, pid") == [
        row for obsid, day in days.items() for row in expected_hists(obsid, day)
    ]
    assert season.rows("SELECT DISTINCT status, applied_offset FROM dias_catalogue") == [
        ("extracted", OFFSET)
    ]
    assert season.rows("SELECT bandset, sum(parcels), sum(rows) FROM tasks GROUP BY 1 ORDER BY 1") == [
        ("10", 4, 8),
        ("20", 4, 4),
        ("scl", 4, 4),
    ]


def test_values_as_stored(season: Season) -> None:
    season.database.configured(
        extraction={"s2": {"scl": False, "10": ["B02"], "20": [], "reflectance": "as-stored"}}
    )
    config = season.database.configured()
    season.scene(5)
    with connect(config, autocommit=True) as conn:
        plan(conn, config)
    work(config, stop=Stop(), note=lambda _line: None)
    low = pixels(5)["B02_10m"][members(1, 10)].min()
    assert season.rows('SELECT "min" FROM sigs WHERE pid = 1') == [(float(low),)]
    assert season.rows("SELECT applied_offset FROM dias_catalogue") == [(0,)]


def test_a_second_extraction_replaces_the_first(season: Season) -> None:
    scene = season.scene(5)
    season.extract()
    with season.database.connect(autocommit=True) as conn:
        conn.execute("UPDATE dias_catalogue SET status = 'ingested'")
        conn.execute("UPDATE sigs SET mean = 0")
        # of a parcel that is gone, and of another card: the one must go, the other must stay
        conn.execute(
            "INSERT INTO sigs (pid, obsid, band) VALUES (99, %s, 'B02'), (99, %s, 'VVb')", [scene, scene]
        )
    season.extract()
    assert season.rows("SELECT pid, band FROM sigs WHERE pid = 99") == [(99, "VVb")]
    with season.database.connect(autocommit=True) as conn:
        conn.execute("DELETE FROM sigs WHERE pid = 99")
    assert found_sigs(season) == expected_sigs(scene, 5)


def test_a_scene_without_parcels_is_not_even_opened(season: Season) -> None:
    empty = season.scene(5, product=False, shift=0.3)
    assert len(season.extract()) == 1
    assert season.status(empty) == "No parcels"
    assert season.rows("SELECT count(*), sum(rows) FROM tasks WHERE state = 'done'") == [(3, 0)]


@pytest.mark.parametrize(
    ("damage", "status", "code", "reason"),
    [
        ("product", "!S3 subdir", "archive.product_missing", "is not in the archive"),
        ("band", "!S3 B02.jp2", "archive.file_missing", "lacks B02"),
        ("bytes", "Rio error", "archive.unreadable", "cannot be read"),
        ("parcels", "Parcel SQL", "parcels.unreadable", "public.parcels_2021 cannot be read"),
        ("path", "!S3 subdir", "catalogue.no_path", "the catalogue has no path"),
    ],
)
def test_a_broken_scene_gets_its_word_and_the_others_go_on(
    season: Season, damage: str, status: str, code: str, reason: str
) -> None:
    broken, whole = season.scene(5, product=damage != "product"), season.scene(6)
    path = season.rows("SELECT path FROM dias_catalogue WHERE id = %s", broken)[0][0]
    with season.database.connect(autocommit=True) as conn:
        if damage == "band":
            image_file(season.config.eodata, path, "B02_10m").unlink()
        if damage == "bytes":
            image_file(season.config.eodata, path, "B02_10m").write_bytes(b"")
        if damage == "path":
            conn.execute("UPDATE dias_catalogue SET path = NULL WHERE id = %s", [broken])
        if damage == "parcels":
            conn.execute("ALTER TABLE parcels_2021 RENAME TO parcels_gone")
    season.extract()
    found = season.rows("SELECT status, reason_code, reason FROM dias_catalogue WHERE id = %s", broken)[0]
    assert found[:2] == (status, code)
    assert reason in found[2]
    assert season.status(whole) == (status if damage == "parcels" else "extracted")


def test_a_scene_without_footprint_is_not_one_without_parcels(season: Season) -> None:
    scene = season.scene(5)
    season.extract()
    with season.database.connect(autocommit=True) as conn:
        conn.execute("UPDATE tasks SET state = 'ready', parcels_covered = NULL")
        conn.execute("UPDATE dias_catalogue SET footprint = NULL")
    before = found_sigs(season)
    work(season.config, stop=Stop(), note=lambda _line: None)
    assert season.status(scene) == "No extent"
    assert found_sigs(season) == before


def test_an_empty_parcel_table_is_an_error_of_the_table(season: Season) -> None:
    scene = season.scene(5)
    with season.database.connect(autocommit=True) as conn:
        conn.execute("DELETE FROM parcels_2021")
    season.extract()
    assert season.status(scene) == "Parcel SQL"


def test_an_error_that_is_not_the_lines_ends_the_worker(
    season: Season, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk comes as the same class as a lost connection; waiting would not mend it."""

    def full(*_: object, **__: object) -> None:
        raise psycopg.errors.DiskFull("no space left on device")

    monkeypatch.setattr("cbmctl.queue.tasks.claim", full)
    with pytest.raises(psycopg.errors.DiskFull):
        work(season.config, stop=Stop(), note=lambda _line: None)


def test_a_failed_claim_leaves_no_lock(season: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    season.scene(5)

    def deadlock(*_: object) -> None:
        raise psycopg.errors.DeadlockDetected("deadlock detected")

    with connect(season.config, autocommit=True) as conn:
        plan(conn, season.config)
        with monkeypatch.context() as patch:
            patch.setattr("cbmctl.queue.tasks._start", deadlock)
            with pytest.raises(psycopg.errors.DeadlockDetected):
                tasks.claim(conn, season.config, "a")
        assert season.rows("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]
        with connect(season.config, autocommit=True) as other:
            assert tasks.claim(other, season.config, "b")


def test_a_failed_write_leaves_no_rows(season: Season) -> None:
    scene = season.scene(5)
    with season.database.connect(autocommit=True) as conn:
        conn.execute("ALTER TABLE sigs ADD CHECK (band <> 'B03')")
    season.extract()
    assert season.rows("SELECT DISTINCT band FROM sigs") == [("B05",)]
    assert season.status(scene) == "No out db"
