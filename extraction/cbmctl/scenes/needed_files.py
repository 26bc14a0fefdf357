"""Which files of a product a task reads."""

from collections.abc import Sequence

from cbmctl.config.bandsets import BANDSETS
from cbmctl.scenes import backscatter, coherence, sentinel2

# The scene classification, which also other tasks of Sentinel-2 read.
CLASSES = ("SCL",), BANDSETS["scl"].resolution


def files_of(bandset: str, bands: Sequence[str], *, classes: bool) -> str:
    """Return the files that a task reads, as a regular expression of paths below the product's folder.

    Args:
        bandset: a key of BANDSETS.
        bands: of that set.
        classes: whether the scene classification is read, too.
    """
    card = BANDSETS[bandset].card
    if card == "bs":
        return backscatter.FILES
    if card in {"c6", "c12"}:
        return coherence.FILES
    files = sentinel2.files(bands, BANDSETS[bandset].resolution)
    return f"{files}|{sentinel2.files(*CLASSES)}" if classes else files
