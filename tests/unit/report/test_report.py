"""The report says what is in the database, whatever little that is."""

import builtins
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from click.testing import CliRunner
from matplotlib.image import imread
from PIL import Image

from cbmctl import schema
from cbmctl.cli import cbmctl
from cbmctl.config import Config
from cbmctl.errors import UserError
from cbmctl.report.make import Report, make_report
from cbmctl.report.observations import choose_measure
from tests.conftest import Database

REAL, MADE_UP = "20210401T120000", "19700101T000000"
SIDE = 5  # parcels in a row


def fill_parcels(conn: psycopg.Connection) -> None:
    """25 square parcels of 1 ha, one with a hole."""
    conn.execute(
        "CREATE TABLE parcels_2021 (ogc_fid integer PRIMARY KEY, parcel_id text, crop_name text,"
        " wkb_geometry geometry(MultiPolygon, 3035))"
    )
    for n in range(SIDE * SIDE):
        x, y = 4_500_000 + 110 * (n % SIDE), 2_800_000 + 110 * (n // SIDE)
        conn.execute(
            "INSERT INTO parcels_2021 SELECT %s, %s, 'Čičerika', ST_Multi(CASE WHEN %s = 7 THEN"
            " ST_Difference(field, ST_Buffer(ST_Centroid(field), 20)) ELSE field END)"
            " FROM ST_MakeEnvelope(%s, %s, %s, %s, 3035) AS field",
            [n + 1, f"DK-{n + 1:03}", n, x, y, x + 100, y + 100],
        )
    findings = {"repaired": [{"feature": 3, "reason": "Self-intersection"}], "refused": []}
    conn.execute(
        "INSERT INTO parcel_sets VALUES"
        " ('public.parcels_2021', 'gsaa_2021.gpkg', 'abc', '{}', 3035, 25, now(), %s)",
        [json.dumps(findings)],
    )


def fill_scene(
    conn: psycopg.Connection,
    when: datetime,
    values: dict[str, Callable[[int], float]],
    *,
    cloudy: Callable[[int], bool] | None = lambda _: False,
    made: str = REAL,
    offsets: tuple[int | None, int | None] = (-1000, -1000),
) -> None:
    """One scene of all parcels: a band's mean by parcel, and whether the parcel is under a cloud."""
    name = f"S2A_MSIL2A_{when:%Y%m%dT%H%M%S}_N0500_R065_T32TMT_{made}.SAFE"
    (obsid,) = conn.execute(
        "INSERT INTO dias_catalogue"
        " (obstime, reference, sensor, card, status, footprint, boa_offset, applied_offset)"
        " SELECT %s, %s, '2A', 's2', 'extracted',"
        " ST_Transform(ST_SetSRID(ST_Extent(wkb_geometry), 3035), 4326), %s, %s"
        " FROM parcels_2021 RETURNING id",
        [when, name, *offsets],
    ).fetchone()
    for pid in range(1, SIDE * SIDE + 1):
        for band, mean in values.items():
            conn.execute(
                "INSERT INTO sigs VALUES (%s, %s, %s, 100, %s, 5, 1, 2, 3, 4, 5)",
                [pid, obsid, band, mean(pid)],
            )
        if cloudy is not None:
            hist = {"4": 20, "9": 5} if cloudy(pid) else {"4": 25}
            conn.execute("INSERT INTO hists VALUES (%s, %s, %s)", [pid, obsid, json.dumps(hist)])


def fill_season(conn: psycopg.Connection, **options: Any) -> None:
    """Eight dates; parcel 13 turns green most, parcel 20 more so but under clouds half of the time."""

    def near_infrared(green: float) -> Callable[[int], float]:
        return lambda pid: 2000 + green * (3000 if pid == 20 else 2500 if pid == 13 else 20 * pid)

    for n, green in enumerate((0, 0, 0.3, 0.7, 1, 1, 0.6, 0.2)):
        fill_scene(
            conn,
            datetime(2021, 4, 2, 10, 20) + timedelta(days=15 * n),
            {"B04": lambda _, g=green: 1500 - 900 * g, "B08": near_infrared(green), "B05": lambda _: 1800.0},
            cloudy=lambda pid, n=n: n == 3 or (pid == 20 and n % 2 == 1),
            **options,
        )


@pytest.fixture
def filled(database: Database) -> Database:
    schema.apply(database.config)
    with database.connect() as conn:
        fill_parcels(conn)
    return database


def report(config: Config, directory: Path, **options: Any) -> Report:
    made = make_report(config, directory, **options)
    if not options.get("check"):
        assert (directory / "report.txt").read_text() == made.text
    return made


def assert_is_a_picture(path: Path) -> None:
    pixels = imread(path)
    assert pixels.shape == (1110, 2100, 4)
    for half in (pixels[:, :1000], pixels[:, 1000:]):
        assert len(np.unique((half[::3, ::3, :3] * 255).astype(int).reshape(-1, 3), axis=0)) > 20, (
            "empty half"
        )
    # nothing is cut off at the rim
    rim = np.concatenate(
        [pixels[:6].reshape(-1, 4), pixels[-6:].reshape(-1, 4), pixels[:, -6:].reshape(-1, 4)]
    )
    assert (rim == 1).all()


def test_a_season(filled: Database, tmp_path: Path) -> None:
    with filled.connect() as conn:
        fill_season(conn)
    made = report(filled.config, tmp_path / "report", title="Danmark")

    assert_is_a_picture(tmp_path / "report" / "report.png")
    numbers = made.numbers
    assert (numbers["parcels"], numbers["sigs"], numbers["hists"]) == (25, 600, 200)
    assert numbers["observations"] == 8
    assert numbers["scenes"][0]["count"] == 8
    picture = numbers["picture"]
    assert picture["parcel"] == 13, "parcel 20 swings more but is seen half as often"
    assert [point["clear"] for point in picture["series"]] == [n != 3 for n in range(8)]
    assert picture["series"][4]["value"] == pytest.approx((4500 - 600) / (4500 + 600), abs=1e-4)
    assert picture["day"] in {"2021-06-01", "2021-06-16"}, "the greenest of the days on which all are clear"
    for words in (
        "25  from gsaa_2021.gpkg",
        "1 repaired",
        "feature 3: Self-intersection",
        "DK-013, Čičerika",
    ):
        assert words in made.text
    assert made.text.endswith("Contains modified Copernicus Sentinel data 2021.\n")


def test_the_same_database_gives_the_same_files(filled: Database, tmp_path: Path) -> None:
    with filled.connect() as conn:
        fill_season(conn)
    assert report(filled.config, tmp_path, check=True).changed
    assert not (tmp_path / "report.png").exists()
    assert report(filled.config, tmp_path).changed
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("report.*")}
    assert not report(filled.config, tmp_path).changed
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("report.*")} == before
    with Image.open(tmp_path / "report.png") as image:
        assert not image.text, "a date or a version in the file would make it differ"


