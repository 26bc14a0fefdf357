"""A parcels file, a second one that changes it, and a database that used the first."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from cbmctl.cli import cbmctl, commands  # noqa: F401  (the commands register themselves)
from cbmctl.config import Tables
from tests.support.parcel_loading import fields
from tests.support.parcel_updates import N, first_file, load_and_use, second_file


@pytest.fixture
def drawn() -> list[Any]:
    return fields(N)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return first_file(tmp_path)


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return second_file(tmp_path)


@pytest.fixture
def used(conn: psycopg.Connection, tables: Tables, first: Path) -> dict[int, int]:
    return load_and_use(conn, tables, first)
