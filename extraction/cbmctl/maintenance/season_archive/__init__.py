"""Archive of a season: statistics in Parquet, verified against the database, and restored.

docs/decisions/seasons.md says why.

Imports point one way, from top to bottom:

- `in_s3`: archives in S3, made and read in a local folder.
- `make`, `drop`, `restore`: write an archive, delete the rows that it holds, bring them back.
- `objects`, `object_errors`: the objects of an archive in S3; what an error of a request means.
- `comparison`, `whole_tables`: files beside the database; tables that are archived as they are.
- `parquet`, `database_rows`: rows of files and of tables, in batches.
- `layout`, `row_sums`, `space_needed`: the files of an archive, checksums of rows, and the space for both.
"""
