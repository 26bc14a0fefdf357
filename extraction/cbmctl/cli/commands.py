"""Import every command module, so that `cbmctl` knows its commands."""

from cbmctl.cli import aoi, catalogue, demo, extract, parcels, report, schema, status  # noqa: F401
