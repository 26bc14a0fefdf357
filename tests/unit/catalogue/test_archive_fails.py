"""An archive that fails while it is walked: one product that is broken, or all of them gone."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from shapely import box

from cbmctl.catalogue.archive_walk import walk
from cbmctl.errors import UserError
from tests.support.products_s2 import FOLDER, NAME, make_product, reflectance

ZURICH = box(8.67, 47.43, 8.70, 47.46)
YEAR = (date(2022, 1, 1), date(2023, 1, 1))
LATER = FOLDER.replace("2022/03/05", "2022/04/04")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An archive with a product on each of two days."""
    root = tmp_path / "eodata"
    make_product(root, {"B02_10m": reflectance()})
    make_product(root, {"B02_10m": reflectance()}, name=NAME.replace("20220305", "20220404"), folder=LATER)
    return root


Fail = Callable[[Path, int], None]


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Fail:
    """Let a folder, and everything in it, be unreadable from now on."""

    def begin(folder: Path, code: int) -> None:
        def check(path: Path) -> None:
            if path == folder or folder in path.parents:
                raise OSError(code, os.strerror(code), str(path))

        listing, status = Path.iterdir, Path.stat

        def iterdir(path: Path) -> Iterator[Path]:
            check(path)
            return listing(path)

        def stat(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
            check(path)
            return status(path, follow_symlinks=follow_symlinks)

        monkeypatch.setattr(Path, "iterdir", iterdir)
        monkeypatch.setattr(Path, "stat", stat)

    return begin


@pytest.mark.parametrize("place", [LATER, f"{LATER}/{NAME.replace('20220305', '20220404')}"])
def test_what_cannot_be_read_has_its_own_reason(root: Path, fail: Fail, place: str) -> None:
    fail(root / place, errno.EIO)
    found = walk(root, ZURICH, *YEAR, "s2")
    assert [record.reference for record in found.records] == [NAME]
    assert [(item.path, item.status) for item in found.broken] == [(place, "Rio error")]
    assert "Input/output error" in found.broken[0].reason


def test_a_mount_that_dies_is_no_short_season(root: Path, fail: Fail) -> None:
    def die(day: date) -> None:
        if day.month == 4:
            fail(root, errno.ENOTCONN)

    with pytest.raises(
        UserError, match=r"unavailable while it was read \(Transport endpoint is not conn"
    ) as e:
        walk(root, ZURICH, *YEAR, "s2", progress=die)
    assert "\n" not in str(e.value)


def test_a_mount_that_dies_between_a_day_and_its_products(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cbmctl.catalogue import archive_walk

    entries = archive_walk._entries

    def unmounted(*arguments: object) -> list[Path]:
        found = entries(*arguments)  # type: ignore[arg-type]
        shutil.rmtree(root / "Sentinel-2")
        return found

    monkeypatch.setattr(archive_walk, "_entries", unmounted)
    with pytest.raises(UserError, match=r"became unavailable while it was read \(it is empty now\)"):
        walk(root, ZURICH, *YEAR, "s2")
