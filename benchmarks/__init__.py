"""Measures the engine on full-size scenes made on the spot, and the layout of its tables: `./run bench`."""


class BenchmarkError(Exception):
    """A measurement cannot be made."""
