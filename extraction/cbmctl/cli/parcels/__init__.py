"""`cbmctl parcels`: declared parcels from the agency's file to tables and rasters.

- `load`: `inspect`, `load` and `rasterise`.
- `check`: compare a loaded table with its file.
- `quality`: the quality flags of each parcel.
- `group`: the group, in which the commands register themselves, and the options that they share.
"""

from cbmctl.cli.parcels import check, load, quality

__all__ = ["check", "load", "quality"]
