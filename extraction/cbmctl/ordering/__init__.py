"""On-demand production: Sentinel-1 products that the Copernicus Data Space makes on request, for money."""
