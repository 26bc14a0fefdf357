"""`cbmctl catalogue` against a service or an archive, and what is in the catalogue then."""

import json
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from click.testing import CliRunner, Result
from shapely import to_wkb
from shapely.geometry.base import BaseGeometry

from cbmctl.catalogue.http import Manners
from cbmctl.cli import cbmctl
from cbmctl.errors import UserError
from tests.conftest import Database
from tests.support.printed import expect_only_the_error

Words = tuple[str, ...]
PERIOD = ("2024-02-01", "2024-03-01")
BS, S2 = ("bs", "CARD-BS"), ("s2", "S2MSI2A")
HASTY = Manners(per_second=1e6, attempts=3, pause_s=0.01)


def with_areas(database: Database, **areas: BaseGeometry) -> Database:
    """Give a database the schema and areas of interest."""
    database.migrated()
    with database.connect() as conn:
        for name, area in areas.items():
            conn.execute("INSERT INTO aois VALUES (%s, ST_GeomFromWKB(%s, 4326))", [name, to_wkb(area)])
    return database


def command(database: Database, *arguments: str, as_json: bool = True) -> Result:
    options = ["--config", str(database.config_path), *(["--json"] if as_json else [])]
    return CliRunner().invoke(cbmctl, [*options, "catalogue", *arguments])


def answered(result: Result) -> dict[str, Any]:
    assert result.exception is None, result.exception
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def run(database: Database, url: str, *options: str, period: Words = PERIOD, card: Words = BS) -> Result:
    """Ask a service for the area 'there'."""
    return command(database, "sync", "there", *period, *card, "--url", url, *options)


def sync(
    database: Database, url: str, *options: str, period: Words = PERIOD, card: Words = BS
) -> dict[str, Any]:
    return answered(run(database, url, *options, period=period, card=card))


def rows(database: Database, columns: str) -> list[tuple[Any, ...]]:
    with database.connect() as conn:
        return conn.execute(f"SELECT {columns} FROM dias_catalogue ORDER BY obstime").fetchall()


def refuse(database: Database, url: str, sentence: str, *options: str, card: Words = BS) -> None:
    """One sentence, and nothing done."""
    result = run(database, url, *options, card=card)
    assert isinstance(result.exception, UserError), result.exception
    assert sentence in str(result.exception)
    assert "\n" not in str(result.exception)
    assert rows(database, "reference") == []
    expect_only_the_error(result)


def parameters_of(handler: BaseHTTPRequestHandler) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(urlsplit(handler.path).query).items()}
