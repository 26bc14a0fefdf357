"""Scenes whose products have a manifest, and what was recorded of their files."""

from pathlib import Path

from tests.support.manifests import write_manifest
from tests.support.products_s2 import image_file
from tests.support.season import BANDS_10, BANDS_20, Season

IMAGES = {*(f"{band}_10m" for band in BANDS_10), *(f"{band}_20m" for band in (*BANDS_20, "SCL"))}


def folder_of(season: Season, obsid: int) -> Path:
    ((path,),) = season.rows("SELECT path FROM dias_catalogue WHERE id = %s", obsid)
    root = season.config.eodata
    assert isinstance(root, Path)
    return root / path


def scene_with_manifest(season: Season, day: int, algorithm: str = "SHA3-256") -> tuple[int, Path]:
    scene = season.scene(day)
    folder = folder_of(season, scene)
    write_manifest(folder, algorithm)
    return scene, folder


def image(folder: Path, band: str) -> Path:
    return image_file(folder.parent, folder.name, band)


def outcomes(season: Season, obsid: int) -> dict[str, tuple[str, str | None]]:
    """Outcome and detail by band; of other files by name."""
    rows = season.rows("SELECT file, outcome, detail FROM file_checks WHERE obsid = %s", obsid)
    names = {file: file.rpartition("/")[2].removesuffix(".jp2") for file, _, _ in rows}
    return {
        "_".join(names[file].split("_")[-2:]) if file.endswith(".jp2") else names[file]: (outcome, detail)
        for file, outcome, detail in rows
    }
