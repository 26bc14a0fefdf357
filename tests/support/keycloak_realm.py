"""The Keycloak realm of the order service on this machine."""

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from cbmctl.ordering import totp

USER, PASSWORD = "agency", "correct horse"


@dataclass
class Realm:
    """One account, its sessions and tokens.

    Attributes:
        sessions: refresh token by session.
        used: one-time codes' periods that were used.
        logins: results of the password grants.
    """

    user: str = USER
    password: str = PASSWORD
    totp_key: bytes | None = None
    lifetime_s: int = 600
    most_sessions: int = 100
    sessions: dict[str, str] = field(default_factory=dict)
    access: dict[str, str] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)
    logins: list[bool] = field(default_factory=list)
    refreshes: int = 0
    required_action: bool = False

    def expire_access(self) -> None:
        """All access tokens end before their time."""
        self.access.clear()

    def end_sessions(self) -> None:
        self.access.clear()
        self.sessions.clear()

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if form.get("client_id") != "cdse-public":
            return 401, {"error": "invalid_client", "error_description": "Invalid client credentials"}
        if form["grant_type"] == "refresh_token":
            session = next((s for s, token in self.sessions.items() if token == form["refresh_token"]), None)
            if session is None:
                return 400, {"error": "invalid_grant", "error_description": "Session not active"}
            self.refreshes += 1
            return 200, self._tokens(session)
        return self._password(form)

    def _password(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        good = (form["username"], form["password"]) == (self.user, self.password) and self._code_is_good(form)
        self.logins.append(good)
        if not good:
            return 401, {"error": "invalid_grant", "error_description": "Invalid user credentials"}
        if self.required_action:
            return 400, {"error": "invalid_grant", "error_description": "Account is not fully set up"}
        if len(self.sessions) >= self.most_sessions:
            return 403, {"error": "access_denied", "error_description": "Too many sessions"}
        return 200, self._tokens(secrets.token_hex(8))

    def logout(self, form: dict[str, str]) -> None:
        for session, token in list(self.sessions.items()):
            if token == form["refresh_token"]:
                del self.sessions[session]
                self.access = {key: each for key, each in self.access.items() if each != session}

    def _code_is_good(self, form: dict[str, str]) -> bool:
        if self.totp_key is None:
            return True
        now = totp.window(time.time())
        for window in (now - 1, now, now + 1):
            if form.get("totp") == totp.code(self.totp_key, window) and window not in self.used:
                self.used.add(window)
                return True
        return False

    def _tokens(self, session: str) -> dict[str, Any]:
        access, refresh = secrets.token_hex(16), secrets.token_hex(16)
        self.sessions[session], self.access[access] = refresh, session
        return {
            "access_token": access,
            "expires_in": self.lifetime_s,
            "refresh_expires_in": 3600,
            "refresh_token": refresh,
            "token_type": "Bearer",
            "not-before-policy": 0,
            "session_state": session,
        }
