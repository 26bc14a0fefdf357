"""Which parcels get rows, and which pixels these rest on: small products, from the queue to the tables."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely import Polygon, box
from shapely.geometry.base import BaseGeometry

from cbmctl.database import connect
from cbmctl.planning import plan
from cbmctl.stopping import Stop
from cbmctl.worker import work

from . import products_s1 as s1
from .conftest import BANDS_10, BANDS_20, OFFSET, PARCELS, Season, pixels
from .products import LEFT, TOP, image_file, metadata, write_image

pytestmark = pytest.mark.postgis

Image = NDArray[Any]
Rows = dict[tuple[int, str], list[float]]
FIGURES = ("count", "mean", "std", "min", "max", "p25", "p50", "p75")
NEAR = {pid: PARCELS[pid] for pid in (1, 7)}
BANDS: dict[str, Any] = {"10": list(BANDS_10), "20": list(BANDS_20)}


def extract(season: Season, **extraction: Any) -> list[str]:
    config = season.database.configured(extraction=extraction)
    lines: list[str] = []
    with connect(config, autocommit=True) as conn:
        plan(conn, config)
    work(config, stop=Stop(), note=lines.append)
    return lines


def insert(season: Season, shapes: Mapping[int, BaseGeometry]) -> None:
    with season.database.connect() as conn:
        for pid, shape in shapes.items():
            conn.execute(
                "INSERT INTO parcels_2021 VALUES (%s, ST_Multi(ST_GeomFromText(%s, 32632)))", [pid, shape.wkt]
            )


def folder(season: Season, obsid: int) -> str:
    return str(season.rows("SELECT path FROM dias_catalogue WHERE id = %s", obsid)[0][0])


def replace(season: Season, obsid: int, **images: Image) -> None:
    """Put other pixels into a scene's files, as in `B02_10m=…`."""
    for name, image in images.items():
        file = image_file(season.config.eodata, folder(season, obsid), name)
        write_image(file, image, float(name.split("_")[1][:-1]))


def found(season: Season, obsid: int) -> Rows:
    figures = ", ".join(f'"{figure}"::float8' for figure in FIGURES)
    rows = season.rows(f"SELECT pid, band, {figures} FROM sigs WHERE obsid = %s", obsid)
    return {(pid, band): list(values) for pid, band, *values in rows}


def keys(season: Season, obsid: int) -> set[tuple[int, str]]:
    return set(found(season, obsid))


def hists(season: Season, obsid: int) -> dict[int, dict[str, int]]:
    return dict(season.rows("SELECT pid, hist FROM hists WHERE obsid = %s", obsid))


def mask(shape: BaseGeometry, image: Image, transform: Affine) -> NDArray[np.bool_]:
    burnt = rasterize([(shape, 1)], out_shape=image.shape, transform=transform, all_touched=False)
    return np.asarray(burnt, bool)


def numpys(values: Image) -> list[float]:
    wide = values.astype(np.float64)
    figures = (wide.size, wide.mean(), wide.std(), wide.min(), wide.max(), *np.percentile(wide, (25, 50, 75)))
    return [float(np.float32(figure)) for figure in figures]


def expected(
    shapes: Mapping[int, BaseGeometry],
    bands: Mapping[str, Image],
    resolution: float,
    *,
    origin: tuple[float, float] = (LEFT, TOP),
    offset: int = 0,
    positive: bool = False,
) -> Rows:
    """Compute with numpy what a group of bands says of parcels, of their pixels in the image."""
    transform = Affine(resolution, 0, origin[0], 0, -resolution, origin[1])
    rows: Rows = {}
    for pid, shape in shapes.items():
        held = {
            band: image[mask(shape, image, transform)].astype(np.float64) for band, image in bands.items()
        }
        if all(
            values.size and (np.isfinite(values) & (values != 0) & ((values > 0) | (not positive))).all()
            for values in held.values()
        ):
            for band, values in held.items():
                rows[pid, band] = numpys(np.maximum(values + offset, 1) if offset else values)
    return rows


def assert_rows(rows: Rows, wanted: Rows) -> None:
    assert rows.keys() == wanted.keys()
    for key, figures in wanted.items():
        np.testing.assert_array_max_ulp(np.array(rows[key], "f4"), np.array(figures, "f4"), maxulp=1)
        for exact in (0, 3, 4):
            assert rows[key][exact] == figures[exact], key


