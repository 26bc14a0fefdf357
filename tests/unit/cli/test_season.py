"""Messages of a later season name commands with the option of that season."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import psycopg
import pytest
from click.testing import CliRunner

import cbmctl
from cbmctl.cli import cbmctl as command_line
from cbmctl.cli.commands import MODULES, Commands
from cbmctl.cli.output import Output
from cbmctl.database import DatabaseError
from cbmctl.errors import UserError
from cbmctl.invocation import called_with, command

CODE = Path(cbmctl.__file__).parent
NAMED = re.compile(rf"\bcbmctl ({'|'.join(MODULES)})\b")
# what was done, or runs: not what to do
TOLD = (
    "made by",
    "another cbmctl order command",
    "Another cbmctl maintain archive",
    "cbmctl maintain archive or restore",
    "cbmctl parcels load replaces",
    "one that cbmctl catalogue sync has entered",
    "adds its definition",
    "matplotlib is not installed",
    "without --season",
    "starts_with(application_name",
    "CREATE TABLE",
)


def failing(error: Exception) -> click.Group:
    @click.group(cls=Commands)
    @click.option("--season", expose_value=True)
    @click.pass_context
    def group(ctx: click.Context, **_: str) -> None:
        ctx.obj = SimpleNamespace(output=Output(as_json=False))

    @group.command("fails")
    def fails() -> None:
        click.echo(command("status"))
        raise error

    return group


def test_a_command_has_the_option_of_its_season() -> None:
    assert command("status") == "cbmctl status"
    called_with("2022")
    try:
        assert command("parcels load") == "cbmctl --season 2022 parcels load"
    finally:
        called_with("")
    assert command("status") == "cbmctl status"


def test_messages_of_a_run_name_its_season() -> None:
    error = DatabaseError("database.starting", "it starts", "Wait")
    for options, printed in (
        (["--season", "2022"], "cbmctl --season 2022 status\n"),
        ([], "cbmctl status\n"),
    ):
        result = CliRunner().invoke(failing(error), [*options, "fails"])
        assert (result.exception, result.stdout) == (error, printed)
    # the season ends with the run
    assert command("status") == "cbmctl status"


def test_errors_of_postgresql_are_explained() -> None:
    raised = (
        CliRunner()
        .invoke(failing(psycopg.errors.UndefinedTable("x")), ["--season", "2022", "fails"])
        .exception
    )
    assert isinstance(raised, UserError)
    assert raised.hint == "Run cbmctl --season 2022 schema apply, then load the parcels"
    defect = psycopg.errors.SyntaxError("x")
    assert CliRunner().invoke(failing(defect), ["--season", "2022", "fails"]).exception is defect


def test_the_environment_counts_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CBM_SEASON", "2023")
    for options, season in ((["--season", "2022"], "2022"), ([], "2023")):
        context = command_line.make_context("cbmctl", [*options, "status"])
        assert context.params["season"] == season


def literals() -> Iterator[tuple[str, str]]:
    """Yield all texts but docstrings, help and names of connections."""
    for path in sorted(CODE.rglob("*.py")):
        tree, left_out = ast.parse(path.read_text()), set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr):
                left_out.add(id(node.value))
            if isinstance(node, ast.keyword) and node.arg in ("help", "epilog", "purpose"):
                left_out |= {id(each) for each in ast.walk(node.value)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out:
                yield f"{path.relative_to(CODE)}:{node.lineno}", node.value


def test_no_message_names_a_command_without_its_season() -> None:
    named = [(place, text) for place, text in literals() if NAMED.search(text)]
    # a name of a connection, such as "cbmctl extract plan"
    alone = re.compile(r"cbmctl [a-z]+( [a-z]+)? ?")
    found = [
        f"{place}: {text}"
        for place, text in named
        if not alone.fullmatch(text) and not any(words in text for words in TOLD)
    ]
    assert found == []
