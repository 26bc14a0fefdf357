"""Parcel statistics from Sentinel-1/2: from a declared-parcels file and a product archive to tables in PostGIS."""