def sentinel2(day: int, shapes: Mapping[int, BaseGeometry], *, offset: int = OFFSET) -> Rows:
    images = pixels(day)
    fine = expected(shapes, {band: images[f"{band}_10m"] for band in BANDS_10}, 10, offset=offset)
    return fine | expected(shapes, {band: images[f"{band}_20m"] for band in BANDS_20}, 20, offset=offset)


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


def cut(share: float) -> Callable[[Path], None]:
    return lambda file: os.truncate(file, int(share * file.stat().st_size))


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


# Sentinel-1

ORIGIN = s1.LEFT, s1.TOP
FIELDS = {
    1: box(s1.LEFT + 23.7, s1.TOP - 177.1, s1.LEFT + 161, s1.TOP - 42),
    2: box(s1.LEFT - 35, s1.TOP - 250, s1.LEFT + 44, s1.TOP - 180),  # across the left side
    3: Polygon([(s1.LEFT + 110, s1.TOP - 390), (s1.LEFT + 280, s1.TOP - 215), (s1.LEFT + 295, s1.TOP - 380)]),
    4: box(s1.LEFT + 180, s1.TOP - 120, s1.LEFT + 260, s1.TOP - 20),
    5: box(s1.LEFT + 60, s1.TOP - 300, s1.LEFT + 100, s1.TOP - 200),
    6: box(s1.LEFT + 12, s1.TOP - 8, s1.LEFT + 14, s1.TOP - 2),  # no pixel
}


def radar(season: Season, card: str, path: str, day: int = 5) -> int:
    """Enter a scene of a Sentinel-1 card, and put parcels there in place of those that were."""
    with season.database.connect() as conn:
        conn.execute("DELETE FROM parcels_2021")
        row = conn.execute(
            """INSERT INTO dias_catalogue (obstime, reference, sensor, card, path, footprint)
               VALUES (%s, %s, '1A', %s, %s, ST_Transform(ST_MakeEnvelope(%s, %s, %s, %s, 32632), 4326))
               RETURNING id""",
            [
                f"2021-03-{day:02d} 17:25:32",
                Path(path).name,
                card,
                path,
                s1.LEFT,
                s1.TOP - 400,
                s1.LEFT + 300,
                s1.TOP,
            ],
        ).fetchone()
    insert(season, FIELDS)
    assert row
    return int(row[0])


def backscatter() -> dict[str, NDArray[np.float32]]:
    """VV and VH; parcel 3 misses a pixel in VH, parcel 4 has a negative one and parcel 5 NaN in VV."""
    images = {"VV": s1.power(seed=1), "VH": s1.power(seed=2)}
    images["VH"][34, 24] = 0
    images["VV"][7, 22] = -0.001
    images["VV"][25, 8] = np.nan
    return images


@pytest.mark.parametrize("edge", [None, "drop"])
def test_backscatter(season: Season, edge: str | None) -> None:
    images = backscatter()
    scene = radar(season, "bs", s1.make_backscatter(season.config.eodata, images))
    extract(season, **({"bs": {"edge": edge}} if edge else {}))
    bands = {f"{name}b": image for name, image in images.items()}
    wanted = expected(FIELDS, bands, 10, origin=ORIGIN, positive=True)
    assert {pid for pid, _ in wanted} == {1, 2}
    if edge == "drop":
        wanted = {key: row for key, row in wanted.items() if key[0] != 2}
    assert_rows(found(season, scene), wanted)
    assert hists(season, scene) == {}
    assert season.status(scene) == "extracted"
    assert season.rows("SELECT applied_offset FROM dias_catalogue") == [(None,)]
    assert season.rows("SELECT bandset, parcels, rows, slivers FROM tasks") == [("bs", 5, len(wanted), [6])]


@pytest.mark.parametrize("changes", [{"header offset": "128"}, {"byte order": "0"}])
def test_backscatter_that_lies_otherwise_in_its_file(season: Season, changes: dict[str, str]) -> None:
    images = {"VV": s1.power(seed=1), "VH": s1.power(seed=2)}
    path = s1.make_backscatter(season.config.eodata, images, changes=changes)
    for name, image in images.items():
        order = "<f4" if "byte order" in changes else ">f4"
        (file,) = (season.config.eodata / path).glob(f"*.data/Gamma0_{name}.img")
        file.write_bytes(bytes(int(changes.get("header offset", "0"))) + image.astype(order).tobytes())
    scene = radar(season, "bs", path)
    extract(season)
    bands = {f"{name}b": image for name, image in images.items()}
    assert_rows(found(season, scene), expected(FIELDS, bands, 10, origin=ORIGIN, positive=True))
    assert len(keys(season, scene)) == 10


