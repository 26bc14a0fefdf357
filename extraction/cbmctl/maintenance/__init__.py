"""Care of a filled database: rows of fully cloudy parcels go, and tables are rewritten."""
