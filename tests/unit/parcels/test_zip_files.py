"""Zip archives as agencies' offices make them: unpacked whole, or refused with the reason."""

import struct
from pathlib import Path

import pytest

from cbmctl.errors import UserError
from cbmctl.parcels.files.read_delivery import read
from tests.support.parcel_files import content, parts, write, zipped


def test_what_a_mac_adds_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "Parcels.shp")
    members: dict[str, Path | bytes] = {}
    for p in parts(path).values():
        members |= {p.name: p, f"._{p.name}": b"\0\5\x16\7", f"__MACOSX/._{p.name}": b"\0\5\x16\7"}
    assert len(read(zipped(tmp_path / "mac.zip", members))) == 3
    (tmp_path / "._Parcels.shp").write_bytes(b"\0\5\x16\7")
    (tmp_path / "mac.zip").unlink()
    assert len(read(tmp_path)) == 3


def test_backslashes_between_folders_of_an_archive_are_understood(tmp_path: Path) -> None:
    path = write(tmp_path / "Parcels.shp")
    members = {f"GSAA\\2025\\{p.name}": p for p in parts(path).values()}
    assert len(read(zipped(tmp_path / "windows.zip", members))) == 3


@pytest.mark.parametrize(
    ("archive", "folder", "name"),
    [
        ("gsaa.gdb.zip", "", "gsaa.gdb"),
        ("GSAA.zip", "", "GSAA.gdb"),
        ("a.zip", "2025/gsaa/", "2025/gsaa.gdb"),
    ],
)
def test_a_geodatabase_is_known_by_its_tables(tmp_path: Path, archive: str, folder: str, name: str) -> None:
    tables = content(write(tmp_path / "parcels.gdb", 3))
    path = zipped(tmp_path / archive, {f"{folder}{table}": data for table, data in tables.items()})
    table = read(path)
    assert (len(table), table.shown) == (3, f"{name} in {path}")
    outer = zipped(tmp_path / "outer.zip", {archive: path})
    assert len(read(outer)) == 3


def patched(archive: Path, method: int, flags: int = 0) -> Path:
    """The same archive with another method and flags in its headers."""
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = data.find(signature)
        while start >= 0:
            struct.pack_into("<HH", data, start + offset, flags, method)
            start = data.find(signature, start + 4)
    archive.write_bytes(data)
    return archive


@pytest.mark.parametrize(
    ("method", "flags", "reason"),
    [
        (93, 0, "is compressed with Zstandard. This is not supported"),
        (19, 0, "is compressed with method 19"),
        (0, 1, "is encrypted. Unpack it with its password"),
    ],
)
def test_an_archive_that_cannot_be_unpacked_says_why(
    tmp_path: Path, method: int, flags: int, reason: str
) -> None:
    path = write(tmp_path / "parcels.fgb")
    archive = patched(zipped(tmp_path / "a.zip", {"parcels.fgb": path}), method, flags)
    with pytest.raises(UserError, match=rf"parcels.fgb in {archive} {reason}"):
        read(archive)


def test_an_archive_in_an_archive_is_unpacked_too(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", {p.name: p for p in parts(write(tmp_path / "p.shp")).values()})
    outer = zipped(tmp_path / "outer.zip", {"2025/inner.zip": inner, "2025/readme.txt": b"read me"})
    assert len(read(outer)) == 3


@pytest.mark.parametrize("name", ["../parcels.fgb", "/parcels.fgb"])
def test_a_path_out_of_an_archive_is_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "parcels.fgb")
    with pytest.raises(UserError, match="holds a file outside its folder"):
        read(zipped(tmp_path / "a.zip", {name: path}))


def test_an_archive_that_holds_itself_ends(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "0.zip", {"parcels.fgb": write(tmp_path / "parcels.fgb")})
    for i in range(1, 6):
        inner = zipped(tmp_path / f"{i}.zip", {f"{i - 1}.zip": inner})
    assert len(read(tmp_path / "3.zip")) == 3
    with pytest.raises(UserError, match="too many archives within archives"):
        read(tmp_path / "5.zip")


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(tmp_path / "a.zip", {"parcels.fgb": write(tmp_path / "parcels.fgb")})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(UserError, match=r"cannot be unpacked .*No space left on device.*set TMPDIR"):
        read(archive)
