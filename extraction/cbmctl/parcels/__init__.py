"""Declared parcels: from the Paying Agency's file to a table, its findings and its rasters."""
