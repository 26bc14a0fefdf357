"""The examples in `--help`: every command has one, and each runs on a small database or is named here."""

import json
import shlex
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from shapely import MultiPolygon, box
from shapely.geometry import mapping

from cbmctl.cli import cbmctl
from tests.conftest import REPOSITORY, Database
from tests.support import odp_server
from tests.support.free_ports import listening
from tests.support.level_1_products import level_1
from tests.support.odata_server import Catalogue, reply
from tests.support.odp_server import Odp
from tests.support.ordering import served
from tests.support.parcel_loading import fields, write
from tests.support.recorded_answers import Product, backscatter, recorded
from tests.support.repacking import repack_of_image
from tests.support.s3_moto import moto
from tests.support.season import PARCELS, Season
from tests.support.season_archives import fill
from tests.support.stac_server import Item

SCENE = "S2A_MSIL2A_20210305T103021_N0214_R108_T32TMT_20210305T134215.SAFE"
SENSED = datetime(2021, 3, 5, 5, 26, 37)
NEWER = "S2A_MSIL2A_20210305T103021_N0500_R108_T32TMT_20230301T010203"
AROUND = box(5, 40, 15, 55)  # of the parcels
# In the order of a season. "> FILE" is the shell's.
RUN = """
cbmctl --config owner/db_config.json schema apply
cbmctl parcels inspect gsaa_2021.gpkg --layer parcels
cbmctl parcels load Continente.gpkg --layer 'Culturas_*'
cbmctl parcels load R11.shp R24.shp
cbmctl parcels load gsaa_2021.zip
cbmctl parcels check gsaa_2021.zip
cbmctl --json parcels check gsaa_2021.zip
cbmctl aoi set parcels_2021 --from-parcels
cbmctl aoi inspect denmark.geojson
cbmctl aoi set dk --file denmark.geojson
cbmctl parcels rasterise
cbmctl parcels quality
cbmctl catalogue sync parcels_2021 2021-01-01 2022-01-01 s2 S2MSI2A --source archive --check
cbmctl catalogue summary parcels_2021
cbmctl catalogue replace --check
cbmctl extract plan --check
cbmctl extract run --workers 4
cbmctl extract run --scene S2A_MSIL2A_20210305T103021_N0214_R108_T32TMT_20210305T134215.SAFE
cbmctl --config writer/db_config.json worker --quiet
cbmctl status
cbmctl --json status
cbmctl status --complete
cbmctl repair --check
cbmctl repair --scene S2A_MSIL2A_20210305T103021_N0214_R108_T32TMT_20210305T134215.SAFE
cbmctl eodata check
cbmctl eodata check --scenes
cbmctl --json eodata check --scenes --older-than 90
cbmctl maintain purge --check
cbmctl maintain purge
cbmctl maintain purge --check --classes 3,8,9,10
cbmctl maintain vacuum
cbmctl maintain vacuum --check
cbmctl maintain compact --check
cbmctl maintain compact
cbmctl maintain cluster --check
cbmctl maintain cluster
cbmctl report --output report --title Denmark
cbmctl maintain archive /data/cbm/archive/2021 --check
cbmctl maintain archive /data/cbm/archive/2021
cbmctl maintain archive /data/cbm/archive/2021 --drop
cbmctl maintain restore /data/cbm/archive/2021 --check
cbmctl maintain restore /data/cbm/archive/2021
cbmctl catalogue sync parcels_2021 2021-01-01 2022-01-01 s2
cbmctl catalogue replace S2A_MSIL2A_20210305T103021_N0500_R108_T32TMT_20230301T010203.SAFE
cbmctl catalogue sync parcels_2021 2021-01-01 2022-01-01 bs CARD-BS --since last
cbmctl order plan parcels_2021 2020-10-01 2022-01-01 bs
cbmctl order plan parcels_2021 2020-10-01 2022-01-01 c6 --per-month 500 --price 1.20
cbmctl --json order plan parcels_2021 2020-10-01 2022-01-01 bs > plan.json
cbmctl order place plan.json --check
cbmctl order place plan.json --limit 25 --yes
cbmctl order status
cbmctl order status --retry-failed --yes
cbmctl order cancel 3
cbmctl order place plan.json --again refused
cbmctl order cancel --all --yes
""".strip().splitlines()
# with a bucket, after a season of its own was extracted
RUN_IN_S3 = """
cbmctl maintain archive s3://seasons/dk/2021
cbmctl maintain archive s3://seasons/dk/2021 --drop
cbmctl maintain restore s3://seasons/dk/2021
""".strip().splitlines()
# why others do not run here, with the test that runs such a command
ELSEWHERE = {
    "makes a season: demo/test_demo": """
cbmctl demo make demo-data
""",
}


