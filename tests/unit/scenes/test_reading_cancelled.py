"""After a cancellation or an error no thread goes on reading."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cbmctl.scenes import SceneError
from cbmctl.scenes.reading import Reader
from tests.conftest import Eventually
from tests.support.image_files import covering, numbers, scene_of, write

pytestmark = pytest.mark.usefixtures("block_by_block")


class Slow:
    """Stands in for reading a block: takes a while, and knows how many are at it."""

    def __init__(self) -> None:
        self.begun = self.ended = 0
        self._lock = threading.Lock()

    def __call__(self, *_: Any) -> None:
        with self._lock:
            self.begun += 1
        time.sleep(0.05)
        with self._lock:
            self.ended += 1


def test_cancelling_leaves_nothing_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    scene = scene_of(write(tmp_path / "B02.jp2", numbers()))
    slow = Slow()
    with Reader(2) as reader:
        monkeypatch.setattr(reader, "_read", slow)
        reading = reader.start(scene, scene.bands[0], *covering())
        eventually(lambda: slow.begun > 0)
        reading.cancel()
        assert slow.begun == slow.ended < 10, "of thirty blocks"
        time.sleep(0.1)
        assert slow.begun == slow.ended < 10
        reading.cancel()  # once more is no harm
        monkeypatch.undo()
        assert np.array_equal(reader.start(scene, scene.bands[0], *covering()).result(), numbers())


def test_cancelling_what_has_failed_says_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "B02.jp2", numbers())
    os.truncate(path, path.stat().st_size // 2)
    scene = scene_of(path)
    with Reader(2) as reader:
        reading = reader.start(scene, scene.bands[0], *covering())
        reading.cancel()
        other = reader.start(scene, scene.bands[0], *covering())
        with pytest.raises(SceneError):
            other.result()
        other.cancel()


def test_after_one_bad_block_the_others_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scene_of(write(tmp_path / "B02.jp2", numbers()))
    slow = Slow()

    def torn(*arguments: Any) -> None:
        slow(*arguments)
        raise OSError(5, "Input/output error")

    with Reader(2) as reader:
        monkeypatch.setattr(reader, "_read", torn)
        with pytest.raises(SceneError, match="Input/output error"):
            reader.start(scene, scene.bands[0], *covering()).result()
        assert slow.begun == slow.ended < 10, "of thirty blocks"


def test_leaving_ends_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scene_of(write(tmp_path / "B02.jp2", numbers()))
    slow = Slow()
    before = threading.active_count()
    with Reader(2) as reader:
        monkeypatch.setattr(reader, "_read", slow)
        reader.start(scene, scene.bands[0], *covering())
    assert slow.begun == slow.ended < 10
    assert threading.active_count() == before


def test_a_reading_is_cancelled_during_its_check(tmp_path: Path) -> None:
    scene = scene_of(write(tmp_path / "B02.jp2", numbers()))
    begun = threading.Event()

    def check(_path: Path, cancelled: threading.Event) -> None:
        begun.set()
        assert cancelled.wait(60)
        raise TimeoutError

    with Reader(2) as reader:
        reading = reader.start(scene, scene.bands[0], *covering(), check)
        assert begun.wait(60)
        reading.cancel()
