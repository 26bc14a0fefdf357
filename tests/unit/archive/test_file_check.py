"""`cbmctl eodata check --scenes`: damage that may be in the statistics already is found and reported."""

import json
import os
from collections import Counter
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cbmctl.archive import checksums
from cbmctl.cli import cbmctl
from tests.support.checked_scenes import IMAGES, folder_of, image, outcomes, scene_with_manifest
from tests.support.manifests import overwrite, write_manifest
from tests.support.s3_season import scratch
from tests.support.s3_server import Proxy
from tests.support.season import Season

pytestmark = pytest.mark.postgis


def run(season: Season, *options: str, as_json: bool = False) -> Result:
    arguments = ["--config", str(season.database.config_path), *(["--json"] if as_json else [])]
    return CliRunner().invoke(cbmctl, [*arguments, "eodata", "check", "--scenes", *options])


def report(season: Season, *options: str) -> tuple[int, dict[str, Any]]:
    result = run(season, *options, as_json=True)
    return result.exit_code, json.loads(result.stdout)


def findings(said: dict[str, Any]) -> set[tuple[str, str]]:
    return {(finding["code"], finding["reference"]) for finding in said["findings"]}


def unchecked(season: Season) -> None:
    """Extract as versions before this one did: without looking at checksums."""
    season.extract(season.database.configured(extraction={"checksums": False}))
    season.database.configured(extraction={"checksums": True})
    assert season.rows("SELECT DISTINCT status FROM dias_catalogue") == [("extracted",)]
    assert season.rows("SELECT count(*) FROM file_checks") == [(0,)]


def state(season: Season) -> list[list[tuple[Any, ...]]]:
    return [
        season.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in ("dias_catalogue", "tasks", "sigs")
    ]


def test_damage_that_is_stored_already_is_found(season: Season, digests: Counter[str]) -> None:
    (_, whole), (bad, damaged), (_, cut), (_, gone) = (
        scene_with_manifest(season, day) for day in (5, 6, 7, 8)
    )
    bare = season.scene(9)
    overwrite(image(damaged, "B02_10m"))
    unchecked(season)
    image(cut, "B03_10m").unlink()
    gone.rename(gone.with_name("gone"))
    before = state(season)
    code, said = report(season)
    assert code == 3
    assert said["changed"] is False
    assert findings(said) == {
        ("archive.file_differs", damaged.name),
        ("archive.file_missing", cut.name),
        ("archive.product_missing", gone.name),
    }
    (differs,) = (finding for finding in said["findings"] if finding["code"] == "archive.file_differs")
    assert differs["file"] == image(damaged, "B02_10m").relative_to(damaged).as_posix()
    assert differs["hint"].endswith(f"cbmctl extract --scene {damaged.name}")
    assert (said["scenes"], said["scenes_without_checksum"]) == (5, 1)
    each = len(IMAGES) + 1
    assert (said["files_compared"], said["files_unchanged"]) == (3 * each - 1, 0)
    assert state(season) == before, "it only reports"
    assert outcomes(season, bad)["B02_10m"][0] == "differs"
    assert outcomes(season, bare) == {"manifest.safe": ("no checksum", "manifest.safe is missing")}
    # what matched is not read again, what did not is
    digests.clear()
    code, said = report(season)
    assert (code, len(said["findings"])) == (3, 3)
    assert set(digests) == {image(damaged, "B02_10m").name}
    assert said["files_unchanged"] == 3 * each - 2
    # an intact copy does not correct the rows that were computed from the damaged one
    overwrite(image(damaged, "B02_10m"))
    for _ in range(2):
        _, said = report(season)
        assert ("archive.file_replaced", damaged.name) in findings(said)
    with season.database.connect() as conn:
        conn.execute("UPDATE dias_catalogue SET status = 'ingested' WHERE id = %s", [bad])
    season.extract()
    _, said = report(season)
    assert findings(said) == {("archive.file_missing", cut.name), ("archive.product_missing", gone.name)}
    assert whole.is_dir()


def test_without_damage_it_says_so(season: Season) -> None:
    scene_with_manifest(season, 5)
    season.extract()
    result = run(season)
    assert result.exit_code == 0
    each = len(IMAGES) + 1
    assert result.stdout.splitlines() == [
        f"1 extracted scene checked: 0 files compared, {each} unchanged since an earlier check,"
        " 0 not listed in manifest.safe, 0 scenes without checksums.",
        "No problems found.",
    ]
    _, said = report(season, "--older-than", "1")
    assert said["files_compared"] == 0
    _, said = report(season, "--older-than", "0")
    assert said["files_compared"] == each


