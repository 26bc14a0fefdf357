"""`./run` for an ordinary user: administrators' commands, ownership, and what `./run clean` removes."""

import io
import os
import shutil
import signal
import subprocess
import tarfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

SOMEBODY = 12345
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="ROOT ABSENT: ownership is untested here")


def fake(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def set_up_host(commands: Path) -> subprocess.CompletedProcess[str]:
    """scripts/setup-host with these commands first, on the PATH of an ordinary user of Debian."""
    path = f"{commands}:/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
    return subprocess.run(
        [REPOSITORY / "scripts/setup-host"], env={"PATH": path}, capture_output=True, text=True, check=False
    )


def complete_host(commands: Path) -> Path:
    for command in ("docker", "mmdebstrap", "git", "losetup", "rsync", "ssh", "ssh-keygen", "apt-get"):
        fake(commands / command, "exit 0")
    fake(commands / "sudo", 'exec "$@"')
    return commands


def test_commands_of_administrators_are_found_on_the_path_of_an_ordinary_user() -> None:
    found = subprocess.run(
        ["bash", "-c", ". scripts/lib.sh; command -v losetup"],
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip().endswith("/losetup")


def test_a_complete_host_needs_nothing(tmp_path: Path) -> None:
    answer = set_up_host(complete_host(tmp_path))
    assert answer.returncode == 0, answer.stderr


def test_a_missing_loop_device_is_reported_with_the_reason_of_losetup(tmp_path: Path) -> None:
    commands = complete_host(tmp_path)
    fake(commands / "losetup", "echo 'losetup: cannot find an unused loop device' >&2; exit 1")
    answer = set_up_host(commands)
    assert answer.returncode == 1
    assert (
        "No loop device is available for the lab VM's disk: losetup: cannot find an unused loop device"
        in answer.stderr
    )


@needs_root
def test_a_user_whom_the_engine_refuses_is_told_so(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "scripts", tmp_path / "scripts")
    commands = complete_host(tmp_path / "bin")
    # only root reaches the engine's socket; sudo is played by a variable
    fake(commands / "docker", '[ -n "$AS_ROOT" ]')
    fake(commands / "sudo", 'AS_ROOT=1 exec "$@"')
    fake(commands / "id", "case $1 in -un) echo ane ;; *) echo 1000 ;; esac")
    answer = subprocess.run(
        [tmp_path / "scripts/setup-host"],
        env={"PATH": f"{commands}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 1
    assert "User ane is not allowed to use the Docker engine." in answer.stderr
    assert "sudo usermod -aG docker ane" in answer.stderr


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of somebody's, whose set-up makes a file and then waits until it may `continue`."""
    path = tmp_path / "clone"
    shutil.copytree(REPOSITORY / "scripts", path / "scripts")
    shutil.copy(REPOSITORY / "run", path / "run")
    steps = [
        "mkdir -p .lab/state && touch .lab/state/reader.password",
        "until [ -e ../continue ]; do sleep 0.1; done",
    ]
    fake(path / "scripts/setup-host", "\n".join(steps))
    fake(path / "scripts/setup-python", "mkdir -p .venv/bin && ln -sf /usr/bin/python3 .venv/bin/python")
    for each in (path, *path.rglob("*")):
        os.lchown(each, SOMEBODY, SOMEBODY)
    return path


def owners(clone: Path) -> set[int]:
    return {path.lstat().st_uid for path in (clone, *clone.rglob("*"))}


@needs_root
def test_what_root_makes_in_a_clone_belongs_to_its_owner_also_after_a_failure(clone: Path) -> None:
    interpreter = Path("/usr/bin/python3")
    before = interpreter.stat().st_uid
    (clone.parent / "continue").touch()

    failed = subprocess.run([clone / "run", "unit"], capture_output=True, text=True, check=False)

    assert failed.returncode == 1, "there is no image to build"
    made = [clone / ".lab/state/reader.password", clone / ".venv/bin/python"]
    assert {path.lstat().st_uid for path in made} == {SOMEBODY}
    assert interpreter.stat().st_uid == before, "links are not followed"


def aborted(clone: Path, number: signal.Signals, *, group: bool) -> int:
    """Start a task, and end it by a signal during its set-up; return its exit status."""
    with subprocess.Popen(
        [clone / "run", "unit"],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # in the background of a shell SIGINT may be ignored, and so it would be here
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        deadline = time.monotonic() + 60
        while not (clone / ".lab/state/reader.password").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (os.killpg if group else os.kill)(process.pid, number)
        return process.wait(timeout=60)


@needs_root
@pytest.mark.parametrize(
    ("number", "group"), [(signal.SIGINT, True), (signal.SIGTERM, True), (signal.SIGTERM, False)]
)
def test_what_root_made_belongs_to_the_owner_of_the_clone_after_an_abort(
    clone: Path, number: signal.Signals, group: bool
) -> None:
    assert aborted(clone, number, group=group) != 0
    (clone.parent / "continue").touch()  # what the abort left running ends, too
    assert owners(clone) == {SOMEBODY}


@needs_root
def test_the_run_after_a_killed_one_gives_its_files_back(clone: Path) -> None:
    aborted(clone, signal.SIGKILL, group=True)
    assert 0 in owners(clone), "nothing runs after SIGKILL"
    (clone.parent / "continue").touch()
    subprocess.run([clone / "run", "unit"], capture_output=True, check=False)
    assert owners(clone) == {SOMEBODY}


def clean_with(
    clone: Path, script: str, commands: str, docker_answers: str
) -> subprocess.CompletedProcess[str]:
    """A clone's script with a Docker client that answers as the shell script `docker_answers` says."""
    shutil.copytree(REPOSITORY / "scripts", clone / "scripts")
    (clone / ".lab").mkdir()
    (clone / ".lab/key").touch()
    if docker_answers:
        fake(clone / "bin/docker", docker_answers)
    filters = ["label=cbm.image"] if script == "remove-images" else []
    return subprocess.run(
        [clone / "scripts" / script, *filters],
        env={"PATH": f"{clone / 'bin'}:{commands}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("script", ["clean", "clean-lab"])
def test_clean_removes_nothing_while_the_engine_does_not_answer(tmp_path: Path, script: str) -> None:
    silent = "echo 'Cannot connect to the Docker daemon' >&2; exit 1"
    answer = clean_with(tmp_path, script, "/usr/bin:/bin", silent)
    assert answer.returncode == 1
    assert "The Docker engine does not answer: Cannot connect to the Docker daemon." in answer.stderr
    assert "scripts/setup-host" in answer.stderr
    assert (tmp_path / ".lab/key").exists()


@pytest.mark.parametrize("script", ["clean-lab", "remove-images"])
def test_clean_ends_with_the_reason_if_the_engine_cannot_list(tmp_path: Path, script: str) -> None:
    broken = "case $1 in version) ;; *) echo 'Error response from daemon: no such driver' >&2; exit 1 ;; esac"
    answer = clean_with(tmp_path, script, "/usr/bin:/bin", broken)
    assert answer.returncode == 1
    assert "no such driver" in answer.stderr


def test_clean_needs_no_engine_where_docker_is_not_installed(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("bash", "dirname", "rm"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    answer = clean_with(tmp_path, "clean-lab", str(tools), "")
    assert answer.returncode == 0, answer.stderr


@pytest.fixture
def label() -> Iterator[str]:
    """A label of images for this test only; what is left of them is removed."""
    if subprocess.run(["docker", "version"], capture_output=True, check=False).returncode:
        pytest.skip("DOCKER ABSENT: removing images is untested here")
    value = f"cbm.test=clean-{uuid.uuid4().hex[:8]}"
    yield value
    for kind, remove in (("ps --all", "rm --force"), ("images --all", "rmi --force")):
        found = docker(*kind.split(), "--quiet", "--filter", f"label={value}").split()
        if found:
            docker(*remove.split(), *dict.fromkeys(found))


def docker(*arguments: str, given: bytes | None = None) -> str:
    done = subprocess.run(["docker", *arguments], input=given, capture_output=True, check=True)
    return done.stdout.decode().strip()


def stack_of_images(label: str, name: str) -> None:
    """Three images, each built on the one before, one without a name, as the classic builder leaves them."""
    empty = io.BytesIO()
    tarfile.open(fileobj=empty, mode="w").close()
    docker("import", "--change", f"LABEL {label}", "-", f"{name}:base", given=empty.getvalue())
    for base, child in (("base", "middle"), ("middle", "top")):
        dockerfile = f"FROM {name}:{base}\nENV STEP={child}\nENV AGAIN={child}\n".encode()
        docker("build", "--quiet", "--tag", f"{name}:{child}", "-", given=dockerfile)
    docker("rmi", f"{name}:middle")


def remove(label: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [REPOSITORY / "scripts/remove-images", f"label={label}"], capture_output=True, text=True, check=False
    )


def test_clean_removes_images_that_are_built_on_each_other(label: str) -> None:
    stack_of_images(label, "cbm-test-clean")
    answer = remove(label)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    assert docker("images", "--all", "--quiet", "--filter", f"label={label}") == ""


def test_clean_reports_the_reason_of_docker_for_an_image_in_use(label: str) -> None:
    base = os.environ.get("CBM_TEST_IMAGE")
    if base is None:
        pytest.skip("CBM_TEST_IMAGE ABSENT: an image in use is untested here")
    name = "cbm-test-used:latest"
    docker("build", "--quiet", "--tag", name, "-", given=f"FROM {base}\nLABEL {label}\n".encode())
    docker("run", "--detach", "--entrypoint", "sleep", name, "60")

    answer = remove(label)

    assert answer.returncode == 1
    assert answer.stderr.startswith(f"Image {name} is kept: conflict: unable to delete")
    assert "running container" in answer.stderr
