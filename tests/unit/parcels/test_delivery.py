"""Which files belong to a delivery, in whatever shape an agency sends it; what cannot be read is refused."""

import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from pyproj import CRS

from cbmctl.errors import UserError
from cbmctl.parcels.files.formats import belonging
from cbmctl.parcels.files.read_delivery import read
from cbmctl.parcels.load import checksum
from tests.support.parcel_files import content, parts, squares, write, zipped


def renamed(shapefile: Path, **names: str) -> Path:
    """Give parts of a shapefile other names: `shp="A.SHP"`."""
    for suffix, name in names.items():
        shapefile.with_suffix(f".{suffix}").rename(shapefile.parent / name)
    return shapefile.parent / names.get("shp", shapefile.name)


@pytest.mark.parametrize(
    "names",
    [
        {"dbf": "GSAA.DBF"},
        {"shp": "Gsaa.SHP", "shx": "gsaa.ShX", "dbf": "GSAA.dbf", "cpg": "gsaa.CPG", "prj": "GSAA.PRJ"},
    ],
)
def test_parts_of_a_shapefile_belong_together_whatever_their_case(
    tmp_path: Path, names: dict[str, str]
) -> None:
    path = renamed(write(tmp_path / "gsaa.shp"), **names)
    before = checksum(path)
    table = read(path)
    assert table.attributes.to_pydict() == {"number": [0, 1, 2], "crop": ["crop 0", "crop 1", "crop 2"]}
    assert table.srid == 25832
    members = {f"A/{p.name}": p for p in tmp_path.iterdir()}
    assert read(zipped(tmp_path / "a.zip", members)).attributes.equals(table.attributes)
    dbf = tmp_path / names["dbf"]
    dbf.write_bytes(dbf.read_bytes().replace(b"crop 1", b"crop 9"))
    assert checksum(path) != before


def test_the_part_that_is_spelt_like_the_file_counts(tmp_path: Path) -> None:
    write(tmp_path / "gsaa.shp", 2)
    write(tmp_path / "GSAA.shp", 3)
    assert (len(read(tmp_path / "gsaa.shp")), len(read(tmp_path / "GSAA.shp"))) == (2, 3)
    (tmp_path / "gsaa.dbf").rename(tmp_path / "Gsaa.dbf")
    with pytest.raises(UserError, match=r"gsaa.shp: GSAA.dbf and Gsaa.dbf could both belong to it"):
        read(tmp_path / "gsaa.shp")


def test_only_known_suffixes_belong_to_a_file() -> None:
    names = ["a.shp", "A.dbf", "a.shx", "a.shp.xml", "a.qix", "ab.dbf", "a.gpkg", "a.pdf", "b.shx"]
    assert belonging("a.shp", names) == {".shp": "a.shp", ".dbf": "A.dbf", ".shx": "a.shx"}
    assert belonging("a.gpkg", ["A.GPKG-WAL", "a.gpkg", "a.gpkg-shm"]) == {
        ".gpkg": "a.gpkg",
        ".gpkg-wal": "A.GPKG-WAL",
    }
    assert belonging("a.zip", ["a.zip", "a.dbf"]) == {".zip": "a.zip"}


@pytest.fixture
def regions(tmp_path: Path) -> tuple[Path, Path]:
    """The shapefiles of two regions under one name, with a number that is wider in the second."""
    found = []
    for i, (region, n) in enumerate((("R11", 3), ("R24", 5))):
        (tmp_path / "fr" / region).mkdir(parents=True)
        found.append(write(tmp_path / "fr" / region / "PARCELLES.shp", n, first=10 * i))
    return found[0], found[1]


def test_several_files_and_a_folder_are_loaded_as_one_set(regions: tuple[Path, Path]) -> None:
    folder = regions[0].parents[1]
    members = {f"{p.parent.name}/{p.name}": p for r in regions for p in parts(r).values()}
    archive = zipped(folder.parent / "regions.zip", members)
    for table in (read(regions), read(folder), read(archive, layer="*PARCELLES")):
        assert table.attributes["number"].to_pylist() == [0, 1, 2, 10, 11, 12, 13, 14]
        assert table.attributes["source_layer"].to_pylist() == ["R11/PARCELLES"] * 3 + ["R24/PARCELLES"] * 5
        assert [layer.features for layer in table.layers] == [3, 5]
    assert len(read(archive, layer="R24/PARCELLES")) == 5
    assert read(folder, where="number = 11", attributes=["crop"]).attributes.to_pydict() == {
        "crop": ["crop 11"],
        "source_layer": ["R24/PARCELLES"],
    }
    assert read(folder, attributes=[]).attributes.column_names == ["source_layer"]


