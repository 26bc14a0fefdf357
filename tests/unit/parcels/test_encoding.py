"""The letters of a shapefile: as it says in any spelling, or as its words tell; a guess is a finding."""

import io
import re
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from cbmctl.config import Tables
from cbmctl.errors import UserError
from cbmctl.parcels.files.guess_encoding import LANGUAGES, guess
from cbmctl.parcels.files.read_delivery import read
from cbmctl.parcels.files.shapefile_encoding import LDID, WORD, CharacterSet, named, of_shapefile
from cbmctl.parcels.geometry_check import check
from cbmctl.parcels.load import Options, load
from tests.unit.parcels.test_read_delivery import shapefile_with_words

TEXTS = {
    "Polish": "Łąka żyto pszenica jęczmień trwały użytek zielony źdźbło",
    "Czech": "pšenice ozimá řepka ječmen travní porost zeleň žito",
    "Slovak": "pšenica jačmeň lúka ľan vŕba",
    "Hungarian": "őszi búza gyümölcsös szőlő kukorica rét",
    "Romanian": "grâu porumb floarea soarelui viţă de vie păşune",
    "Slovenian or Croatian": "pšenica ječmen travnik žito čebula",
    "Greek": "Σιτηρά σκληρό σιτάρι ΒΑΜΒΑΚΙ ελιές αμπέλι",
    "Bulgarian": "жито царевица слънчоглед ЛЮЦЕРНА лозя",
    "Danish or Norwegian": "Vårbyg rødgrød Æble blå",
    "Swedish or Finnish": "vårvete höstråg äppelodling kevätvehnä heinä",
    "French": "Blé d'été prairie temporaire maïs œillet forêt",
    "German": "Winterweizen Grünland Körnermais Zuckerrüben Gemüse Straße",
    "Spanish, Catalan or Basque": "cebada viña olivar año áreas",
    "Portuguese": "pastagens pomar de limões feijão maçã",
    "Lithuanian": "žieminiai kviečiai pūdymas ąžuolas miežiai",
    "Latvian": "ziemas kvieši mieži rudzi zālāji āboliņš",
    "Estonian": "püsirohumaa põldhein õunapuu mänd",
    "Maltese": "ħaxix ġnien ċereali żebbuġ",
}


@pytest.mark.parametrize("language", TEXTS)
def test_words_of_a_language_are_known_in_each_of_its_character_sets(language: str) -> None:
    tried = 0
    for codec in LANGUAGES[language][1]:
        # a set without all letters of the language cannot hold the text
        if (raw := TEXTS[language].encode(codec, "replace")).decode(codec) == TEXTS[language]:
            found = guess(Counter(WORD.findall(raw)))
            assert found
            assert raw.decode(found.codec) == TEXTS[language], (codec, found)
            tried += 1
    assert tried


def test_words_that_fit_several_languages_are_no_sure_guess() -> None:
    found = guess(Counter({"ř".encode("cp1250"): 3}))  # which is ø in Windows-1252
    assert found
    assert (found.codec, found.sure) == ("cp1252", False)
    assert guess(Counter()) is None


@pytest.mark.parametrize(
    ("word", "codec"),
    [
        *[
            (word, "cp1252")
            for word in ("ANSI 1252", "1252", "cp1252", "windows-1252", "Windows 1252", " 1252\r\n")
        ],
        *[(word, "cp852") for word in ("OEM 852", "OEM852", "IBM-852", "DOS 852")],
        *[(word, "utf-8") for word in ("UTF-8", "utf8", "65001", "UTF-8\0", "\ufeffUTF-8")],
        *[(word, "iso8859_2") for word in ("88592", "ISO 8859-2", "ISO8859-2", "8859_2", "28592", "latin2")],
        *[
            ("LDID/200", "cp1250"),
            ("ISO-8859-15", "iso8859_15"),
            ("KOI8-R", "koi8_r"),
            ("mac_greek", "mac_greek"),
        ],
    ],
)
def test_every_spelling_of_a_character_set(word: str, codec: str) -> None:
    assert named(word) == CharacterSet(codec)


