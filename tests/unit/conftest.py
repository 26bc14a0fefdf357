"""What tests of several areas share: fixtures; what they are made of is in tests/support."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import psycopg
import pytest
from hypothesis import settings
from shapely import MultiPolygon, box

from cbmctl.archive import checksums
from cbmctl.catalogue import http
from cbmctl.config import Config, Tables
from tests.conftest import Database
from tests.support import keycloak_realm, ordering
from tests.support.catalogue_search import HASTY, with_areas
from tests.support.effort import THOROUGH
from tests.support.odata_server import Catalogue, serve
from tests.support.odp_server import Odp
from tests.support.parcel_loading import fields, write
from tests.support.recorded_answers import AREA, many
from tests.support.repacking import Tenant, repack_of_image
from tests.support.s3_server import Proxy, hadro, proxy, s3
from tests.support.season import BANDS_10, BANDS_20, PARCELS, Season

# of property tests without a seed of their own [effort.py]
settings.register_profile("cbm", derandomize=not THOROUGH)
settings.load_profile("cbm")


@pytest.fixture
def season(database: Database, tmp_path: Path) -> Season:
    """The schema, three parcels and their area; scenes are for the tests to add."""
    (tmp_path / "eodata").mkdir()
    config = database.configured(extraction={"s2": {"10": list(BANDS_10), "20": list(BANDS_20)}})
    database.migrated()
    with database.connect() as conn:
        conn.execute(
            "CREATE TABLE parcels_2021"
            " (ogc_fid integer PRIMARY KEY, wkb_geometry geometry(MultiPolygon, 32632))"
        )
        for pid, polygon in PARCELS.items():
            conn.execute(
                "INSERT INTO parcels_2021 VALUES (%s, ST_GeomFromText(%s, 32632))",
                [pid, MultiPolygon([polygon]).wkt],
            )
        conn.execute(
            """INSERT INTO aois
               SELECT 'parcels_2021', ST_Envelope(ST_Collect(ST_Transform(wkb_geometry, 4326)))
               FROM parcels_2021"""
        )
    return Season(database, config)


@pytest.fixture
def config(database: Database) -> Config:
    return database.migrated().config


@pytest.fixture
def tables(config: Config) -> Tables:
    return config.tables


@pytest.fixture
def conn(database: Database, tables: Tables) -> Iterator[psycopg.Connection]:  # noqa: ARG001  (schema first)
    # the tests replace tables behind one connection, which prepared statements do not survive
    with database.connect(autocommit=True, prepare_threshold=None) as connection:
        yield connection


@pytest.fixture
def three(tmp_path: Path) -> Path:
    return write(tmp_path / "three.gpkg", fields(3), name=["å", "æ", "ø"])


@pytest.fixture
def four(tmp_path: Path) -> Path:
    return write(tmp_path / "four.gpkg", fields(4, shift=20), name=["å", "æ", "ø", "ß"])


@pytest.fixture
def roles(database: Database) -> Iterator[None]:
    """Owner, writer and reader, as the role `database` makes them."""
    names = ("cbm_owner", "cbm_writer", "cbm_reader")
    with database.connect(autocommit=True) as conn:
        for name in names:
            conn.execute(f"DROP ROLE IF EXISTS {name}")  # type: ignore[call-overload]
            conn.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'only-for-tests'")  # type: ignore[call-overload]
        conn.execute("GRANT ALL ON SCHEMA public TO cbm_owner")
        yield
        conn.execute("REVOKE ALL ON SCHEMA public FROM cbm_owner")
        # roles belong to the server, not to the test's database
        for name in names:
            conn.execute(f"DROP OWNED BY {name} CASCADE")  # type: ignore[call-overload]
            conn.execute(f"DROP ROLE {name}")  # type: ignore[call-overload]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Services are asked without the pauses that real ones get."""
    monkeypatch.setattr(http, "MANNERS", HASTY)


@pytest.fixture
def area(database: Database) -> Database:
    """A database with the schema and the area 'there'."""
    return with_areas(database, there=AREA)


@pytest.fixture
def zurich(database: Database) -> Database:
    """A database with the schema and the areas 'zurich' and 'jutland'."""
    return with_areas(database, zurich=box(8.67, 47.43, 8.70, 47.46), jutland=box(9, 56, 10, 57))


@pytest.fixture
def catalogue(testdata: Path) -> Iterator[tuple[Catalogue, str]]:
    """A service with a few products of two days, and its address."""
    found = Catalogue(list(many(testdata, range(0, 2000, 500))))
    with serve(found) as url:
        yield found, url


@pytest.fixture
def hasty_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets are asked again, and waited for, without the pauses that real ones get."""
    monkeypatch.setattr("cbmctl.archive.s3.bucket.PAUSE_S", 0.01)
    monkeypatch.setattr("cbmctl.worker.pipeline.ARCHIVE_EVERY_S", 0.05)
    monkeypatch.setattr("cbmctl.worker.pipeline.ARCHIVE_S", 0.3)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)


@pytest.fixture
def served(season: Season, tmp_path: Path) -> Iterator[Proxy]:
    """The season's archive by way of hadro and a proxy; the configuration's file says so."""
    with hadro(tmp_path, tmp_path / "hadro.log") as port, proxy(port) as known:
        s3(season.database, known.url)
        yield known


@pytest.fixture
def digests(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was read for its checksum."""
    counted, digest_of = Counter[str](), checksums.digest_of

    def counting(path: Path, algorithm: str, cancelled: Event) -> str:
        counted[path.name] += 1
        return digest_of(path, algorithm, cancelled)

    monkeypatch.setattr(checksums, "digest_of", counting)
    return counted


@pytest.fixture
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Locks of accounts, and what else a user keeps, are the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    return tmp_path / "user-cache"


@pytest.fixture
def odp(
    database: Database,
    config: Config,  # noqa: ARG001 - schema first
    own_cache: Path,  # noqa: ARG001
    hasty: None,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Odp]:
    """A database with the schema, an order service that its configuration names, and the account."""
    monkeypatch.setenv("CBM_ORDER_USER", keycloak_realm.USER)
    monkeypatch.setenv("CBM_ORDER_PASSWORD", keycloak_realm.PASSWORD)
    for name in ("USER_FILE", "PASSWORD_FILE", "TOTP_SECRET", "TOTP_SECRET_FILE"):
        monkeypatch.delenv(f"CBM_ORDER_{name}", raising=False)
    found = Odp()
    with ordering.served(database, found):
        yield found


@pytest.fixture
def tenant(database: Database, roles: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tenant]:  # noqa: ARG001
    """A filled database with its roles, and pg_repack."""
    with repack_of_image(monkeypatch) as label:
        yield Tenant(database, label)
