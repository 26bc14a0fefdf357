"""Archive of a season: statistics in Parquet, verified against the database, and restored.

- `restore`, `drop`: write rows back; delete rows that the files hold.
- `remote`, `objects`, `object_errors`: the same with an archive in S3; its objects; errors of the service.
- `make`: write the files, and verify them.
- `disk_space`, `whole_tables`: space for the files; tables that are archived as they are.
- `compare`: numbers of the files beside those of the database.
- `parquet`, `database_rows`: batches of rows from files and from tables.
- `sums`: number and checksum of each scene's rows.
- `layout`: the files of an archive, and its description.

docs/decisions/seasons.md says why.
"""
