"""What scripts/role_pages.py writes: defaults and a page of each role, from its argument specification."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from cbmctl.config.options import OPTIONS
from tests.conftest import REPOSITORY

PAGES = runpy.run_path(str(REPOSITORY / "scripts" / "role_pages.py"))
SPEC = """\
argument_specs:
  main:
    short_description: A thing
    description:
      - It uses C(swap). See O(thing_size).
    options:
      thing_size:
        description: How large it is.
        type: int
        # so much is enough
        default: 3
      thing_name:
        description: Its name.
        type: str
        required: true
      thing_rule:
        description: An expression.
        type: str
        default: >-
          {{ thing_name
             | upper }}
        choices: [A, B]
      thing_parts:
        description: Its parts.
        type: list
        elements: dict
        default:
          - {base: 1}
          - {base: 2}
        options:
          base:
            description: A number.
            type: int
            required: true
  end:
    short_description: The thing is removed
    options:
      thing_size:
        description: How large it is.
        type: int
        default: 3
      thing_force:
        description: Whether to remove a thing in use.
        type: bool
        default: false
"""


def specs() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(SPEC)["argument_specs"]
    return found


def test_defaults_are_those_of_the_specification() -> None:
    text = PAGES["defaults"](SPEC)
    options = {**specs()["main"]["options"], **specs()["end"]["options"]}
    wanted = {name: option["default"] for name, option in options.items() if "default" in option}
    assert yaml.safe_load(text) == wanted
    assert "thing_rule: >-\n  {{ thing_name\n     | upper }}\n" in text


def test_a_page_has_each_variable_once() -> None:
    text = PAGES["readme"]("thing", specs(), {"thing_size": {"min": 1, "max": 9}}, ["[`host.yml`](x)"])
    assert "A thing.\n\nIt uses `swap`. See `thing_size`.\n\nUsed by [`host.yml`](x).\n" in text
    assert [line for line in text.splitlines() if line.lstrip().startswith("- ")] == [
        "- `thing_size` (int, default `3`, 1 to 9): How large it is.",
        "- `thing_name` (str, required): Its name.",
        "- `thing_rule` (str, default `{{ thing_name | upper }}`, one of `A`, `B`): An expression.",
        "- `thing_parts` (list of dict, default `[{base: 1}, {base: 2}]`): Its parts.",
        "  - `base` (int, required): A number.",
        "- `thing_force` (bool, default `false`): Whether to remove a thing in use.",
    ]


def test_an_option_of_the_extraction_is_specified() -> None:
    (option,) = [each for each in OPTIONS if each.name == "cloud_classes"]
    (specified,) = yaml.safe_load(PAGES["specification"](option)).values()
    assert specified == {
        "description": option.description,
        "type": "list",
        "default": [9],
        "elements": "int",
    }
    text = "a\n      # options of the extraction: x\nold\n      # end of the extraction's options\nb\n"
    assert PAGES["with_extraction"](text, "new\n") == text.replace("old", "new")


def test_files_of_the_roles_are_as_they_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert PAGES["main"](["--check"]) == 0, capsys.readouterr().out


def test_a_file_that_differs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    meta = tmp_path / "roles" / "thing" / "meta"
    meta.mkdir(parents=True)
    (tmp_path / "playbooks").mkdir()
    (meta / "argument_specs.yml").write_text(SPEC)
    monkeypatch.setitem(PAGES["main"].__globals__, "ROOT", tmp_path)
    assert PAGES["main"](["--check"]) == 1
    assert "roles/thing/defaults/main.yml, roles/thing/README.md" in capsys.readouterr().out
    assert PAGES["main"]([]) == 0
    assert PAGES["main"](["--check"]) == 0
