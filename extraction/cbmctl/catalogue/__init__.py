"""Which products there are, and which of them the area of interest needs.

Imports point one way, from top to bottom:

- `sync`: a search from beginning to end.
- `sources`: where scenes are looked up, by name.
- `search`, `archive_walk`: month by month at a service; in the mounted archive.
- `stac`, `odata`, `opensearch`: the interfaces of services.
- `slicing`: all products of a period, however few an answer holds.
- `service_interface`, `http`: what each service must be able to do; requests at a distance, and again.
- `sync_outcome`: what was found and done.
- `rejected_products`, `found_products`: products that could not be entered; all that a source has found.
- `search_history`, `search_area`: what was asked before; an area as services take it.
- `service_products`, `archive_products`: a product as a service or the archive describes it becomes a record.
- `known_products`: products that need not be opened again.
- `summary`, `completeness`: the catalogue counted for people; what became of each product that was published.
- `table`: records enter `dias_catalogue`, and keep their status.
- `replace_versions`, `product_versions`: which version of a scene is extracted, and when a newer one is.
- `record`, `orbits`: the one form of a product; the orbit of a scene.
"""
