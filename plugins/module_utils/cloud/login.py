"""The way into a cloud: its entry in clouds.yaml, the region, the credential."""

import os
from pathlib import Path
from typing import Any

import openstack
import openstack.config
import openstack.config.loader
import yaml
from keystoneauth1 import exceptions as keystone
from openstack import exceptions

from .answers import StoppedError, one_line, unreachable
from .credential import RENEW, expired, moment
from .findings import listed
from .model import Wish

# Keystone refuses an application credential that comes with one of these
SCOPE = ("project", "tenant", "domain", "system_scope", "trust_id")
CREDENTIAL = ("application_credential_id", "application_credential_name")
PLUGIN = "v3applicationcredential"
SECONDS = 60
EXAMPLE = "compare the entry with the example in docs/cloud.md"


def connect(wish: Wish) -> tuple[Any, list[str]]:
    """Log in; return the connection and the catalogue's regions.

    Raises:
        StoppedError: in one sentence, why not.
    """
    config, entry = entry_of(wish.cloud)
    check_entry(wish.cloud, entry)
    region = region_of(wish, entry)
    connection = _connection(wish.cloud, config, region)
    regions = _regions(wish, connection, entry)
    if not region:
        found = f"Neither tenant_cloud_region nor the entry {wish.cloud} of clouds.yaml names a region"
        remedy = f"write one of {listed(regions)} in tenant_cloud_region, or as region_name in the entry"
        raise StoppedError("region", "missing", "tenant_cloud_region", found, remedy)
    if region not in regions:
        found = f"The cloud {wish.cloud} has no region {region}"
        remedy = f"write one of {listed(regions)} in tenant_cloud_region"
        raise StoppedError("region", "wrong", region, found, remedy)
    return connection, regions


def entry_of(cloud: str) -> tuple[openstack.config.OpenStackConfig, dict[str, Any]]:
    """The entry of clouds.yaml, with what secure.yaml adds.

    Raises:
        StoppedError: there is no file, or no such entry, or it cannot be read.
    """
    named = os.environ.get("OS_CLIENT_CONFIG_FILE", "")
    if named and not Path(named).is_file():
        remedy = "put clouds.yaml there, or correct tenant_cloud_config_file (docs/cloud.md)"
        raise StoppedError("credentials", "missing", named, f"The file {named} does not exist", remedy)
    config = _readable(named)
    clouds = config.cloud_config.get("clouds") or {}
    if cloud not in clouds:
        known = listed(sorted(name for name in clouds if name != "envvars"))
        found = f"{config.config_filename} has no entry {cloud}"
        remedy = f"write one of its entries in tenant_cloud ({known}), or add this one (docs/cloud.md)"
        raise StoppedError("credentials", "missing", cloud, found, remedy)
    return config, clouds[cloud] or {}


def _readable(named: str) -> openstack.config.OpenStackConfig:
    """The configuration; openstacksdk itself passes over a file that it cannot read, and takes the next."""
    candidates = [named] if named else openstack.config.loader.CONFIG_FILES
    first = next((file for file in candidates if Path(file).is_file()), None)
    if first is None:
        found = "clouds.yaml is not found on this control host"
        remedy = "put it into ~/.config/openstack (docs/cloud.md), or name it in tenant_cloud_config_file"
        raise StoppedError("credentials", "missing", "clouds.yaml", found, remedy)
    try:
        yaml.safe_load(Path(first).read_text())
        return openstack.config.OpenStackConfig()
    except (OSError, ValueError, yaml.YAMLError, exceptions.SDKException) as error:
        # the parser's own words show the line, and that may hold the secret
        mark = getattr(error, "problem_mark", None)
        reason = f"line {mark.line + 1} is not valid YAML" if mark else one_line(error)
        found = f"{first} cannot be read: {reason}"
        remedy = "correct the file (docs/cloud.md has an example)"
        raise StoppedError("credentials", "wrong", first, found, remedy) from error


def check_entry(cloud: str, entry: dict[str, Any]) -> None:
    """An application credential knows its project, and Keystone refuses to be told.

    Raises:
        StoppedError: the entry tells all the same, or does not say what kind of credential it has.
    """
    auth = entry.get("auth") or {}
    if not any(name in auth for name in CREDENTIAL):
        return
    scope = sorted(name for name in auth if name.startswith(SCOPE))
    if scope:
        found = f"The entry {cloud} of clouds.yaml has {listed(scope)} beside an application credential"
        remedy = "remove it: the credential belongs to a project, and Keystone refuses both together"
        raise StoppedError("credentials", "wrong", cloud, found, remedy)
    if entry.get("auth_type") != PLUGIN:
        found = f"The entry {cloud} of clouds.yaml has an application credential, but not its auth_type"
        remedy = f"add the line auth_type: {PLUGIN} to the entry, beside auth"
        raise StoppedError("credentials", "wrong", cloud, found, remedy)


