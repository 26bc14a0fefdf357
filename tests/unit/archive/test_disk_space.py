"""The disk that workers share with the database: what is promised to stay free does."""

import errno
import os
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from cbmctl.archive import disk_space
from cbmctl.archive.interface import ArchiveError
from cbmctl.scenes import SceneError
from tests.support.s3_stub import Stub

SIZE = 2**20
DATA = {f"p{number}/a.img": bytes([number + 1]) * SIZE for number in range(6)}
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A disk for two and a half products beside what must stay free; others' files on it are not seen."""

    def usage(folder: Path) -> Usage:
        used = allocated(folder)
        total = disk_space.KEPT_FREE + SIZE * 5 // 2
        return Usage(total, used, total - used)

    monkeypatch.setattr(disk_space.shutil, "disk_usage", usage)
    return tmp_path / "cache"


def allocated(folder: Path) -> int:
    # os.walk minds no folder that goes meanwhile
    files = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return sum(path.stat().st_blocks * 512 for path in files)


def left(folder: Path) -> list[Path]:
    return [path for path in (folder / "scenes").rglob("*") if path.is_file()]


def test_space_is_taken_before_the_first_byte_comes(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub, come = Stub(**DATA), threading.Event()
    asked = threading.Semaphore(0)

    def late(key: str) -> bytes:
        asked.release()
        assert come.wait(60)
        return DATA[key]

    stub.answer = late
    with ThreadPoolExecutor(2) as pool:
        holding = [pool.submit(stub.opened(disk, monkeypatch).hold, f"p{n}", ".*") for n in range(2)]
        try:
            for _ in holding:
                assert asked.acquire(timeout=60)
            with pytest.raises(ArchiveError, match=r"p2 needs .* must stay free\. Free space"):
                stub.opened(disk, monkeypatch).hold("p2", ".*")
        finally:
            come.set()
        held = [job.result() for job in holding]
    for number, one in enumerate(held):
        assert (one.root / f"p{number}/a.img").read_bytes() == DATA[f"p{number}/a.img"]
        one.close()
    stub.opened(disk, monkeypatch).hold("p2", ".*").close()


def test_workers_that_start_together_do_not_take_the_same_space(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocate, together = os.posix_fallocate, threading.Barrier(6)

    def when_all_have_looked(file: int, begin: int, length: int) -> None:
        with suppress(threading.BrokenBarrierError):
            together.wait(0.5)  # in vain, as long as only one looks at a time
        allocate(file, begin, length)

    monkeypatch.setattr(os, "posix_fallocate", when_all_have_looked)
    stub = Stub(**DATA)
    workers = [stub.opened(disk, monkeypatch) for _ in DATA]
    with ThreadPoolExecutor(len(workers)) as pool:
        jobs = [pool.submit(worker.hold, f"p{n}", ".*") for n, worker in enumerate(workers)]
    failed = [job.exception() for job in jobs if job.exception()]
    assert len(failed) == 4
    assert all("must stay free" in str(error) for error in failed)
    assert len(left(disk)) == 2


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.EDQUOT, "Free space on that disk"),
        (errno.EROFS, "Make it a folder of this user on a sound disk"),
        (errno.EIO, "Make it a folder of this user on a sound disk"),
        (errno.EMFILE, "Make it a folder of this user on a sound disk"),
    ],
)
def test_a_disk_that_takes_nothing_is_told_with_what_helps(
    disk: Path, monkeypatch: pytest.MonkeyPatch, code: int, remedy: str
) -> None:
    def fails(*_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", fails)
    with pytest.raises(ArchiveError) as found:
        Stub(**DATA).opened(disk, monkeypatch).hold("p1", ".*")
    assert f"cannot be written to ({os.strerror(code)}). {remedy}, or correct cache" in str(found.value)
    managed = "free space on its data volume" if "Free" in remedy else "run playbooks/worker_image.yml"
    assert f"If Ansible manages this VM, {managed}" in str(found.value)


@pytest.mark.parametrize("keys", [["p/" + "a" * 256], ["p/" + "a" * 256 + "/b"], ["p/a", "p/a/b"], ["p/\0"]])
def test_names_that_no_file_can_have_are_of_their_product(
    disk: Path, monkeypatch: pytest.MonkeyPatch, keys: list[str]
) -> None:
    archive = Stub(**dict.fromkeys(keys, b"x") | DATA).opened(disk, monkeypatch)
    with pytest.raises(SceneError) as found:
        archive.hold("p", ".*")
    assert found.value.status == "Rio error"
    assert not left(disk)
    archive.hold("p1", ".*").close()


def test_a_disk_that_fills_up_meanwhile_gives_all_back(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = Stub(**{f"p/{n}.img": b"x" * 1000 for n in range(3)})
    allocate, taken = os.posix_fallocate, list[int]()

    def full(file: int, begin: int, length: int) -> None:
        if len(taken) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken.append(length)
        allocate(file, begin, length)

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ArchiveError, match=r"cannot be written to \(No space left on device\)\. Free space"):
        stub.opened(disk, monkeypatch).hold("p", ".*")
    assert not left(disk)


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_that_cannot_set_space_aside_is_written_to(
    disk: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    stub = Stub(**DATA)

    def unable(*_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", unable)
    taken = list[int]()

    def noted(key: str) -> bytes:
        taken.append(allocated(disk))
        return DATA[key]

    stub.answer = noted
    held = stub.opened(disk, monkeypatch).hold("p1", ".*")
    assert (held.root / "p1/a.img").read_bytes() == DATA["p1/a.img"]
    assert taken[0] >= SIZE


@pytest.mark.parametrize("wrong", [b"", b"sho", b"much longer than it is listed"])
def test_a_body_of_another_length_is_noticed_in_a_file_that_has_it_already(
    disk: Path, monkeypatch: pytest.MonkeyPatch, wrong: bytes
) -> None:
    stub = Stub(**{"p/a.img": b"whole", "p/empty": b""})
    stub.answer = lambda key: wrong if key == "p/a.img" else b""
    with pytest.raises(SceneError, match=r"a\.img of p cannot be fetched: \d+ of 5 bytes came, 6 attempts"):
        stub.opened(disk, monkeypatch).hold("p", ".*")
    assert not left(disk)
    answers = [wrong, wrong, b"whole"]
    stub.answer = lambda key: answers.pop(0) if key == "p/a.img" else b""
    held = stub.opened(disk, monkeypatch).hold("p", ".*")
    assert (held.root / "p/a.img").read_bytes() == b"whole"
    assert (held.root / "p/empty").read_bytes() == b""
