"""Care of a filled database: delete rows of fully cloudy parcels, vacuum and rewrite tables."""
