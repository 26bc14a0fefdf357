"""Servers and clients of others that we are tested against, in an environment of their own.

It is kept in the cache until tests/peers.lock changes. Where they cannot be installed the tests are skipped,
loudly; where the tests are the gate (`CBM_REQUIRE_PEERS=1`, as `./run unit` sets it), they fail.
"""

import os
import subprocess
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

LOCK = Path(__file__).with_name("peers.lock")
CACHE = Path(os.environ.get("CBM_CACHE_DIR", LOCK.parents[1] / ".cache"))


def installed() -> Path:
    """Return the environment's folder of commands; install it on first use, which takes a minute."""
    place = CACHE / "test-peers"
    python, done = place / "bin" / "python", place / "peers.lock"
    if not (done.exists() and done.read_bytes() == LOCK.read_bytes()):
        venv.create(place, clear=True, with_pip=True)
        command = [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-compile",
            "--disable-pip-version-check",
        ]
        found = subprocess.run(
            [*command, "--require-hashes", "-r", str(LOCK)], capture_output=True, text=True, check=False
        )
        if found.returncode:
            said = found.stderr.strip().splitlines() or ["pip says nothing"]
            _missing(f"the packages of {LOCK.name} cannot be installed ({said[-1]})")
        done.write_bytes(LOCK.read_bytes())
    return python.parent


def run(command: str, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a command of the environment (`python` is one) and return what it prints."""
    found = subprocess.run(
        [str(installed() / command), *arguments],
        env=os.environ | dict(environment or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, f"{command} fails: {found.stderr[-2000:]}"
    return found.stdout


@contextmanager
def serving(command: str, *arguments: str, environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """Run a command of the environment in the background."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(installed() / command), *arguments],
            env=os.environ | dict(environment),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


def _missing(what: str) -> None:
    if os.environ.get("CBM_REQUIRE_PEERS") == "1":
        pytest.fail(what)
    pytest.skip(
        f"PEERS ABSENT, catalogue and archive are untested against real servers and others' clients: {what}"
    )
