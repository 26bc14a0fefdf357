"""A site's own mount options stay."""

import pytest

from tests.support.plugins import load

mount_options = load("filter", "mount_options").mount_options
OURS = ["defaults", "nofail", "noatime"]


@pytest.mark.parametrize(
    ("found", "options"),
    [
        ("", "defaults,nofail,noatime"),
        ("defaults,nofail,noatime", "defaults,nofail,noatime"),
        ("defaults,noatime,nofail", "defaults,noatime,nofail"),
        ("rw,discard", "rw,discard,nofail,noatime"),
        (
            "defaults,relatime,x-systemd.device-timeout=30",
            "defaults,relatime,x-systemd.device-timeout=30,nofail",
        ),
    ],
)
def test_options_of_the_site_stay_and_ours_are_added(found: str, options: str) -> None:
    assert mount_options(found, OURS) == options
    assert mount_options(options, OURS) == options, "a second run changes nothing"