def test_backscatter_in_one_polarisation(season: Season) -> None:
    image = s1.power()
    name = s1.BS_NAME.replace("1SDV", "1SSV")
    scene = radar(season, "bs", s1.make_backscatter(season.config.eodata, {"VV": image}, name=name))
    extract(season)
    assert_rows(found(season, scene), expected(FIELDS, {"VVb": image}, 10, origin=ORIGIN, positive=True))
    assert {band for _, band in keys(season, scene)} == {"VVb"}
    assert season.status(scene) == "extracted"


def test_backscatter_that_is_damaged(season: Season) -> None:
    scenes = {}
    damages: list[tuple[Callable[[Path], None], str]] = [
        (cut(0.99), "Rio error"),
        (cut(0), "Rio error"),
        (Path.unlink, "!S3 VH.img"),
    ]
    for day, (harm, status) in enumerate(damages, 5):
        name = s1.BS_NAME.replace("20220305", f"202203{day:02d}")
        path = s1.make_backscatter(season.config.eodata, backscatter(), name=name)
        harm(next((season.config.eodata / path).glob("*.data/Gamma0_VH.img")))
        scenes[radar(season, "bs", path, day)] = status
    extract(season)
    assert {scene: season.status(scene) for scene in scenes} == scenes
    assert season.rows("SELECT count(*) FROM sigs") == [(0,)]


@pytest.mark.parametrize("card", ["c6", "c12"])
@pytest.mark.parametrize("order", [("VV", "VH"), ("VH", "VV")])
def test_coherence(season: Season, card: str, order: Sequence[str]) -> None:
    images = s1.coherences()
    images["VH"][4, 10] = 0  # in parcel 4
    images["VV"][12, 4] = np.nan  # in parcel 5
    name = s1.C6_NAME.replace("COH6", card.replace("c", "COH"))
    path = s1.make_coherence(
        season.config.eodata,
        [images[polarisation] for polarisation in order],
        [f"coh_{polarisation}_{s1.PAIR}" for polarisation in order],
        name=name,
    )
    scene = radar(season, card, path)
    extract(season)
    wanted = expected(FIELDS, {f"{name}c": images[name] for name in order}, 20, origin=ORIGIN)
    assert {pid for pid, _ in wanted} == {1, 2, 3}
    assert_rows(found(season, scene), wanted)
    assert season.rows("SELECT bandset, parcels, rows, slivers FROM tasks") == [(card, 5, 6, [6])]
    assert season.status(scene) == "extracted"


def test_all_cards_of_a_season_together(season: Season) -> None:
    """One worker, scenes of every card by turns, each with an index of its own."""
    images, waves = {"VV": s1.power(seed=1), "VH": s1.power(seed=2)}, s1.coherences()
    first = radar(season, "bs", s1.make_backscatter(season.config.eodata, images))
    path = s1.make_coherence(season.config.eodata, [waves["VH"], waves["VV"]])
    second = radar(season, "c6", path, day=6)
    optical = [season.scene(day) for day in (5, 6)]
    extract(season, s2=BANDS)
    seen = {f"{name}b": image for name, image in images.items()}
    assert_rows(found(season, first), expected(FIELDS, seen, 10, origin=ORIGIN, positive=True))
    seen = {f"{name}c": image for name, image in waves.items()}
    assert_rows(found(season, second), expected(FIELDS, seen, 20, origin=ORIGIN))
    for scene, day in zip(optical, (5, 6), strict=True):
        # across that image's side lies parcel 2 too, and there it is left to the neighbour
        whole = {pid: shape for pid, shape in FIELDS.items() if pid != 2}
        assert_rows(found(season, scene), sentinel2(day, whole))
        assert len(keys(season, scene)) == 4 * 3
    assert season.rows("SELECT DISTINCT status FROM dias_catalogue") == [("extracted",)]