def test_the_reader_role_suffices(filled: Database, tmp_path: Path) -> None:
    with filled.connect() as conn:
        fill_season(conn)
        role = f"reader_{filled.config.connection.dbname}"
        conn.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'only-for-tests'")
        conn.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    try:
        config = filled.configured(connection={"dbuser": role, "dbpasswd": "only-for-tests"})
        assert report(config, tmp_path).numbers["sigs"] == 600
    finally:
        with filled.connect() as conn:
            conn.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_one_date_without_near_infrared_and_classes(filled: Database, tmp_path: Path) -> None:
    bands = {
        "B02": lambda pid: 500.0 + pid,
        "B03": lambda pid: 700.0 + pid,
        "B04": lambda pid: 900.0 + 9 * pid,
    }
    with filled.connect() as conn:
        fill_scene(conn, datetime(2021, 7, 20, 10, 30), bands, cloudy=None, offsets=(None, None))
    made = report(filled.config, tmp_path)
    assert_is_a_picture(tmp_path / "report.png")
    assert made.numbers["picture"]["parcel"] is None
    assert made.numbers["picture"]["measure"] == "B04 surface reflectance [–]"
    assert made.numbers["picture"]["parcels_clear"] == 25
    assert "too few clear dates for a season" in made.text


def test_values_as_stored_are_made_reflectance(filled: Database, tmp_path: Path) -> None:
    """`applied_offset` 0 of a product with -1000: the means carry +1000 and must not bias the NDVI."""
    with filled.connect() as conn:
        fill_season(conn, offsets=(-1000, 0))
        conn.execute("UPDATE sigs SET mean = mean + 1000")
    series = report(filled.config, tmp_path).numbers["picture"]["series"]
    assert series[4]["value"] == pytest.approx((4500 - 600) / (4500 + 600), abs=1e-4)


