"""The account of the order service: secrets kept, one session, no login too many."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from cbmctl.config.ordering import Ordering, read_ordering
from cbmctl.config.section import Section
from cbmctl.errors import UserError
from cbmctl.ordering import totp
from cbmctl.ordering.access_token import Tokens
from cbmctl.ordering.credentials import Credentials, read_credentials
from tests.support.free_ports import listening
from tests.support.keycloak_realm import PASSWORD, USER, Realm
from tests.support.odata_server import reply
from tests.support.odp_server import Odp, serve
from tests.support.recorded_answers import recorded

pytestmark = pytest.mark.usefixtures("hasty", "own_cache")

KEY = b"12345678901234567890"
SECRET = "GEZD GNBV gy3t qojq-GEZDGNBVGY3TQOJQ"


@pytest.fixture
def realm() -> Realm:
    return Realm()


@pytest.fixture
def ordering(realm: Realm) -> Iterator[Ordering]:
    with serve(Odp(realm)) as url:
        yield Ordering(url=f"{url}/odata/v1", token_url=f"{url}/realm/token")


def tokens(ordering: Ordering, password: str = PASSWORD, key: bytes | None = None) -> Tokens:
    return Tokens(ordering, Credentials(USER, password, key), lambda _line: None)


@pytest.mark.parametrize(
    ("time_s", "code"),
    # RFC 6238, appendix B, SHA-1: the last six of its eight digits
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_one_time_passwords_are_those_of_the_rfc(time_s: int, code: str) -> None:
    assert totp.code(KEY, totp.window(time_s)) == code


def test_a_secret_is_read_as_pages_show_it() -> None:
    assert totp.key(SECRET) == KEY


@pytest.fixture
def secrets_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Path]:
    """Files of mode 0600, named in the environment."""
    files = {}
    for name, text in (("USER", USER), ("PASSWORD", PASSWORD), ("TOTP_SECRET", SECRET)):
        monkeypatch.delenv(f"CBM_ORDER_{name}", raising=False)
        files[name] = tmp_path / name
        files[name].write_text(f"{text}\n")
        files[name].chmod(0o600)
        monkeypatch.setenv(f"CBM_ORDER_{name}_FILE", str(files[name]))
    return files


def test_secrets_are_read_from_files_and_never_shown(secrets_in: dict[str, Path]) -> None:
    found = read_credentials(Ordering())
    assert (found.user, found.password, found.totp_key) == (USER, PASSWORD, KEY)
    assert PASSWORD not in repr(found)
    assert KEY.decode() not in repr(found)
    secrets_in["USER"].chmod(0o644)
    assert read_credentials(Ordering()).user == USER


def test_the_configuration_names_files_and_the_environment_goes_first(
    secrets_in: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in secrets_in:
        monkeypatch.delenv(f"CBM_ORDER_{name}_FILE")
    configured = Ordering(user=USER, password_file=secrets_in["PASSWORD"])
    assert read_credentials(configured) == Credentials(USER, PASSWORD)
    monkeypatch.setenv("CBM_ORDER_PASSWORD", "another")
    assert read_credentials(configured).password == "another"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_secret_that_others_may_read_is_refused(secrets_in: dict[str, Path], mode: int) -> None:
    secrets_in["PASSWORD"].chmod(mode)
    with pytest.raises(UserError, match=f"PASSWORD has mode {mode:04o}, expected 0600.*chmod 600"):
        read_credentials(Ordering())


def test_a_secret_that_is_missing_is_named(
    secrets_in: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets_in["PASSWORD"].write_text("")
    with pytest.raises(UserError, match="PASSWORD is empty"):
        read_credentials(Ordering())
    secrets_in["PASSWORD"].unlink()
    with pytest.raises(UserError, match="PASSWORD cannot be read"):
        read_credentials(Ordering())
    monkeypatch.delenv("CBM_ORDER_PASSWORD_FILE")
    with pytest.raises(UserError, match="the password of the ordering account is missing"):
        read_credentials(Ordering())
    monkeypatch.delenv("CBM_ORDER_USER_FILE")
    with pytest.raises(UserError, match="the user of the ordering account is missing"):
        read_credentials(Ordering())


def test_a_totp_secret_that_is_none_is_refused_without_showing_it(secrets_in: dict[str, Path]) -> None:
    secrets_in["TOTP_SECRET"].write_text("019876!")
    with pytest.raises(UserError, match="the TOTP secret is not valid base32") as raised:
        read_credentials(Ordering())
    assert "019876" not in str(raised.value)


def test_a_session_is_renewed_and_ended(ordering: Ordering, realm: Realm) -> None:
    notes: list[str] = []
    with Tokens(ordering, Credentials(USER, PASSWORD), notes.append) as session:
        first = session.access()
        assert session.access() == first
        session.renew()
        assert session.access() != first
        assert (realm.logins, realm.refreshes, len(realm.sessions)) == ([True], 1, 1)
    assert not realm.sessions
    assert notes == []


def test_a_token_is_renewed_before_it_expires(ordering: Ordering, realm: Realm) -> None:
    realm.lifetime_s = 0
    with tokens(ordering) as session:
        for _ in range(5):
            session.access()
    assert realm.logins == [True]
    assert realm.refreshes == 4


def test_a_session_that_ended_is_replaced_by_one_login(ordering: Ordering, realm: Realm) -> None:
    with tokens(ordering) as session:
        session.access()
        realm.end_sessions()
        session.renew()
    assert realm.logins == [True, True]


def test_a_session_cap_is_reported(ordering: Ordering, realm: Realm) -> None:
    realm.most_sessions = 0
    with pytest.raises(UserError, match=r"refuses the login of 'agency' \(HTTP 403: Too many sessions\)"):
        tokens(ordering).access()


@pytest.mark.parametrize("key", [None, b"another key of the factor"])
def test_a_wrong_password_or_code_is_tried_once(ordering: Ordering, realm: Realm, key: bytes | None) -> None:
    realm.totp_key = KEY if key else None
    advice = "TOTP secret and the clock" if key else "Check user and password"
    with pytest.raises(UserError, match=f"Invalid user credentials.*{advice}") as raised:
        tokens(ordering, "wrong" if not key else PASSWORD, key).access()
    assert realm.logins == [False]
    assert PASSWORD not in str(raised.value)


def test_a_second_factor_that_is_not_configured_is_suggested(ordering: Ordering, realm: Realm) -> None:
    realm.totp_key = KEY
    with pytest.raises(UserError, match="if the account has a second factor, set its TOTP secret"):
        tokens(ordering).access()


def test_what_the_realm_requires_is_reported(ordering: Ordering, realm: Realm) -> None:
    realm.required_action = True
    with pytest.raises(UserError, match="Log in with a browser once"):
        tokens(ordering).access()


def test_an_unknown_client_is_reported(ordering: Ordering) -> None:
    with pytest.raises(UserError, match=r"Check ordering\.client_id"):
        tokens(replace(ordering, client_id="mine")).access()


def test_a_realm_that_is_no_realm_is_reported(ordering: Ordering) -> None:
    with pytest.raises(UserError, match=r"answers with|refuses"):
        tokens(replace(ordering, token_url=ordering.url)).access()
    with pytest.raises(UserError, match="does not answer"):
        tokens(replace(ordering, token_url="http://127.0.0.1:9/token")).access()  # noqa: S106


def test_secrets_do_not_follow_a_redirect(ordering: Ordering, realm: Realm) -> None:
    class Moved(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            reply(self, 307, "", {"Location": ordering.token_url})

        def log_message(self, *_: object) -> None:
            pass

    with listening(Moved) as port, pytest.raises(UserError, match="answers without a token"):
        tokens(replace(ordering, token_url=f"http://127.0.0.1:{port}/token")).access()
    assert realm.logins == []


def test_the_recorded_answer_is_read(
    ordering: Ordering, realm: Realm, testdata: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lasts 5 minutes, and is renewed within 30."""
    answer = recorded(testdata, "keycloak-token-response.json")
    asked: list[str] = []

    def token(form: dict[str, str]) -> tuple[int, object]:
        asked.append(form["grant_type"])
        return 200, answer

    monkeypatch.setattr(realm, "token", token)
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with tokens(ordering) as session:
        for seconds in (0, 250, 20, 1750, 1800):
            clock[0] += seconds
            assert session.access() == "<redacted>"
    assert asked == ["password", "refresh_token", "refresh_token", "password"]


