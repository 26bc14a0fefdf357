"""A Paying Agency's delivery, read whole into Arrow: any GDAL format, in zips and layers, in any alphabet.

Imports point one way, from top to bottom:

- `read_delivery`: the parcels of a delivery.
- `join_layers`, `parcel_table`: layers of one schema as one table; the table in memory.
- `raw`: what the file itself says, where GDAL would lose a digit.
- `read_completely`, `layers`: what is read is what the file holds; the layers of a delivery.
- `count_features`, `count_records`: features counted without GDAL.
- `flatgeobuf`, `geodatabase`, `geoparquet`, `gml`, `mapinfo`: what one format alone needs.
- `delivery`, `zip_files`, `deflate64`: the files, folders and archives that a person names.
- `sql_condition`: a condition on attributes, the same on every format.
- `shapefile_encoding`, `guess_encoding`, `dbf_header`: the character set of attributes, and a table's header.
- `values`, `columns`, `findings`: values and columns as PostgreSQL takes them; what is wrong with features.
- `curves`, `crs`: curves become lines; the EPSG code of a file.
- `duplicate_columns`, `exact_numbers`, `sqlite_names`, `formats`, `gdal`: columns of one name, exact
  numbers, names in SQLite, the files of each format, and GDAL's errors.
"""
