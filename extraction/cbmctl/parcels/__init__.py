"""Declared parcels: from the Paying Agency's file to a table, its findings and its rasters.

`source` reads files, `check` cleans geometries and says what it found, `load` fills the table, `rasterise`
burns it into PostGIS rasters.
"""
