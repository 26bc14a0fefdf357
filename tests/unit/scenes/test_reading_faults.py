"""Files that are damaged, missing or replaced while they are read."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cbmctl.scenes import SceneError
from cbmctl.scenes.reading import Reader, read_needed
from tests.support.image_files import covering, numbers, scene_of, write

pytestmark = pytest.mark.usefixtures("block_by_block")


def status_of(error: pytest.ExceptionInfo[SceneError]) -> str:
    assert "\n" not in error.value.reason
    assert error.value.reason.startswith("B02.jp2 of S2A.SAFE cannot be read: ")
    return error.value.status


def test_a_file_in_other_hands_meanwhile_is_read_anew(tmp_path: Path) -> None:
    """A task is tried again when its file was torn: the second time it may be whole."""
    path = write(tmp_path / "B02.jp2", numbers())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    scene = scene_of(path)
    index, active = covering()
    with Reader(1) as reader:
        torn = reader.start(scene, scene.bands[0], index, active)
        with pytest.raises(SceneError):
            torn.result()
        torn.cancel()
        path.write_bytes(whole)
        assert np.array_equal(reader.start(scene, scene.bands[0], index, active).result(), numbers())
        write(path, numbers(2))
        assert np.array_equal(reader.start(scene, scene.bands[0], index, active).result(), numbers(2))


@pytest.mark.parametrize("keep", [0, 60, 200, 0.3, 0.6, 0.95, None])
def test_a_file_that_is_torn_or_gone_is_a_rio_error(tmp_path: Path, keep: float | None) -> None:
    path = write(tmp_path / "B02.jp2", numbers())
    if keep is None:
        path.unlink()
    else:
        os.truncate(path, int(keep * path.stat().st_size) if 0 < keep < 1 else int(keep))
    scene = scene_of(path)
    index, active = covering()
    with Reader(2) as reader:
        with pytest.raises(SceneError) as error:
            reader.start(scene, scene.bands[0], index, active).result()
        assert status_of(error) == "Rio error"
        with pytest.raises(SceneError) as error:
            read_needed(scene, scene.bands[0], index)
        assert status_of(error) == "Rio error"
        if keep in (0, None):
            with pytest.raises(SceneError):  # at once, before anything else is begun
                reader.start(scene, scene.bands[0], index, active)


@pytest.mark.parametrize("text", [b"no image at all", bytes(5000)])
def test_a_file_that_is_no_image_is_a_rio_error(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "B02.jp2"
    path.write_bytes(text)
    scene = scene_of(path)
    with Reader(1) as reader, pytest.raises(SceneError) as error:
        reader.start(scene, scene.bands[0], *covering())
    assert status_of(error) == "Rio error"


def test_other_faults_are_not_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    scene = scene_of(write(tmp_path / "B02.jp2", numbers()))
    with Reader(1) as reader:
        monkeypatch.setattr(reader, "_read", broken)
        with pytest.raises(ZeroDivisionError):
            reader.start(scene, scene.bands[0], *covering()).result()
