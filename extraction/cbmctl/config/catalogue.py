"""The section `catalogue` of the configuration: where scenes are looked up when a command does not say it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cbmctl.config.section import Section

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
        if mend := unusable(url):
            raise urls.error(protocol, f"is '{url}'", mend)
    return Catalogue(None if source == "service" else source, urls.data)


def unusable(url: str) -> str | None:
    """Return what to do about a text that is not a valid URL of a service; None if it is one."""
    if not url.startswith(("https://", "http://")):
        return "Write it with https://"
    if not url.isprintable() or " " in url:
        return "Write it without spaces"
    try:
        host = urlsplit(url).hostname or ""
        usable = bool(host.encode("idna")) and not host.startswith("*")
    except ValueError:
        usable = False
    if not usable:
        return "Write the name of a host after https://"
    try:
        usable = urlsplit(url).port != 0
    except ValueError:
        usable = False
    return None if usable else "Write a port from 1 to 65535, or none"