@pytest.mark.parametrize(
    "word", ["klingon", "ANSI", "OEM", "", "rot13", "UTF-16", "cp037", "99999", "LDID/250"]
)
def test_what_is_no_character_set_of_a_dbf(word: str) -> None:
    assert named(word) is None


def test_all_code_pages_of_dbase_are_known() -> None:
    assert {codec for codec in LDID.values() if named(codec) != CharacterSet(codec)} == set()


ALL_BYTES = [bytes([byte]) for byte in range(0xA1, 0x100)]


@pytest.mark.parametrize(
    "codec",
    ["cp1250", "cp1257", "cp852", "cp737", "iso8859_2", "iso8859_13", "koi8_u", "mac_latin2", "mac_greek"],
)
def test_every_letter_of_a_character_set(tmp_path: Path, codec: str) -> None:
    letters = re.sub(r"\s", "", "".join(byte.decode(codec, "ignore") for byte in ALL_BYTES))
    words = [letters[i : i + 30] for i in range(0, len(letters), 30)]
    path = shapefile_with_words(tmp_path / "parcels.shp", words, codec, cpg=True)
    assert read(path).attributes["crop"].to_pylist() == words
    assert check(read(path)).of("changed_text") == []


@pytest.mark.parametrize(
    ("codec", "name", "word"),
    [("mac_roman", "Größe", "süß"), ("cp1250", "Łąka", "żyto"), ("utf-8", "Größe", "süß")],
)
def test_names_of_columns_are_in_the_character_set_of_the_texts(
    tmp_path: Path, codec: str, name: str, word: str
) -> None:
    path = shapefile_with_words(tmp_path / "parcels.shp", [word, "x"], codec, cpg=True)
    dbf = path.with_suffix(".dbf")
    raw = name.encode(codec)
    dbf.write_bytes(dbf.read_bytes().replace(b"crop".ljust(len(raw), b"\0"), raw, 1))
    assert read(path).attributes.to_pydict() == {name: [word, "x"]}
    assert read(path, where=f"\"{name}\" = '{word}'", attributes=[name]).attributes.to_pydict() == {
        name: [word]
    }
    assert read(path, where=f"\"{name}\" = 'x'").attributes.to_pydict() == {name: ["x"]}
    with pytest.raises(UserError, match=rf"has no attribute crop\. Use any of {name}"):
        read(path, attributes=["crop"])


def test_bytes_that_are_no_character_are_findings(tmp_path: Path) -> None:
    path = shapefile_with_words(tmp_path / "parcels.shp", ["Łąka", "x"], "cp1250", cpg=True)
    dbf = path.with_suffix(".dbf")
    dbf.write_bytes(dbf.read_bytes().replace("Łąka".encode("cp1250"), b"\xa3\x81ka"))
    assert read(path).attributes["crop"].to_pylist() == ["Łka", "x"]
    assert [f.reason for f in check(read(path)).of("changed_text")] == [
        "crop: 'Ł\\x81ka' has bytes that are invalid in CP1250"
    ]


def dbf(words: bytes, ldid: int = 0) -> io.BytesIO:
    header = bytearray(33)
    header[8], header[29] = 33, ldid
    return io.BytesIO(bytes(header) + words)


@pytest.mark.parametrize(
    ("cpg", "ldid", "codec", "doubt"),
    [
        (None, 0, "cp1250", "the file does not name its character set, and its words fit Polish"),
        (None, 87, "cp1250", "the file does not name its character set, and its words fit Polish"),
        (None, 200, "cp1250", None),
        (b"ANSI 1250", 0, "cp1250", None),
        (b"UTF-8", 0, "cp1250", "its .cpg says 'UTF-8', which is wrong, and its words fit Polish"),
        (b"klingon", 3, "cp1250", "its .cpg says 'klingon', which is unknown, and its words fit Polish"),
        (b"", 0, "cp1250", "the file does not name its character set, and its words fit Polish"),
    ],
)
def test_what_a_shapefile_says_and_what_it_holds(
    cpg: bytes | None, ldid: int, codec: str, doubt: str | None
) -> None:
    words = TEXTS["Polish"].encode("cp1250")
    assert of_shapefile(cpg, dbf(words, ldid)) == CharacterSet(codec, doubt)
    assert of_shapefile(None, dbf(TEXTS["Polish"].encode())) == CharacterSet("utf-8")
    assert of_shapefile(None, dbf(b"only ascii")) == CharacterSet("utf-8")


