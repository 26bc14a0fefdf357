"""Measures the engine on full-size scenes made on the spot, and the layout of its tables: `./run bench`."""