def before(line: str, odp: Odp) -> None:
    """Do what an example needs to have happened before it."""
    if line == "cbmctl order status --retry-failed --yes":
        for order in odp.orders:
            order["Status"] = "failed"
    elif line == "cbmctl order place plan.json --again refused":
        odp.faults.append(odp_server.refused)
        words = [*shlex.split(line)[1:-1], "cancelled", "--yes"]
        assert CliRunner().invoke(cbmctl, words).exception is None
    elif line.endswith(" --since last"):
        words = shlex.split(line.removesuffix(" --since last"))[1:]
        assert CliRunner().invoke(cbmctl, words).exception is None


def commands(group: click.Group, path: str = "cbmctl") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def examples(command: click.Command) -> list[str]:
    lines = [line.strip() for line in str(command.epilog or "").splitlines()]
    return [line for line in lines if line.startswith("cbmctl ")]


def test_each_command_has_examples_that_are_run() -> None:
    found = {path: examples(command) for path, command in commands(cbmctl)}
    assert [path for path, lines in found.items() if not lines] == []
    listed = [line for lines in found.values() for line in lines]
    elsewhere = [line for lines in ELSEWHERE.values() for line in lines.strip().splitlines()]
    assert sorted(listed) == sorted([*RUN, *RUN_IN_S3, *elsewhere])


def test_a_reason_names_a_test() -> None:
    for reason in ELSEWHERE:
        assert list(REPOSITORY.glob(f"tests/unit/{reason.rpartition(': ')[2]}*.py")), reason


def card_bs(testdata: Path) -> Product:
    """A product of the day after."""
    text = json.dumps(backscatter(testdata, 0) | {"GeoFootprint": mapping(AROUND)})
    for old, new in (("20240206T04", "20210306T05"), ("2024-02-06T04", "2021-03-06T05")):
        text = text.replace(old, new)
    product: Product = json.loads(text.replace("2024/02/06", "2021/03/06"))
    return product


def newer(testdata: Path) -> Item:
    """The item of a newer version of the scene."""
    item = recorded(testdata, "stac-item-s2-l2a.json")
    named: Item = json.loads(json.dumps(item).replace(item["id"], NEWER))
    named["geometry"], named["bbox"] = mapping(AROUND), list(AROUND.bounds)
    named["properties"] |= {
        "datetime": "2021-03-05T10:30:21.024000Z",
        "start_datetime": "2021-03-05T10:30:21.024000Z",
        "end_datetime": "2021-03-05T10:30:21.024000Z",
        "published": "2023-03-01T02:00:00.000000Z",
        "platform": "sentinel-2a",
        "grid:code": "MGRS-32TMT",
        "processing:version": "05.00",
        "processing:datetime": "2023-03-01T01:02:03.000000Z",
    }
    return named


