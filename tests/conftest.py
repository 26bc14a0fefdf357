"""What the tests stand on: a real PostGIS, and the real data where it is at hand."""

import json
import os
import runpy
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import pytest
from psycopg import conninfo, sql

from cbmctl.config import Config, load_config
from cbmctl.schema import apply

REPOSITORY = Path(__file__).parents[1]
OWN_IMAGE = "cbm-postgis"
NEED_SCHEMA = {"season", "config", "area"}
TEST_PASSWORD = "only-for-tests"  # the container lives as long as the session
# the type of the fixture `eventually`
Eventually = Callable[[Callable[[], bool]], None]

runpy.run_path(str(REPOSITORY / "plugins/module_utils_path.py"))


@dataclass(frozen=True)
class Database:
    """A database with postgis and postgis_raster, and the configuration that points there."""

    dsn: str
    config: Config
    config_path: Path
    has_schema: bool

    def connect(self, **options: Any) -> psycopg.Connection:
        return psycopg.connect(self.dsn, **options)

    def migrated(self) -> "Database":
        """Itself, with the schema."""
        if not self.has_schema:
            apply(self.config)
        return self

    def configured(self, **changes: Any) -> Config:
        """The configuration with some sections replaced (also in the file)."""
        data = json.loads(self.config_path.read_text())
        for name, value in changes.items():
            if name in ("tables", "args", "connection"):
                data["database"][name] |= value
            elif isinstance(value, dict):
                data[name] = data.get(name, {}) | value
            else:
                data[name] = value
        self.config_path.write_text(json.dumps(data))
        return load_config(self.config_path)


