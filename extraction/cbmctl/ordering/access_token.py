"""Access tokens of a Keycloak realm: one login, renewed with its refresh token, ended by a logout."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

import requests

from cbmctl.catalogue import http
from cbmctl.catalogue.http import ServiceError, excerpt, polite_session
from cbmctl.config.ordering import Ordering
from cbmctl.errors import UserError
from cbmctl.ordering import totp
from cbmctl.ordering.account_lock import locked
from cbmctl.ordering.credentials import Credentials

_MARGIN_S = 40.0  # a token is renewed so long before it expires, or after three quarters of a short life
_WORDS = 300  # of the service's answer, in a message
ADVICE = "Check the network and the URL, then run the command again"


@dataclass(frozen=True)
class _Grant:
    """The tokens of a session, and until when (time.monotonic) each is used."""

    access: str
    refresh: str | None
    access_until: float
    refresh_until: float


def sessions(note: Callable[[str], None]) -> tuple[requests.Session, requests.Session]:
    """Return a session that repeats requests without an answer, and one that sends each request once."""
    patient = replace(http.MANNERS, advice=ADVICE)
    return polite_session(note, patient), polite_session(note, replace(patient, attempts=1))


class Tokens:
    """The session of one command with the realm. Use it as a context manager, which logs out at the end."""

    def __init__(
        self,
        ordering: Ordering,
        credentials: Credentials,
        note: Callable[[str], None],
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Log in when the first token is needed, not before.

        Args:
            ordering: where the realm is.
            credentials: the account.
            note: called with a line if the login has to wait.
            now: Unix time, for one-time passwords.
            sleep: waits so many seconds.
        """
        self._ordering, self._credentials, self._note = ordering, credentials, note
        self._now, self._sleep = now, sleep
        # a login is sent once: its one-time password is used even if the answer is lost, and repeated
        # failures lock the account. Only a refresh is repeated.
        self._patient, self._once = sessions(note)
        self._grant: _Grant | None = None

    def __enter__(self) -> "Tokens":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def account(self) -> str:
        """Name of the account."""
        return self._credentials.user

    def access(self) -> str:
        """Return an access token that is still valid for some seconds.

        Raises:
            UserError: the realm refuses the login, or does not answer.
        """
        if self._grant is None or time.monotonic() >= self._grant.access_until:
            self.renew()
        if self._grant is None:
            raise AssertionError("renew sets it")
        return self._grant.access

    def renew(self) -> None:
        """Get a new token: with the refresh token, or by a login if the session has ended."""
        old, self._grant = self._grant, None
        if old and old.refresh and time.monotonic() < old.refresh_until:
            self._grant = self._refreshed(old.refresh)
        if self._grant is None:
            self._grant = self._login()

    def close(self) -> None:
        """End the session, because an account may have only 100. A failure is only noted."""
        grant, self._grant = self._grant, None
        if grant and grant.refresh:
            url = self._ordering.token_url.removesuffix("/token") + "/logout"
            try:
                self._post(self._once, url, refresh_token=grant.refresh)
            except (ServiceError, requests.RequestException):
                self._note(f"{url} does not answer; the session ends when it expires")

    def _refreshed(self, token: str) -> _Grant | None:
        """Return new tokens; None if the session has ended."""
        asked = time.monotonic()
        response = self._post(
            self._patient, self._ordering.token_url, grant_type="refresh_token", refresh_token=token
        )
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            return None
        return self._read(response, asked)

    def _login(self) -> _Grant:
        who, where = self._credentials, self._ordering.token_url
        form = {"grant_type": "password", "username": who.user, "password": who.password}
        with locked("login", f"{where} {who.user}") as used:
            if who.totp_key is not None:
                form["totp"] = totp.code(who.totp_key, self._unused_window(used))
            asked = time.monotonic()
            response = self._post(self._once, where, **form)
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            raise self._refusal(response)
        return self._read(response, asked)

    def _unused_window(self, used: Any) -> int:
        """Return the period of the next one-time password: Keycloak accepts each only once."""
        used.seek(0)
        text = used.read().strip()
        last = int(text) if text.isdecimal() else -1
        current = totp.window(self._now())
        if current == last:
            seconds = (current + 1) * totp.PERIOD_S - self._now()
            self._note(f"The one-time password of this half minute is used; next login in {seconds:.0f} s")
            self._sleep(max(seconds, 0))
            current = max(totp.window(self._now()), current + 1)
        used.seek(0)
        used.truncate()
        used.write(str(current))
        used.flush()  # before the login: the code is used even if the answer is lost
        return current

    def _read(self, response: requests.Response, asked: float) -> _Grant:
        try:
            answer = response.json()
            access, lasts = str(answer["access_token"]), float(answer["expires_in"])
            refresh = answer.get("refresh_token")
            # 0 means as long as the session, of a realm that sets no limit
            refresh_lasts = float(answer.get("refresh_expires_in") or "inf")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise UserError(
                "order.no_token",
                f"{self._ordering.token_url} answers without a token",
                "Check ordering.token_url",
                about="ordering.token_url",
            ) from error
        return _Grant(
            access,
            refresh if isinstance(refresh, str) and refresh else None,
            asked + lasts - min(_MARGIN_S, lasts / 4),
            asked + refresh_lasts - min(_MARGIN_S, refresh_lasts / 4),
        )

    def _refusal(self, response: requests.Response) -> UserError:
        """Return why a login is refused. Only the text of error_description distinguishes most reasons."""
        where, user = self._ordering.token_url, self._credentials.user
        try:
            answer = response.json()
            error, text = (
                str(answer.get("error")),
                str(answer.get("error_description") or answer.get("error")),
            )
        except (ValueError, AttributeError):
            error, text = "", excerpt(response.text, _WORDS)
        refused = f"{where} refuses the login of '{user}' (HTTP {response.status_code}: {text})"
        if error in ("invalid_client", "unauthorized_client"):
            about = "ordering.client_id"
            return UserError("order.client_refused", refused, "Check ordering.client_id", about=about)
        if error != "invalid_grant":
            return UserError("order.login_unavailable", refused, "Try again later", about=where)
        if "not fully set up" in text:
            hint = "Log in with a browser once and do what the page requires"
            return UserError("order.login_needs_action", refused, hint, about=user)
        if "disabled" in text:
            hint = "Wait some minutes; if it fails again, ask the help desk"
            return UserError("order.account_disabled", refused, hint, about=user)
        check = (
            "Check user and password; if the account has a second factor, set its TOTP secret."
            if self._credentials.totp_key is None
            else "Check user, password, TOTP secret and the clock of this machine; a code is refused, too, if"
            " another machine has used it in the same half minute."
        )
        hint = f"{check} The login is not repeated, so that the account is not locked"
        return UserError("order.login_refused", refused, hint, about=user)

    def _post(self, session: requests.Session, url: str, **fields: str) -> requests.Response:
        """Send a form. A redirect is not followed, because the form holds secrets."""
        form = {"client_id": self._ordering.client_id, **fields}
        return session.post(url, data=form, allow_redirects=False)
