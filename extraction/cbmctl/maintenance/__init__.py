"""Care of a filled database: delete rows of fully cloudy parcels, vacuum and rewrite tables.

Imports point one way, from top to bottom:

- `rewrite`: rewrite tables with pg_repack, to give back space or to cluster.
- `vacuum`, `purge`: VACUUM; delete the statistics of fully cloudy parcels.
- `season_archive`: a closed season in Parquet, and back.
- `closed_season`, `free_space`, `statement_progress`: closed seasons, free space, and how far a
  statement is.
"""
