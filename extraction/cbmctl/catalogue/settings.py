"""The section `catalogue` of the configuration: where scenes are looked up when a command does not say it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cbmctl.section import Section

PROTOCOLS = ("stac", "odata", "opensearch")
SOURCES = (*PROTOCOLS, "archive")


@dataclass(frozen=True)
class Catalogue:
    """Where scenes are looked up.

    Attributes:
        source: one of SOURCES; None means the service that has the card.
        urls: by protocol, services that are not those of the Copernicus Data Space.
    """

    source: str | None = None
    urls: Mapping[str, str] = field(default_factory=dict)


def read_catalogue(section: Section) -> Catalogue:
    """Read the section `catalogue`; all of it may be left out.

    Raises:
        UserError: a value is wrong.
    """
    section.only("source", "urls")
    source = section.choice("source", ("service", *SOURCES), "service")
    urls = section.section("urls", {})
    urls.only(*PROTOCOLS)
    for protocol in urls.data:
        url = urls.text(protocol)
        if not url.startswith(("https://", "http://")):
            raise urls.error(protocol, f"is '{url}': write it with https://")
    return Catalogue(None if source == "service" else source, urls.data)
