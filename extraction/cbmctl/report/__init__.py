"""One page and one picture of what the database holds, for the person who asked for it.

Imports point one way, from top to bottom:

- `make`: both, in a folder.
- `picture`, `map_panel`, `season_panels`: the picture and its parts.
- `text`: the page.
- `picture_data`, `observations`, `queries`: what the picture is drawn from; values of parcels; the numbers.
"""
