"""HTTP as a catalogue service likes it: not too often, patient while it is busy, and JSON or nothing."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import LocationParseError, NewConnectionError

from cbmctl.errors import UserError, counted
from cbmctl.network_errors import in_words
from cbmctl.retry import backoff

BUSY = (408, 425, 429, 500, 502, 503, 504)
_WORDS = 200  # of what a service says, in a message
_REDIRECTS = 5  # one for https, one for another host; whoever needs more goes in a circle
# of an authority that is not known here, or of a server that speaks no TLS: asking again does not help
_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED|WRONG_VERSION_NUMBER|record layer failure"


class ServiceError(UserError):
    """A catalogue service does not give what it should."""


class UnansweredError(ServiceError):
    """A service gives no answer, or is busy, after all attempts.

    Attributes:
        sent: whether a request may have reached it. False only if no connection could be made.
        response: the last answer, with one of the codes BUSY; None if the last attempt got no answer.
    """

    def __init__(
        self, code: str, message: str, hint: str, *, sent: bool, response: requests.Response | None = None
    ) -> None:
        super().__init__(code, message, hint, about="--url")
        self.sent, self.response = sent, response


@dataclass(frozen=True)
class Manners:
    """How to behave.

    Attributes:
        per_second: requests at most.
        attempts: for each request, in all.
        pause_s: after the first failure; later ones are longer (`retry.backoff`).
        longest_s: the longest pause, also where the service asks for a longer one.
        timeout_s: for connecting, and for each piece of an answer.
        advice: the hint if the service does not answer.
    """

    per_second: float = 4.0
    attempts: int = 5
    pause_s: float = 2.0
    longest_s: float = 300.0
    timeout_s: tuple[float, float] = (10.0, 120.0)
    advice: str = "Check the network and the URL, try again later, or choose another --source"


MANNERS = Manners()


def polite_session(note: Callable[[str], None], manners: Manners | None = None) -> requests.Session:
    """Make a session that waits its turn and comes back when a service is busy.

    Args:
        note: told why and how long it waits.
        manners: other ones than MANNERS.
    """
    session = _Session()
    session.max_redirects = _REDIRECTS
    adapter = _Adapter(note, manners or MANNERS)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    session.headers["Accept"] = "application/json, application/geo+json"
    return session


def ask(session: requests.Session, url: str, parameters: Mapping[str, str | int]) -> dict[str, Any]:
    """Get a JSON object.

    Raises:
        ServiceError: the service refuses, is down, or answers something else; the sentence says what.
    """
    try:
        response = session.get(url, params=parameters)
    except requests.RequestException as error:  # the session tells of all that goes wrong on the way
        raise no_address(url, error) from error
    if response.status_code >= HTTPStatus.MULTIPLE_CHOICES:
        raise refused(url, response.status_code, response.text)
    return json_object(url, response)


def json_object(url: str, response: requests.Response) -> dict[str, Any]:
    """Return the JSON object in an answer. Raises ServiceError if it holds something else."""
    try:
        answer = response.json()
    except ValueError as error:
        raise ServiceError(
            "service.not_json", f"{url} answers with invalid JSON ({error})", "Try again later", about="--url"
        ) from error
    if not isinstance(answer, dict):
        raise ServiceError(
            "service.not_json",
            f"{url} answers without a JSON object",
            "Check the URL of the service",
            about="--url",
        )
    return answer


def refused(url: str, code: int | None, text: str) -> ServiceError:
    """Say that a service refuses a request, with its own words as far as they fit a line."""
    return ServiceError(
        "service.refused",
        f"{url} refuses the search (HTTP {code}: {excerpt(text)})",
        "Check the URL of the service",
        about="--url",
    )


def excerpt(text: str, length: int = _WORDS) -> str:
    """Return the first words of an answer in one line, without HTML tags."""
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())[:length] or "no reason given"


def no_address(url: str, error: Exception) -> ServiceError:
    """Say that nothing can be asked at a URL."""
    return ServiceError(
        "service.invalid_url",
        f"{url} is not a valid URL of a service ({error})",
        "Check the URL",
        about="--url",
    )


class _Session(requests.Session):
    """Follows a service that has moved, but not without an end."""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        try:
            return super().send(request, **options)
        except requests.TooManyRedirects as error:
            raise ServiceError(
                "service.redirected",
                f"{_place(request)} redirects in a circle",
                "Check the URL of the service",
                about="--url",
            ) from error


class _Adapter(HTTPAdapter):
    """Sends a request until it is answered, in due distance from the one before."""

    def __init__(self, note: Callable[[str], None], manners: Manners) -> None:
        super().__init__()
        self._note, self._manners = note, manners
        self._next = 0.0

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        place = _place(request)
        options["timeout"] = options.get("timeout") or self._manners.timeout_s
        sent, response = False, None
        for attempt in range(1, self._manners.attempts + 1):
            self._wait_for_turn()
            asked_for = 0.0
            try:
                response = super().send(request, *args, **options)
                _ = response.content  # here, so that an answer that breaks off is one more failure
            except (requests.RequestException, LocationParseError, OSError) as error:
                if refusal := _certificate_fault(place, str(error)):
                    # other faults of TLS may also come after a request was sent
                    untrusted = "CERTIFICATE_VERIFY_FAILED" in str(error)
                    raise UnansweredError(
                        "service.untrusted", *refusal, sent=sent or not untrusted
                    ) from error
                sent, response = sent or not _unconnected(error), None
                problem = _reason(error, options["timeout"])
            else:
                sent = True
                if response.status_code not in BUSY:
                    _require_the_same_question(place, request, response)
                    _require_json(place, response)
                    return response
                problem = f"HTTP {response.status_code}"
                asked_for = _retry_after(response)
            if asked_for > self._manners.longest_s:
                problem += f", and asks for {asked_for:.0f} s of patience"
                break
            if attempt == self._manners.attempts:
                break
            self._pause(place, problem, attempt, asked_for)
        raise UnansweredError(
            "service.no_answer",
            f"{place} does not answer ({problem}, {counted(attempt, 'attempt')})",
            self._manners.advice,
            sent=sent,
            response=response,
        )

    def _wait_for_turn(self) -> None:
        now = time.monotonic()
        if self._next > now:
            time.sleep(self._next - now)
        self._next = max(now, self._next) + 1 / self._manners.per_second

    def _pause(self, place: str, problem: str, attempt: int, asked_for: float) -> None:
        own = backoff(self._manners.pause_s, attempt)
        seconds = max(asked_for, min(own, self._manners.longest_s))
        self._note(f"{place}: {problem}; attempt {attempt + 1} in {seconds:.0f} s")
        time.sleep(seconds)


def _place(request: requests.PreparedRequest) -> str:
    """Return where a request goes, without its parameters."""
    return (request.url or "").partition("?")[0]


def _require_the_same_question(
    place: str, request: requests.PreparedRequest, response: requests.Response
) -> None:
    """See that a redirect keeps what is asked for: without it the answer were one to another question."""
    if not response.is_redirect:
        return
    told = response.headers["Location"]
    try:
        location = urljoin(place, told)
        there = urlsplit(location)
        usable = there.scheme in ("http", "https") and bool(there.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise ServiceError(
            "service.invalid_redirect",
            f"{place} has moved to {told!r}, which is not a valid URL",
            "Check the URL",
            about="--url",
        )
    if request.method == "GET":
        asked = parse_qsl(urlsplit(request.url or "").query)
        same = {*asked} <= {*parse_qsl(there.query)}
    else:  # after the others requests would come back with a GET, and without the body
        same = response.status_code in (HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT)
    if same:
        return
    named = location.partition("?")[0]
    if response.status_code in (HTTPStatus.FOUND, HTTPStatus.SEE_OTHER):  # for now, or to log in
        raise ServiceError(
            "service.redirected",
            f"{place} redirects to {named} instead of answering",
            "Check the URL",
            about="--url",
        )
    raise ServiceError("service.moved", f"{place} has moved to {named}", "Use that as the URL", about="--url")


def _require_json(place: str, response: requests.Response) -> None:
    """See that an answer is one; what goes with a redirect or a refusal is for people."""
    code = response.status_code
    good = code < HTTPStatus.MULTIPLE_CHOICES and code != HTTPStatus.NO_CONTENT
    if good and response.content.lstrip()[:1] not in (b"{", b"["):
        kind = "a web page" if b"<" in response.content[:100] else "something else"
        raise ServiceError(
            "service.not_json",
            f"{place} answers with {kind} instead of JSON",
            "Check the URL, or try again later if the service is being maintained",
            about="--url",
        )


def _certificate_fault(place: str, error: str) -> tuple[str, str] | None:
    """Return message and hint for a certificate that cannot be trusted; None for any other error."""
    if "certificate has expired" in error:
        return (
            f"the TLS certificate of {place} has expired",
            "Check the clock of this machine (timedatectl), or ask the operator of the service to renew it",
        )
    if re.search(_UNTRUSTED, error):
        return (
            f"the TLS certificate of {place} is not trusted here",
            "Check the URL, and that nothing on the way opens HTTPS",
        )
    return None


def _unconnected(error: BaseException) -> bool:
    """Return whether no connection was made, so that the request cannot have reached the service."""
    if isinstance(error, requests.ConnectTimeout | LocationParseError):
        return True
    cause = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(cause, NewConnectionError)  # of name resolution, too


def _retry_after(response: requests.Response) -> float:
    """Return the seconds that a service asks to wait: a number, or a date."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _reason(error: BaseException, timeout_s: tuple[float, float]) -> str:
    """Return what went wrong in a few words, without the tower of exceptions around it."""
    if isinstance(error, requests.ConnectTimeout | requests.ReadTimeout):
        return f"no answer in {timeout_s[isinstance(error, requests.ReadTimeout)]:g} s"
    if isinstance(error, LocationParseError):  # requests lets it through
        return "no host can have that name"
    text = str(error)
    if words := in_words(text):
        return words
    return "the proxy does not let it through" if re.search("[Pp]roxy", text) else type(error).__name__
