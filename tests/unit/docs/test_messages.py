"""The list of everything that a person reads: what it finds, and that a sample can be drawn again."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.support.messages import messages, paragraphs, printed, sentences

MODULE = '''"""Not printed."""

@group.command("load", help="Load a file into the table.")
def load(path):
    """Load parcels. Second line."""
    conn.execute("DELETE FROM parcels WHERE gone IS NOT NULL")
    raise UserError(f"{path} has no parcels:" + " check the file")
'''
ROLE = """
- name: PostgreSQL is healthy
  ansible.builtin.assert:
    that: "{{ answer }}"
    fail_msg: >-
      The server does not answer.
      Start it.
- name: "{{ only_a_variable }}"
"""
PAGE = """# Load a parcels file

The first sentence is short. The second
sentence has two lines.

    cbmctl parcels load FILE     # no sentence

| column of a long table | [a link](page.md) |
|---|---|
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for path, text in {
        "extraction/cbmctl/load.py": MODULE,
        "roles/postgis/tasks/main.yml": ROLE,
        "docs/load.md": PAGE,
    }.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_what_people_read_is_listed(project: Path) -> None:
    assert [(message.place.split("/")[0], message.text) for message in messages(project)] == [
        ("docs", "Load a parcels file"),
        ("docs", "The first sentence is short."),
        ("docs", "The second sentence has two lines."),
        ("docs", "column of a long table"),
        ("extraction", "Load a file into the table."),
        ("extraction", "Load parcels. Second line."),
        ("extraction", "{} has no parcels: check the file"),
        ("roles", "PostgreSQL is healthy"),
        ("roles", "The server does not answer. Start it."),
    ]


def test_lines_are_those_of_the_source() -> None:
    assert [line for line, _ in printed(ROLE)] == [2, 5]
    found = {sentence: line for line, text in paragraphs(PAGE) for sentence in sentences(text)}
    assert found["The second sentence has two lines."] == 3


def test_the_same_seed_draws_the_same() -> None:
    command = [
        sys.executable,
        "-m",
        "tests.support.messages",
        "--kind",
        "docs",
        "--sample",
        "5",
        "--seed",
        "7",
    ]
    first, second = (subprocess.check_output(command, cwd=REPOSITORY, text=True) for _ in range(2))
    assert first == second
    assert len(first.splitlines()) == 5
