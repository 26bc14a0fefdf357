"""Parcels that several tiles show, when settings change: what counts is what the settings say now."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from shapely import box

from cbmctl.cli import cbmctl
from cbmctl.database import connect
from cbmctl.queue.planning import plan
from cbmctl.worker.pipeline import work
from cbmctl.worker.stop_signal import Stop
from tests.conftest import Database
from tests.support.datatakes import HERE, MORE, WEST, Datatake, without
from tests.support.products_s2 import LEFT, TOP
from tests.support.season import Season

pytestmark = pytest.mark.postgis

# Beside the others: one that two tiles cut, of which the tile in the west lacks bands.
CUT_BY_BOTH = box(LEFT + 40, TOP - 430, LEFT + 190, TOP - 340)


@pytest.fixture
def datatake(season: Season, monkeypatch: pytest.MonkeyPatch) -> Datatake:
    """Two tiles; the west sees parcel 1 through cloud, and lacks bands of parcels 4 and 6."""
    monkeypatch.setitem(MORE, 6, CUT_BY_BOTH)
    made = Datatake(season)
    lacking = without(WEST, 6, "B02_10m", "B05_20m")
    lacking["B02_10m"] = lacking["B02_10m"] * (without(WEST, 4, "B02_10m")["B02_10m"] > 0)
    classes = without(WEST, 1, "SCL_20m")["SCL_20m"]
    classes[classes == 0] = 9
    made.enter(WEST, **lacking, SCL_20m=classes)
    made.enter(HERE)
    return made


def test_only_the_classes_of_the_tile_that_is_best_now_are_read_again(datatake: Datatake) -> None:
    """Both tiles cut a parcel: its histogram is in the west, its statistics with edges kept in the other."""
    datatake.plan()
    datatake.work()
    before = datatake.found()
    for edge, tile in (("keep", HERE), ("drop", WEST), ("keep", HERE)):
        datatake.plan(edge=edge)
        lines = sorted(line.split(":")[0].split("_T")[1] for line in datatake.work())
        assert [line for line in lines if line.endswith("scl")] == [f"{tile}_20210305T135811.SAFE scl"]
        assert len(lines) == 5, "and 10 m and 20 m of both"
    with datatake.season.database.connect() as conn:
        conn.execute("UPDATE tasks SET elsewhere_seen = NULL")  # as an earlier version left it
    datatake.plan()
    datatake.work()
    assert datatake.found() == before


def test_a_reported_histogram_comes_back_to_its_tile(database: Database, testdata: Path) -> None:
    folder = testdata / "reports" / "overlap_after_change"
    if not folder.is_dir():
        pytest.skip(f"REPORTED FAULTS ABSENT: {folder} is not there; this test proves nothing here")
    bands = {"10": ["B02", "B03", "B04", "B08"], "20": ["B05", "B06", "B11"]}
    period = ("2022-01-01", "2023-01-01")
    for edge in ("drop", "keep", "drop"):
        config = database.configured(
            args={"startdate": period[0], "enddate": period[1]},
            eodata=str(folder / "eodata"),
            extraction={"s2": bands | {"edge": edge}},
        )
        if edge == "drop" and not config.cache.exists():
            for arguments in (
                ("schema", "apply"),
                ("parcels", "load", str(folder / "parcels" / "mini.gpkg")),
                ("aoi", "set", "parcels_2021", "--from-parcels"),
                ("catalogue", "sync", "parcels_2021", *period, "s2", "--source", "archive"),
            ):
                done = CliRunner().invoke(cbmctl, ["--config", str(database.config_path), *arguments])
                assert done.exception is None, done.exception
        with connect(config, autocommit=True) as conn:
            plan(conn, config)
            work(config, stop=Stop(), note=lambda _line: None)
            hists = conn.execute(
                "SELECT tile, hist FROM hists JOIN dias_catalogue d ON d.id = obsid"
                " WHERE status = 'extracted'"
            ).fetchall()
        assert hists == [("32TLT", {"5": 4})] if edge == "keep" else [("31TGN", {"0": 4, "5": 5})]
