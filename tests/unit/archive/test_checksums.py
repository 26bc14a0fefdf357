"""Damaged files of a product, from the archive to the tables: noticed, fetched again once, and told."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from cbmctl.archive import mount
from cbmctl.archive.checksums import HEALED
from tests.support.checked_scenes import IMAGES, image, outcomes, scene_with_manifest
from tests.support.expected_rows import expected_sigs, found_sigs
from tests.support.manifests import overwrite, write_manifest
from tests.support.s3_season import extract, scratch
from tests.support.s3_server import Proxy
from tests.support.season import Season

pytestmark = pytest.mark.postgis


def test_files_that_were_read_are_recorded(season: Season) -> None:
    whole, _ = scene_with_manifest(season, 5, "MD5")
    bare = season.scene(6)
    season.extract()
    assert found_sigs(season) == [*expected_sigs(whole, 5), *expected_sigs(bare, 6)]
    assert outcomes(season, whole) == dict.fromkeys([*IMAGES, "MTD_MSIL2A.xml"], ("ok", None))
    assert season.rows("SELECT DISTINCT algorithm FROM file_checks WHERE obsid = %s", whole) == [("MD5",)]
    # of a product without a manifest it is recorded that nothing could be compared
    lacking = ("no checksum", "the product has no manifest.safe")
    assert outcomes(season, bare) == dict.fromkeys(IMAGES, lacking)
    assert season.rows("SELECT DISTINCT status FROM dias_catalogue") == [("extracted",)]


@pytest.mark.parametrize("band", ["B02_10m", "B05_20m", "SCL_20m"])
def test_overwritten_bytes_fail_the_scene(season: Season, band: str) -> None:
    (bad, folder), (good, _) = scene_with_manifest(season, 5), scene_with_manifest(season, 6)
    overwrite(image(folder, band))
    lines = season.extract()
    assert season.status(bad) == "Rio error"
    ((reason,),) = season.rows("SELECT reason FROM dias_catalogue WHERE id = %s", bad)
    assert f"{band}.jp2 of {folder.name} is damaged: its SHA3-256 is" in reason
    assert "cbmctl repair" in reason
    # fetched again once, and not tried again: two more attempts would bring the same
    assert season.rows("SELECT DISTINCT attempts FROM tasks WHERE state = 'failed'") == [(1,)]
    assert [line for line in lines if "attempt 1, given up" in line]
    assert season.status(good) == "extracted"
    wrong = {band[:3]} & set(season.rows("SELECT DISTINCT band FROM sigs WHERE obsid = %s", bad))
    assert not wrong
    # an intact copy and `repair` are enough
    overwrite(image(folder, band))
    with season.database.connect() as conn:
        conn.execute("UPDATE tasks SET state = 'ready', attempts = 0 WHERE state = 'failed'")
    season.extract()
    assert season.status(bad) == "extracted"
    assert found_sigs(season) == [*expected_sigs(bad, 5), *expected_sigs(good, 6)]


def test_without_the_check_overwritten_bytes_are_not_noticed(season: Season) -> None:
    """What the decoder makes of them is what is stored: the reason for the check, and its switch."""
    scene, folder = scene_with_manifest(season, 5)
    overwrite(image(folder, "B02_10m"))
    season.extract(season.database.configured(extraction={"checksums": False}))
    assert season.status(scene) == "extracted"
    assert found_sigs(season) != expected_sigs(scene, 5)
    assert season.rows("SELECT count(*) FROM file_checks") == [(0,)]


def test_a_damaged_offset_is_noticed(season: Season) -> None:
    scene, folder = scene_with_manifest(season, 5)
    metadata = folder / "MTD_MSIL2A.xml"
    metadata.write_text(metadata.read_text().replace("-1000", "-1009"))
    season.extract()
    assert season.status(scene) == "Rio error"
    ((reason,),) = season.rows("SELECT reason FROM dias_catalogue")
    assert "MTD_MSIL2A.xml of" in reason
    assert season.rows("SELECT count(*) FROM sigs") == [(0,)]


def test_a_missing_file_keeps_its_word(season: Season) -> None:
    (lacking, folder), (headless, other) = scene_with_manifest(season, 5), scene_with_manifest(season, 6)
    image(folder, "B02_10m").unlink()
    (other / "MTD_MSIL2A.xml").unlink()
    season.extract()
    assert season.status(lacking) == "!S3 B02.jp2"
    assert season.status(headless) == "!S3 MTD_MSIL2A.xml"


@pytest.mark.parametrize("spoil", [overwrite, lambda path: path.write_bytes(b"")], ids=["bytes", "header"])
def test_a_mount_is_read_again(
    season: Season, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], Any]
) -> None:
    """Bytes that came wrong over the network lie in the page cache; the next read brings the right ones."""
    scene, folder = scene_with_manifest(season, 5)
    damaged = image(folder, "B02_10m")
    whole, read_again = damaged.read_bytes(), mount._read_again
    spoil(damaged)

    def restored(path: Path, cancelled: Event) -> None:
        if path == damaged:
            damaged.write_bytes(whole)
        read_again(path, cancelled)

    monkeypatch.setattr(mount, "_read_again", restored)
    season.extract()
    assert season.status(scene) == "extracted"
    assert found_sigs(season) == expected_sigs(scene, 5)
    assert outcomes(season, scene)["B02_10m"] == ("ok", HEALED)
    assert season.rows("SELECT DISTINCT attempts FROM tasks") == [(1,)]


def test_what_was_checked_and_is_unchanged_is_not_checked_again(
    season: Season, digests: Counter[str]
) -> None:
    scene, folder = scene_with_manifest(season, 5)
    season.extract()
    assert len(digests) == len(IMAGES) + 1
    # read by each of three tasks, of which one is opened before the one before it is committed
    assert {name for name, number in digests.items() if number > 1} <= {
        "MTD_MSIL2A.xml",
        image(folder, "SCL_20m").name,
    }
    assert max(digests.values()) == 2
    first = season.rows("SELECT * FROM file_checks ORDER BY file")

    def again() -> set[str]:
        digests.clear()
        with season.database.connect() as conn:
            conn.execute("UPDATE dias_catalogue SET status = 'ingested'")
        season.extract()
        return set(digests)

    assert again() == set()
    assert season.rows("SELECT * FROM file_checks ORDER BY file") == first
    changed = image(folder, "B03_10m")
    os.utime(changed, (0, 0))
    assert again() == {changed.name}
    # another checksum for the same file is another question
    write_manifest(folder, "MD5")
    assert len(again()) == len(IMAGES) + 1
    assert found_sigs(season) == expected_sigs(scene, 5)


# An archive behind S3


def first_time(band: str, fault: str) -> Callable[[int, str], str | None]:
    asked = Counter[str]()

    def spoiled(_number: int, path: str) -> str | None:
        if band not in path:
            return None
        asked[path] += 1
        return fault if asked[path] == 1 else None

    return spoiled


@pytest.mark.usefixtures("hasty_bucket")
@pytest.mark.parametrize(
    ("file", "fault"), [("B02_10m", "spoil"), ("B02_10m", "garble"), ("manifest.safe", "garble")]
)
def test_an_object_that_came_damaged_is_fetched_again(
    season: Season, served: Proxy, file: str, fault: str
) -> None:
    scene, _ = scene_with_manifest(season, 5)
    extract(season, first_time(file, fault), served)
    assert season.status(scene) == "extracted"
    assert found_sigs(season) == expected_sigs(scene, 5)
    assert season.rows("SELECT DISTINCT attempts FROM tasks") == [(1,)]
    requests = Counter(path.rpartition("/")[2] for path in served.paths)
    assert [number for name, number in requests.items() if "B02_10m" in name] == [
        2 if file == "B02_10m" else 1
    ]
    assert not scratch(season)


@pytest.mark.usefixtures("hasty_bucket", "served")
def test_an_object_that_is_damaged_in_the_archive_is_fetched_twice(
    season: Season, digests: Counter[str]
) -> None:
    (bad, folder), (good, _) = scene_with_manifest(season, 5), scene_with_manifest(season, 6)
    overwrite(image(folder, "B03_10m"))
    extract(season)
    assert season.status(bad) == "Rio error"
    ((reason,),) = season.rows("SELECT reason FROM tasks WHERE state = 'failed'")
    assert f"B03_10m.jp2 of {folder.name} is damaged" in reason
    # copies that were compared: a transfer may be repeated more often on a slow machine
    assert digests[image(folder, "B03_10m").name] == 2
    assert season.status(good) == "extracted"
    assert not scratch(season)


@pytest.mark.usefixtures("hasty_bucket")
def test_each_copy_of_an_object_is_compared(season: Season, served: Proxy, digests: Counter[str]) -> None:
    """The object in the archive is unchanged, but another copy may come damaged."""
    scene, _ = scene_with_manifest(season, 5)
    extract(season)
    digests.clear()
    with season.database.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET status = 'ingested'")
    extract(season, first_time("B02_10m", "spoil"), served)
    assert len(digests) == len(IMAGES) + 1
    assert season.status(scene) == "extracted"
    assert found_sigs(season) == expected_sigs(scene, 5)
