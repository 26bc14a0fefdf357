"""GDAL's calls: whatever GDAL raises is a `GdalError`, so that no error of our own is blamed on the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyogrio
import pyogrio.raw
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError

_RAISED = (
    DataLayerError,
    DataSourceError,
    FeatureError,
    FieldError,
    GeometryError,
    pa.ArrowException,
    ValueError,
    OSError,
)


class GdalError(Exception):
    """GDAL cannot do what it was asked for; the message is its own."""


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except _RAISED as error:
        raise GdalError(str(error)) from error


def list_layers(file: Path) -> Any:
    """`pyogrio.list_layers`: names and types of geometries."""
    with _errors():
        return pyogrio.list_layers(file)


def read_info(file: Path, **options: Any) -> Any:
    """`pyogrio.read_info`: what a layer says of itself."""
    with _errors():
        return pyogrio.read_info(file, **options)


def read_arrow(file: Path | str, **options: Any) -> Any:
    """`pyogrio.read_arrow`: metadata and table of a layer."""
    with _errors():
        return pyogrio.read_arrow(file, **options)


def batches(file: Path, **options: Any) -> Iterator[tuple[dict[str, Any], pa.RecordBatch]]:
    """`pyogrio.raw.open_arrow`: metadata and record batches of a layer, one after the other."""
    # an error of the caller's is not raised in here
    with _errors(), pyogrio.raw.open_arrow(file, use_pyarrow=True, **options) as (meta, stream):
        for batch in stream:
            yield meta, batch


def write_arrow(table: pa.Table, file: str, **options: Any) -> None:
    """`pyogrio.write_arrow`: a layer of a table."""
    with _errors():
        pyogrio.write_arrow(table, file, **options)


def read_linear(file: str, **options: Any) -> Any:
    """`pyogrio.raw.read`: metadata, feature numbers, geometries without curves, and columns."""
    with _errors():
        return pyogrio.raw.read(file, **options)
