"""db_config.json: the manual's form is read, and every mistake is named."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cbmctl.catalogue.sources import SERVICES
from cbmctl.config import TableName, load_config, of_season
from cbmctl.config.bandsets import BANDSETS
from cbmctl.config.catalogue import PROTOCOLS, Catalogue
from cbmctl.config.extraction import Method
from cbmctl.errors import UserError

MANUAL: dict[str, Any] = {
    "database": {
        "connection": {
            "host": "YOURIP",
            "dbname": "postgres",
            "dbuser": "postgres",
            "dbpasswd": "secret",
            "port": 11039,
            "sslmode": "require",
        },
        "tables": {
            "aoi_table": "public.aois",
            "parcel_table": "public.parcels_2021",
            "catalog_table": "public.dias_catalogue",
            "sigs_table": "public.sigs",
            "hists_table": "public.hists",
        },
        "args": {
            "aoi_field": "name",
            "name": "parcels_2021",
            "startdate": "2020-10-01",
            "enddate": "2022-01-01",
        },
    },
    "docker": {"masterip": "192.168.0.8"},
}
NOTHING: dict[str, Any] = {
    "s2": {"scl": False, "10": [], "20": []},
    "bs": {"bands": []},
    "c6": {"bands": []},
    "c12": {"bands": []},
}


def write(folder: Path, **changes: Any) -> Path:
    """The manual's file with values replaced: `write(folder, connection__port=0)`; None removes."""
    data = json.loads(json.dumps(MANUAL))
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = data if parents[:1] == ["root"] else data["database"]
        for name in parents:
            target = target if name == "root" else target.setdefault(name, {})
        if value is None:
            del target[last]
        else:
            target[last] = value
    file = folder / "db_config.json"
    file.write_text(json.dumps(data))
    return file


def test_a_later_season_has_its_tables_in_one_schema(tmp_path: Path) -> None:
    names = {"parcel": "parcels_2022", "catalog": "dias_catalogue", "sigs": "sigs", "hists": "hists"}
    changes = {f"tables__{key}_table": f"season_2022.{name}" for key, name in names.items()}
    tables = load_config(write(tmp_path, **changes)).tables
    assert (tables.schema, tables.tasks) == ("season_2022", TableName("season_2022", "tasks"))
    assert str(tables.version) == "season_2022.cbm_schema"
    shared = {str(table) for table in (tables.aois, tables.orders, tables.order_items)}
    assert shared == {"public.aois", "public.orders", "public.order_items"}


