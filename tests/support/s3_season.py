"""A season whose archive is a bucket of S3."""

from pathlib import Path

from tests.support.s3_server import Fault, Proxy
from tests.support.season import Season


def extract(
    season: Season,
    fault: Fault | None = None,
    known: Proxy | None = None,
    lines: list[str] | None = None,
) -> list[str]:
    if known and fault:
        known.fault = fault
    return season.extract(season.database.configured(), lines)


def scratch(season: Season) -> list[Path]:
    folder = season.config.cache / "eodata" / "scenes"
    return list(folder.iterdir()) if folder.exists() else []


def pending(season: Season) -> None:
    """Nothing is extracted, and nothing blamed for it."""
    assert season.rows("SELECT DISTINCT state, attempts, reason FROM tasks") == [("ready", 0, None)]
    assert season.rows("SELECT count(*) FROM sigs") == [(0,)]
    assert set(season.rows("SELECT status FROM dias_catalogue")) <= {("ingested",), ("inprogress",)}
    assert not scratch(season)


def add_files(season: Season, number: int) -> None:
    """Add empty files to the only product; the service lists 1,000 objects at a time."""
    ((path,),) = season.rows("SELECT path FROM dias_catalogue")
    folder = season.config.eodata / path / "AUX_DATA"  # listed before GRANULE
    folder.mkdir()
    for each in range(number):
        (folder / f"{each}.txt").touch()
