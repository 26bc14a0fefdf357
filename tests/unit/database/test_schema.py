"""The schema: from nothing, from the manual's tables made by hand, and again."""

from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from cbmctl import schema
from cbmctl.errors import UserError
from cbmctl.schema import apply
from tests.conftest import Database

pytestmark = pytest.mark.postgis

SCRIPTS = Path(schema.__file__).parent
HEAD = max(path.name[:4] for path in (SCRIPTS / "versions").glob("[0-9]*.py"))

# The manual's statements, character by character where they are valid SQL.
MANUAL = """
CREATE TABLE aois (name text);
SELECT addgeometrycolumn('aois', 'wkb_geometry', 4326, 'POLYGON', 2);
CREATE TABLE public.dias_catalogue (
   id serial NOT NULL,
   obstime timestamp without time zone NOT NULL,
   reference character varying(120) NOT NULL,
   sensor character(2) NOT NULL,
   card character(2) NOT NULL,
    status character varying(24) DEFAULT 'ingested'::character varying NOT NULL,
    footprint public.geometry(Polygon, 4326)
);
ALTER TABLE ONLY public.dias_catalogue
    ADD CONSTRAINT dias_catalogue_pkey PRIMARY KEY (id);
CREATE INDEX dias_catalogue_footprint_idx ON public.dias_catalogue USING gist (footprint);
CREATE UNIQUE INDEX dias_catalogue_reference_idx ON public.dias_catalogue USING btree (reference);
CREATE TABLE public.sigs (
   pid integer,
   obsid integer,
   band character(3),
   count real, mean real, std real,
   min real, max real,
    p25 real, p50 real, p75 real
);
CREATE INDEX sigs_bidx ON public.sigs USING btree (band);
CREATE INDEX sigs_obsidx ON public.sigs USING btree (obsid);
CREATE INDEX sigs_pidx ON public.sigs USING btree (pid);
CREATE TABLE public.hists (
    pid integer,
    obsid integer,
    hist json
);
CREATE INDEX hists_obsidx ON public.hists USING btree (obsid);
CREATE INDEX hists_pidx ON public.hists USING btree (pid);

INSERT INTO aois VALUES ('parcels_2021', ST_MakeEnvelope(8, 47, 9, 48, 4326));
INSERT INTO dias_catalogue (obstime, reference, sensor, card, status, footprint) VALUES
    ('2021-03-05 10:30:21.024', 'S2A_MSIL2A_20210305T103021_N0214_R108_T32TMT_20210305T134215.SAFE',
     '2A', 's2', 'extracted', ST_MakeEnvelope(8, 47, 9, 48, 4326)),
    ('2021-03-06 05:34:21', 'S1A_IW_GRDH_1SDV_20210306T053421_CARD_BS', '1A', 'bs', 'ingested', NULL);
INSERT INTO sigs VALUES (1, 1, 'B02', 10, 1, 1, 1, 1, 1, 1, 1), (1, 1, 'B03', 10, 1, 1, 1, 1, 1, 1, 1);
INSERT INTO hists VALUES (1, 1, '{"4": 10}');
"""


@pytest.fixture
def by_hand(database: Database) -> Database:
    with database.connect(autocommit=True) as conn:
        conn.execute(MANUAL)  # type: ignore[call-overload]
    return database


def columns(database: Database, table: str) -> dict[str, str]:
    with database.connect() as conn:
        return dict(
            conn.execute(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
                " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
                [table],
            ).fetchall()
        )


def indexes(database: Database, table: str) -> set[str]:
    with database.connect() as conn:
        rows = conn.execute("SELECT indexname FROM pg_indexes WHERE tablename = %s", [table]).fetchall()
    return {name for (name,) in rows}


def test_from_nothing_and_again(database: Database) -> None:
    would = apply(database.config, check=True)
    assert (would.changed, would.before, would.after) == (True, None, HEAD)
    with database.connect() as conn:
        assert conn.execute("SELECT to_regclass('public.sigs')").fetchone() == (None,), (
            "--check changed something"
        )
    assert apply(database.config) == would
    again = apply(database.config)
    assert (again.changed, again.before) == (False, HEAD)
    assert not apply(database.config, check=True).changed