@pytest.mark.parametrize("suffix", ["shp", "gpkg", "geojson", "gdb", "fgb"])
def test_a_region_without_parcels_is_left_out_with_a_note(regions: tuple[Path, Path], suffix: str) -> None:
    folder = regions[0].parents[1]
    write(folder / f"R0.{suffix}", 0, number=pa.array([], pa.int32()), crop=pa.array([], pa.string()))
    table = read(folder)
    assert (len(table), len(read(folder, layer="PARCELLES"))) == (8, 8)
    assert table.notes == (f"{folder}/R0.{suffix} has no parcels and is skipped",)
    with pytest.raises(UserError, match="holds no polygons"):
        read(folder / f"R0.{suffix}")


def test_layers_of_one_name_are_refused_until_one_is_named(
    regions: tuple[Path, Path], tmp_path: Path
) -> None:
    members = {f"{p.parent.name}/{p.name}": p for r in regions for p in parts(r).values()}
    archive = zipped(tmp_path / "regions.zip", members)
    both = r"R11/PARCELLES \(Polygon, 3 features\), R24/PARCELLES \(Polygon, 5 features\)"
    with pytest.raises(
        UserError, match=rf"has several layers with polygons: {both}\. Choose one with --layer"
    ):
        read(archive)
    with pytest.raises(UserError, match=rf"has 2 layers 'PARCELLES': {both}"):
        read(archive, layer="PARCELLES")


def test_a_pattern_takes_all_layers_that_it_fits(tmp_path: Path) -> None:
    path = tmp_path / "pt.gpkg"
    for i, name in enumerate(("Culturas_Aveiro", "Culturas_[Beja]", "Ocupacoes")):
        write(path, 2 + i, first=10 * i, layer=name)
    table = read(path, layer="Culturas_*")
    assert (
        table.attributes["source_layer"].to_pylist()
        == ["pt.gpkg:Culturas_Aveiro"] * 2 + ["pt.gpkg:Culturas_[Beja]"] * 3
    )
    assert len(read(path, layer="Culturas_[Beja]")) == 3
    with pytest.raises(UserError, match=r"has no layer 'Vinhas_\*'\. Use one of Culturas_Aveiro"):
        read(path, layer="Vinhas_*")


@pytest.fixture
def wal(tmp_path: Path) -> Iterator[Path]:
    """A GeoPackage that a program has open: its fourth parcel is in the -wal still."""
    folder = tmp_path / "wal"
    folder.mkdir()
    path = write(folder / "parcels.gpkg")
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("DROP TRIGGER IF EXISTS rtree_parcels_geom_insert")
        database.execute(
            "INSERT INTO parcels (geom, number, crop) SELECT geom, 99, crop FROM parcels LIMIT 1"
        )
        database.commit()
        yield path


def test_changes_in_a_wal_are_read_and_nothing_is_written(wal: Path, tmp_path: Path) -> None:
    before = content(wal.parent)
    assert "parcels.gpkg-wal" in before
    assert read(wal).attributes["number"].to_pylist() == [0, 1, 2, 99]
    assert content(wal.parent) == before
    archive = zipped(tmp_path / "a.zip", {n: c for n, c in before.items() if not n.endswith("-shm")})
    assert len(read(archive)) == 4


def test_a_geopackage_without_its_wal_is_read_and_says_so(wal: Path, tmp_path: Path) -> None:
    folder = tmp_path / "alone"
    folder.mkdir()
    path = folder / "parcels.gpkg"
    path.write_bytes(wal.read_bytes())
    table = read(path)
    assert len(table) == 3
    assert table.notes == (
        f"{path} was written in WAL mode and has no file parcels.gpkg-wal beside it."
        " If there was one, its changes are missing: deliver both.",
    )
    assert list(content(folder)) == ["parcels.gpkg"]


