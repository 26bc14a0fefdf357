"""The archive as a bucket of S3: the objects that a task needs, whole, in a folder that goes with the task.

Readers seek about in an image, and from afar every seek is a request: docs/decisions/archive-access.md.
"""

import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from threading import Event
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from cbmctl.archive.account_limits import CancelledError, Limits
from cbmctl.archive.disk_space import managed_cache, reserve, unkept, unwritable
from cbmctl.archive.interface import ArchiveError, Held
from cbmctl.archive.s3.client import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, Problem, explain, make_client
from cbmctl.archive.s3.listing import ListError, Object, Page, below, read_page, tag_of, version_of
from cbmctl.archive.scratch import SCENES, Scratch
from cbmctl.archive.time_limits import Hands, in_pace, in_time
from cbmctl.config.archive import S3
from cbmctl.errors import counted
from cbmctl.reasons import PRODUCT_MISSING, UNREADABLE
from cbmctl.retry import backoff
from cbmctl.scenes import SceneError

CHUNK = 2**20
ATTEMPTS = 6
# Connections that were kept may have been closed by the server meanwhile, which tells nothing of it.
CLOSED = 3
# After the first failure; later ones are longer. Keys are known after some 10 s.
PAUSE_S = 1.0
# A silent server takes all of an attempt's time, and workers each other's: then fewer attempts do.
TRIED_S = 120.0
# An attempt that took longer than this had an answer until then.
_SILENCE_S = CONNECT_TIMEOUT_S + READ_TIMEOUT_S
# Where an archive keeps what we read; what lies elsewhere may be closed to us, and says nothing.
_OURS = ("Sentinel-2", "Sentinel-1")
# From each of them: one object may be damaged, or a mission closed.
SAMPLES = 2
# Of a product that is replaced while it is fetched.
VERSIONS = 3
_FAULTS = (ClientError, BotoCoreError, ResponseParserError, HTTPError, ConnectionError, TimeoutError)
# A thread that waits for a dead server ends by itself; the folder goes at once.
_PATIENCE_S = 2.0


class _RequestError(Exception):
    """A request was not answered, or not well."""

    def __init__(self, problem: Problem, attempts: int, since: float) -> None:
        super().__init__(f"{problem.reason}, {counted(attempts, 'attempt')}")
        self.problem, self.since = problem, since


class _LengthError(Exception):
    """An object came with another length than the listing says."""


class _ReplacedError(Exception):
    """An object is not the one of the listing."""


