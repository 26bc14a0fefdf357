"""Declared parcels: from the Paying Agency's file to a table, its findings and its rasters.

Imports point one way, from top to bottom:

- `load`: a file becomes the parcel table: all of it, or nothing.
- `update`: a changed file is written into the table while its statistics stay.
- `compare_with_file`: a loaded table beside its file.
- `derived_tables`: rasters and quality flags follow an update.
- `replace_table`, `supersede`: a new table in place of the old; what that makes meaningless.
- `parcel_history`, `edits`: since when parcels are declared, and their successors; changed attributes.
- `quality`, `rasterise`: quality flags; the manual's raster tables.
- `gone_parcels`, `grids`: parcels that are gone; the grids of Sentinel-2, and the identity of a load.
- `changes`, `pairing`: what a changed file changes; which of its parcels are parcels of the table.
- `fill_table`: a file as tables of PostGIS, staged and numbered.
- `geometry_check`, `keys`, `load_record`: geometries made fit, the column of ids, and what was loaded.
- `places`, `overlapping_parcels`, `projection`: where parcels lie, what covers them, their shape on an image.
- `spatial_ref`: coordinate systems that PostGIS does not know.
- `files`: the delivery of an agency, read whole.
"""
