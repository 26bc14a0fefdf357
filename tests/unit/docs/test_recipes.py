"""What the guides say to type works: SQL, configuration and connection files."""

import json
import os
import re
import subprocess
from configparser import ConfigParser
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from cbmctl.config import load_config
from cbmctl.parcels.load import Options, load
from cbmctl.schema import apply
from tests.conftest import REPOSITORY, Database
from tests.support.datatakes import HERE, Datatake, both
from tests.support.season import Season


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (REPOSITORY / "docs" / page).read_text(), re.M | re.S)


INI = blocks("ordering.md", "ini")


@pytest.mark.usefixtures("roles")
def test_last_years_statistics_stay_readable_beside_a_changed_file(
    database: Database, three: Path, four: Path
) -> None:
    owner = database.configured(connection={"dbuser": "cbm_owner", "dbpasswd": "only-for-tests"})
    apply(owner)
    logins = {
        role: conninfo.make_conninfo(database.dsn, user=role, password="only-for-tests")  # noqa: S106
        for role in ("cbm_owner", "cbm_reader")
    }
    with psycopg.connect(logins["cbm_owner"], autocommit=True) as conn:
        load(conn, owner.tables, three, Options())
        conn.execute(
            "INSERT INTO dias_catalogue (obstime, reference, sensor, card) VALUES (now(), 'x', '2A', 's2')"
        )
        conn.execute(
            "INSERT INTO sigs (pid, obsid, band, count, mean)"
            " SELECT ogc_fid, 1, 'B04', 9, 700 FROM parcels_2021"
        )
    (recipe,) = (block for block in blocks("operator.md", "sql") if "kept_2021" in block)
    with database.connect(autocommit=True) as conn:
        conn.execute(recipe.encode())
    with psycopg.connect(logins["cbm_owner"], autocommit=True) as conn:
        load(conn, owner.tables, four, Options(), drop_statistics=True)

    with psycopg.connect(logins["cbm_reader"]) as conn:
        kept = conn.execute(
            "SELECT name, mean FROM kept_2021.parcels JOIN kept_2021.sigs ON pid = ogc_fid"
            " JOIN kept_2021.dias_catalogue d ON d.id = obsid ORDER BY name"
        ).fetchall()
        assert kept == [("å", 700.0), ("æ", 700.0), ("ø", 700.0)]
        assert conn.execute("SELECT count(*) FROM sigs").fetchone() == (0,)


def test_the_configuration_in_the_technicians_guide_is_valid(tmp_path: Path) -> None:
    (example,) = blocks("technician.md", "json")
    certificate = tmp_path / "ca.crt"
    certificate.touch()
    path = tmp_path / "db_config.json"
    path.write_text(example.replace("/path/to/connection/ca.crt", str(certificate)))
    config = load_config(path)
    assert (config.connection.user, config.connection.sslmode) == ("cbm_reader", "verify-full")
    assert set(json.loads(example)["database"]) == {"connection", "tables", "args"}


def test_the_demos_connection_file_reads_the_password_of_today(tmp_path: Path) -> None:
    state = tmp_path / "state" / "demo"
    files = {
        "report/summary.txt": "demo",
        "connection/pg_service.conf": "host=h\nport=1\ndbname=cbm\nuser=cbm_reader\nsslmode=verify-full\n",
        "connection/ca.crt": "certificate",
        "secrets/reader.password": "before\n",
    }
    for name, text in files.items():
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).write_text(text)
    clone = tmp_path / "clone"
    (clone / "scripts").mkdir(parents=True)
    for script in ("demo-result", "lib.sh"):
        (clone / "scripts" / script).symlink_to(REPOSITORY / "scripts" / script)
    environment = os.environ | {"CBM_STATE_DIR": str(state.parent)}
    subprocess.run(
        ["scripts/demo-result", "demo"], cwd=clone, env=environment, check=True, capture_output=True
    )

    def password() -> str:
        shell = ['. build/demo/connection.env && printf %s "$PGPASSWORD"']
        return subprocess.run(
            ["bash", "-c", *shell], cwd=clone, check=True, capture_output=True, text=True
        ).stdout

    assert password() == "before"
    (state / "secrets/reader.password").write_text("renewed\n")
    assert password() == "renewed"
    assert (clone / "build/demo/connection.env").stat().st_mode & 0o077 == 0


def test_the_timer_runs_a_playbook_that_is_there() -> None:
    units = {text.splitlines()[0].removeprefix("# "): ConfigParser(interpolation=None) for text in INI}
    for text, parser in zip(INI, units.values(), strict=True):
        parser.read_string(text)
    assert set(units) == {"cbm-order.service", "cbm-order.timer"}
    command = units["cbm-order.service"]["Service"]["ExecStart"].split()
    assert (REPOSITORY / command[-1]).is_file()
    assert units["cbm-order.timer"]["Install"]["WantedBy"] == "timers.target"


def test_tiles_that_gave_up_parcels_to_a_scene_deleted_by_hand_get_them_back(season: Season) -> None:
    made = Datatake(season)
    before = both(made)
    assert not [key for key in before if key[:2] == (1, HERE)]
    recipes = blocks("operator.md", "sql")
    (listing,) = (block for block in recipes if "elsewhere" in block)
    (deleting,) = (block for block in recipes if "DELETE FROM dias_catalogue" in block)
    assert season.rows(listing) == season.rows(
        "SELECT reference FROM dias_catalogue WHERE id = %s", made.ids[HERE]
    )
    with season.database.connect() as conn:
        conn.execute(deleting)  # type: ignore[call-overload]
    made.again(HERE)
    made.work()
    assert {key[2] for key in made.found() if key[:2] == (1, HERE)} == {"SCL", "B02", "B03", "B05"}
