"""Parcel statistics from Sentinel-1/2: from declared parcels and a product archive to tables in PostGIS."""
