"""Questions to a cloud, and what its answers mean. Nothing else reads a text of OpenStack's."""

from collections.abc import Callable
from typing import Any

from keystoneauth1 import exceptions as keystone
from keystoneauth1.exceptions import catalog
from openstack import exceptions

from .findings import StoppedError

# what openstacksdk and keystoneauth1 raise
ERRORS = (exceptions.SDKException, keystone.ClientException)
# words of the libraries below, what they mean, and what to do; the first that fits
REASONS = (
    (
        ("Hostname mismatch", "doesn't match", "not valid for"),
        "The certificate of {url} is for another name",
        "correct auth_url in clouds.yaml",
    ),
    (
        ("certificate has expired",),
        "The certificate of {url} has expired",
        "tell the cloud's support, and check this control host's clock",
    ),
    (
        ("CERTIFICATE_VERIFY_FAILED", "certificate verify failed"),
        "The certificate of {url} is signed by a CA that this control host does not know",
        "name the CA's file in the entry {cloud} of clouds.yaml (cacert: /path/to/ca.crt)",
    ),
    (
        ("invalid path", "Could not find a suitable TLS CA", "No such file"),
        "The cacert of the entry {cloud} in clouds.yaml is not there",
        "correct its path; it must be absolute",
    ),
    (
        ("resolve", "Name or service not known", "Temporary failure in name", "nodename nor servname"),
        "The name in {url} is not known",
        "correct auth_url in clouds.yaml, or this control host's DNS",
    ),
    (
        ("Connection refused",),
        "Nothing listens at {url}: the connection is refused",
        "correct auth_url in clouds.yaml, or ask the cloud's support whether it is down",
    ),
    (
        ("timed out", "Timeout", "timeout"),
        "{url} does not answer in time",
        "check firewall and proxy of this control host, or ask the cloud's support whether it is down",
    ),
)


def one_line(error: Exception, most: int = 240) -> str:
    """An error's own words, without line breaks and not endless."""
    words = " ".join(str(error).split()) or type(error).__name__
    return (words if len(words) <= most else f"{words[:most]} …").rstrip(". ")


def unreachable(cloud: str, url: str, error: Exception) -> StoppedError:
    """A service that does not answer as one: its certificate, its name, or the connection."""
    said = f"{error} {error.__cause__ or ''}"
    message = f"{url} is not a valid OpenStack service: {one_line(error)}"
    hint = "correct auth_url in clouds.yaml, or ask the cloud's support whether it is down"
    for words, known, what in REASONS:
        if any(word in said for word in words):
            message, hint = known.format(url=url, cloud=cloud), what.format(url=url, cloud=cloud)
            break
    return StoppedError("credentials", "unreachable", url, message, hint)


def ask(cloud: str, what: str, question: Callable[[], Any]) -> Any:
    """Put one question to the cloud; raise StoppedError if it does not answer."""
    try:
        return question()
    except exceptions.HttpException as error:
        if error.status_code in {401, 403}:
            message = f"The credential of {cloud} may not list {what} ({error.status_code})"
            hint = "make a new application credential with the role member (docs/cloud.md)"
            raise StoppedError("credentials", "forbidden", what, message, hint) from error
        message = f"The cloud {cloud} cannot list {what} ({error.status_code}: {one_line(error)})"
        hint = "run again in a few minutes; if it fails again, ask the cloud's support"
        raise StoppedError("credentials", "failing", what, message, hint) from error
    except (keystone.EndpointNotFound, catalog.CatalogException, exceptions.NotSupported) as error:
        message = f"The cloud {cloud} has no service that lists {what} in this region"
        hint = "write another region in tenant_cloud_region, or ask the cloud's support"
        raise StoppedError("region", "no_service", what, message, hint) from error
    except (keystone.ClientException, exceptions.SDKException, OSError) as error:
        raise unreachable(cloud, f"the service that lists {what}", error) from error


def told[Answer](question: Callable[[], Answer]) -> Answer | None:
    """The answer, or None if the cloud does not give one."""
    try:
        return question()
    except ERRORS:
        return None


def is_unknown_credential(error: Exception) -> bool:
    """Whether Keystone did not find the application credential: some versions say so, others refuse it."""
    return "redential" in str(error)


def server_fault(server: Any) -> str:
    """Why Nova could not start a server; empty if it does not say."""
    return str((server.fault or {}).get("message") or "").strip().rstrip(". ")


def volume_fault(connection: Any, volume: str) -> str:
    """Cinder's newest message about a volume, or why no message is available."""
    try:
        # the first version of the API that finds messages by the thing that they are about
        asked = {"params": {"resource_uuid": volume}, "microversion": "3.5", "raise_exc": False}
        answer = connection.block_storage.get("/messages", **asked)
        if answer.status_code != 200:
            return f"the cloud does not state the reason ({answer.status_code})"
        messages = sorted(answer.json()["messages"], key=lambda each: str(each["created_at"]))
    except (*ERRORS, LookupError, TypeError, ValueError) as error:
        return f"the cloud does not state the reason: {one_line(error)}"
    return str(messages[-1]["user_message"]).strip().rstrip(".") if messages else "the cloud stated no reason"