@pytest.mark.parametrize(
    ("cpg", "ldid", "source"),
    [
        (b"1252", 0, "its .cpg says '1252'"),
        (b"ISO 8859-1", 87, "its .cpg says 'ISO 8859-1'"),
        (None, 3, "its .dbf says CP1252"),
        (None, 200, "its .dbf says CP1250"),
    ],
)
def test_utf8_is_utf8_whatever_the_file_says(cpg: bytes | None, ldid: int, source: str) -> None:
    for text in TEXTS.values():
        raw = 9 * text.encode() + b" \xc3 cut in the middle"
        found = of_shapefile(cpg, dbf(raw, ldid))
        assert found == CharacterSet("utf-8", f"{source}, but its texts are valid UTF-8")
    # few runs by chance
    assert of_shapefile(cpg, dbf("Ã© sous le blé été œuf maïs".encode("cp1252"), ldid)).doubt is None
    assert of_shapefile(cpg, dbf(b"only ascii", ldid)).codec != "utf-8"


@pytest.mark.parametrize("language", TEXTS)
def test_what_the_file_says_is_believed_if_its_bytes_are_not_utf8(language: str) -> None:
    for codec in LANGUAGES[language][1]:
        raw = TEXTS[language].encode(codec, "ignore")
        assert of_shapefile(codec.encode(), dbf(raw)) == CharacterSet(codec)


def test_utf8_under_the_name_of_another_set_is_a_finding(tmp_path: Path) -> None:
    path = shapefile_with_words(tmp_path / "parcels.shp", ["Blé d’été", "x"], "utf-8", cpg=True)
    path.with_suffix(".cpg").write_text("1252")
    table = read(path)
    assert table.attributes["crop"].to_pylist() == ["Blé d’été", "x"]
    (found,) = check(table).of("guessed_encoding")
    assert found.reason.startswith(
        "crop: 'Blé d’été' is read as UTF-8: its .cpg says '1252', but its texts are"
    )
    assert read(path, encoding="1252").attributes["crop"][0].as_py() == "Blé d’été".encode().decode("cp1252")


def test_a_cst_names_the_character_set_too(tmp_path: Path) -> None:
    path = shapefile_with_words(tmp_path / "parcels.shp", ["Łąka"], "cp852", cpg=True)
    path.with_suffix(".cpg").rename(path.with_suffix(".cst"))
    table = read(path)
    assert table.attributes["crop"].to_pylist() == ["Łąka"]
    assert check(table).of("guessed_encoding") == []


@pytest.mark.postgis
def test_a_guess_is_a_finding_of_inspect_and_load(
    conn: psycopg.Connection, tables: Tables, tmp_path: Path
) -> None:
    path = shapefile_with_words(tmp_path / "parcels.shp", ["zyto", "Łąka", "pszenżyto"], "cp1250")
    done = load(conn, tables, path, Options())
    assert done.findings == check(read(path)).as_json()
    (found,) = done.findings["guessed_encoding"]
    assert (found["feature"], found["column"], found["raw"], found["count"]) == (2, "crop", "Łąka", 2)
    assert found["reason"] == (
        "crop: 'Łąka' is read as CP1250: the file does not name its character set, and its words fit Polish."
        " If letters are wrong, name the character set with --encoding"
    )
    told = load(conn, tables, path, Options(encoding="ANSI 1250"))
    assert told.findings["guessed_encoding"] == []
    with pytest.raises(UserError, match="--encoding: 'UTF-16' is not a character set"):
        read(path, encoding="UTF-16")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cpg_ansi1252", "Blé d’été"),
        ("cpg_ansi1250", "Łąka żyto"),
        ("cpg_oem852", "Łąka żyto"),
        ("nocpg_1250", "Łąka żyto"),
        ("nocpg_1253", "Σιτάρι"),
    ],
)
def test_reported_files(testdata: Path, name: str, words: str) -> None:
    table = read(testdata / "reports" / name / "parcels.shp")
    assert table.attributes["CROP"].to_pylist() == [words]
    assert len(check(table).of("guessed_encoding")) == name.startswith("nocpg")