class Bucket:
    """A bucket that holds the archive."""

    def __init__(self, settings: S3, folder: Path) -> None:
        """Take the settings, and a folder that workers of this machine share.

        Raises:
            UserError: the keys cannot be read.
            ArchiveError: the folder cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArchiveError(
                "archive.cache_unwritable",
                f"{folder} cannot be created ({error.strerror})",
                f"Correct cache in db_config.json. {managed_cache(error)}",
                about="cache",
                lasting=True,
            ) from error
        self._settings, self._folder = settings, folder
        self._client = make_client(settings)
        self._limits = Limits(folder, settings.connections, settings.requests_per_minute)
        self._scratch = Scratch(folder / SCENES)
        self._scratch.sweep()
        self._hands = Hands(settings.connections, "fetcher")

    def hold(self, path: str, files: str) -> Held:
        """Fetch files of a product, as many at a time as there are connections; see Archive."""
        objects, compared = self._product(path), True
        for _ in range(VERSIONS):
            try:
                return self._hold(path, files, objects, compared=compared)
            except _ReplacedError:
                # as a whole, for bands of two versions are no product
                known, objects = objects, self._product(path)
                # a server may have other tags in its lists than in its answers
                compared = objects != known
        raise SceneError(UNREADABLE, f"{PurePosixPath(path).name} was replaced while it was fetched")

    def _product(self, path: str) -> list[Object]:
        try:
            objects = self._list(f"{path}/")
        except _RequestError as error:
            raise self._blame(f"{PurePosixPath(path).name} cannot be listed", error) from error
        if not objects:
            raise SceneError(PRODUCT_MISSING, f"{path} is not in the archive")
        return objects

    def _hold(self, path: str, files: str, objects: Sequence[Object], *, compared: bool) -> Held:
        name = PurePosixPath(path).name
        wanted = [found for found in objects if re.fullmatch(files, found.key[len(path) + 1 :])]
        if not compared:
            wanted = [replace(found, tag=None) for found in wanted]
        root: Path | None = None
        try:
            root = self._scratch.new()
            # also the folders of what is not wanted: a missing band is not a missing folder
            for parent in {below(root, found.key).parent for found in objects}:
                parent.mkdir(parents=True, exist_ok=True)
            reserve(self._folder, {below(root, found.key): found.size for found in wanted}, name)
            self._fetch_all(wanted, root, name)
        except BaseException as error:
            if root:
                self._scratch.remove(root)
            if isinstance(error, OSError):
                # the root itself is nothing of the product's
                raise (
                    unkept(self._folder, error, name) if root else unwritable(self._folder, error)
                ) from error
            raise
        return Held(
            root,
            partial(self._scratch.remove, root),
            partial(version_of, {below(root, found.key): found for found in objects}),
            lambda folder: [below(root, found.key).relative_to(folder).as_posix() for found in objects],
            partial(self._fetch_again, {below(root, found.key): found for found in wanted}, root, name),
            copied=True,
        )

    def _fetch_again(
        self, wanted: Mapping[Path, Object], root: Path, product: str, path: Path, cancelled: Event
    ) -> None:
        """Fetch an object over its first copy; one that the product does not have stays missing."""
        if path not in wanted:
            return
        try:
            self._fetch(wanted[path], root, product, cancelled)
        except _ReplacedError as error:
            raise SceneError(UNREADABLE, f"{product} was replaced while it was fetched") from error

    def check(self, within: float | None = None) -> None:
        """Raise ArchiveError unless the bucket can be listed, and an object of it read; see Archive."""
        if within is None:
            self._look(self._ask)
            return
        try:
            in_time(self._look_once, within)
        except TimeoutError as error:
            raise ArchiveError(
                "archive.no_answer",
                f"the archive {self._settings} does not answer in {within:.0f} s",
                "Check the network and endpoint in db_config.json, or try again later",
                about="eodata.endpoint",
            ) from error

    def _look_once(self, cancelled: Event, begin: Callable[[], None]) -> None:
        # that other workers have all connections says nothing against the archive
        try:
            with self._limits.request(cancelled):
                begin()
                self._look(partial(self._ask, cancelled=cancelled, attempts=1, connected=True))
        except OSError as error:
            raise unwritable(self._folder, error) from error

    def _look(self, ask: Callable[..., Any]) -> None:
        try:
            pages = self._pages(ask)
        except _RequestError as error:
            raise self._away(f"the archive {self._settings} cannot be listed", error) from error
        if not any(pages):
            raise ArchiveError(
                "archive.empty",
                f"the archive {self._settings} is empty",
                "Correct bucket and endpoint of eodata in db_config.json",
                about="eodata.bucket",
                lasting=True,
            )
        readable = [[found for found in page if found.size] for page in pages]
        chosen = [random.sample(page, min(SAMPLES, len(page))) for page in readable]
        samples = [found for rank in zip_longest(*chosen) for found in rank if found]
        for sample in samples:
            try:
                ask(partial(self._read_byte, sample))
            except _RequestError as error:
                if error.problem.throttled or sample is samples[-1]:
                    what = f"the archive {self._settings} can be listed, but {sample.key} cannot be read"
                    raise self._away(what, error) from error
            else:
                return

    def _pages(self, ask: Callable[..., Any]) -> list[list[Object]]:
        """Return some objects of each mission that the account may list; else of the whole bucket."""
        pages: list[list[Object]] = []
        closed: _RequestError | None = None
        for prefix in _OURS:
            try:
                pages.append(self._some(ask, prefix))
            except _RequestError as error:
                if not error.problem.denied:
                    raise
                closed = error
        if any(pages):
            return pages
        if closed:
            raise closed
        return [self._some(ask, "")]

    def close(self) -> None:
        """Remove what was fetched."""
        self._hands.close()
        self._scratch.close()

    def _blame(self, what: str, error: _RequestError) -> ArchiveError | SceneError:
        """Return whose error it is: the scene's, or the archive's where others would fare no better.

        What is denied may be this object alone: `check` knows whether others are, too.
        """
        if error.problem.throttled:
            return self._away(what, error)
        return SceneError(UNREADABLE, f"{what}: {error}", since=error.since)

    def _away(self, what: str, error: _RequestError) -> ArchiveError:
        code = "archive.no_answer"
        if error.problem.denied:
            code, remedy = (
                "archive.not_permitted",
                f"The keys from {self._settings.keys_from} do not allow it; use others",
            )
        elif error.problem.throttled:
            code = "archive.throttled"
            remedy = (
                "Other machines use the account's connections, or its quota is spent; give each its share"
                " (connections, requests_per_minute), or try again later"
            )
        else:
            remedy = "Check the network and endpoint in db_config.json, or try again later"
        # one attempt is not enough to tell that a key is not just new
        lasting = error.problem.denied and not error.problem.again
        return ArchiveError(
            code,
            f"{what} ({error})",
            remedy,
            about="eodata.key_file" if error.problem.denied else "eodata.endpoint",
            lasting=lasting,
            since=error.since,
        )

    def _some(self, ask: Callable[..., Page], prefix: str) -> list[Object]:
        return ask(partial(self._page, prefix, None, 100)).objects

    def _list(self, prefix: str) -> list[Object]:
        objects: list[Object] = []
        token: str | None = None
        while True:
            page = self._ask(partial(self._page, prefix, token, 1000))
            objects += page.objects
            token = page.token
            if not token:
                return objects

    def _page(self, prefix: str, token: str | None, most: int) -> Page:
        more = {} if token is None else {"ContinuationToken": token}
        return read_page(
            self._client.list_objects_v2(Bucket=self._settings.bucket, Prefix=prefix, MaxKeys=most, **more)
        )

    def _fetch_all(self, wanted: Sequence[Object], root: Path, product: str) -> None:
        cancelled = Event()
        # the largest first, so that none of them is waited for alone at the end
        order = sorted(wanted, key=lambda found: -found.size)
        jobs: list[Future[None]] = []
        try:
            for found in order:
                jobs.append(self._hands.submit(partial(self._fetch, found, root, product, cancelled)))
            ended, _ = wait(jobs, return_when=FIRST_EXCEPTION)
            for job in ended:
                job.result()
        finally:
            cancelled.set()
            for job in jobs:
                job.cancel()
            wait(jobs, timeout=_PATIENCE_S)

    def _fetch(self, found: Object, root: Path, product: str, cancelled: Event) -> None:
        target = below(root, found.key)
        try:
            self._ask(partial(self._fetch_once, found, target, cancelled), cancelled)
        except _RequestError as error:
            raise self._blame(f"{target.name} of {product} cannot be fetched", error) from error

    def _fetch_once(self, found: Object, target: Path, cancelled: Event) -> None:
        answer = self._client.get_object(Bucket=self._settings.bucket, Key=found.key)
        received = 0
        # over what is reserved, from the start at each attempt: the file's own length says nothing
        with closing(answer["Body"]) as body, target.open("r+b") as file:
            if found.tag and tag_of(answer) not in {None, found.tag}:
                raise _ReplacedError
            for chunk in in_pace(body.iter_chunks(CHUNK)):  # raises when less comes than was announced
                if cancelled.is_set():
                    raise CancelledError
                received += len(chunk)
                if received > found.size:
                    break  # the next attempt would not write over it
                file.write(chunk)
        if received != found.size:
            raise _LengthError(f"{received} of {found.size} bytes came")

    def _read_byte(self, found: Object) -> None:
        answer = self._client.get_object(Bucket=self._settings.bucket, Key=found.key, Range="bytes=0-0")
        with closing(answer["Body"]) as body:
            body.read(1)

    def _ask[Answer](
        self,
        request: Callable[[], Answer],
        cancelled: Event | None = None,
        attempts: int = ATTEMPTS,
        *,
        connected: bool = False,
    ) -> Answer:
        """Make a request, within the limits, until it is answered; `connected`: the caller has a connection.

        Raises:
            _RequestError: it is not.
            ArchiveError: no request would be, or the disk takes no more.
        """
        cancelled = cancelled or Event()
        attempt, since = 0, None
        while True:
            attempt += 1
            asked = time.monotonic()
            try:
                with nullcontext() if connected else self._limits.request(cancelled):
                    asked = time.monotonic()
                    return request()
            except (*_FAULTS, ListError, _LengthError) as error:
                failed = time.monotonic()
                silent = max(asked, failed - _SILENCE_S)
                since = silent if since is None or silent > asked else since
                enough = max(attempts, CLOSED) if isinstance(error, ConnectionClosedError) else attempts
                last = attempt >= enough or failed - since > TRIED_S
                problem = explain(error, self._settings, last=last and attempts > 1)
                if last or not problem.again:
                    raise _RequestError(problem, attempt, since) from error
            except OSError as error:
                raise unwritable(self._folder, error) from error
            if cancelled.wait(backoff(PAUSE_S, attempt)):
                raise CancelledError
