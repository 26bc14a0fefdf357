"""The way into a cloud: what is wrong with entry, region, credential or connection, in one sentence."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.module_utils.cloud import login
from ansible.module_utils.cloud.answers import ask, one_line, unreachable
from ansible.module_utils.cloud.findings import StoppedError
from ansible.module_utils.cloud.wish import Wish
from keystoneauth1 import exceptions as keystone
from openstack import exceptions

from tests.support.cloud_resources import replace
from tests.support.cloud_tenant import EMPTY, WISH, check

URL = "https://keystone.example/v3"
AUTH = {"auth_url": URL, "application_credential_id": "id", "application_credential_secret": "secret"}
ENTRY: dict[str, Any] = {"auth_type": "v3applicationcredential", "auth": AUTH, "region_name": "WAW3-2"}
RENEW = "make a new application credential and write its id and secret in clouds.yaml (docs/cloud.md)"


@pytest.fixture
def clouds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clouds.yaml, and no other."""
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "clouds.yaml"
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    return file


def write(file: Path, **lines: Any) -> None:
    file.write_text(yaml.safe_dump({"clouds": {"cdse-dk": ENTRY | lines, "cdse-si": ENTRY}}))


def answer(monkeypatch: pytest.MonkeyPatch, result: Exception | list[str]) -> None:
    """Let Keystone answer with an error, or with a catalogue of these regions."""

    def get_access(_session: object) -> SimpleNamespace:
        if isinstance(result, Exception):
            raise result
        services = [{"endpoints": [{"region": region} for region in result]}]
        return SimpleNamespace(service_catalog=SimpleNamespace(catalog=services))

    connection = SimpleNamespace(session=SimpleNamespace(auth=SimpleNamespace(get_access=get_access)))
    monkeypatch.setattr(login, "_connection", lambda *_: connection)


def stopped(wish: Wish, **known: str) -> str:
    with pytest.raises(StoppedError) as error:
        login.connect(wish, known)
    sentence: str = error.value.check.text
    return sentence


def test_there_is_no_such_file(clouds: Path) -> None:
    assert stopped(WISH) == (
        f"The file {clouds} does not exist; put clouds.yaml there, or correct tenant_cloud_config_file"
        " (docs/cloud.md)."
    )


