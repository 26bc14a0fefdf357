"""A mounted archive: one that goes away, comes back, or never answers."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cbmctl.archive import mount_probe
from cbmctl.archive.interface import ArchiveError
from cbmctl.archive.mount import Mount
from cbmctl.scenes import SceneError, backscatter, sentinel2
from tests.support.products_s2 import make_product, reflectance
from tests.support.season import Season, waiting


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cbmctl.worker.pipeline.ARCHIVE_EVERY_S", 0.05)
    monkeypatch.setattr("cbmctl.worker.pipeline.ARCHIVE_S", 0.3)


def unmounted(season: Season) -> Path:
    """Take the archive of two scenes away; return where it was."""
    for day in (5, 6):
        season.scene(day)
    root = season.config.eodata
    assert isinstance(root, Path)
    root.rename(root.with_name("unmounted"))
    return root


@pytest.mark.postgis
def test_a_mount_that_is_gone_fails_no_scene(season: Season, impatient: None) -> None:  # noqa: ARG001
    root = unmounted(season)
    root.mkdir()
    with pytest.raises(ArchiveError, match=r"is empty\. Mount it again"):
        season.extract()
    assert season.rows("SELECT DISTINCT state, attempts FROM tasks") == [("ready", 0)]
    root.rmdir()
    with pytest.raises(ArchiveError, match="cannot be listed"):
        season.extract()
    root.with_name("unmounted").rename(root)
    season.extract()
    assert season.rows("SELECT DISTINCT status FROM dias_catalogue") == [("extracted",)]


@pytest.mark.postgis
def test_a_mount_that_comes_back_is_waited_for(season: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cbmctl.worker.pipeline.ARCHIVE_EVERY_S", 0.05)
    root, lines, check = unmounted(season), list[str](), Mount.check

    def back_when_waited_for(self: Mount, within: float | None = None) -> None:
        if waiting(lines) and not root.exists():
            root.with_name("unmounted").rename(root)
        check(self, within)

    monkeypatch.setattr(Mount, "check", back_when_waited_for)
    season.extract(lines=lines)
    assert waiting(lines) == 1
    assert season.rows("SELECT DISTINCT attempts FROM tasks") == [(1,)]
    assert season.rows("SELECT DISTINCT status FROM dias_catalogue") == [("extracted",)]


def test_storage_that_fails_is_no_product_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOTCONN is what a dead mount answers; pathlib's glob and, from 3.13 on, is_dir hide it."""
    path = make_product(tmp_path, {"B02_10m": reflectance()})
    for doing in ("stat", "iterdir"):
        with monkeypatch.context() as patch:

            def broken(_path: Path, **_: object) -> Iterator[Path]:
                raise OSError(107, "Transport endpoint is not connected")

            patch.setattr(Path, doing, broken)
            with pytest.raises(SceneError, match="cannot be listed") as found:
                sentinel2.open_product(tmp_path, path)
            assert found.value.status == "Rio error"
            with pytest.raises(SceneError, match="cannot be listed") as found:
                backscatter.find_images(tmp_path / path)
            assert found.value.status == "Rio error"


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ([], "is empty"),
        (["archive/"], "has only empty folders"),  # where something was mounted
        (["archive/", "data/"], "has only empty folders"),
        (["archive/", "Sentinel-2/"], None),
        (["archive/Sentinel-2/"], None),
        (["products/S2A.SAFE/"], None),
        (["S2A.SAFE"], None),
    ],
)
def test_a_mount_is_checked_by_what_its_root_has(tmp_path: Path, made: list[str], reason: str | None) -> None:
    for name in made:
        path = tmp_path / name
        path.mkdir(parents=True) if name.endswith("/") else path.touch()
    if reason is None:
        Mount(tmp_path).check()
    else:
        with pytest.raises(ArchiveError, match=rf"{reason}\. Mount it again"):
            Mount(tmp_path).check()


def test_a_folder_below_that_is_closed_or_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "archive").mkdir()
    scandir = mount_probe.os.scandir

    def failing(error: OSError) -> Callable[..., Iterator[object]]:
        def scan(path: object) -> Iterator[object]:
            if path == str(tmp_path):
                return scandir(tmp_path)
            raise error

        return scan

    monkeypatch.setattr(mount_probe.os, "scandir", failing(PermissionError(13, "Permission denied")))
    assert mount_probe.look(str(tmp_path)) == mount_probe.USABLE
    monkeypatch.setattr(mount_probe.os, "scandir", failing(OSError(107, "not connected")))
    assert mount_probe.look(str(tmp_path)) == mount_probe.FAILED + 107


SILENT = "import time; time.sleep(600)"
WORKER = """
import subprocess, sys
from pathlib import Path
from cbmctl.archive import mount
from cbmctl.archive.interface import ArchiveError
mount._PROGRAM = Path(sys.argv[1]) / "silent.py"
subprocess.Popen.kill = lambda process: print(process.pid)
try:
    mount.Mount(Path(sys.argv[1])).check(1)
except ArchiveError as error:
    print(error)
"""


def test_a_mount_that_never_answers_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "silent.py").write_text(SILENT)
    monkeypatch.setattr("cbmctl.archive.mount._PROGRAM", tmp_path / "silent.py")
    started: list[subprocess.Popen[bytes]] = []
    kill = subprocess.Popen.kill

    def noted(process: subprocess.Popen[bytes]) -> None:
        started.append(process)
        kill(process)

    monkeypatch.setattr(subprocess.Popen, "kill", noted)
    with pytest.raises(ArchiveError, match=r"does not answer in 1 s\. Mount it again"):
        Mount(tmp_path).check(1)
    assert started[0].wait(60) == -signal.SIGKILL


def test_a_process_that_asks_a_silent_mount_can_end(tmp_path: Path) -> None:
    """While the one that asks for it is still there, as it is where the kernel does not let it go."""
    (tmp_path / "silent.py").write_text(SILENT)
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    asking, said = found.stdout.splitlines()
    os.kill(int(asking), signal.SIGKILL)  # an error, were it gone
    assert "does not answer in 1 s" in said
