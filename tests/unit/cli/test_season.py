"""Messages of a later season name commands with the option of that season."""

import json
from typing import Any

import click
import psycopg
import pytest
from click.testing import CliRunner

from cbmctl.cli import Context, cbmctl
from cbmctl.cli.commands import Commands, in_season
from cbmctl.cli.output import Output
from cbmctl.database import DatabaseError
from cbmctl.errors import UserError
from cbmctl.report import make


def failing(error: Exception) -> click.Group:
    @click.group(cls=Commands)
    @click.option("--season")
    def group(season: str | None) -> None:
        pass

    @group.command("fails")
    def fails() -> None:
        raise error

    return group


def test_only_commands_to_run_get_the_option() -> None:
    for text, completed in (
        ("Run cbmctl maintain compact.", "Run cbmctl --season 2022 maintain compact."),
        (
            "`cbmctl status` and 'cbmctl aoi set'",
            "`cbmctl --season 2022 status` and 'cbmctl --season 2022 aoi set'",
        ),
        ("sudo cbmctl extract --scene X", "sudo cbmctl --season 2022 extract --scene X"),
        ("made by cbmctl parcels quality, made by `cbmctl demo make`", None),
        ("this cbmctl reads format 1; cbmctl --season 2021 status; cbmctl statusless", None),
    ):
        assert in_season(text, "2022") == (completed or text)
        assert in_season(text, None) == in_season(text, "") == text


def test_errors_name_the_season() -> None:
    error = DatabaseError("run cbmctl schema apply")
    for options, message in (
        (["--season", "2022"], "run cbmctl --season 2022 schema apply"),
        ([], "run cbmctl schema apply"),
    ):
        error.args = ("run cbmctl schema apply",)
        raised = CliRunner().invoke(failing(error), [*options, "fails"]).exception
        assert raised is error
        assert str(raised) == message
    undefined = psycopg.errors.UndefinedTable("x")
    raised = CliRunner().invoke(failing(undefined), ["--season", "2022", "fails"]).exception
    assert isinstance(raised, UserError)
    assert "run cbmctl --season 2022 schema apply, then" in str(raised)
    defect = psycopg.errors.SyntaxError("x")
    assert CliRunner().invoke(failing(defect), ["--season", "2022", "fails"]).exception is defect


def test_results_and_notes_name_the_season(capsys: pytest.CaptureFixture[str]) -> None:
    advice = "Run cbmctl repair"
    Output(as_json=False, season="2022").result({"changed": True}, advice)
    Output(as_json=False, season="2022").note(advice)
    assert capsys.readouterr() == tuple(["Run cbmctl --season 2022 repair\n"] * 2)
    Output(as_json=True, season="2022").result({"changed": True, "advice": advice}, advice)
    assert json.loads(capsys.readouterr().out)["advice"] == advice


def test_the_option_reaches_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CBM_SEASON", "2023")
    for options, season in ((["--season", "2022"], "2022"), ([], "2023")):
        context = cbmctl.make_context("cbmctl", [*options, "status"])
        assert cbmctl.callback
        with context:
            context.invoke(cbmctl.callback, **context.params)
        assert context.obj.output.season == season


def test_the_page_of_the_report_names_the_season(monkeypatch: pytest.MonkeyPatch) -> None:
    def make_report(*_: Any, complete: Any, **__: Any) -> make.Report:
        return make.Report(False, (), complete("see `cbmctl status`"), {})

    monkeypatch.setattr(Context, "config", None)
    monkeypatch.setattr(make, "make_report", make_report)
    monkeypatch.setattr(Output, "result", lambda _, __, *lines: click.echo(lines[0]))
    printed = CliRunner().invoke(cbmctl, ["--season", "2022", "report", "--output", "x"])
    assert printed.output == "see `cbmctl --season 2022 status`\n"
