"""User errors are data: each has a code of the list, and `--json` prints it."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import cbmctl
from cbmctl import error_codes
from cbmctl.cli import cbmctl as command
from cbmctl.cli import main
from cbmctl.error_codes import CODES
from cbmctl.errors import NotSetUpError, UserError
from cbmctl.reasons import REASONS
from tests.conftest import REPOSITORY

CODE = Path(cbmctl.__file__).parent
ERRORS = {
    "UserError", "NotSetUpError", "DatabaseError", "ServiceError", "UnansweredError", "ArchiveError",
    "BusyError", "NoTokenError",
}  # fmt: skip
PAGE = REPOSITORY / "docs" / "errors.md"


def texts() -> Iterator[tuple[str, str]]:
    """Yield the texts of all modules but the list: path and text."""
    for path in sorted(CODE.rglob("*.py")):
        if path.name != "error_codes.py":
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield path.relative_to(CODE).as_posix(), node.value


def first_arguments() -> Iterator[tuple[str, str]]:
    """Yield the codes that user errors are made with, where they are written there: place and code."""
    for path in sorted(CODE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ERRORS
                and node.args
                and isinstance(first := node.args[0], ast.Constant)
            ):
                yield f"{path.relative_to(CODE)}:{node.lineno}", str(first.value)


def test_errors_have_codes_of_the_list() -> None:
    assert [(place, code) for place, code in first_arguments() if code not in CODES] == []


def test_every_class_of_user_errors_is_looked_at() -> None:
    def below(kind: type) -> set[str]:
        return {kind.__name__}.union(*(below(each) for each in kind.__subclasses__()))

    assert below(UserError) == ERRORS


def test_every_code_is_used() -> None:
    used = {text for _, text in texts()}
    # codes that a table of causes completes
    used |= {f"{area}.{text}" for area in ("database", "season_archive") for text in used}
    assert sorted(set(CODES) - used) == []


def test_codes_and_meanings_are_in_form() -> None:
    assert all(re.fullmatch(r"[a-z_]+\.[a-z_]+", code) for code in CODES)
    areas = [code.partition(".")[0] for code in CODES]
    assert len(dict.fromkeys(areas)) == len([a for a, b in zip(areas, ["", *areas], strict=False) if a != b])
    shared = {reason.code for reason in REASONS} & set(CODES)
    assert shared == {"database.unreachable"}, (
        "a scene's reason and an error have one code only if they are one"
    )


def test_the_docs_show_the_list(request: pytest.FixtureRequest) -> None:
    page = PAGE.read_text()
    found = re.search(r"(<!-- codes: .* -->\n)(.*?)(<!-- end of codes -->)", page, re.DOTALL)
    assert found, "docs/errors.md has no place for the list"
    if request.config.getoption("--renew"):
        PAGE.write_text(page[: found.start(2)] + error_codes.markdown() + page[found.end(2) :])
    else:
        assert found[2] == error_codes.markdown(), "run this test with --renew"


def test_an_error_is_sentences_and_data() -> None:
    error = UserError(
        "parcels.no_crs", "x.gpkg: no coordinate system found.", "Set it. ", about=Path("x.gpkg")
    )
    assert str(error) == "x.gpkg: no coordinate system found. Set it."
    assert error.data() == {
        "code": "parcels.no_crs",
        "about": "x.gpkg",
        "message": "x.gpkg: no coordinate system found",
        "hint": "Set it",
    }
    assert str(NotSetUpError("schema.missing", "a table is missing")) == "a table is missing."
    assert str(UserError("schema.missing", "No", "Run SELECT 1;")) == "No. Run SELECT 1;"


def test_json_has_what_is_wrong_with_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["cbmctl", "--json", "aoi", "inspect"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    printed = json.loads(capsys.readouterr().out)["error"]
    assert (printed["code"], printed["message"]) == ("option.usage", "Missing argument 'FILE'")


def test_json_has_the_error(tmp_path: Path) -> None:
    missing = str(tmp_path / "db_config.json")
    result = CliRunner().invoke(command, ["--config", missing, "--json", "status"])
    assert result.exit_code == 1
    printed = json.loads(result.stdout)["error"]
    assert printed == {
        "code": "config.unreadable",
        "about": "--config",
        "message": f"{missing} cannot be read (No such file or directory)",
        "hint": "Name another file with --config",
    }
    assert CliRunner().invoke(command, ["--config", missing, "status"]).stdout == ""
