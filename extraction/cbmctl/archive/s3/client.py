"""botocore's client for the archive, and what its many errors mean to us."""

from dataclasses import dataclass
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError, SSLError
from botocore.session import Session
from urllib3 import HTTPResponse

from cbmctl.archive.interface import ArchiveError
from cbmctl.config.archive import S3
from cbmctl.network_errors import in_words

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 10, 30
# What a new key is answered with for some seconds.
_UNKNOWN_KEY = "InvalidAccessKeyId"
_KEYS = {_UNKNOWN_KEY, "SignatureDoesNotMatch", "ExpiredToken", "ExpiredTokenException", "InvalidToken"}
_PLACE = {"NoSuchBucket", "InvalidBucketName", "AuthorizationHeaderMalformed"}
# Somewhere else for good; a page that tells of maintenance comes as one of the others.
_MOVED, _MOVED_CODE, _ELSEWHERE = {301, 308}, "PermanentRedirect", {302, 303, 307}
# The account has had enough: of connections, of requests, or of bytes.
_ENOUGH, _SLOW_DOWN = {429, 509}, "SlowDown"
_BUSY = _ENOUGH | {408, 500, 502, 503, 504}


@dataclass(frozen=True)
class Problem:
    """What is wrong with a request.

    Attributes:
        reason: in a few words.
        again: whether it may go better next time.
        denied: whether we are not allowed to.
        throttled: whether the account has had enough for now.
    """

    reason: str
    again: bool
    denied: bool = False
    throttled: bool = False


def make_client(settings: S3) -> Any:
    """Return a client that asks once and closes its connection: the account counts those that are idle, too.

    An object's body gives what has come, without waiting for as much as it is asked for.

    Raises:
        UserError: the keys cannot be read.
        ArchiveError: botocore makes no client of the settings, its own among them.
    """
    access, secret = settings.keys()
    try:
        client = _created(settings, access, secret)
    except (BotoCoreError, ValueError) as error:
        raise ArchiveError(
            "archive.invalid_settings",
            f"no client can be made for the archive {settings} ({_words(str(error))})",
            "Correct eodata in db_config.json, or the variables AWS_* and the folder .aws of this user",
            about="eodata",
            lasting=True,
        ) from error
    client.meta.events.register("before-send.s3", _hang_up)  # not signed: proxies drop this header
    client.meta.events.register_last("before-parameter-build.s3", _stay)
    client.meta.events.register("after-call.s3.GetObject", _as_it_comes)
    return client


def _created(settings: S3, access: str, secret: str) -> Any:
    return Session().create_client(
        "s3",
        endpoint_url=settings.endpoint,
        region_name=settings.region,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        verify=str(settings.ca_file) if settings.ca_file else None,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if settings.path_style else "virtual"},
            # each attempt has to wait for its turn, and bodies break off after the client's own attempts
            retries={"total_max_attempts": 1},
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            max_pool_connections=settings.connections,
        ),
    )


def explain(error: Exception, settings: S3, *, last: bool) -> Problem:
    """Tell what an error of the client means.

    Args:
        error: of botocore, or of the connection below it.
        settings: for the sentences.
        last: whether it would not be asked again.

    Raises:
        ArchiveError: it would be the same for every request.
    """
    if isinstance(error, ClientError):
        return _answered(error, settings, last=last)
    if isinstance(error, ParamValidationError):
        raise ArchiveError(
            "archive.invalid_bucket",
            f"the archive {settings} has an invalid name ({_words(str(error))})",
            "Correct bucket of eodata in db_config.json",
            about="eodata.bucket",
            lasting=True,
        ) from error
    # botocore's own text is about the URL; what happened is below it
    text = str(getattr(error, "kwargs", {}).get("error", error))
    if isinstance(error, SSLError) and "certificate has expired" in text:
        raise ArchiveError(
            "archive.certificate_expired",
            f"the TLS certificate of {settings.endpoint} has expired",
            "Check the clock of this machine (timedatectl), or ask the operator of the service to renew it",
            about="eodata.endpoint",
            lasting=True,
        ) from error
    if isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in text:
        raise ArchiveError(
            "archive.certificate_untrusted",
            f"the TLS certificate of {settings.endpoint} is not trusted ({_words(text)})",
            "Name the certificate of its CA as ca_file in db_config.json, or correct endpoint",
            about="eodata.ca_file",
            lasting=True,
        ) from error
    return Problem(_words(text), again=True)


