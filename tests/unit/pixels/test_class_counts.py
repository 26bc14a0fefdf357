"""Pixels of each class of SCL are counted per parcel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from shapely import Polygon

from cbmctl.pixels.statistics import class_counts
from tests.support.effort import examples
from tests.support.pixel_values import HEIGHT, WIDTH, built, field, parcel_lists


@examples(25)
@given(arrays.arrays(np.uint8, (HEIGHT, WIDTH), elements=st.integers(0, 11)), parcel_lists)
def test_class_counts_are_numpys(scl: NDArray[np.uint8], parcels: list[Polygon]) -> None:
    index = built(parcels)
    found = class_counts(index, scl)
    assert found.shape == (len(index), 12)
    for counts, pid in zip(found, index.pids, strict=True):
        assert counts.tolist() == np.bincount(scl.reshape(-1)[index.of(pid)], minlength=12).tolist()


@pytest.mark.parametrize("value", [12, 13, 100, 255])
def test_values_that_are_no_class(value: int) -> None:
    scl = np.full((HEIGHT, WIDTH), 11, np.uint8)
    scl[3, 3] = value
    with pytest.raises(ValueError, match=f"its value {value} is not a class of SCL, which are 0 to 11"):
        class_counts(built([field(0, 0, 2, 2), field(2, 2, 4, 4)]), scl)
    assert class_counts(built([field(0, 0, 2, 2)]), scl)[0, 11] == 4
