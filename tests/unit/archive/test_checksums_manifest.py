"""manifest.safe, real ones and odd ones: what each says of a file, and what follows from it."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from cbmctl.archive import checksums
from cbmctl.archive.account_limits import CancelledError
from cbmctl.archive.checksums import DIFFERS, HEALED, NO_CHECKSUM, OK, Checksums, digest_of
from cbmctl.archive.interface import Held
from cbmctl.archive.mount import Mount
from cbmctl.scenes import SceneError
from cbmctl.scenes.manifest import Checksum, read_manifest
from tests.support.manifests import entry, manifest, overwrite, write_manifest

FILE = "GRANULE/L2A/IMG_DATA/R10m/T32TMT_B02_10m.jp2"


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """A product of two files that nobody decodes."""
    folder = tmp_path / "S2A.SAFE"
    (folder / FILE).parent.mkdir(parents=True)
    (folder / FILE).write_bytes(bytes(range(256)) * 100)
    (folder / "MTD_MSIL2A.xml").write_text("<a/>")
    return folder


def checks_of(product: Path) -> Checksums:
    return Checksums(product, Mount(product.parent).hold(product.name, ".*"))


def outcome(product: Path) -> tuple[str, str | None]:
    checked = checks_of(product).compare(product / FILE)
    return checked.outcome, checked.detail


@pytest.mark.parametrize(
    ("product_name", "algorithm", "entries"),
    [
        ("esa_S2B_MSIL2A_20210122T133229_N0214_R081_T22HBD_20210122T155500.SAFE", "MD5", 123),
        ("S2A_MSIL2A_20220214T070051_N0400_R120_T38KQA_20220214T085403.SAFE", "SHA3-256", 86),
        # of this baseline digests are in upper case
        ("S2A_MSIL2A_20230625T234621_N0509_R073_T01WCS_20230626T022157.SAFE", "SHA3-256", 86),
    ],
)
def test_real_manifests_are_right_about_real_files(
    testdata: Path, product_name: str, algorithm: str, entries: int
) -> None:
    folder = testdata / "safe_metadata" / product_name
    found = read_manifest(folder)
    assert found is not None
    assert len(found) == entries
    checks = Checksums(folder, Mount(folder.parent).hold(folder.name, ".*"))
    checked = checks.compare(folder / "MTD_MSIL2A.xml")
    assert (checked.outcome, checked.algorithm) == (OK, algorithm)
    images = [file for file in found if file.endswith("_B02_10m.jp2")]
    assert len(images) == 1
    assert images[0].startswith("GRANULE/L2A_T")


def test_the_images_of_a_truncated_product_differ(testdata: Path) -> None:
    folder = testdata / "safe_metadata" / "S2A_MSIL2A_20220214T070051_N0400_R120_T38KQA_20220214T085403.SAFE"
    (image,) = folder.glob("GRANULE/*/IMG_DATA/R10m/*_B02_10m.jp2")
    checks = Checksums(folder, Mount(folder.parent).hold(folder.name, ".*"))
    with pytest.raises(SceneError, match=r"B02_10m.jp2 of S2A_.* is damaged: it has 0 bytes, manifest.safe"):
        checks.require(image)


@pytest.mark.parametrize("algorithm", ["MD5", "SHA3-256"])
@pytest.mark.parametrize(
    ("href", "digest", "name"),
    [
        (lambda file: f"./{file}", str, None),
        (lambda file: file, str.upper, str.lower),
        (lambda file: ".\\" + file.replace("/", "\\"), lambda digest: f"\n  {digest}\n", None),
        (lambda file: f"././{file.replace('/', '//')}", str, None),
    ],
)
def test_paths_and_digests_in_any_spelling_are_understood(
    product: Path,
    algorithm: str,
    href: Callable[[str], str],
    digest: Callable[[str], str],
    name: Callable[[str], str] | None,
) -> None:
    write_manifest(product, algorithm, name=name and name(algorithm), href=href, digest=digest)
    assert outcome(product) == (OK, None)
    (product / FILE).write_bytes(b"\1" + (product / FILE).read_bytes()[1:])
    assert outcome(product)[0] == DIFFERS


def test_what_has_no_checksum_is_not_an_error(product: Path) -> None:
    assert outcome(product) == (NO_CHECKSUM, "the product has no manifest.safe")
    write_manifest(product, leave_out="_B02_10m.jp2")
    assert outcome(product) == (NO_CHECKSUM, "manifest.safe does not list it")
    write_manifest(product, name="BLAKE3")
    assert outcome(product) == (NO_CHECKSUM, "manifest.safe has an unsupported algorithm: BLAKE3")
    write_manifest(product, digest=lambda _: " ")
    assert outcome(product) == (NO_CHECKSUM, "manifest.safe does not list it")
    (product / "manifest.safe").write_text("<html><body>Come back later</body></html>")
    assert outcome(product) == (NO_CHECKSUM, "manifest.safe does not list it")
    checks_of(product).require(product / FILE)


def test_sizes_that_are_no_numbers_are_left_out(product: Path) -> None:
    digest = hashlib.sha3_256((product / FILE).read_bytes()).hexdigest()
    (product / "manifest.safe").write_text(manifest(entry(FILE, "many", "SHA3-256", digest)))
    assert read_manifest(product) == {FILE: Checksum("SHA3-256", digest, None)}
    assert outcome(product) == (OK, None)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda _: "",
        lambda text: text.replace("<dataObjectSection>", "<!ENTITY>"),
        lambda text: f'<!DOCTYPE a [<!ENTITY b "c">]>{text.partition("?>")[2]}',
    ],
    ids=["cut", "empty", "broken", "entities"],
)
def test_a_damaged_manifest_fails_the_scene(product: Path, spoil: Callable[[str], str]) -> None:
    path = write_manifest(product)
    path.write_text(spoil(path.read_text()))
    with pytest.raises(SceneError, match=r"manifest.safe of S2A.SAFE is damaged") as error:
        checks_of(product)
    assert (error.value.status, error.value.lasting) == ("Rio error", True)


def test_a_manifest_that_came_damaged_is_fetched_again(product: Path) -> None:
    path = write_manifest(product)
    whole = path.read_text()
    path.write_text(whole[:-10])
    held = Held(product.parent, again=lambda path, _: path.write_text(whole) and None)
    assert Checksums(product, held).compare(product / FILE).outcome == OK


def test_a_wrong_digest_in_a_manifest_that_came_damaged_blames_no_file(product: Path) -> None:
    path = write_manifest(product)
    whole = path.read_text()
    digest = hashlib.sha3_256((product / FILE).read_bytes()).hexdigest()
    path.write_text(whole.replace(digest, "f" * 64))

    def again(fetched: Path, _: Event) -> None:
        if fetched == path:
            path.write_text(whole)

    checked = Checksums(product, Held(product.parent, again=again)).compare(product / FILE)
    assert (checked.outcome, checked.detail) == (OK, HEALED)


def test_switched_off_nothing_is_read(product: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_manifest(product).write_text("not XML")
    monkeypatch.setattr(checksums, "digest_of", lambda *_: pytest.fail("read"))
    checks = Checksums(product, Held(product.parent), on=False)
    checks.require(product / FILE)
    checks.require_metadata(".*")
    assert not checks.new
    assert not checks.healed(".*")


def test_a_file_that_cannot_be_read_is_an_error_of_its_scene(product: Path) -> None:
    write_manifest(product)
    checks = checks_of(product)
    (product / FILE).unlink()
    with pytest.raises(SceneError, match=r"B02_10m.jp2 of S2A.SAFE cannot be read") as error:
        checks.require(product / FILE)
    assert not error.value.lasting


def test_a_check_ends_early_when_nobody_waits_for_it(product: Path) -> None:
    cancelled = Event()
    cancelled.set()
    with pytest.raises(CancelledError):
        digest_of(product / FILE, "MD5", cancelled)


def is_open(path: Path) -> bool:
    return any(os.path.realpath(link) == str(path) for link in Path("/proc/self/fd").iterdir())


def test_an_image_of_a_mount_stays_open_until_it_is_decoded(product: Path) -> None:
    """s3fs fetches a file once while somebody has it open, and again for the next who opens it."""
    write_manifest(product)
    checks, image = checks_of(product), (product / FILE).resolve()
    checks.require(product / FILE)
    assert is_open(image)
    checks.release(product / FILE)
    assert not is_open(image)
    checks.require(product / FILE)
    assert is_open(image), "of two bands in one file the second, too"
    checks.release()
    assert not is_open(image)


def test_a_file_that_is_read_again_is_closed_before(product: Path) -> None:
    write_manifest(product)
    image, whole = (product / FILE).resolve(), (product / FILE).read_bytes()
    image.write_bytes(b"\1" + whole[1:])
    open_then: list[bool] = []

    def again(path: Path, _: Event) -> None:
        if path == product / FILE:
            open_then.append(is_open(image))
            path.write_bytes(whole)

    checks = Checksums(product, Held(product.parent, again=again))
    checks.require(product / FILE)
    assert open_then == [False]
    assert is_open(image)
    checks.release()


def test_a_copy_is_not_kept_open(product: Path) -> None:
    write_manifest(product)
    checks = Checksums(product, Held(product.parent, copied=True))
    checks.require(product / FILE)
    assert not is_open((product / FILE).resolve())


def test_overwritten_bytes_of_a_real_image_are_noticed(testdata: Path, tmp_path: Path) -> None:
    """The decoder says nothing, and gives other pixels."""
    archive = testdata / "eodata" / "Sentinel-2" / "MSI" / "L2A" / "2016" / "07" / "20"
    (source,) = archive.glob("*.SAFE")
    folder = tmp_path / source.name
    shutil.copytree(source, folder, copy_function=shutil.copyfile)
    (image,) = folder.glob("GRANULE/*/IMG_DATA/R10m/*_B04_10m.jp2")
    write_manifest(folder)
    right = read_band(image)
    overwrite(image, 400)
    assert np.count_nonzero(read_band(image) != right) > 1000
    with pytest.raises(SceneError, match=rf"{image.name} of {folder.name} is damaged: its SHA3-256 is"):
        checks_of(folder).require(image)


def read_band(path: Path) -> NDArray[np.uint16]:
    with rasterio.open(path) as dataset:
        values: NDArray[np.uint16] = dataset.read(1)
    return values
