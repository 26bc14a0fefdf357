"""`cbmctl order` against the order service of the tests, and what is in the ledger then."""

import json
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from cbmctl.cli import cbmctl
from cbmctl.database import connect
from cbmctl.errors import UserError
from cbmctl.ordering.access_token import Tokens
from cbmctl.ordering.credentials import Credentials
from cbmctl.ordering.ledger import Ledger
from cbmctl.ordering.order_service import OrderService
from cbmctl.ordering.place import Chosen, choose
from cbmctl.ordering.wanted_product import Wanted
from tests.conftest import Database
from tests.support.keycloak_realm import PASSWORD, USER
from tests.support.odata_server import serve as serve_catalogue
from tests.support.odp_server import Odp, serve
from tests.support.printed import expect_only_the_error

INCOMPLETE = 3


def grd(number: int) -> str:
    """The name of a GRD product; another one for each number below 1440."""
    hour, minute = divmod(number, 60)
    start = f"20210301T{hour:02d}{minute:02d}37"
    return f"S1A_IW_GRDH_1SDV_{start}_20210301T235959_036800_0452F9_{number:04X}.SAFE"


def slc(day: int) -> str:
    return f"S1B_IW_SLC__1SDV_202103{day:02d}T052630_202103{day:02d}T052657_025850_03155B_{day:04X}.SAFE"


def backscatter(*numbers: int) -> list[Wanted]:
    return [Wanted("CARD-BS", grd(number), label="zurich 2021-03") for number in numbers]


THREE = backscatter(1, 2, 3)


def elsewhere(odp: Odp, number: int) -> dict[str, Any]:
    """An order of a GRD product that was placed on the service's web page."""
    reference = {"Reference": grd(number)}
    return odp.accept({"WorkflowName": "card_bs", "Name": "web", "InputProductReference": reference})


def plan(folder: Path, *wanted: Wanted) -> str:
    """Write a plan; return its path."""
    path = folder / f"plan-{uuid.uuid4().hex[:8]}.json"
    path.write_text(json.dumps({"wanted": [vars(each) for each in wanted]}))
    return str(path)


@contextmanager
def served(database: Database, odp: Odp) -> Iterator[None]:
    """The services of orders and of products answer, and the configuration names them."""
    with serve(odp) as url, serve_catalogue(odp.catalogue) as catalogue:
        database.configured(
            ordering={"url": f"{url}/odata/v1", "token_url": f"{url}/realm/token"},
            catalogue={"urls": {"odata": catalogue}},
        )
        yield


def command(database: Database, *arguments: str, as_json: bool = True, answer: str | None = None) -> Result:
    options = ["--config", str(database.config_path), *(["--json"] if as_json else [])]
    return CliRunner().invoke(
        cbmctl, [*options, "order", *arguments], input=answer, standalone_mode=False, catch_exceptions=True
    )


def answered(result: Result, code: int = 0) -> dict[str, Any]:
    assert result.exception is None, result.exception
    assert (result.return_value or 0) == code, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def refused(result: Result, *words: str) -> str:
    """One sentence or a few on one line, with these words, and no secret; returns it."""
    assert isinstance(result.exception, UserError), result.exception
    message = str(result.exception)
    for word in words:
        assert word in message, message
    assert "\n" not in message
    assert PASSWORD not in message + result.output
    expect_only_the_error(result)
    return message


def rows(database: Database, columns: str = "input, state") -> list[tuple[Any, ...]]:
    with database.connect() as conn:
        return conn.execute(f"SELECT {columns} FROM order_items ORDER BY sent_at, input").fetchall()  # type: ignore[call-overload, no-any-return]


@contextmanager
def opened(
    database: Database, notes: list[str] | None = None, credentials: Credentials | None = None
) -> Iterator[tuple[Ledger, OrderService]]:
    """Ledger and service, as the commands open them."""
    config = database.configured()
    note = ([] if notes is None else notes).append
    with (
        connect(config, autocommit=True) as conn,
        Tokens(config.ordering, credentials or Credentials(USER, PASSWORD), note) as tokens,
    ):
        service = OrderService(config.ordering, tokens, note)
        yield Ledger(conn, config.tables, service.url, service.account), service


def chosen_of(
    ledger: Ledger,
    service: OrderService,
    wanted: Sequence[Wanted],
    again: Collection[str] = (),
    **options: bool,
) -> Chosen:
    """What is to be sent, if none of the products exists."""
    return choose(ledger, service, wanted, lambda _wanted: False, again=again, **options)


def names(wanted: Sequence[Wanted]) -> list[str]:
    return [each.input for each in wanted]
