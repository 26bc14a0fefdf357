"""How images are made and kept, with an engine that only notes what it is asked."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.unit.run.test_run import fake

BASE_IMAGE = REPOSITORY / "scripts" / "base-image"
BUILD_IMAGE = REPOSITORY / "roles" / "container_image" / "files" / "build-image"
# has the images in $ENGINE/images, one file each; a base image is always there when $BASE says so
ENGINE = """
echo "$*" >> "$ENGINE/calls"
for last; do :; done
known() { echo "$1" | tr :/ __; }
case "$1 $2" in
  "image inspect")
    case $last in debian:*) [ -n "$BASE" ] ;; *) [ -e "$ENGINE/images/$(known "$last")" ] ;; esac ;;
  "build "*) while [ "$1" != --tag ]; do shift; done; touch "$ENGINE/images/$(known "$2")" ;;
  "save "*) echo "archive of $last" ;;
  "rmi "*) rm "$ENGINE/images/$(known "$last")" ;;
  "pull "*) exit 1 ;;
esac
"""


class Machine:
    """A control host with a fake engine, its own cache and a build context of one file."""

    def __init__(self, root: Path) -> None:
        self.commands, self.engine, self.cache = root / "bin", root / "engine", root / "cache"
        self.context = root / "context"
        (self.engine / "images").mkdir(parents=True)
        (self.engine / "calls").touch()
        self.context.mkdir()
        (self.context / "Dockerfile").write_text("FROM debian:trixie-slim\n")
        fake(self.commands / "docker", ENGINE)

    def run(self, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        own = {
            "PATH": f"{self.commands}:{os.environ['PATH']}",
            "ENGINE": str(self.engine),
            "CBM_CACHE_DIR": str(self.cache),
            "TMPDIR": str(self.engine),
        }
        return subprocess.run(
            command, capture_output=True, text=True, env=os.environ | own | environment, check=False
        )

    def build(self, *options: str) -> dict[str, Any]:
        answer = self.run(BUILD_IMAGE, *options, "thing", self.context, "Dockerfile", BASE="there")
        assert answer.returncode == 0, answer.stderr
        return dict(json.loads(answer.stdout))

    def calls(self, verb: str) -> list[str]:
        """What the engine was asked since the last time, of this kind."""
        calls = (self.engine / "calls").read_text().splitlines()
        (self.engine / "calls").write_text("")
        return [call for call in calls if call.startswith(verb)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_base_image_that_was_cut_off_is_not_imported(machine: Machine) -> None:
    fake(machine.commands / "mmdebstrap", 'for last; do :; done; echo half > "$last"; exit 1')
    answer = machine.run(BASE_IMAGE, "trixie", BASE="")
    assert answer.returncode == 1
    assert "mmdebstrap could not make debian:trixie-slim" in answer.stderr
    assert "By hand:  mmdebstrap" in answer.stderr
    assert machine.calls("import") == []
    assert not list(machine.engine.glob("tmp.*")), "no half archive stays"


def test_a_base_image_is_imported_from_a_whole_archive(machine: Machine) -> None:
    fake(machine.commands / "mmdebstrap", 'for last; do :; done; echo whole > "$last"')
    answer = machine.run(BASE_IMAGE, "trixie", BASE="")
    assert answer.stdout == "built debian:trixie-slim\n"
    (call,) = machine.calls("import")
    assert call.endswith("/root.tar debian:trixie-slim")


def test_an_image_is_built_once(machine: Machine) -> None:
    first = machine.build()
    assert first["changed"] is True
    assert "--no-cache" not in machine.calls("build")[0]
    assert machine.build() == first | {"changed": False}
    assert machine.calls("build") == []


def test_a_check_builds_nothing_and_says_that_it_would(machine: Machine) -> None:
    assert machine.build("--check")["changed"] is True
    assert machine.calls("build") == []
    machine.build()
    assert machine.build("--check")["changed"] is False


def test_a_new_release_is_a_new_image_from_scratch(machine: Machine) -> None:
    without = machine.build()
    machine.calls("")
    november = machine.build("--release", "2026-11")
    assert november["changed"] is True
    assert november["image"] != without["image"]
    assert "--no-cache" in machine.calls("build")[0]
    assert machine.build("--release", "2026-11")["changed"] is False
    assert machine.build("--release", "2026-12")["image"] != november["image"]


def test_the_engine_gets_back_what_only_the_cache_has(machine: Machine) -> None:
    built = machine.build()
    for image in (machine.engine / "images").iterdir():
        image.unlink()
    machine.build()
    assert machine.calls("load") == [], "a tenant's roll-out needs the archive only"
    machine.build("--load")
    assert machine.calls("load") == [f"load --quiet --input {built['archive']}"]


def test_an_image_of_this_machine_alone_has_no_archive(machine: Machine) -> None:
    assert machine.build("--local")["changed"] is True
    assert machine.build("--local")["changed"] is False
    assert len(machine.calls("build")) == 1
    assert not list((machine.cache / "images").glob("*.tar.gz"))
    for image in (machine.engine / "images").iterdir():
        image.unlink()
    assert machine.build("--local", "--check")["changed"] is True


def test_the_cache_keeps_what_was_asked_for_last(machine: Machine) -> None:
    releases = ["2026-01", "2026-02", "2026-03"]
    archives = {release: Path(machine.build("--release", release)["archive"]) for release in releases}
    for age, release in enumerate(["2026-01", "2026-03", "2026-02"]):
        os.utime(archives[release], (age, age))
    machine.build("--release", "2026-01")
    newest = Path(machine.build("--release", "2026-04")["archive"])
    kept = set((machine.cache / "images").glob("*.tar.gz"))
    assert kept == {archives["2026-01"], archives["2026-02"], newest}
    assert len(list((machine.engine / "images").iterdir())) == 3


def test_a_ca_that_is_not_there_is_named(machine: Machine) -> None:
    answer = machine.run(
        BUILD_IMAGE, "thing", machine.context, "Dockerfile", BASE="there", CBM_EXTRA_CA="nowhere.crt"
    )
    assert answer.returncode == 1
    assert "CBM_EXTRA_CA=nowhere.crt: there is no such file." in answer.stderr
    assert machine.calls("build") == []