def test_of_one_datatake_the_newest_processing_counts(filled: Database, tmp_path: Path) -> None:
    with filled.connect() as conn:
        fill_season(conn)
        fill_scene(
            conn,
            datetime(2021, 4, 2, 10, 20),
            {"B04": lambda _: 1000.0, "B08": lambda _: 3000.0},
            made="20240101T000000",
        )
    series = report(filled.config, tmp_path).numbers["picture"]["series"]
    assert len(series) == 8
    assert series[0]["value"] == pytest.approx(0.5)
    # but a user's own processing does not stand for an official product
    with filled.connect() as conn:
        conn.execute(
            "UPDATE dias_catalogue SET baseline = '99.99' WHERE reference LIKE '%_20240101T000000.SAFE'"
        )
    series = report(filled.config, tmp_path).numbers["picture"]["series"]
    assert series[0]["value"] != pytest.approx(0.5)


def test_made_up_products_are_not_called_copernicus_data(filled: Database, tmp_path: Path) -> None:
    with filled.connect() as conn:
        fill_season(conn, made=MADE_UP)
    assert report(filled.config, tmp_path).numbers["attribution"].startswith("Synthetic data")
    with filled.connect() as conn:
        fill_scene(conn, datetime(2021, 9, 1, 10), {"B04": lambda _: 900.0, "B08": lambda _: 3000.0})
    said = report(filled.config, tmp_path).numbers["attribution"]
    assert said.startswith("Contains modified Copernicus Sentinel data 2021; 8 scenes are synthetic")


def test_failures_are_named_and_no_statistics_no_picture(filled: Database, tmp_path: Path) -> None:
    (tmp_path / "report.png").write_bytes(b"of yesterday")
    with filled.connect() as conn:
        fill_scene(conn, datetime(2021, 5, 1, 10), {}, cloudy=None)
        fill_scene(conn, datetime(2021, 5, 2, 10), {}, cloudy=None)
        conn.execute("UPDATE dias_catalogue SET status = 'Rio error', reason = 'B04.jp2 is truncated'")
        conn.execute(
            """UPDATE dias_catalogue SET (status, reason_code, reason) = (
                   'inprogress', 'versions.waits_for_parts', 'done; waits for another part')
               WHERE obstime >= '2021-05-02'"""
        )
    made = report(filled.config, tmp_path)
    assert "Failures      1\n" in made.text
    assert "Rio error: B04.jp2 is truncated" in made.text
    assert "holds no statistics yet" in made.text
    assert made.numbers["picture"] is None
    assert not (tmp_path / "report.png").exists()


def test_an_empty_database_says_which_step_comes_first(database: Database, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="schema apply"):
        make_report(database.config, tmp_path)
    schema.apply(database.config)
    with pytest.raises(UserError, match="parcels load"):
        make_report(database.config, tmp_path)
    with database.connect() as conn:
        fill_parcels(conn)
        conn.execute("TRUNCATE parcels_2021")
    with pytest.raises(UserError, match="is empty"):
        make_report(database.config, tmp_path)
    assert not list(tmp_path.glob("report.*"))


def test_without_matplotlib_one_sentence(
    filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with filled.connect() as conn:
        fill_season(conn)
    real = builtins.__import__

    def missing(name: str, *args: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UserError) as error:
        make_report(filled.config, tmp_path)
    # the image has no pip, and what is installed in a container is gone with it
    assert str(error.value) == (
        "cbmctl report: matplotlib is not installed here. The worker image has no matplotlib."
        " Run playbooks/report.yml on the control host."
    )


def test_bands_decide_what_is_shown() -> None:
    assert choose_measure({"B04": 1, "B08": 1, "B8A": 1}).label == "NDVI [–] from B08 and B04"
    assert choose_measure({"B04": 1, "B8A": 1}).label == "NDVI [–] from B8A and B04"
    assert choose_measure({"B02": 1, "B04": 1}).label == "B04 surface reflectance [–]"
    assert choose_measure({"VHb": 5, "VVb": 9}).name == "VVb"


def test_the_command(filled: Database, tmp_path: Path) -> None:
    with filled.connect() as conn:
        fill_season(conn)
    config = ["--config", str(filled.config_path)]
    result = CliRunner().invoke(cbmctl, [*config, "--json", "report", "--output", str(tmp_path)])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["changed"] is True
    assert told["files"] == [str(tmp_path / "report.txt"), str(tmp_path / "report.png")]
    result = CliRunner().invoke(cbmctl, [*config, "report", "--output", str(tmp_path)])
    assert "600 rows in sigs" in result.stdout