@pytest.mark.parametrize("key", ["url", "token_url"])
def test_secrets_are_sent_by_https_only(key: str) -> None:
    with pytest.raises(UserError, match=rf"ordering\.{key} is 'http://there/x'. Write it with https"):
        read_ordering(Section(Path("db_config.json"), "ordering", {key: "http://there/x"}))


def test_what_the_configuration_does_not_know_is_refused() -> None:
    with pytest.raises(UserError, match=r"ordering\.password is unknown"):
        read_ordering(Section(Path("db_config.json"), "ordering", {"password": PASSWORD}))


def test_logins_at_once_use_different_codes(ordering: Ordering, realm: Realm) -> None:
    """Three sessions in one half minute; its clock is the tests', so that nobody waits."""
    realm.totp_key = KEY
    clock = [time.time()]
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        clock[0] += seconds  # the realm, whose clock stands still, accepts the next period's code, too

    def login() -> None:
        session = Tokens(
            ordering, Credentials(USER, PASSWORD, KEY), lambda _line: None, now=lambda: clock[0], sleep=sleep
        )
        session.access()

    threads = [threading.Thread(target=login) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert realm.logins == [True, True]
    assert len(waited) == 1
    assert 0 < waited[0] <= totp.PERIOD_S


# the argument: URL of the realm; a line of stdin, the Unix time: log in now
LOGIN = f"""
import sys
from cbmctl.ordering import access_token
from cbmctl.ordering.credentials import Credentials
from cbmctl.config.ordering import Ordering

clock = []

def sleep(seconds):
    clock[0] += seconds
    print(seconds)

session = access_token.Tokens(
    Ordering(token_url=sys.argv[1]),
    Credentials({USER!r}, {PASSWORD!r}, {KEY!r}),
    lambda _line: None,
    now=lambda: clock[0],
    sleep=sleep,
)
print("ready", flush=True)
clock.append(float(sys.stdin.readline()))
session.access()
"""


def test_logins_of_two_processes_use_different_codes(ordering: Ordering, realm: Realm) -> None:
    """Both are ready before either logs in."""
    realm.totp_key = KEY
    command = [sys.executable, "-c", LOGIN, ordering.token_url]
    pipe = subprocess.PIPE
    started = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
    for process in started:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    now = time.time()
    for process in started:
        assert process.stdin
        process.stdin.write(f"{now}\n")
        process.stdin.flush()
    ended = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0, 0], ended
    assert realm.logins == [True, True]
    waited = [float(out) for out, _ in ended if out]
    assert len(waited) == 1
    assert 0 < waited[0] <= totp.PERIOD_S
