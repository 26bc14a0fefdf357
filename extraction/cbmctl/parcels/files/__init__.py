"""A Paying Agency's delivery, read whole into Arrow: any GDAL format, in zips and layers, in any alphabet."""