@pytest.fixture(autouse=True)
def interruptions() -> Iterator[None]:
    """What a command does at an interruption ends with the test that ran it: the next would wait forever.

    A process that a shell has started in the background ignores SIGINT, and so would its tests.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A superuser's way into a PostGIS server: $CBM_TEST_DSN, else a container of the project's own image:
    $CBM_TEST_IMAGE as `./run unit` sets it, else the newest on this machine."""
    if given := os.environ.get("CBM_TEST_DSN"):
        yield given
        return
    image = image_to_test()
    name = f"cbm-test-{uuid.uuid4().hex[:8]}"
    try:
        yield _start_server(name, image, tmp_path_factory.mktemp("postgis"))
    finally:
        docker("rm", "--force", "--volumes", name)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--thorough",
        action="store_true",
        default=os.environ.get("CBM_THOROUGH") == "1",
        help="run the tests marked thorough as well, as ./run test-all does",
    )
    parser.addoption(
        "--renew", action="store_true", help="write the pages that tests generate and compare, docs/schema.md"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--thorough") and config.getoption("--timeout") is None:
        config.option.timeout = 7200  # hundreds of kills are one test


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--thorough"):
        for item in items:
            if item.get_closest_marker("thorough"):
                item.add_marker(pytest.mark.skip(reason="only in ./run test-all, or with --thorough"))


@pytest.fixture(scope="session")
def bare_template(dsn: str) -> Iterator[str]:
    """A database with both extensions: copying it is ten times as fast as creating them."""
    name = f"cbm_test_{uuid.uuid4().hex[:12]}"
    with _created(dsn, name, "template0") as own:
        with psycopg.connect(own, autocommit=True) as conn:
            conn.execute(
                "SET client_min_messages = warning; CREATE EXTENSION postgis; CREATE EXTENSION postgis_raster"
            )
        yield name


@pytest.fixture(scope="module")
def bare(dsn: str, bare_template: str) -> Iterator[psycopg.Connection]:
    """A connection to a database with PostGIS for all examples of a module's properties."""
    name = f"cbm_test_{uuid.uuid4().hex[:12]}"
    with _created(dsn, name, bare_template) as own, psycopg.connect(own, autocommit=True) as conn:
        yield conn


@pytest.fixture(scope="session")
def template(dsn: str, bare_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with the schema, too."""
    with _database(dsn, bare_template, tmp_path_factory.mktemp("template"), has_schema=False) as made:
        yield str(conninfo.conninfo_to_dict(made.migrated().dsn)["dbname"])


@pytest.fixture
def database(
    request: pytest.FixtureRequest, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    """One database per test, created and dropped; with the schema if another fixture of the test needs it."""
    monkeypatch.delenv("CBM_DBPASSWD", raising=False)
    # the schema gives privileges to roles that are there before it
    has_schema = bool(NEED_SCHEMA & set(request.fixturenames)) and "roles" not in request.fixturenames
    template: str = request.getfixturevalue("template" if has_schema else "bare_template")
    with _database(dsn, template, tmp_path, has_schema=has_schema) as made:
        yield made


@pytest.fixture(scope="session")
def testdata() -> Path:
    """The folder of real parcels and scenes: $CBM_TESTDATA, else beside the repository."""
    path = Path(os.environ.get("CBM_TESTDATA", REPOSITORY.parent / "shared" / "testdata"))
    if not path.is_dir():
        pytest.skip(
            f"REAL DATA ABSENT: {path} is not there (set CBM_TESTDATA); this test proves nothing here"
        )
    return path


@pytest.fixture
def eventually() -> Eventually:
    """Wait for a condition, at most two minutes."""

    def wait(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < end, "waited for two minutes in vain"
            time.sleep(0.05)

    return wait


def image_to_test() -> str:
    """The image of PostGIS: $CBM_TEST_IMAGE, else the newest of the project's on this machine."""
    image = os.environ.get("CBM_TEST_IMAGE") or _newest_image()
    if image is None:
        _missing(f"no PostGIS: build the image {OWN_IMAGE}, or set CBM_TEST_DSN")
    return image


@contextmanager
def _created(dsn: str, name: str, template: str) -> Iterator[str]:
    with psycopg.connect(dsn, autocommit=True) as admin:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8'")
        admin.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield conninfo.make_conninfo(dsn, dbname=name)
    finally:
        with psycopg.connect(dsn, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def _database(dsn: str, template: str, directory: Path, *, has_schema: bool) -> Iterator[Database]:
    with _created(dsn, f"cbm_test_{uuid.uuid4().hex[:12]}", template) as own:
        path = directory / "db_config.json"
        path.write_text(json.dumps(config_of(conninfo.conninfo_to_dict(own), directory / "eodata")))
        yield Database(own, load_config(path), path, has_schema)


def config_of(where: dict[str, Any], eodata: Path) -> dict[str, Any]:
    return {
        "database": {
            "connection": {
                "host": where["host"],
                "port": int(where.get("port", 5432)),
                "dbname": where["dbname"],
                "dbuser": where["user"],
                "dbpasswd": where.get("password", "none"),
                "sslmode": "prefer",
            },
            "tables": {"parcel_table": "public.parcels_2021"},
            "args": {"name": "parcels_2021", "startdate": "2021-01-01", "enddate": "2022-01-01"},
        },
        "eodata": str(eodata),
        "cache": str(eodata.parent / "cache"),
        "extraction": {"retry_seconds": [0, 0]},
    }


def _missing(what: str) -> NoReturn:
    """Skip by default, so that a laptop can run the rest; fail where the tests are the gate."""
    if os.environ.get("CBM_REQUIRE_POSTGIS") == "1":
        pytest.fail(what)
    pytest.skip(f"POSTGIS ABSENT, the heart of the product is untested here: {what}")


def _newest_image() -> str | None:
    try:
        images = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", OWN_IMAGE).split()
    except (OSError, subprocess.CalledProcessError):
        return None
    return images[0] if images else None


def _start_server(name: str, image: str, folder: Path) -> str:
    """Start the image open to this host: left alone it listens to nobody outside."""
    hba = folder / "pg_hba.conf"
    hba.write_text("local all all peer map=superuser\nhost all all all scram-sha-256\n")
    hba.chmod(0o644)
    settings = ["listen_addresses=*", "hba_file=/tmp/pg_hba.conf", "max_connections=50", "fsync=off"]
    options = [argument for setting in settings for argument in ("-c", setting)]
    publish = ["--publish", "127.0.0.1::5432", "--shm-size", "256m"]
    docker("create", "--name", name, *publish, image, *options)
    # copied, not mounted: the engine may see another file system than this one
    docker("cp", str(hba), f"{name}:/tmp/pg_hba.conf")
    docker("start", name)
    set_password = f"ALTER ROLE postgres PASSWORD '{TEST_PASSWORD}'"
    _until_it_works(lambda: docker("exec", name, "psql", "--no-psqlrc", "--command", set_password))
    port = docker("port", name, "5432/tcp").splitlines()[0].rpartition(":")[2]
    return conninfo.make_conninfo(
        host="127.0.0.1", port=port, user="postgres", password=TEST_PASSWORD, dbname="postgres"
    )


def _until_it_works(attempt: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            attempt()
        except subprocess.CalledProcessError as error:
            if time.monotonic() > end:
                pytest.fail(f"the PostGIS container does not start: {error.stderr}")
            time.sleep(0.5)
        else:
            return


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout
