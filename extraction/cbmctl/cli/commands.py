"""Import every command module, so that `cbmctl` knows its commands."""

from cbmctl.cli import catalogue, demo, extract, schema, status  # noqa: F401
