"""Which parcels get rows, and which pixels these rest on: small products, from the queue to the tables."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from shapely import Polygon, box

from tests.support.products_s2 import LEFT, TOP, image_file, metadata, write_image
from tests.support.rows import (
    BANDS,
    NEAR,
    Rows,
    assert_rows,
    cut,
    expected,
    extract,
    folder,
    found,
    hists,
    insert,
    keys,
    mask,
    replace,
    sentinel2,
)
from tests.support.season import BANDS_10, BANDS_20, PARCELS, Season, pixels

pytestmark = pytest.mark.postgis


@pytest.mark.parametrize("band", BANDS_10)
def test_a_pixel_that_one_band_lacks_is_lacking_in_its_group(season: Season, band: str) -> None:
    scene = season.scene(5)
    holes = pixels(5)[f"{band}_10m"]
    inside = np.argwhere(mask(PARCELS[1], holes, Affine(10, 0, LEFT, 0, -10, TOP)))[-1]
    holes[tuple(inside)] = 0
    replace(season, scene, **{f"{band}_10m": holes})
    extract(season, s2=BANDS)
    assert keys(season, scene) == {(7, "B02"), (7, "B03"), (1, "B05"), (7, "B05")}
    wanted = sentinel2(5, NEAR)
    assert_rows(found(season, scene), {key: wanted[key] for key in keys(season, scene)})
    assert set(hists(season, scene)) == {1, 7}


def test_without_any_parcel_that_is_whole_there_are_no_rows(season: Season) -> None:
    scene = season.scene(5)
    replace(season, scene, B02_10m=np.zeros((40, 40), np.uint16), B05_20m=np.zeros((20, 20), np.uint16))
    extract(season, s2=BANDS)
    assert keys(season, scene) == set()
    assert set(hists(season, scene)) == {1, 7}
    assert season.status(scene) == "extracted"
    assert season.rows("SELECT bandset, rows FROM tasks ORDER BY 1") == [("10", 0), ("20", 0), ("scl", 2)]


# Across the image's left and lower sides, at its corner, and one whose pixels of 20 m are all inside.
CROSSING = {
    21: box(LEFT - 60, TOP - 300, LEFT + 44, TOP - 180),
    22: Polygon([(LEFT + 40, TOP - 330), (LEFT + 190, TOP - 350), (LEFT + 90, TOP - 470)]),
    23: box(LEFT + 350, TOP - 60, LEFT + 480, TOP + 90),
    24: box(LEFT - 9, TOP - 160, LEFT + 20, TOP - 120),
}


def test_parcels_beyond_the_image(season: Season) -> None:
    """What a tile does not show whole, its neighbour does; classes are told of what is seen."""
    scene = season.scene(5)
    insert(season, CROSSING)
    kept = sentinel2(5, NEAR | CROSSING)
    dropped = {(pid, band) for pid in (21, 22, 23) for band in BANDS_10 + BANDS_20}
    dropped |= {(24, band) for band in BANDS_10}
    inside = {key: figures for key, figures in kept.items() if key not in dropped}
    assert dropped < kept.keys()
    for setting, wanted in (({}, inside), ({"edge": "keep"}, kept), ({"edge": "drop"}, inside)):
        assert extract(season, s2=BANDS | setting), "another method: done again"
        assert_rows(found(season, scene), wanted)
        assert set(hists(season, scene)) == {1, 7, *CROSSING}


def cloudy(season: Season) -> int:
    """A scene where parcel 1 is all 9, parcel 7 mostly 8 and a pixel 9, and a sliver lies in a pixel of 9."""
    scene = season.scene(5)
    classes = np.full((20, 20), 4, np.uint8)
    transform = Affine(20, 0, LEFT, 0, -20, TOP)
    one, seven = (mask(PARCELS[pid], classes, transform) for pid in (1, 7))
    classes[one], classes[seven] = 9, 8
    classes[tuple(np.argwhere(seven)[3])] = 9
    classes[19, 0] = 9
    replace(season, scene, SCL_20m=classes)
    insert(season, {3: box(LEFT + 4, TOP - 396, LEFT + 6, TOP - 394)})
    return scene


def test_parcels_under_cloud(season: Season) -> None:
    scene = cloudy(season)
    wanted = sentinel2(5, NEAR | {3: box(LEFT + 4, TOP - 396, LEFT + 6, TOP - 394)})
    assert (3, "B02") in wanted
    settings: list[tuple[dict[str, Any], set[int]]] = [
        ({}, {7}),
        ({"cloud_classes": [8, 9]}, set()),
        ({"cloud_classes": [9]}, {7}),
        ({"cloud_classes": [8]}, {1, 3, 7}),
        ({"cloud_classes": []}, {1, 3, 7}),
        ({"cloud_classes": [4, 3]}, {1, 3, 7}),
        ({"cloud_classes": [9]}, {7}),
        ({"scl": False}, {1, 3, 7}),
    ]
    for setting, kept in settings:
        assert extract(season, s2=BANDS | setting), "another method: done again"
        assert_rows(found(season, scene), {key: row for key, row in wanted.items() if key[0] in kept})
        assert season.status(scene) == "extracted"
        told = hists(season, scene)
        assert {pid: set(hist) for pid, hist in told.items()} == {1: {"9"}, 3: {"9"}, 7: {"8", "9"}}
        assert (told[3], told[7]["9"]) == ({"9": 1}, 1)


def test_slivers_are_listed_and_get_classes_where_they_have_pixels(season: Season) -> None:
    scene = season.scene(5)
    fine = box(LEFT + 204, TOP - 26, LEFT + 227, TOP - 24)  # centres of three pixels of 10 m, in two of 20 m
    corner = box(LEFT + 212, TOP - 8, LEFT + 218, TOP - 2)
    nothing = box(LEFT + 21, TOP - 23, LEFT + 24, TOP - 21)
    insert(season, {30: fine, 31: corner, 32: nothing, 33: box(LEFT + 900, TOP, LEFT + 901, TOP + 1)})
    extract(season, s2=BANDS)
    slivers = dict(season.rows("SELECT bandset, slivers FROM tasks"))
    assert slivers == {"10": [32], "20": [30, 31, 32], "scl": [32]}
    image = pixels(5)["SCL_20m"]
    both = np.bincount(image[1, 10:12], minlength=12)
    assert hists(season, scene)[30] == {str(name): int(n) for name, n in enumerate(both) if n}
    assert hists(season, scene)[31] == {str(image[0, 10]): 1}
    assert 32 not in hists(season, scene)
    assert_rows(found(season, scene), sentinel2(5, NEAR | {30: fine, 31: corner}))
    assert found(season, scene)[30, "B02"][0] == 3


@pytest.mark.parametrize("reflectance", ["harmonised", "as-stored"])
@pytest.mark.parametrize(
    ("offsets", "applied"),
    [(dict.fromkeys(range(13), -1000), -1000), ({}, 0), ({1: -1000, 2: -500, 4: 0}, None)],
    ids=["all", "none", "each its own"],
)
def test_offsets(season: Season, reflectance: str, offsets: dict[int, int], applied: int | None) -> None:
    scene = season.scene(5)
    stored = {f"B{band}_10m": pixels(5)[f"B{band}_10m"] - np.uint16(1000) for band in ("02", "03")}
    replace(season, scene, **stored)  # many are below the offset
    (season.config.eodata / folder(season, scene) / "MTD_MSIL2A.xml").write_text(metadata(offsets))
    extract(season, s2=BANDS | {"reflectance": reflectance, "20": [], "scl": False})
    harmonised = reflectance == "harmonised"
    wanted: Rows = {}
    for number, band in enumerate(BANDS_10, 1):
        offset = offsets.get(number, 0) if harmonised else 0
        wanted |= expected(NEAR, {band: stored[f"{band}_10m"]}, 10, offset=offset)
    assert_rows(found(season, scene), wanted)
    assert season.rows("SELECT applied_offset FROM dias_catalogue") == [(applied if harmonised else 0,)]


def elsewhere(file: Path) -> None:
    write_image(file, np.ones((40, 40), np.uint16), 10, epsg=32633)


def unheard_of(file: Path) -> None:
    write_image(file, np.full((20, 20), 12, np.uint8), 20)


DAMAGES: list[tuple[str, Callable[[Path], None], str, set[str]]] = [
    ("B03_10m", Path.unlink, "!S3 B03.jp2", {"10"}),
    ("B03_10m", cut(0), "Rio error", {"10"}),
    ("B03_10m", cut(0.5), "Rio error", {"10"}),
    ("B02_10m", cut(0.9), "Rio error", {"10"}),
    ("B03_10m", elsewhere, "Rio error", {"10"}),
    ("B05_20m", cut(0.9), "Rio error", {"20"}),
    ("SCL_20m", Path.unlink, "!S3 SCL.jp2", {"10", "20", "scl"}),
    ("SCL_20m", cut(0.5), "Rio error", {"10", "20", "scl"}),
    ("SCL_20m", unheard_of, "Rio error", {"10", "20", "scl"}),
]


def test_a_damaged_file_fails_the_tasks_that_need_it(season: Season) -> None:
    scenes = {season.scene(day): damage for day, damage in enumerate(DAMAGES, 5)}
    for scene, (band, harm, _, _) in scenes.items():
        harm(image_file(season.config.eodata, folder(season, scene), band))
    whole = season.scene(28)
    extract(season, s2=BANDS)
    failed = season.rows("SELECT obsid, bandset, reason FROM tasks WHERE state = 'failed'")
    wanted = sentinel2(28, NEAR)
    for scene, (band, _, status, sets) in scenes.items():
        assert season.status(scene) == status
        reasons = {bandset: reason for obsid, bandset, reason in failed if obsid == scene}
        assert reasons.keys() == sets
        assert all(band[:3] in reason for reason in reasons.values())
        bands = (set() if "10" in sets else {*BANDS_10}) | (set() if "20" in sets else {*BANDS_20})
        assert keys(season, scene) == {key for key in wanted if key[1] in bands}
        assert set(hists(season, scene)) == (set() if "scl" in sets else {1, 7})
    assert season.status(whole) == "extracted"
    assert_rows(found(season, whole), wanted)
