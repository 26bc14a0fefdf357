"""What is read of a layer must be what its file holds."""

from cbmctl.errors import UserError, counted
from cbmctl.parcels.files import formats
from cbmctl.parcels.files.count_features import count
from cbmctl.parcels.files.layers import Layer


def expected_features(layer: Layer) -> int:
    """How many features must be read of a layer.

    Raises:
        UserError: the file is truncated or damaged.
    """
    number = count(layer.dataset, layer.name)
    if number is None:
        return layer.features
    if layer.dataset.format is formats.MAPINFO_TEXT and number != layer.features:
        raise UserError(
            "parcels.truncated",
            (
                f"{layer.shown} has {counted(layer.features, 'object')}, but its .mid"
                f" {counted(number, 'line')}"
            ),
            "One of them is truncated. Deliver both again",
            about=layer.shown,
        )
    return number


def expect_whole(layer: Layer, expected: int, read: int) -> None:
    """Raise UserError if not every feature could be read."""
    if read != expected:
        raise UserError(
            "parcels.truncated",
            f"{layer.shown} holds {counted(expected, 'feature')}, but only {read} can be read",
            "The file is truncated or damaged. Deliver it again",
            about=layer.shown,
        )
