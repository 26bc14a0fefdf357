"""Import every command module, so that `cbmctl` knows its commands."""

from cbmctl.cli import schema  # noqa: F401
