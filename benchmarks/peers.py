"""The peers on the same parcels and image: what a granule would cost with them."""

import json
import subprocess
import venv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyproj
import shapely

from benchmarks import BenchmarkError, parcels
from benchmarks.measure import spend
from benchmarks.peer import SAMPLES

HERE = Path(__file__).parent
GRANULE_BANDS = 4  # at 10 m
GRANULE_PARCELS = 100_000


def granule_seconds(name: str, image: Path, cache: Path, note: Callable[[str], None]) -> tuple[float, float]:
    """Processor and wall seconds for 100,000 parcels and the four bands at 10 m, scaled from a sample.

    Args:
        name: of benchmarks.peer.
        image: a band at 10 m.
        cache: where the peers are installed.
        note: told when that takes a while.

    Raises:
        BenchmarkError: it cannot be installed, or fails.
    """
    python = installed(cache / "peers", note)
    features = cache / "features.json"
    if not features.exists():
        _write_features(features)
    found = json.loads(spend([str(python), str(HERE / "peer.py"), name, str(image), str(features)]).output)
    factor = GRANULE_PARCELS / found["parcels"] * GRANULE_BANDS / found["bands"]
    return found["cpu"] * factor, found["wall"] * factor


def installed(place: Path, note: Callable[[str], None]) -> Path:
    """Install them on first use; return their interpreter. BenchmarkError when that fails."""
    python, done = place / "bin" / "python", place / "peers.txt"
    wanted = (HERE / "peers.txt").read_text()
    if done.exists() and done.read_text() == wanted:
        return python
    note("installing the peers")
    venv.create(place, clear=True, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--only-binary", ":all:", "-r", str(HERE / "peers.txt")]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or ["pip says nothing"]
        raise BenchmarkError(f"the peers cannot be installed: {said[-1]}") from error
    done.write_text(wanted)
    return python


def _write_features(path: Path) -> None:
    """The first parcels that lie well within the image, in its CRS, as GeoJSON."""
    most = max(number for number, _ in SAMPLES.values())
    shapes = parcels.make(2 * most)
    within = shapely.contains_properly(shapely.box(*parcels.TILE), shapes)
    to_utm = pyproj.Transformer.from_crs(parcels.EPSG, 32632, always_xy=True)
    xy = shapely.get_coordinates(shapes := shapes[within][:most])
    shapes = shapely.set_coordinates(shapes, np.column_stack(to_utm.transform(*xy.T)))
    features = [
        {"type": "Feature", "properties": {}, "geometry": json.loads(shape)}
        for shape in shapely.to_geojson(shapes).tolist()
    ]
    part = path.with_suffix(".part")
    part.write_text(json.dumps(features))
    part.replace(path)
