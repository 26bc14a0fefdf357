"""Which parcels get rows of Sentinel-1, and which pixels these rest on."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.support import products_s1 as s1
from tests.support.radar_scenes import FIELDS, ORIGIN, backscatter, radar
from tests.support.rows import BANDS, assert_rows, cut, expected, extract, found, hists, keys, sentinel2
from tests.support.season import Season

pytestmark = pytest.mark.postgis


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