def test_a_season_is_chosen_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(tmp_path)
    second = write(tmp_path, args__name="parcels_2022").rename(tmp_path / "db_config.2022.json")
    write(tmp_path)
    assert of_season(first, "2022") == second
    monkeypatch.delenv("CBM_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    for path in (first, None):
        assert load_config(path).args.name == "parcels_2021"
        found = load_config(path, "2022")
        assert (found.args.name, found.source.absolute()) == ("parcels_2022", second)
    monkeypatch.setenv("CBM_CONFIG", str(first))
    assert load_config(None, "2022").source == second
    with pytest.raises(UserError) as error:
        load_config(first, "2023")
    assert str(error.value) == (
        f"The season '2023' has no configuration: {tmp_path}/db_config.2023.json not found. Create it with"
        " playbooks/worker_image.yml, or omit --season and unset CBM_SEASON to use the first season."
    )
    for wrong in ("../2022", "Season", "2" * 21):
        with pytest.raises(UserError, match=r"is not a valid name\. Use up to 20 letters a-z, digits or _"):
            load_config(first, wrong)


def test_the_manuals_file_is_understood(tmp_path: Path) -> None:
    config = load_config(write(tmp_path))
    assert config.connection.port == 11039
    assert config.connection.password == "secret"
    assert config.tables.parcels == TableName("public", "parcels_2021")
    assert config.tables.tasks == TableName("public", "tasks")
    assert (config.args.start, config.args.end) == (date(2020, 10, 1), date(2022, 1, 1))
    assert config.eodata == Path("/eodata")
    assert config.extraction.bandsets == {
        "scl": ("SCL",),
        "10": ("B02", "B03", "B04", "B08"),
        "20": ("B05", "B11"),
        "bs": ("VVb", "VHb"),
        "c6": ("VVc", "VHc"),
        "c12": ("VVc", "VHc"),
    }
    assert list(config.extraction.bandsets) == list(BANDSETS), "the order of processing"
    assert config.extraction.retry_seconds == (10, 60)


def test_how_rows_are_made(tmp_path: Path) -> None:
    by_default = load_config(write(tmp_path)).extraction.methods
    optical = Method("drop", "harmonised", (9,), "first")
    radar = Method("keep")
    assert by_default == {
        "scl": Method("keep", overlap="first"),
        "10": optical,
        "20": optical,
        "bs": radar,
        "c6": radar,
        "c12": radar,
    }
    changed = {
        "s2": {"edge": "keep", "reflectance": "as-stored", "cloud_classes": [9, 8, 9], "overlap": "all"},
        "bs": {"edge": "drop"},
        "retry_seconds": [],
    }
    extraction = load_config(write(tmp_path, root__extraction=changed)).extraction
    assert extraction.methods["20"] == Method("keep", "as-stored", (8, 9), "all")
    assert (extraction.methods["bs"], extraction.methods["c6"]) == (Method("drop"), radar)
    assert extraction.retry_seconds == ()
    without_scl = load_config(write(tmp_path, root__extraction={"s2": {"scl": False}})).extraction
    assert without_scl.methods["10"].cloud_classes == (), "there is nothing to see clouds by"


def test_parcels_are_shrunk_in_all_band_sets(tmp_path: Path) -> None:
    for metres in (5, 2.5):
        config = load_config(write(tmp_path, root__extraction={"parcels_buffer_m": metres}))
        assert {method.buffer_m for method in config.extraction.methods.values()} == {metres}


def test_files_are_checked_unless_it_is_switched_off(tmp_path: Path) -> None:
    assert load_config(write(tmp_path)).extraction.checksums
    assert not load_config(write(tmp_path, root__extraction={"checksums": False})).extraction.checksums


def test_what_is_extracted_can_be_chosen(tmp_path: Path) -> None:
    chosen = {"s2": {"10": ["B08", "B04", "B08"], "20": []}, "c6": {"bands": ["VVc"]}, "c12": {"bands": []}}
    bandsets = load_config(write(tmp_path, root__extraction=chosen)).extraction.bandsets
    assert bandsets == {"scl": ("SCL",), "10": ("B08", "B04"), "bs": ("VVb", "VHb"), "c6": ("VVc",)}


def test_where_scenes_are_looked_up(tmp_path: Path) -> None:
    assert load_config(write(tmp_path)).catalogue == Catalogue()
    said = {"source": "odata", "urls": {"odata": "https://a.example/odata/v1"}}
    assert load_config(write(tmp_path, root__catalogue=said)).catalogue == Catalogue("odata", said["urls"])
    assert load_config(write(tmp_path, root__catalogue={"source": "service"})).catalogue == Catalogue()


def test_every_protocol_has_its_service() -> None:
    assert tuple(SERVICES) == PROTOCOLS


def test_the_password_is_never_shown(tmp_path: Path) -> None:
    assert "secret" not in repr(load_config(write(tmp_path)))


def test_the_password_may_come_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "password"
    secret.write_text("from the file\n")
    path = write(tmp_path, connection__dbpasswd=None, connection__dbpasswd_file=str(secret))
    assert load_config(path).connection.password == "from the file"
    monkeypatch.setenv("CBM_DBPASSWD", "from the environment")
    assert load_config(path).connection.password == "from the environment"


def test_the_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path)
    monkeypatch.setenv("CBM_CONFIG", str(path))
    assert load_config().source == path
    monkeypatch.delenv("CBM_CONFIG")
    monkeypatch.chdir(tmp_path)
    assert load_config().source == Path("db_config.json")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"connection__host": None}, "database.connection.host is missing"),
        ({"connection__port": "many"}, "database.connection.port is 'many'"),
        ({"connection__sslmode": "yes"}, "database.connection.sslmode is 'yes'"),
        ({"connection__sslmode": "verify-full"}, "database.connection.sslrootcert is missing"),
        ({"connection__sslrootcert": "/nowhere/ca.crt"}, "/nowhere/ca.crt, which does not exist"),
        (
            {"connection__dbpasswd_file": "/nowhere/password"},
            "/nowhere/password, which cannot be read (No such file or directory). Make it",
        ),
        (
            {"tables__parcel_table": "parcels_2021"},
            "database.tables.parcel_table is 'parcels_2021'. Write schema.table",
        ),
        ({"tables__parcel_table": "public." + "p" * 60}, "at most 48 letters"),
        ({"tables__sigs_table": 'public.sigs"; DROP TABLE aois'}, "Write schema.table"),
        (
            {
                "tables__catalog_table": "season_2022.dias_catalogue",
                "tables__parcel_table": "season_2022.parcels_2022",
                "tables__sigs_table": "season_2022.sigs",
            },
            "database.tables.hists_table is 'public.hists', but catalog_table is"
            " 'season_2022.dias_catalogue'. Use a table of the schema season_2022",
        ),
        (
            {"args__startdate": "1.10.2020"},
            "database.args.startdate is '1.10.2020'. Write a date as 2021-12-31",
        ),
        ({"args__enddate": "2020-10-01"}, "must be later than startdate"),
        ({"args": "2020"}, "database.args must be an object"),
        ({"root__extraction": {"s2": {"10": ["B8A"]}}}, "extraction.s2.10 is ['B8A']"),
        ({"root__extraction": {"bs": {"bands": ["VV"]}}}, "extraction.bs.bands is ['VV']. Use a list of VVb"),
        ({"root__extraction": NOTHING}, "Set scl to true, or list bands"),
        *(
            (
                {"root__extraction": {"parcels_buffer_m": wrong}},
                f"extraction.parcels_buffer_m is {wrong!r}. Use a number from 0 to 50",
            )
            for wrong in (-1, 51, "5", True, float("nan"))
        ),
        ({"root__extraction": {"checksums": "no"}}, "extraction.checksums must be true or false, not 'no'"),
        ({"root__extraction": {"s2": {"scl": "no"}}}, "extraction.s2.scl must be true or false, not 'no'"),
        ({"root__extraction": {"s2": {"edge": "cut"}}}, "extraction.s2.edge is 'cut'. Use one of drop, keep"),
        ({"root__extraction": {"c6": {"edge": "cut"}}}, "extraction.c6.edge is 'cut'"),
        ({"root__extraction": {"s2": {"cloud_classes": [12]}}}, "extraction.s2.cloud_classes is [12]"),
        (
            {"root__extraction": {"s2": {"bands_10": ["B02"]}}},
            "extraction.s2.bands_10 is unknown. Use one of scl, 10, 20,",
        ),
        ({"root__extraction": {"c6": {"10": ["B02"]}}}, "extraction.c6.10 is unknown"),
        ({"root__extraction": {"S2": {}}}, "extraction.S2 is unknown. Use one of s2, bs, c6, c12,"),
        ({"root__catalogue": {"source": "cdse"}}, "catalogue.source is 'cdse'. Use one of service, stac,"),
        ({"root__catalogue": {"url": "https://x"}}, "catalogue.url is unknown. Use one of source, urls"),
        ({"root__catalogue": {"urls": {"stacc": "https://x"}}}, "catalogue.urls.stacc is unknown"),
        (
            {"root__catalogue": {"urls": {"stac": "x"}}},
            "catalogue.urls.stac is 'x'. Write it with https://",
        ),
        (
            {"root__catalogue": {"urls": {"odata": "https://x:99999/"}}},
            "catalogue.urls.odata is 'https://x:99999/'. Write a port from 1 to 65535, or none",
        ),
        ({"root__extraction": {"retry_seconds": [-1]}}, "extraction.retry_seconds is [-1]"),
        ({"root__extraction": {"s2": {"reflectance": "none"}}}, "extraction.s2.reflectance is 'none'"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(UserError) as error:
        load_config(path)
    assert complaint in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_no_file_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_config(tmp_path / "absent.json")
    (tmp_path / "empty.json").write_text("\n")
    with pytest.raises(UserError, match=r"empty.json is empty. Write the configuration into it"):
        load_config(tmp_path / "empty.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UserError, match=r"the file must be an object in curly brackets. Write it as"):
        load_config(tmp_path / "list.json")
    (tmp_path / "broken.json").write_text('{"database": }')
    with pytest.raises(UserError, match="is not valid JSON"):
        load_config(tmp_path / "broken.json")
