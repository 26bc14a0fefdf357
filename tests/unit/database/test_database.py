"""The way in: what is refused is explained."""

import subprocess
import sys
from dataclasses import replace

import pytest

from cbmctl.config import Config
from cbmctl.database import DatabaseError, connect
from cbmctl.errors import NotSetUpError
from cbmctl.schema import apply
from tests.conftest import Database

pytestmark = pytest.mark.postgis


def changed(config: Config, **connection: object) -> Config:
    return replace(config, connection=replace(config.connection, **connection))  # type: ignore[arg-type]


def test_the_server_sends_no_notices(database: Database) -> None:
    with connect(database.config) as conn:
        heard: list[object] = []
        conn.add_notice_handler(heard.append)
        conn.execute("DROP TABLE IF EXISTS absent")
    assert heard == []


def test_both_ends_notice_a_broken_line(database: Database) -> None:
    with connect(database.config, purpose="cbmctl test") as conn:
        shown = [
            conn.execute(f"SHOW {name}").fetchone() for name in ("application_name", "tcp_keepalives_idle")
        ]
    assert shown == [("cbmctl test",), ("30",)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"password": "wrong"}, "refuses the password of"),
        ({"dbname": "nowhere"}, "has no database nowhere"),
        ({"port": 1}, "does not answer (Connection refused). Check host and port"),
        ({"host": "no-such-host.invalid"}, "the host name no-such-host.invalid is unknown"),
    ],
)
def test_every_refusal_is_one_sentence_with_the_manuals_word(
    database: Database, change: dict[str, object], sentence: str
) -> None:
    with pytest.raises(DatabaseError) as error:
        connect(changed(database.config, **change))
    assert str(error.value).startswith("No in db: ")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_commands_end_with_one_sentence_too(database: Database) -> None:
    def run(*arguments: str, code: int = 1) -> str:
        command = [sys.executable, "-m", "cbmctl", "--config", str(database.config_path), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (code, "")
        return done.stderr

    assert run("status", code=NotSetUpError.exit_code) == (
        'cbmctl: a table or column is missing (relation "public.dias_catalogue" does not exist).'
        " Run cbmctl schema apply, then load the parcels.\n"
    )
    apply(database.config)
    assert run("extract", "plan") == (
        "cbmctl: public.aois has no area 'parcels_2021'. Set it with cbmctl aoi set.\n"
    )
    database.configured(connection={"dbpasswd": "wrong"})
    assert run("worker").startswith("cbmctl: No in db: ")
