"""The examples in `--help`: every command has one, and each runs on a small database or is named here."""

import json
import shlex
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from shapely import MultiPolygon, box

from cbmctl.cli import cbmctl
from tests.conftest import REPOSITORY, Database
from tests.support.level_1_products import level_1
from tests.support.odata_server import Catalogue
from tests.support.odp_server import Odp
from tests.support.ordering import served
from tests.support.parcel_loading import write
from tests.support.season import PARCELS, Season

SCENE = "S2A_MSIL2A_20210305T103021_N0214_R108_T32TMT_20210305T134215.SAFE"
SENSED = datetime(2021, 3, 5, 5, 26, 37)
AROUND = box(5, 40, 15, 55)  # of the parcels
# In the order of a season. "> FILE" is the shell's.
RUN = """
cbmctl --config owner/db_config.json schema apply
cbmctl parcels inspect gsaa_2021.gpkg --layer parcels
cbmctl parcels load gsaa_2021.zip
cbmctl parcels check gsaa_2021.zip
cbmctl --json parcels check gsaa_2021.zip
cbmctl aoi set parcels_2021 --from-parcels
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
cbmctl order plan parcels_2021 2020-10-01 2022-01-01 bs
cbmctl order plan parcels_2021 2020-10-01 2022-01-01 c6 --per-month 500 --price 1.20
cbmctl --json order plan parcels_2021 2020-10-01 2022-01-01 bs > plan.json
""".strip().splitlines()
# why others do not run here, with the test that runs such a command
ELSEWHERE = {
    "needs a newer version: catalogue/test_replace_versions": """
cbmctl catalogue replace S2A_MSIL2A_20210305T103021_N0500_R108_T32TMT_20230301T010203.SAFE
""",
    "needs a STAC service: catalogue/test_stac": """
cbmctl catalogue sync parcels_2021 2021-01-01 2022-01-01 s2
""",
    "needs an earlier sync: catalogue/test_search_history": """
cbmctl catalogue sync parcels_2021 2021-01-01 2022-01-01 bs CARD-BS --since last
""",
    "makes a season: demo/test_demo": """
cbmctl demo make demo-data
""",
    "needs pg_repack: maintenance/test_rewrite": """
cbmctl maintain cluster --check
cbmctl maintain cluster
cbmctl maintain compact --check
cbmctl maintain compact
""",
    "needs a closed season: maintenance/test_season_archive": """
cbmctl maintain archive /data/cbm/archive/2021 --check
cbmctl maintain archive /data/cbm/archive/2021
cbmctl maintain archive /data/cbm/archive/2021 --drop
cbmctl maintain restore /data/cbm/archive/2021 --check
cbmctl maintain restore /data/cbm/archive/2021
""",
    "needs a bucket: maintenance/test_season_archive_s3": """
cbmctl maintain archive s3://seasons/dk/2021
cbmctl maintain archive s3://seasons/dk/2021 --drop
cbmctl maintain restore s3://seasons/dk/2021
""",
    "needs orders: ordering/test_status": """
cbmctl order place plan.json --check
cbmctl order place plan.json --limit 25 --yes
cbmctl order place plan.json --again refused
cbmctl order status
cbmctl order status --retry-failed --yes
cbmctl order cancel 3
cbmctl order cancel --all --yes
""",
    "has several files or layers: parcels/test_join_layers": """
cbmctl parcels load Continente.gpkg --layer 'Culturas_*'
cbmctl parcels load R11.shp R24.shp
""",
    "draws for some seconds: report/test_report": """
cbmctl report --output report --title Denmark
""",
}


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
    assert sorted(listed) == sorted([*RUN, *elsewhere])


def test_a_reason_names_a_test() -> None:
    for reason in ELSEWHERE:
        assert list(REPOSITORY.glob(f"tests/unit/{reason.rpartition(': ')[2]}*.py")), reason


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
    outline = {"type": "Polygon", "coordinates": [[[8, 56], [13, 56], [13, 57], [8, 57], [8, 56]]]}
    (tmp_path / "denmark.geojson").write_text(json.dumps(outline))
    season = Season(database, database.configured(extraction={"s2": {"10": ["B02", "B03"], "20": ["B05"]}}))
    season.scene(5)
    with database.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET reference = %s", [SCENE])
    odp.catalogue = Catalogue(
        [
            level_1(testdata, "grd", SENSED, place=AROUND),
            level_1(testdata, "slc", SENSED, place=AROUND, orbit=36000),
            level_1(testdata, "slc", SENSED - timedelta(days=6), place=AROUND, sensor="1B", orbit=25850),
        ]
    )
    with served(database, odp):
        for name in ("owner", "writer"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "db_config.json").write_text(database.config_path.read_text())
        yield database


@pytest.mark.postgis
def test_the_examples_run(tenant: Database) -> None:
    wrong = {}
    for line in RUN:
        words = shlex.split(line)[1:]
        target = words[words.index(">") + 1] if ">" in words else None
        given = words[: words.index(">")] if target else words
        result = CliRunner().invoke(cbmctl, given, standalone_mode=False, catch_exceptions=True)
        if result.exception is not None:
            wrong[line] = f"{result.exception!r} {result.output}"
        if target:
            Path(target).write_text(result.stdout)
    assert wrong == {}
    with tenant.connect() as conn:  # something was computed
        assert conn.execute("SELECT count(*) > 0 FROM sigs").fetchone() == (True,)
    assert len(json.loads(Path("plan.json").read_text())["wanted"]) == 1
