"""GML and the schema beside it, which GDAL trusts: what an old .xsd does not list would be lost."""

from dataclasses import replace

from cbmctl.parcels.files import gdal
from cbmctl.parcels.files.delivery import Dataset


def without_stale_schema(dataset: Dataset) -> Dataset:
    """The file as it is to be opened: without its .xsd if that lacks attributes or layers of the file.

    A complete .xsd is used, because it knows which attributes are texts, whatever their values look like.
    """
    if ".xsd" not in dataset.parts:
        return dataset
    # the same file alone: GDAL then scans it for all attributes
    alone = dataset.file.parent / "without_schema" / dataset.file.name
    alone.parent.mkdir(exist_ok=True)
    if not alone.exists():
        alone.symlink_to(dataset.file.resolve())
    scanned = replace(dataset, file=alone, parts={".gml": alone})
    described, found = attributes(dataset), attributes(scanned)
    if not (missing := sorted(found - described)):
        return dataset
    note = f"{dataset.shown}: its .xsd lacks {', '.join(missing)}. It is read without the .xsd."
    return replace(scanned, notes=(*dataset.notes, note))


def attributes(dataset: Dataset) -> set[str]:
    """`layer/attribute` of everything that GDAL finds in a file; of a layer without attributes, its name."""
    found: set[str] = set()
    for name, _ in gdal.list_layers(dataset.file):
        fields = gdal.read_info(dataset.file, layer=name, **dataset.format.options)["fields"]
        found.update(f"{name}/{field}" for field in fields)
        found.add(str(name))
    return found
