"""MapInfo files whose character set is "Neutral": --encoding names it, for texts and names of columns."""

import re
from pathlib import Path

import pyarrow as pa
import pytest

from cbmctl.errors import UserError
from cbmctl.parcels.check import check
from cbmctl.parcels.mapinfo import CHARSETS
from cbmctl.parcels.source import read

from .loading import fields
from .test_parcels_source import write

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