def test_the_inventory_may_name_the_file(clouds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(clouds)
    named = clouds.rename(clouds.parent / "other.yaml")
    answer(monkeypatch, ["WAW3-2"])
    assert login.connect(replace(WISH, config_file=str(named)), {})
    assert stopped(replace(WISH, config_file="~/none.yaml")).startswith(
        f"The file {clouds.parent}/none.yaml does not exist; put clouds.yaml there"
    )


def test_there_is_no_clouds_yaml_at_all(clouds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not clouds.exists()
    monkeypatch.delenv("OS_CLIENT_CONFIG_FILE")
    assert stopped(WISH) == (
        "clouds.yaml is not found on this control host;"
        " put it into ~/.config/openstack (docs/cloud.md), or name it in tenant_cloud_config_file."
    )


def test_the_file_cannot_be_read(clouds: Path) -> None:
    clouds.write_text("clouds: [the-secret")
    assert stopped(WISH) == (
        f"{clouds} cannot be read: line 1 is not valid YAML; correct the file (docs/cloud.md has an example)."
    )


def test_there_is_no_such_entry(clouds: Path) -> None:
    write(clouds)
    assert stopped(replace(WISH, entry="cdse")) == (
        f"{clouds} has no entry cdse; write one of its entries in tenant_cloud (cdse-dk, cdse-si),"
        " or add this one (docs/cloud.md)."
    )


def test_the_secret_may_be_in_secure_yaml(clouds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(clouds, auth={name: value for name, value in AUTH.items() if not name.endswith("secret")})
    secret = {"clouds": {"cdse-dk": {"auth": {"application_credential_secret": "s"}}}}
    (clouds.parent / "secure.yaml").write_text(yaml.safe_dump(secret))
    monkeypatch.setenv("OS_CLIENT_SECURE_FILE", str(clouds.parent / "secure.yaml"))
    _, entry = login.entry_of(WISH)
    assert entry["auth"] == AUTH | {"application_credential_secret": "s"}


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (
            {"auth": AUTH | {"project_name": "cloud_1", "project_domain_name": "cloud_1"}},
            "The entry cdse-dk of clouds.yaml has project_domain_name, project_name beside an"
            " application credential;"
            " remove it: the credential belongs to a project, and Keystone refuses both together.",
        ),
        (
            {"auth_type": "password"},
            "The entry cdse-dk of clouds.yaml has an application credential, but not its auth_type;"
            " add the line auth_type: v3applicationcredential to the entry, beside auth.",
        ),
        (
            {"auth": {"application_credential_id": "id", "auth_url": URL}},
            "The entry cdse-dk of clouds.yaml is not complete: You must provide an auth secret; compare"
            " the entry with the example in docs/cloud.md.",
        ),
        (
            {"auth": {name: value for name, value in AUTH.items() if name != "auth_url"}},
            "The entry cdse-dk of clouds.yaml is not complete: Auth plugin requires parameters which"
            " were not given:"
            " auth_url; compare the entry with the example in docs/cloud.md.",
        ),
    ],
)
def test_an_entry_that_cannot_work(clouds: Path, lines: dict[str, Any], sentence: str) -> None:
    write(clouds, **lines)
    assert stopped(WISH) == sentence


def test_the_region_is_never_guessed(clouds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(clouds, region_name="")
    answer(monkeypatch, ["WAW3-2", "WAW4-1"])
    assert stopped(WISH) == (
        "Neither tenant_cloud_region nor the entry cdse-dk of clouds.yaml names a region;"
        " write one of WAW3-2, WAW4-1 in tenant_cloud_region, or as region_name in the entry."
    )
    assert stopped(replace(WISH, region="WAW3-1")) == (
        "The cloud cdse-dk has no region WAW3-1; write one of WAW3-2, WAW4-1 in tenant_cloud_region."
    )
    assert login.connect(replace(WISH, region="WAW4-1"), {})
    write(clouds)
    assert stopped(replace(WISH, region="WAW4-1")) == (
        "The entry cdse-dk of clouds.yaml is for WAW3-2, and tenant_cloud_region for WAW4-1;"
        " write the same in both, or make an entry without region_name."
    )
    write(clouds, regions=["WAW3-2", {"name": "WAW4-1"}])
    assert stopped(replace(WISH, region="X")).startswith(
        "The entry cdse-dk of clouds.yaml is for WAW3-2, WAW4-1,"
    )
    assert login.connect(replace(WISH, region="WAW4-1"), {})
    assert stopped(WISH).startswith("Neither tenant_cloud_region nor the entry")


def test_a_refused_credential(clouds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(clouds)
    answer(monkeypatch, keystone.Unauthorized("The request you have made requires authentication."))
    assert stopped(WISH) == (
        "Keystone refuses the application credential of cdse-dk: its id or secret is wrong, or it has"
        " expired or was deleted (Keystone does not say which); compare id and secret with what Horizon"
        f" showed; if they are right, {RENEW}."
    )
    ended = {"credential_id": "id", "credential_expires": "2026-01-31T12:00:00.000000"}
    assert stopped(WISH, **ended) == (
        f"The application credential of cdse-dk expired on 2026-01-31 12:00 UTC; {RENEW}."
    )
    # the date is that of another credential, which this one has replaced
    assert "its id or secret is wrong" in stopped(WISH, **(ended | {"credential_id": "the one before"}))
    # one that is known to be valid still is wrong, not expired
    valid = ended | {"credential_expires": "2999-01-01T00:00:00"}
    assert "its id or secret is wrong" in stopped(WISH, **valid)
    write(clouds, auth_type="password", auth={"auth_url": URL, "username": "u", "password": "p"})
    assert stopped(WISH) == (
        "Keystone refuses the login of cdse-dk (The request you have made requires authentication. (HTTP"
        " 401));"
        " use an application credential (docs/cloud.md): no program logs in with a second factor."
    )


def test_a_credential_that_keystone_does_not_know(clouds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(clouds)
    answer(monkeypatch, keystone.NotFound("Could not find Application Credential: x."))
    assert stopped(WISH) == (
        "Keystone does not know the application credential of cdse-dk;"
        f" compare its id with what Horizon shows; if it was deleted, {RENEW}."
    )
    answer(monkeypatch, keystone.NotFound("no such page"))
    assert stopped(WISH).startswith(f"{URL} is not a valid OpenStack service: no such page")


def test_keystone_refuses_for_another_reason(clouds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(clouds)
    answer(monkeypatch, keystone.BadRequest("Application credentials cannot request a scope."))
    assert stopped(WISH) == (
        f"Keystone at {URL} refuses the entry cdse-dk (400: Application credentials cannot request a"
        " scope. (HTTP 400));"
        " compare the entry with the example in docs/cloud.md."
    )


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            "SSLError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get"
            " local issuer certificate')",
            f"The certificate of {URL} is signed by a CA that this control host does not know;"
            " name the CA's file in the entry cdse-dk of clouds.yaml (cacert: /path/to/ca.crt).",
        ),
        (
            "CERTIFICATE_VERIFY_FAILED: Hostname mismatch, certificate is not valid for 'a.b'",
            f"The certificate of {URL} is for another name; correct auth_url in clouds.yaml.",
        ),
        (
            "CERTIFICATE_VERIFY_FAILED: certificate has expired",
            f"The certificate of {URL} has expired; tell the cloud's support, and check this control"
            " host's clock.",
        ),
        (
            "Could not find a suitable TLS CA certificate bundle, invalid path: ca.crt",
            "The cacert of the entry cdse-dk in clouds.yaml is not there; correct its path; it must be"
            " absolute.",
        ),
        (
            "Failed to resolve 'keystone.example' ([Errno -2] Name or service not known)",
            f"The name in {URL} is not known; correct auth_url in clouds.yaml, or this control host's DNS.",
        ),
        (
            "[Errno 111] Connection refused",
            f"Nothing listens at {URL}: the connection is refused;"
            " correct auth_url in clouds.yaml, or ask the cloud's support whether it is down.",
        ),
        (
            "Request to https://keystone.example/v3 timed out",
            f"{URL} does not answer in time;"
            " check firewall and proxy of this control host, or ask the cloud's support whether it is down.",
        ),
        (
            "Remote end closed connection",
            f"{URL} is not a valid OpenStack service: Remote end closed connection;"
            " correct auth_url in clouds.yaml, or ask the cloud's support whether it is down.",
        ),
    ],
)
def test_a_cloud_that_does_not_answer(
    clouds: Path, monkeypatch: pytest.MonkeyPatch, said: str, sentence: str
) -> None:
    write(clouds)
    answer(monkeypatch, keystone.ConnectFailure(said))
    assert stopped(WISH) == sentence
    assert unreachable("cdse-dk", URL, OSError(said)).check.text == sentence


def refusal(status: int, message: str) -> exceptions.HttpException:
    error = exceptions.HttpException(message)
    error.status_code = status
    return error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            refusal(403, "Policy doesn't allow it"),
            "The credential of cdse-dk may not list servers (403);"
            " make a new application credential with the role member (docs/cloud.md).",
        ),
        (
            refusal(500, "Oops.\nMore"),
            "The cloud cdse-dk cannot list servers (500: Oops. More);"
            " run again in a few minutes; if it fails again, ask the cloud's support.",
        ),
        (
            keystone.EndpointNotFound("compute"),
            "The cloud cdse-dk has no service that lists servers in this region;"
            " write another region in tenant_cloud_region, or ask the cloud's support.",
        ),
    ],
)
def test_a_question_that_is_not_answered(error: Exception, sentence: str) -> None:
    def question() -> None:
        raise error

    with pytest.raises(StoppedError) as stop:
        ask("cdse-dk", "servers", question)
    assert stop.value.check.text == sentence


def test_an_errors_words_are_one_line_and_not_endless() -> None:
    assert one_line(OSError("a\n  b. ")) == "a b"
    assert one_line(OSError()) == "OSError"
    assert len(one_line(OSError(json.dumps(["x"] * 1000)))) < 250


@pytest.mark.parametrize(
    ("expires", "found"),
    [
        ("", ("ok", "accepted")),
        ("2999-01-31T12:00:00.000000", ("ok", "accepted, valid until 2999-01-31")),
        ("2026-01-31T12:00:00Z", ("warning", "The credential of cdse-dk expires on 2026-01-31 12:00 UTC")),
    ],
)
def test_a_credential_that_ends(expires: str, found: tuple[str, str]) -> None:
    assert check(WISH, replace(EMPTY, credential_expires=expires), "credentials") == [found]
