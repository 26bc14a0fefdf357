"""Texts of a GeoPackage: nothing is lost after a NUL character, and no bytes change unseen."""

from pathlib import Path
from typing import Any

import pytest

from cbmctl.parcels.files.findings import Findings
from cbmctl.parcels.files.read_delivery import read
from cbmctl.parcels.geometry_check import cleaned
from tests.unit.parcels.test_raw import geopackage


def loaded(path: Path, kind: str, given: list[Any], where: str | None = None) -> tuple[list[Any], list[str]]:
    """The values of a column as they are stored, and the reasons of findings."""
    table = read(geopackage(path / "a.gpkg", {"a": kind}, [[one] for one in given]), where=where)
    findings = Findings()
    stored = [row[-1] for rows, _ in cleaned(table, findings) for row in rows]
    return stored, [f.reason for f in findings.of("changed_text")]


ZERO = r"a: 'x\0y' has a NUL character (\0)"


@pytest.mark.parametrize("kind", ["TEXT", "TEXT(9)", "VARCHAR(9)"])
def test_text_after_a_zero_is_kept_and_reported(tmp_path: Path, kind: str) -> None:
    assert loaded(tmp_path, kind, ["x\0y", "é", "", None]) == (["xy", "é", "", None], [ZERO])


def test_bytes_in_a_column_of_texts(tmp_path: Path) -> None:
    assert loaded(tmp_path, "TEXT", ["été".encode(), b"x\0y", b"\xff\xfeab", "z"]) == (
        ["été", "xy", "ab", "z"],
        [ZERO, r"a: '\xff\xfeab' has bytes that are not valid text"],
    )


@pytest.mark.parametrize("kind", ["TEXT", "VARCHAR(9)"])
def test_text_that_is_not_utf8_is_reported(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.gpkg"
    geopackage(path, {"a": kind}, [["LMNO"], ["é"]])
    path.write_bytes(path.read_bytes().replace(b"LMNO", b"L\xe9NO"))
    findings = Findings()
    assert [row[-1] for rows, _ in cleaned(read(path), findings) for row in rows] == ["LNO", "é"]
    assert [f.reason for f in findings.of("changed_text")] == [
        r"a: 'L\xe9NO' has bytes that are not valid text"
    ]


def test_where_compares_the_text_that_is_loaded(tmp_path: Path) -> None:
    assert loaded(tmp_path, "TEXT", ["x\0y", "x"], where="a = 'xy'")[0] == ["xy"]
    assert loaded(tmp_path, "TEXT", ["x\0y", "x"], where="a = 'x'")[0] == ["x"]
