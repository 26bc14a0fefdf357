"""Where scenes are looked up: the sources by their names, and which one a card has by default."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Protocol

from cbmctl.catalogue.archive_walk import walk
from cbmctl.catalogue.http import polite_session
from cbmctl.catalogue.odata import OData
from cbmctl.catalogue.opensearch import OpenSearch
from cbmctl.catalogue.record import CARDS
from cbmctl.catalogue.search import Batch, Search, months, search
from cbmctl.catalogue.service_interface import Service
from cbmctl.catalogue.stac import Stac
from cbmctl.config import Config
from cbmctl.config.archive import S3
from cbmctl.config.catalogue import unusable
from cbmctl.errors import UserError

SERVICES: dict[str, type[Stac | OData | OpenSearch]] = {
    "stac": Stac,
    "odata": OData,
    "opensearch": OpenSearch,
}


class Source(Protocol):
    """Something that finds products.

    Attributes:
        name: as in `--source`.
        place: where it looks, for people and for the record of searches.
        dated: whether it knows when products were published.
    """

    name: str
    place: str
    dated: bool

    def find(self, wanted: Search, progress: Callable[[int], None]) -> Iterator[Batch]:
        """Find everything that is wanted, step by step, and tell the days that are done."""
        ...


def source(
    name: str | None, card: str, url: str | None, config: Config, note: Callable[[str], None]
) -> Source:
    """Return a source.

    Args:
        name: one of SOURCES; None means that of the configuration, else STAC for Sentinel-2, and OData for
            the cards of Sentinel-1, of which STAC has no collection.
        card: one of CARDS.
        url: of the service; None means that of the configuration where no name is given either, else that of
            the Copernicus Data Space.
        config: says where the archive is, and where scenes are looked up.
        note: told when a service makes us wait, and of what is doubtful.

    Raises:
        UserError: there can be no such source.
    """
    given = name
    if name is None:
        name = config.catalogue.source or ("stac" if card == "s2" else "odata")
        url = config.catalogue.urls.get(name) if url is None else url
    if name == "archive":
        if url is not None:
            why = "" if given else " of db_config.json"
            raise UserError(
                "catalogue.url_without_service",
                f"--url {url} cannot be used with --source archive{why}, which reads {config.eodata}",
                "Leave out --url, or use another --source",
                about="--url",
            )
        if isinstance(config.eodata, S3):
            raise UserError(
                "catalogue.no_mounted_archive",
                "--source archive needs a mounted archive, but eodata in db_config.json is an S3 bucket",
                "Use --source stac or odata",
                about="--source",
            )
        return _Archive(config.eodata, CARDS[card].folder)
    if url is not None and (mend := unusable(url)):
        raise UserError("service.invalid_url", f"--url {url or "''"} is not a valid URL", mend, about="--url")
    return _Remote(SERVICES[name](polite_session(note), url), note)


class _Remote:
    dated = True

    def __init__(self, service: Service, note: Callable[[str], None]) -> None:
        self._service, self._note = service, note
        self.name, self.place = service.name, service.url

    def find(self, wanted: Search, progress: Callable[[int], None]) -> Iterator[Batch]:
        return search(self._service, wanted, progress, self._note)


class _Archive:
    name, dated = "archive", False

    def __init__(self, root: Path, folder: str) -> None:
        self._root, self.place = root, f"{root}/{folder}"

    def find(self, wanted: Search, progress: Callable[[int], None]) -> Iterator[Batch]:
        """Walk the archive a month at a time; it does not know when products were published."""
        days: set[date] = set()

        def tell(day: date) -> None:
            if day not in days:
                days.add(day)
                progress(1)

        for start, end in months(wanted.start, wanted.end):
            span = start.date(), end.date()
            findings = walk(self._root, wanted.area, *span, wanted.card, known=wanted.known, progress=tell)
            yield Batch(findings, None)  # what was cut short begins anew, and opens only what is not entered
