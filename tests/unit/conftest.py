"""What several tests share: a small season for queue and worker, parcel files for loading."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import settings
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon, box

from cbmctl.archive import checksums
from cbmctl.catalogue import http
from cbmctl.config import Config, Tables
from cbmctl.database import connect
from cbmctl.queue.planning import plan
from cbmctl.worker.pipeline import work
from cbmctl.worker.stop_signal import Stop

from ..conftest import Database
from . import odp_server, ordering
from .examples import THOROUGH
from .loading import fields, write
from .odata_server import Catalogue, serve
from .odp_server import Odp
from .products import LEFT, TOP, make_product, metadata
from .recorded import AREA, many
from .repacking import Tenant, repack_of_image
from .s3_server import Proxy, hadro, proxy, s3
from .searching import HASTY, with_areas

# of property tests without a seed of their own [examples.py]
settings.register_profile("cbm", derandomize=not THOROUGH)
settings.load_profile("cbm")

EPSG = 32632
# On an image of 400 x 400 m: a rectangle off the pixels' borders, a triangle, and one far away.
PARCELS: Mapping[int, Polygon] = {
    1: box(LEFT + 23, TOP - 177, LEFT + 161, TOP - 42),
    7: Polygon([(LEFT + 210, TOP - 390), (LEFT + 380, TOP - 215), (LEFT + 395, TOP - 380)]),
    9: box(LEFT + 50_000, TOP, LEFT + 50_100, TOP + 100),
}
BANDS_10, BANDS_20 = ("B02", "B03"), ("B05",)
OFFSET = -1000


@dataclass(frozen=True)
class Season:
    """Parcels, an area and scenes in a database; products on disk."""

    database: Database
    config: Config

    def scene(self, day: int, *, month: int = 3, product: bool = True, shift: float = 0.0) -> int:
        """Enter a scene of 2021, and write its product; return its id. `shift`: degrees east."""
        date = f"2021{month:02d}{day:02d}"
        name = f"S2A_MSIL2A_{date}T102921_N0400_R108_T32TMT_{date}T135811.SAFE"
        folder = f"Sentinel-2/MSI/L2A/2021/{month:02d}/{day:02d}"
        if product:
            xml = metadata(dict.fromkeys(range(13), OFFSET))
            make_product(self.config.eodata, pixels(day), xml, name=name, folder=folder)
        with self.database.connect() as conn:
            row = conn.execute(
                """INSERT INTO dias_catalogue (obstime, reference, sensor, card, path, footprint)
                   VALUES (%s, %s, '2A', 's2', %s, ST_Translate(ST_Transform(
                       ST_MakeEnvelope(%s, %s, %s, %s, 32632), 4326), %s, 0))
                   RETURNING id""",
                [
                    f"2021-{month:02d}-{day:02d} 10:29:21",
                    name,
                    f"{folder}/{name}",
                    LEFT,
                    TOP - 400,
                    LEFT + 400,
                    TOP,
                    shift,
                ],
            ).fetchone()
        assert row
        return int(row[0])

    def extract(self, config: Config | None = None, lines: list[str] | None = None) -> list[str]:
        """Plan and do what is to be done; return what was told, which also goes to `lines`."""
        config, lines = config or self.config, [] if lines is None else lines
        with connect(config, autocommit=True) as conn:
            plan(conn, config)
        work(config, stop=Stop(), note=lines.append)
        return lines

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.database.connect() as conn:
            return conn.execute(query, parameters).fetchall()  # type: ignore[call-overload, no-any-return]

    def tasks(self) -> dict[tuple[int, str], str]:
        return {
            (obsid, bandset): state
            for obsid, bandset, state in self.rows("SELECT obsid, bandset, state FROM tasks")
        }

    def status(self, obsid: int) -> str:
        return str(self.rows("SELECT status FROM dias_catalogue WHERE id = %s", obsid)[0][0])


def waiting(lines: list[str]) -> int:
    """How often a worker has said that it waits for the archive."""
    return len([line for line in lines if "waiting for it" in line])


def pixels(seed: int) -> dict[str, NDArray[Any]]:
    """Digital numbers of a scene without nodata, 40 x 40 pixels at 10 m, and classes."""
    random = np.random.default_rng(seed)
    images: dict[str, NDArray[Any]] = {
        f"{band}_10m": random.integers(1001, 9000, (40, 40), dtype=np.uint16) for band in BANDS_10
    }
    images |= {f"{band}_20m": random.integers(1001, 9000, (20, 20), dtype=np.uint16) for band in BANDS_20}
    return images | {"SCL_20m": random.integers(3, 9, (20, 20), dtype=np.uint8)}


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
    monkeypatch.setenv("CBM_ORDER_USER", odp_server.USER)
    monkeypatch.setenv("CBM_ORDER_PASSWORD", odp_server.PASSWORD)
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
