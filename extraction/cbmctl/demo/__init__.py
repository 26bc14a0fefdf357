"""The data of `./run demo`, made on the spot: an invented season over invented fields, in the true form.

The place and the form are real (a piece of the grid of tile T33TWM, Sentinel-2 L2A in SAFE layout); the
content is not. Every product says so in its name: the last part, the time at which a product was made, is the
first second of 1970. No ground segment ever made a product then, and the name is what the catalogue keeps as
`reference`, so whoever reads the database later can tell (`is_synthetic`).

Imports point one way, from top to bottom:

- `make`: the files of parcels and products, in a folder.
- `season`: what Sentinel-2 would see on each pass.
- `landscape`, `crops`, `noise`: the fields, what grows there, and the irregularity of soils and clouds.
- `safe_writer`, `safe_metadata`: a product in SAFE layout, and its XML files.
"""

SYNTHETIC_DISCRIMINATOR = "19700101T000000"
DEFAULT_SEED = 7


def is_synthetic(reference: str) -> bool:
    """Whether a product's name (with or without `.SAFE`) is that of a made-up product of this package."""
    return reference.removesuffix(".SAFE").endswith(f"_{SYNTHETIC_DISCRIMINATOR}")