def region_of(wish: Wish, entry: dict[str, Any]) -> str:
    """The region that is asked for; empty where nobody says which.

    Raises:
        StoppedError: the entry is for another one, and openstacksdk refuses both together.
    """
    of_entry = [each["name"] if isinstance(each, dict) else str(each) for each in entry.get("regions") or []]
    of_entry = of_entry or [str(entry[name]) for name in ("region_name",) if entry.get(name)]
    if wish.region and of_entry and wish.region not in of_entry:
        found = (
            f"The entry {wish.cloud} of clouds.yaml is for {listed(of_entry)}, "
            f"and tenant_cloud_region for {wish.region}"
        )
        remedy = "write the same in both, or make an entry without region_name"
        raise StoppedError("region", "wrong", wish.region, found, remedy)
    return wish.region or (of_entry[0] if len(of_entry) == 1 else "")


def _connection(cloud: str, config: openstack.config.OpenStackConfig, region: str) -> Any:
    try:
        chosen = config.get_one(cloud=cloud, region_name=region or None)
        chosen.config.setdefault("api_timeout", SECONDS)
        return openstack.connection.Connection(config=chosen)
    except (exceptions.SDKException, keystone.ClientException, TypeError, ValueError) as error:
        found = f"The entry {cloud} of clouds.yaml is not complete: {one_line(error)}"
        raise StoppedError("credentials", "wrong", cloud, found, EXAMPLE) from error


def _regions(wish: Wish, connection: Any, entry: dict[str, Any]) -> list[str]:
    """Log in, and read the regions that the catalogue has."""
    url = str((entry.get("auth") or {}).get("auth_url") or "the entry's auth_url")
    try:
        access = connection.session.auth.get_access(connection.session)
        points = [point for service in access.service_catalog.catalog for point in service["endpoints"]]
    except keystone.Unauthorized as error:
        raise _refused(wish, entry, error) from error
    except keystone.MissingRequiredOptions as error:
        found = f"The entry {wish.cloud} of clouds.yaml is not complete: {one_line(error)}"
        raise StoppedError("credentials", "wrong", wish.cloud, found, EXAMPLE) from error
    except keystone.NotFound as error:
        # some versions do not know the id, and say so
        if any(name in (entry.get("auth") or {}) for name in CREDENTIAL) and "redential" in str(error):
            found = f"Keystone does not know the application credential of {wish.cloud}"
            remedy = f"compare its id with what Horizon shows; if it was deleted, {RENEW}"
            raise StoppedError("credentials", "wrong", wish.cloud, found, remedy) from error
        raise unreachable(wish.cloud, url, error) from error
    except keystone.HttpError as error:
        found = f"Keystone at {url} refuses the entry {wish.cloud} ({error.http_status}: {one_line(error)})"
        raise StoppedError("credentials", "wrong", wish.cloud, found, EXAMPLE) from error
    except (keystone.ClientException, exceptions.SDKException, OSError) as error:
        raise unreachable(wish.cloud, url, error) from error
    return sorted({str(point["region"]) for point in points if point.get("region")})


def _refused(wish: Wish, entry: dict[str, Any], error: keystone.Unauthorized) -> StoppedError:
    """Keystone answers a wrong secret and an expired credential in the same words."""
    auth = entry.get("auth") or {}
    if not any(name in auth for name in CREDENTIAL):
        found = f"Keystone refuses the login of {wish.cloud} ({one_line(error)})"
        remedy = "use an application credential (docs/cloud.md): no program logs in with a second factor"
    elif expired(wish.credential_expires) and wish.credential_id == auth.get("application_credential_id"):
        at = moment(wish.credential_expires)
        found = f"The application credential of {wish.cloud} expired on {at:%Y-%m-%d %H:%M} UTC"
        remedy = RENEW
    else:
        found = (
            f"Keystone refuses the application credential of {wish.cloud}: its id or secret is wrong, "
            "or it has expired or was deleted (Keystone does not say which)"
        )
        remedy = f"compare id and secret with what Horizon showed; if they are right, {RENEW}"
    return StoppedError("credentials", "wrong", wish.cloud, found, remedy)
