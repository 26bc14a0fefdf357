"""`cbmctl catalogue sync` of CARD-BS against a service, and what is in the catalogue then."""

import json
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from click.testing import CliRunner, Result

from cbmctl.catalogue.polite import Manners
from cbmctl.cli import cbmctl
from cbmctl.errors import UserError

from ..conftest import Database

PERIOD = ("2024-02-01", "2024-03-01")
HASTY = Manners(per_second=1e6, attempts=3, pause_s=0.01)


def run(
    database: Database,
    url: str,
    *options: str,
    period: tuple[str, str] = PERIOD,
    card: tuple[str, ...] = ("bs", "CARD-BS"),
) -> Result:
    arguments = ["catalogue", "sync", "there", *period, *card, "--url", url, *options]
    return CliRunner().invoke(cbmctl, ["--config", str(database.config_path), "--json", *arguments])


def sync(database: Database, url: str, *options: str, period: tuple[str, str] = PERIOD) -> dict[str, Any]:
    result = run(database, url, *options, period=period)
    assert result.exception is None, result.exception
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def rows(database: Database, columns: str) -> list[tuple[Any, ...]]:
    with database.connect() as conn:
        return conn.execute(f"SELECT {columns} FROM dias_catalogue ORDER BY obstime").fetchall()


def refuse(
    database: Database, url: str, sentence: str, *options: str, card: tuple[str, ...] = ("bs", "CARD-BS")
) -> None:
    """One sentence, and nothing done."""
    result = run(database, url, *options, card=card)
    assert isinstance(result.exception, UserError), result.exception
    assert sentence in str(result.exception)
    assert "\n" not in str(result.exception)
    assert rows(database, "reference") == []
    assert result.stdout == ""


def parameters_of(handler: BaseHTTPRequestHandler) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(urlsplit(handler.path).query).items()}