@pytest.mark.parametrize("archive", ["mount", "bucket"])
def test_a_file_that_the_manifest_does_not_list_is_counted(
    season: Season, request: pytest.FixtureRequest, archive: str
) -> None:
    obsid, folder = scene_with_manifest(season, 5)
    write_manifest(folder, leave_out="B02_10m.jp2")
    unchecked(season)
    if archive == "bucket":
        request.getfixturevalue("hasty_bucket")
    for compared in (len(IMAGES), 0):
        code, said = report(season)
        assert (code, said["files_compared"], said["files_without_checksum"]) == (0, compared, 1)
    assert outcomes(season, obsid)["B02_10m"] == ("no checksum", "manifest.safe does not list it")
    assert "1 not listed in manifest.safe" in run(season).stdout


def test_an_interrupted_check_goes_on(
    season: Season,
    digests: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for day in (5, 6, 7):
        scene_with_manifest(season, day)
    unchecked(season)
    each, counting = len(IMAGES) + 1, checksums.digest_of

    def interrupted(path: Path, algorithm: str, cancelled: Event) -> str:
        if digests.total() == each + 2:
            raise KeyboardInterrupt
        return counting(path, algorithm, cancelled)

    monkeypatch.setattr(checksums, "digest_of", interrupted)
    assert run(season).exit_code != 0
    monkeypatch.setattr(checksums, "digest_of", counting)
    code, said = report(season)
    assert (code, said["files_compared"], said["files_unchanged"]) == (0, 2 * each - 2, each + 2)


def test_it_names_the_reason_in_words(season: Season) -> None:
    _, folder = scene_with_manifest(season, 5)
    manifest = folder / "manifest.safe"
    unchecked(season)
    manifest.write_text(manifest.read_text()[:-20])
    result = run(season)
    assert result.exit_code == 3
    assert f"{folder.name} cannot be checked: manifest.safe of {folder.name} is damaged" in result.stdout
    assert "1 problem found; nothing was changed." in result.stdout
    assert "Checking scenes: 1 of 1" in result.stderr


def test_an_archive_that_is_away_is_not_blamed_on_scenes(season: Season) -> None:
    _, folder = scene_with_manifest(season, 5)
    unchecked(season)
    root = season.config.eodata
    assert isinstance(root, Path)
    root.rename(root.with_name("unmounted"))
    root.mkdir()
    result = run(season, as_json=True)
    assert result.exit_code == 1
    assert "is empty" in str(result.exception)
    assert not folder.exists()
    assert season.rows("SELECT count(*) FROM file_checks") == [(0,)]


@pytest.mark.usefixtures("hasty_bucket")
def test_objects_are_fetched_only_if_they_changed(season: Season, served: Proxy) -> None:
    (_, folder), (_, other) = scene_with_manifest(season, 5), scene_with_manifest(season, 6)
    overwrite(image(other, "B02_10m"))
    unchecked(season)

    each = len(IMAGES) + 1

    def fetched() -> int:
        """Objects of the whole scene; the look at the archive before that reads a byte of one object."""
        return len([path for path in served.paths if folder.name in path and ".jp2" in path])

    for compared, unchanged in ((2 * each, 0), (1, 2 * each - 1)):
        served.paths.clear()
        code, said = report(season)
        assert (code, findings(said)) == (3, {("archive.file_differs", other.name)})
        assert (said["files_compared"], said["files_unchanged"]) == (compared, unchanged)
        assert (fetched() >= len(IMAGES)) == (compared > 1)
    os.utime(image(folder, "B03_10m"), (0, 0))  # the server's tag is made of that
    _, said = report(season)
    assert said["files_compared"] == 2
    assert not scratch(season)


def test_scenes_of_the_manual_know_no_tasks(season: Season) -> None:
    scene, folder = scene_with_manifest(season, 5)
    unchecked(season)
    with season.database.connect() as conn:
        conn.execute("DELETE FROM tasks")
        conn.execute("UPDATE dias_catalogue SET status = 'extracted'")
    overwrite(image(folder, "B02_10m"))
    code, said = report(season)
    assert (code, findings(said)) == (3, {("archive.file_differs", folder.name)})
    assert folder == folder_of(season, scene)


def test_days_without_scenes_are_refused(season: Season) -> None:
    arguments = ["--config", str(season.database.config_path), "eodata", "check", "--older-than", "3"]
    result = CliRunner().invoke(cbmctl, arguments)
    assert result.exit_code == 2
    assert "Add --scenes" in result.stderr
