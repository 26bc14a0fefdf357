"""Products of the archive: what they hold, on which grid, and how it is read.

Imports point one way, from top to bottom:

- `needed_files`: which files of a product a task reads.
- `coherence`, `backscatter`, `polarisations`, `sentinel1`: products of Sentinel-1, and their images.
- `sentinel2`, `sentinel2_metadata`: products of Sentinel-2, and what they say of themselves.
- `reading`: pixels from files, in threads of their own.
- `manifest`, `folders`: the checksums that a product brings along; what a folder holds.
"""

from dataclasses import dataclass
from pathlib import Path

from cbmctl.pixels.grid import Grid
from cbmctl.reasons import Reason


class SceneError(Exception):
    """A product cannot be used; the next one can.

    Attributes:
        cause: of REASONS, with the manual's word for `dias_catalogue.status`.
        reason: one sentence that names the file and says what is wrong with it.
        since: when the archive began to fail it, as time.monotonic() has it; None where that is now.
        lasting: whether another attempt is of no use.
    """

    def __init__(
        self, cause: Reason, reason: str, *, since: float | None = None, lasting: bool = False
    ) -> None:
        super().__init__(f"{cause.status}: {reason}")
        self.cause = cause
        self.reason = reason
        self.since = since
        self.lasting = lasting

    @property
    def status(self) -> str:
        """The manual's word: `!S3 subdir`, `!S3 B02.jp2`, `Rio error`."""
        return self.cause.status


@dataclass(frozen=True)
class RawLayout:
    """Where the pixels of an uncompressed single-band file lie, so that they can be mapped into memory.

    Attributes:
        dtype: numpy dtype with its byte order, as in ">f4".
        start: bytes before the first pixel; the rest are rows from north to south without gaps.
    """

    dtype: str
    start: int = 0


@dataclass(frozen=True)
class Band:
    """One band of a scene, not read yet.

    Attributes:
        name: as in `sigs`: B02, VVb, VHc; or SCL.
        path: the image.
        number: of the band in the file, from 1.
        offset: to be added to the digital numbers; sums below 1 become 1, so that 0 stays nodata.
        raw: set where the file can be mapped into memory instead of being read by GDAL.
    """

    name: str
    path: Path
    number: int = 1
    offset: int = 0
    raw: RawLayout | None = None


@dataclass(frozen=True)
class Scene:
    """A product opened for one set of bands.

    0 and NaN mean "not observed" in every card.

    Attributes:
        name: the product's name, the catalogue's `reference`.
        grid: of all bands.
        bands: those of the bands asked for that the product has.
        applied_offset: what is added to the digital numbers of all bands; None where there is no such thing.
    """

    name: str
    grid: Grid
    bands: tuple[Band, ...]
    applied_offset: int | None = None