def test_columns_of_one_name_are_all_read(tmp_path: Path) -> None:
    path = write(tmp_path / "parcels.shp", 2, CROP_A=["w", "x"], CROP_B=["y", "z"], CROP_C=["1", "2"])
    dbf = path.with_suffix(".dbf")
    dbf.write_bytes(dbf.read_bytes().replace(b"CROP_C", b"CROP_A").replace(b"CROP_B", b"CROP_A"))
    table = read(path)
    assert table.attributes.to_pydict() == {
        "CROP_A": ["w", "x"],
        "CROP_A_2": ["y", "z"],
        "CROP_A_3": ["1", "2"],
    }
    assert table.notes == (
        f"{path} has several columns with the same name (CROP_A);"
        " the others are renamed to CROP_A_2, CROP_A_3",
    )
    assert read(path, attributes=["CROP_A_2"]).attributes.to_pydict() == {"CROP_A_2": ["y", "z"]}


def test_columns_of_one_name_in_geoparquet_are_all_read(tmp_path: Path) -> None:
    wkb = pa.array(shapely.to_wkb(squares(2)), pa.binary())
    column = {"encoding": "WKB", "geometry_types": [], "crs": CRS.from_epsg(25832).to_json_dict()}
    geo = {"version": "1.1.0", "primary_column": "g", "columns": {"g": column}}
    table = pa.table([pa.array([1, 2]), wkb, pa.array(["a", "b"])], names=["x", "g", "x"])
    path = tmp_path / "parcels.parquet"
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    assert read(path).attributes.to_pydict() == {"x": [1, 2], "x_2": ["a", "b"]}
    assert read(path, where="x_2 = 'b'").attributes.to_pydict() == {"x": [2], "x_2": ["b"]}


def test_a_file_geodatabase_is_read_as_a_folder_and_zipped(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = write(tmp_path / "in" / "gsaa.gdb", 3, layer="gsaa_2025")
    before = content(path)
    members = {f"gsaa.gdb/{name}": data for name, data in before.items()}
    for delivery in (path, tmp_path / "in", zipped(tmp_path / "gsaa.gdb.zip", members)):
        table = read(delivery)
        assert (len(table), table.layers[0].name, table.srid) == (3, "gsaa_2025", 25832)
    assert content(path) == before
    sums = checksum(path), checksum(tmp_path / "in")
    (path / "timestamps").write_bytes(b"another")
    assert checksum(path) != sums[0]
    assert checksum(tmp_path / "in") != sums[1]


def test_brackets_and_other_signs_in_names_mean_nothing(tmp_path: Path) -> None:
    name = "GSAA 2025 [final] {a} *?#%.shp"
    path = write(tmp_path / "plain.shp")
    for part in parts(path).values():
        part.rename(tmp_path / Path(name).with_suffix(part.suffix))
    path = tmp_path / name
    before = checksum(path)
    assert read(path).attributes["number"].to_pylist() == [0, 1, 2]
    dbf = path.with_suffix(".dbf")
    dbf.write_bytes(dbf.read_bytes().replace(b"crop 1", b"crop 9"))
    assert checksum(path) != before


def test_json_and_xml_count_if_their_content_or_nothing_else_can_be_parcels(tmp_path: Path) -> None:
    json = write(tmp_path / "parcels.geojson").rename(tmp_path / "parcels.json")
    assert len(read(json)) == 3
    assert len(read(zipped(tmp_path / "json.zip", {"parcels.json": json}))) == 3
    members: dict[str, Path | bytes] = {p.name: p for p in parts(write(tmp_path / "b.shp", 2)).values()}
    others: dict[str, Path | bytes] = {"b.shp.xml": b"<metadata/>", "style.json": b'{"version": 8}'}
    assert len(read(zipped(tmp_path / "both.zip", members | others))) == 2
    with pytest.raises(UserError, match=r"several layers with polygons: b .*, parcels "):
        read(zipped(tmp_path / "two.zip", members | others | {"parcels.json": json}))


def test_a_folder_with_something_that_is_not_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fr").mkdir()
    write(tmp_path / "fr/R11.fgb")
    for name in ("notes.pdf", "codes.csv", ".hidden.7z"):
        (tmp_path / "fr" / name).touch()
    assert len(read(tmp_path / "fr")) == 3
    (tmp_path / "fr/R24.7z").touch()
    with pytest.raises(UserError, match=r"fr holds R24.7z, which is not read from a folder\. Unpack"):
        read(tmp_path / "fr")
    members: dict[str, Path | bytes] = {"R11.fgb": tmp_path / "fr/R11.fgb", "R24.7z": b"7z"}
    archive = zipped(tmp_path / "fr.zip", members | {"notes.pdf": b"-"})
    assert read(archive).notes == (f"R24.7z in {archive} is not read",)


@pytest.mark.parametrize("archive", ["a.zip", "z.zip"])
@pytest.mark.parametrize("suffix", ["shp", "gpkg", "gdb"])
def test_an_archive_beside_its_unpacked_content_is_refused(tmp_path: Path, suffix: str, archive: str) -> None:
    (tmp_path / "fr/R11").mkdir(parents=True)
    (tmp_path / "fr/R24").mkdir()
    write(tmp_path / f"fr/R11/parcels.{suffix}", 3)
    write(tmp_path / f"fr/R24/parcels.{suffix}", 4, first=20)
    zipped(tmp_path / "fr" / archive, {f"new/{n}": c for n, c in content(tmp_path / "fr/R11").items()})
    with pytest.raises(
        UserError,
        match=rf"new/parcels.{suffix} in \S+{archive} has the name and size of \S+R11/parcels.{suffix}:"
        " the same parcels would be loaded twice",
    ):
        read(tmp_path / "fr")
    (tmp_path / "more").mkdir()
    write(tmp_path / f"more/parcels.{suffix}", 300, first=40)
    zipped(tmp_path / "fr" / archive, {f"R32/{n}": c for n, c in content(tmp_path / "more").items()})
    assert len(read(tmp_path / "fr")) == 307


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    for name in ("R11", "elsewhere"):
        (tmp_path / "fr" / name).mkdir(parents=True)
    write(tmp_path / "fr/R11/p.fgb", 2)
    (tmp_path / "fr/elsewhere").rename(tmp_path / "elsewhere")
    write(tmp_path / "elsewhere/q.fgb", 3)
    (tmp_path / "fr/R24").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "fr/R11/up").symlink_to(tmp_path / "fr")
    labels = read(tmp_path / "fr").attributes["source_layer"].to_pylist()
    assert labels == ["R11/p"] * 2 + ["R24/q"] * 3


