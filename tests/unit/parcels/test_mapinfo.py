"""MapInfo files whose character set is "Neutral": --encoding names it, for texts and names of columns."""

import re
from pathlib import Path

import pyarrow as pa
import pytest

from cbmctl.errors import UserError
from cbmctl.parcels.files.mapinfo import CHARSETS
from cbmctl.parcels.files.raw.mapinfo import _belongs
from cbmctl.parcels.files.read_delivery import read
from cbmctl.parcels.geometry_check import check
from tests.support.parcel_loading import fields
from tests.unit.parcels.test_read_delivery import write

LETTERS = {
    "cp1251": "жито",
    "cp855": "жито",
    "iso8859_5": "жито",
    "cp1253": "Σιτά",
    "iso8859_7": "Σιτά",
    "cp1257": "žąęū",
    "iso8859_4": "žąęū",
    "iso8859_6": "قمحش",
    "iso8859_8": "אבגד",
    **dict.fromkeys(("cp1250", "iso8859_2", "cp852"), "Łąka"),
}


IDS = ["12345678901234567890", "9007199254740993", "7"]


def mapinfo(path: Path, raw: bytes, name: bytes = b"crop", charset: bytes | None = b"Neutral") -> Path:
    """Two parcels, the first with four bytes of text, in the character set that the header names, or none."""
    columns = {"crop": pa.array(["QQQQ", "x"]), "n": pa.array([1, 2], pa.int32())}
    write(path, fields(2), driver="MapInfo File", attributes=columns)
    for part in path.parent.glob(f"{path.stem}.*"):
        content = part.read_bytes().replace(b"QQQQ", raw.ljust(4))
        if part == path:
            content = content.replace(b"crop", name)
            if charset is None:
                content = re.sub(rb'(?m)^!charset.*\n|^Charset.*\n| Charset "Neutral"', b"", content)
            else:
                content = content.replace(b"Neutral", charset)
        part.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", ["mif", "tab"])
@pytest.mark.parametrize("codec", CHARSETS)
def test_encoding_names_the_character_set(tmp_path: Path, codec: str, suffix: str) -> None:
    word = LETTERS.get(codec, "üéâx" if codec != "utf-8" else "üé")
    path = mapinfo(tmp_path / f"a.{suffix}", word.encode(codec))
    table = read(path, encoding=codec)
    assert table.attributes["crop"].to_pylist() == [word, "x"]
    assert check(table).of("changed_text") == []


@pytest.mark.parametrize("suffix", ["mif", "tab"])
@pytest.mark.parametrize("charset", [b"Neutral", b"WindowsLatin1", None])
def test_encoding_goes_before_what_the_header_says(
    tmp_path: Path, suffix: str, charset: bytes | None
) -> None:
    word = "Łąka".encode("cp1250")
    path = mapinfo(tmp_path / f"a.{suffix}", word, b"n" + word, charset)
    before = {part: part.read_bytes() for part in tmp_path.iterdir()}
    table = read(path, encoding="1250", where="\"nŁąka\" = 'Łąka'")
    assert table.attributes.to_pydict() == {"nŁąka": ["Łąka"], "n": [1]}
    assert table.layers[0].encoding == "CP1250"
    assert {part: part.read_bytes() for part in tmp_path.iterdir()} == before


@pytest.mark.parametrize("suffix", ["mif", "tab"])
def test_letters_that_are_lost_are_findings_that_name_the_option(tmp_path: Path, suffix: str) -> None:
    path = mapinfo(tmp_path / f"a.{suffix}", "Łąka".encode("cp1250"))
    table = read(path)
    assert table.attributes["crop"].to_pylist() == ["ka", "x"]
    (found,) = check(table).of("changed_text")
    assert found.reason == (
        r"crop: '\xa3\xb9ka' has bytes that are not valid characters:"
        " the file says that its character set is 'Neutral'. Name the right one with --encoding"
    )
    named = mapinfo(tmp_path / f"b.{suffix}", b"x", "nŁ".encode("cp1250"))
    with pytest.raises(
        UserError, match=r"names of columns have bytes that are not valid characters: .* with --encoding"
    ):
        read(named)


def test_a_character_set_that_mapinfo_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--encoding: CP737 is not supported for MapInfo files"):
        read(mapinfo(tmp_path / "a.mif", b"x"), encoding="cp737")
    with pytest.raises(UserError, match="is for shapefiles and MapInfo"):
        read(write(tmp_path / "a.gpkg", fields(1), driver="GPKG"), encoding="cp1250")


def with_ids(path: Path, *, delimiter: str = ",") -> Path:
    """Three parcels whose `id` is Decimal(20, 0), as MapInfo writes it, beside a text with delimiters."""
    is_text = path.suffix == ".mif"
    ids = {"id": pa.array([11.0, 12.0, 13.0]) if is_text else pa.array([i.rjust(20) for i in IDS])}
    write(path, fields(3), driver="MapInfo File", attributes={"crop": ['a, "b"', "", "c;d"], **ids})
    header = path.read_text()
    if is_text:
        path.write_text(header.replace("id Float", "id Decimal(20,0)").replace('r ","', f'r "{delimiter}"'))
        table = path.with_suffix(".mid")
        lines = [line.rsplit(",", 1)[0] for line in table.read_text().splitlines()]
        table.write_text("".join(f"{line}{delimiter}{i}\n" for line, i in zip(lines, IDS, strict=True)))
    else:
        path.write_text(header.replace("id Char (254)", "id Decimal (254, 0)"))
        table = path.with_suffix(".dat")
        raw = bytearray(table.read_bytes())
        raw[64 + 11] = ord("N")  # the type of the second field
        table.write_bytes(raw)
    return path


@pytest.mark.parametrize(("suffix", "delimiter"), [("tab", ","), ("mif", ","), ("mif", ";"), ("mif", "\t")])
def test_no_identifier_loses_a_digit(tmp_path: Path, suffix: str, delimiter: str) -> None:
    path = with_ids(tmp_path / f"a.{suffix}", delimiter=delimiter)
    table = read(path)
    assert [str(i) for i in table.attributes["id"].to_pylist()] == IDS
    assert table.attributes["crop"].to_pylist() == ['a, "b"', "", "c;d"]
    assert read(path, where=f"id = {IDS[1]}").attributes["id"].to_pylist() == [int(IDS[1])]


def test_whole_numbers_that_gdal_cuts_are_read_as_written(tmp_path: Path) -> None:
    path = with_ids(tmp_path / "a.mif")
    path.write_text(path.read_text().replace("id Decimal(20,0)", "id Integer"))
    assert [str(i) for i in read(path).attributes["id"].to_pylist()] == IDS


def test_digits_of_other_features_are_refused(tmp_path: Path) -> None:
    path = with_ids(tmp_path / "a.mif")
    column = pa.chunked_array([[float(IDS[0]), float(IDS[1]), 8.0]])
    assert not _belongs(column, pa.array(IDS))
    assert _belongs(read(path).attributes["id"].cast(pa.float64()), pa.array(IDS))