def test_a_database_made_by_hand_becomes_the_same(database: Database, by_hand: Database) -> None:
    assert apply(by_hand.config).changed
    assert not apply(by_hand.config).changed
    assert columns(database, "sigs")["band"] == "character(3)"
    assert columns(database, "dias_catalogue")["card"] == "character varying(3)"
    assert columns(database, "dias_catalogue")["footprint"] == "geometry(Geometry,4326)"
    assert columns(database, "aois")["wkb_geometry"] == "geometry(Geometry,4326)"
    assert indexes(database, "sigs") == {"sigs_pidx", "sigs_bidx", "sigs_obsidx"}, "the key is sigs_pidx"
    assert indexes(database, "hists") == {"hists_pidx", "hists_obsidx"}
    with by_hand.connect() as conn:
        assert conn.execute("SELECT pid, obsid, band FROM sigs ORDER BY band").fetchall() == [
            (1, 1, "B02"),
            (1, 1, "B03"),
        ]
        rows = conn.execute(
            "SELECT card, status, tile, epsg, path FROM dias_catalogue ORDER BY id"
        ).fetchall()
        # as names have it: by this, versions of an acquisition are told
        assert conn.execute("SELECT obstime::text FROM dias_catalogue ORDER BY id LIMIT 1").fetchone() == (
            "2021-03-05 10:30:21",
        )
    reference = "S2A_MSIL2A_20210305T103021_N0214_R108_T32TMT_20210305T134215.SAFE"
    path = f"Sentinel-2/MSI/L2A/2021/03/05/{reference}"
    assert rows == [("s2", "extracted", "32TMT", 32632, path), ("bs", "ingested", None, None, None)]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (
            "INSERT INTO sigs VALUES (1, 1, 'B02')",
            "1 values of (pid, obsid, band) in public.sigs occur more than once",
        ),
        (
            "INSERT INTO hists VALUES (1, 1, '{}')",
            "1 values of (pid, obsid) in public.hists occur more than once",
        ),
        (
            "INSERT INTO hists VALUES (NULL, 1, '{}')",
            "1 values of (pid, obsid) in public.hists occur more than once",
        ),
    ],
)
def test_duplicates_are_named_and_nothing_is_done(by_hand: Database, row: str, sentence: str) -> None:
    with by_hand.connect() as conn:
        conn.execute(row)  # type: ignore[call-overload]
    with pytest.raises(UserError) as error:
        apply(by_hand.config)
    assert sentence in str(error.value)
    assert "delete the surplus rows" in str(error.value)
    assert "path" not in columns(by_hand, "dias_catalogue")


def test_a_database_without_postgis_is_told(database: Database) -> None:
    with database.connect() as conn:
        conn.execute("DROP EXTENSION postgis CASCADE")
    with pytest.raises(UserError, match="has no PostGIS"):
        apply(database.config)


def test_tables_of_another_name(database: Database) -> None:
    with database.connect() as conn:
        conn.execute("CREATE SCHEMA ms")
    config = database.configured(tables={"sigs_table": "ms.sigs_2021"})
    assert apply(config).tables == ("ms.sigs_2021",)
    assert not apply(config).changed
    assert columns(database, "ms.sigs_2021") == columns(database, "sigs")


def test_a_newer_schema_is_not_touched(database: Database) -> None:
    apply(database.config)
    with database.connect() as conn:
        conn.execute("UPDATE cbm_schema SET version_num = '9999'")
    with pytest.raises(UserError, match="made by a newer cbmctl"):
        apply(database.config)


@pytest.mark.usefixtures("roles")
def test_roles(database: Database) -> None:
    def login(role: str) -> psycopg.Connection:
        dsn = conninfo.make_conninfo(database.dsn, user=role, password="only-for-tests")  # noqa: S106
        return psycopg.connect(dsn, autocommit=True)

    owner = database.configured(connection={"dbuser": "cbm_owner", "dbpasswd": "only-for-tests"})
    would = apply(owner, check=True)
    assert "INSERT on public.sigs to cbm_writer" in would.grants
    assert apply(owner) == would
    assert not apply(owner).changed
    with login("cbm_owner") as conn:
        conn.execute("CREATE TABLE parcels_2021 (ogc_fid integer PRIMARY KEY)")
    with login("cbm_writer") as conn:
        conn.execute("SELECT FROM parcels_2021")
        conn.execute(
            "INSERT INTO dias_catalogue (obstime, reference, sensor, card) VALUES (now(), 'x', '2A', 's2')"
        )
        conn.execute("INSERT INTO tasks (obsid, bandset, bands, method) VALUES (1, 'scl', '{SCL}', '{}')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("DELETE FROM parcels_2021")
    with login("cbm_reader") as conn:
        for table in (
            "parcels_2021", "sigs", "hists", "dias_catalogue", "aois", "tasks", "parcel_sets",
            "parcel_history", "parcel_lineage",
        ):  # fmt: skip
            conn.execute(f"SELECT FROM {table}")  # type: ignore[call-overload]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("INSERT INTO aois VALUES ('x')")
