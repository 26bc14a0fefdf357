"""Questions to a cloud, and what a cloud that does not answer is to be told of in one sentence."""

from collections.abc import Callable
from typing import Any

from keystoneauth1 import exceptions as keystone
from keystoneauth1.exceptions import catalog
from openstack import exceptions

from .findings import Check

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


class StoppedError(Exception):
    """There is no way to go on looking."""

    def __init__(self, check: str, state: str, wanted: str, found: str, remedy: str) -> None:
        super().__init__(found)
        self.check = Check(check, state, wanted, found, remedy)


def one_line(error: Exception, most: int = 240) -> str:
    """An error's own words, without line breaks and not endless."""
    words = " ".join(str(error).split()) or type(error).__name__
    return (words if len(words) <= most else f"{words[:most]} …").rstrip(". ")


def unreachable(cloud: str, url: str, error: Exception) -> StoppedError:
    """A service that does not answer as one: its certificate, its name, or the connection."""
    said = f"{error} {error.__cause__ or ''}"
    for words, found, remedy in REASONS:
        if any(word in said for word in words):
            names = {"cloud": cloud, "url": url}
            return StoppedError("credentials", "wrong", url, found.format(**names), remedy.format(**names))
    found = f"{url} is not a valid OpenStack service: {one_line(error)}"
    remedy = "correct auth_url in clouds.yaml, or ask the cloud's support whether it is down"
    return StoppedError("credentials", "wrong", url, found, remedy)


def ask(cloud: str, what: str, question: Callable[[], Any]) -> Any:
    """Put one question to the cloud.

    Raises:
        StoppedError: it does not answer.
    """
    try:
        return question()
    except exceptions.HttpException as error:
        status = error.status_code
        if status in {401, 403}:
            found = f"The credential of {cloud} may not list {what} ({status})"
            remedy = "make a new application credential with the role member (docs/cloud.md)"
        else:
            found = f"The cloud {cloud} cannot list {what} ({status}: {one_line(error)})"
            remedy = "run again in a few minutes; if it fails again, ask the cloud's support"
        raise StoppedError("credentials", "wrong", what, found, remedy) from error
    except (keystone.EndpointNotFound, catalog.CatalogException, exceptions.NotSupported) as error:
        found = f"The cloud {cloud} has no service that lists {what} in this region"
        remedy = "write another region in tenant_cloud_region, or ask the cloud's support"
        raise StoppedError("region", "wrong", what, found, remedy) from error
    except (keystone.ClientException, exceptions.SDKException, OSError) as error:
        raise unreachable(cloud, f"the service that lists {what}", error) from error
