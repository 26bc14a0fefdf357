"""Package sources that fail are named, by what apt prints; the real apt and dpkg answer in Molecule."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.plugins import load

apt_ready = load("modules", "apt_ready")

UNRESOLVED = """\
Err:1 http://mirror.invalid/debian trixie InRelease
  Could not resolve 'mirror.invalid'
Reading package lists...
W: Failed to fetch http://mirror.invalid/debian/dists/trixie/InRelease  Could not resolve 'mirror.invalid'
W: Some index files failed to download. They have been ignored, or old ones used instead.
"""
UNSIGNED = """\
E: The repository 'http://mirror.invalid/site stable Release' does not have a Release file.
N: Updating from such a repository can't be done securely, and is therefore disabled by default.
"""
UNKNOWN_KEY = """\
W: GPG error: http://mirror.invalid/site stable InRelease: The following signatures couldn't be verified
"""
LOCKED = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 4044 (apt-get)\n"


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        (
            UNRESOLVED,
            "The package source http://mirror.invalid/debian fails: Could not resolve 'mirror.invalid'.",
        ),
        (
            UNSIGNED,
            "The package source http://mirror.invalid/site stable Release fails:"
            " does not have a Release file.",
        ),
        (
            UNKNOWN_KEY,
            "The package source http://mirror.invalid/site stable fails:"
            " The following signatures couldn't be verified.",
        ),
    ],
)
def test_a_source_that_fails_is_named_with_its_reason(output: str, sentence: str) -> None:
    assert apt_ready.failed_sources(output + output) == [sentence], "each once"


def test_a_source_that_answers_is_not_named() -> None:
    assert apt_ready.failed_sources("Hit:1 http://mirror.invalid/debian trixie InRelease\n") == []


def test_deleted_lists_are_not_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt_ready, "LISTS", tmp_path)
    monkeypatch.setattr(apt_ready, "STAMP", tmp_path / "stamp")
    (tmp_path / "stamp").touch()
    now = (tmp_path / "stamp").stat().st_mtime
    assert not apt_ready.fresh_lists(3600, now)
    (tmp_path / "mirror_dists_trixie_main_binary-amd64_Packages").touch()
    assert apt_ready.fresh_lists(3600, now)
    for path in (tmp_path, tmp_path / "stamp"):
        os.utime(path, (now - 7200, now - 7200))
    assert not apt_ready.fresh_lists(3600, now)


class Module:
    """Answers one after the other."""

    def __init__(self, *answers: tuple[int, str, str]) -> None:
        self.answers = list(answers)

    def run_command(self, _command: list[str], **_options: Any) -> tuple[int, str, str]:
        return self.answers.pop(0)


def test_another_package_manager_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt_ready, "SECONDS_BETWEEN_ATTEMPTS", 0)
    module = Module((100, "", LOCKED), (0, "done", ""))
    assert apt_ready.patiently(module, ["apt-get", "update"], 60) == (0, "done")
    assert module.answers == []


def test_another_error_is_not_repeated() -> None:
    module = Module((100, "", UNSIGNED))
    code, _ = apt_ready.patiently(module, ["apt-get", "update"], 60)
    assert code == 100


def test_only_packages_that_were_begun_are_unfinished(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(apt_ready, "UPDATES", tmp_path)
    # a vendor's package without checksums is complete, though dpkg --audit lists it
    listed = "installed vendor-agent\nunpacked hello\nconfig-files old\nhalf-configured db\n"
    assert apt_ready.unfinished(Module((0, listed, ""))) == ["hello", "db"]
    assert apt_ready.unfinished(Module((0, "installed hello\n", ""))) == []
    (tmp_path / "0001").touch()
    assert apt_ready.unfinished(Module((0, "installed hello\n", ""))) == ["0001"]