@contextmanager
def stac(item: Item) -> Iterator[str]:
    """A STAC service of one item."""

    class Search(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            first, end = asked["datetime"].split("/")
            found = [item] if first <= item["properties"]["datetime"] < end else []
            reply(self, 200, {"type": "FeatureCollection", "features": found, "links": []})

        def log_message(self, *_: object) -> None:
            pass

    with listening(Search) as port:
        yield f"http://127.0.0.1:{port}/v1"


@pytest.fixture
def tenant(
    odp: Odp, database: Database, tmp_path: Path, testdata: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    """The files that the examples name, one Sentinel-2 scene, and Level-1 products at the service."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CBM_CONFIG", str(database.config_path))
    file = write(tmp_path / "gsaa_2021.gpkg", [MultiPolygon([each]) for each in PARCELS.values()])
    with zipfile.ZipFile(tmp_path / "gsaa_2021.zip", "w") as packed:
        packed.write(file, file.name)
    for name in ("R11.shp", "R24.shp"):
        write(tmp_path / name, fields(2), driver="ESRI Shapefile", key=[1, 2])
    for layer in ("Culturas_Norte", "Culturas_Sul"):
        write(tmp_path / "Continente.gpkg", fields(2), layer=layer, key=[1, 2])
    outline = {"type": "Polygon", "coordinates": [[[8, 56], [13, 56], [13, 57], [8, 57], [8, 56]]]}
    (tmp_path / "denmark.geojson").write_text(json.dumps(outline))
    season = Season(database, database.configured(extraction={"s2": {"10": ["B02", "B03"], "20": ["B05"]}}))
    season.scene(5)
    with database.connect() as conn:
        conn.execute(
            """UPDATE dias_catalogue SET reference = %s, obstime = '2021-03-05 10:30:21', tile = '32TMT',
                   baseline = '02.14'""",
            [SCENE],
        )
        conn.execute("CREATE EXTENSION pg_repack")
    odp.catalogue = Catalogue(
        [
            level_1(testdata, "grd", SENSED, place=AROUND),
            level_1(testdata, "slc", SENSED, place=AROUND, orbit=36000),
            level_1(testdata, "slc", SENSED - timedelta(days=6), place=AROUND, sensor="1B", orbit=25850),
            card_bs(testdata),
        ]
    )
    with database.connect() as conn:  # the first order but one is 3
        conn.execute("ALTER TABLE orders ALTER COLUMN id RESTART WITH 2")
    with served(database, odp), stac(newer(testdata)) as url, repack_of_image(monkeypatch):
        urls = json.loads(database.config_path.read_text())["catalogue"]["urls"]
        database.configured(catalogue={"urls": urls | {"stac": url}})
        for name in ("owner", "writer"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "db_config.json").write_text(database.config_path.read_text())
        yield database


@pytest.fixture
def bucket(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A closed season, and a bucket that its configuration names."""
    monkeypatch.setenv("CBM_CONFIG", str(database.config_path))
    fill(database)
    with moto(tmp_path / "moto.log") as server:
        server.client().create_bucket(Bucket="seasons")
        keys = str(server.key_file(tmp_path))
        database.configured(archive_s3={"endpoint": server.url, "key_file": keys})
        yield database


def run(lines: list[str], folder: Path, odp: Odp | None = None) -> dict[str, str]:
    """Run examples; return what is wrong with which. Folders in /data are made in `folder`."""
    wrong = {}
    for line in lines:
        words = shlex.split(line.replace(" /data/", f" {folder}/"))[1:]
        target = words[words.index(">") + 1] if ">" in words else None
        given = words[: words.index(">")] if target else words
        if odp:
            before(line, odp)
        result = CliRunner().invoke(cbmctl, given, input="y\n", standalone_mode=False, catch_exceptions=True)
        if result.exception is not None or (result.return_value and words[0] in ("order", "catalogue")):
            wrong[line] = f"{result.exception!r} {result.output}"
        if target:
            Path(target).write_text(result.stdout)
    return wrong


@pytest.mark.postgis
def test_the_examples_run(tenant: Database, odp: Odp, tmp_path: Path) -> None:
    assert run(RUN, tmp_path / "data", odp) == {}
    with tenant.connect() as conn:  # something was computed, replaced and ordered
        assert conn.execute("SELECT count(*) > 0 FROM sigs").fetchone() == (True,)
        assert conn.execute(
            "SELECT status FROM dias_catalogue WHERE reference = %s", [f"{NEWER}.SAFE"]
        ).fetchone() == ("ingested",)
        assert conn.execute("SELECT order_id, state FROM order_items ORDER BY 1").fetchall() == [
            (2, "failed"),
            (3, "cancelled"),
            (4, "refused"),
            (5, "cancelled"),
        ]
    assert len(json.loads(Path("plan.json").read_text())["wanted"]) == 1


@pytest.mark.postgis
def test_the_examples_with_a_bucket_run(bucket: Database, tmp_path: Path) -> None:
    assert run(RUN_IN_S3, tmp_path) == {}
    with bucket.connect() as conn:
        assert conn.execute("SELECT count(*) > 0 FROM sigs").fetchone() == (True,)