def _answered(error: ClientError, settings: S3, *, last: bool) -> Problem:
    told = error.response.get("Error", {})
    code, message = str(told.get("Code", "")), str(told.get("Message", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    # a page of something on the way has no code
    reason = _words(f"{code}: {message}" if code and message else code or f"HTTP {status}")
    if code in _KEYS and (last or code != _UNKNOWN_KEY):
        raise ArchiveError(
            "archive.keys_refused",
            f"{settings.endpoint} does not accept the keys from {settings.keys_from} ({reason})",
            "They are wrong or have expired; make new ones and put them there",
            about="eodata.key_file",
            lasting=True,
        ) from error
    if code == "RequestTimeTooSkewed":
        raise ArchiveError(
            "archive.wrong_clock",
            f"{settings.endpoint} says that the clock of this machine is wrong",
            "Set it (timedatectl)",
            lasting=True,
        ) from error
    if code in _PLACE:
        raise ArchiveError(
            "archive.not_found",
            f"the archive {settings} is not found ({reason})",
            "Correct bucket, region and endpoint of eodata in db_config.json",
            about="eodata.bucket",
            lasting=True,
        ) from error
    if status in _MOVED or code == _MOVED_CODE:
        raise ArchiveError(
            "archive.redirected",
            f"{settings.endpoint} redirects requests to {_goal(error)}",
            "Correct endpoint and region of eodata in db_config.json",
            about="eodata.endpoint",
            lasting=True,
        ) from error
    if status in _ELSEWHERE:
        return Problem(f"HTTP {status}, requests are redirected to {_goal(error)}", again=True)
    # what was listed a moment ago is there: one of several servers is late
    again = status in _BUSY or code in {_UNKNOWN_KEY, "NoSuchKey"}
    return Problem(
        reason if code != str(status) else f"HTTP {reason}",
        again,
        denied=status in {401, 403},
        throttled=status in _ENOUGH or code == _SLOW_DOWN,
    )


def _goal(error: ClientError) -> str:
    """Return where a server sends us instead, as far as it says so."""
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    endpoint = dict(error.response.get("Error", {})).get("Endpoint")
    # its query may be long, and is of the one request
    place = endpoint or headers.get("location", "").partition("?")[0]
    region = headers.get("x-amz-bucket-region")
    return _words(place or (region and f"region {region}") or "another place, which it does not name")


def _hang_up(request: Any, **_: Any) -> None:
    request.headers["Connection"] = "close"
    # urllib3 cannot read an answer 303 to headers that are bytes
    for name, value in list(request.headers.items()):
        if isinstance(value, bytes):
            request.headers[name] = value.decode("latin-1")


def _stay(context: dict[str, Any], **_: Any) -> None:
    """Say that a request was sent on already.

    botocore asks where the bucket is otherwise: beside our limits, and without end where that is redirected.
    """
    context["s3_redirect"].update(redirected=True)


def _as_it_comes(parsed: dict[str, Any], **_: Any) -> None:
    if body := parsed.get("Body"):
        # botocore checks lengths and sums in its own read, and has no other
        body._raw_stream = _Coming(body._raw_stream)


class _Coming:
    """A stream whose read waits for something, and not for all that it may return."""

    def __init__(self, stream: HTTPResponse) -> None:
        self._stream = stream

    def read(self, most: int | None = None) -> bytes:
        return self._stream.read() if most is None else self._stream.read1(most)

    def close(self) -> None:
        self._stream.close()


def _words(text: str) -> str:
    """Return an error's words without what a library wraps around them."""
    text = " ".join(text.split())
    return in_words(text) or text[:200] or "no reason given"