def test_a_file_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "parcels.fgb")
    for named in ([path, path], [tmp_path, path]):
        with pytest.raises(UserError, match=r"parcels.fgb is named twice\. Name each file once"):
            read(named)


@pytest.mark.parametrize("name", ["parcels.zip", "parcels.gpkg", "parcels.dbf"])
def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    shapefile, package = write(tmp_path / "parcels.shp"), write(tmp_path / "parcels.gpkg")
    zipped(tmp_path / "parcels.zip", {package.name: package})
    usual = Path.open

    def refusing(path: Path, *options: Any) -> Any:  # root, as whom CI runs, may read everything
        if path.name == name:
            raise PermissionError(13, "Permission denied")
        return usual(path, *options)

    monkeypatch.setattr(Path, "open", refusing)
    with pytest.raises(UserError, match=r"parcels\.\w+ cannot be read \(Permission denied\)"):
        read(shapefile if name.endswith(".dbf") else tmp_path / name)


def test_what_a_killed_run_left_is_removed_after_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    old, young = (tmp_path / "tmp" / f"cbmctl-parcels-{name}" for name in ("old", "young"))
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "parcels.gpkg").touch()
    os.utime(old, (time.time() - 90_000, time.time() - 90_000))
    read(write(tmp_path / "parcels.fgb"))
    assert list((tmp_path / "tmp").iterdir()) == [young]


def test_a_transaction_that_was_cut_off_is_undone_in_the_copy_only(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = write(tmp_path / "open.gpkg", 2000)
    with closing(sqlite3.connect(path)) as database:
        # triggers call functions that only GDAL has
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        database.executescript("PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN")
        database.execute("UPDATE open SET crop = 'not to be seen' || hex(randomblob(200))")
        for name in ("open.gpkg", "open.gpkg-journal"):  # as a copy in that moment has them
            (tmp_path / "in" / name).write_bytes((tmp_path / name).read_bytes())
    before = content(tmp_path / "in")
    assert b"not to be seen" in before["open.gpkg"]
    table = read(tmp_path / "in/open.gpkg")
    assert sorted(table.attributes["crop"].to_pylist()) == sorted(f"crop {i}" for i in range(2000))
    assert content(tmp_path / "in") == before
