"""What tests of reading scenes share."""

import pytest


@pytest.fixture
def block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of these small images are read one at a time, as the large ones of real images are."""
    monkeypatch.setattr("cbmctl.scenes.reading.UNIT_PIXELS", 1)
