"""The way into a cloud: its entry in clouds.yaml, the region, the credential and its end."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openstack
import openstack.config
import openstack.config.loader
import yaml
from keystoneauth1 import exceptions as keystone
from openstack import exceptions

from .answers import ERRORS, is_unknown_credential, one_line, unreachable
from .findings import Check, Findings, StoppedError, listed
from .wish import Wish

# Keystone refuses an application credential that comes with one of these
SCOPE = ("project", "tenant", "domain", "system_scope", "trust_id")
CREDENTIAL = ("application_credential_id", "application_credential_name")
PLUGIN = "v3applicationcredential"
SECONDS = 60
SOON = timedelta(days=30)
EXAMPLE = "compare the entry with the example in docs/cloud.md"
RENEW = "make a new application credential and write its id and secret in clouds.yaml (docs/cloud.md)"


def connect(wish: Wish, known: Mapping[str, Any]) -> Any:
    """Log in. `known`: what an earlier run has recorded. Raise StoppedError, which says why not."""
    config, entry = entry_of(wish)
    check_entry(wish.entry, entry)
    region = region_of(wish, entry)
    connection = _connection(wish.entry, config, region)
    regions = _regions(wish, known, connection, entry)
    if not region:
        message = f"Neither tenant_cloud_region nor the entry {wish.entry} of clouds.yaml names a region"
        hint = f"write one of {listed(regions)} in tenant_cloud_region, or as region_name in the entry"
        raise StoppedError("region", "missing", "tenant_cloud_region", message, hint)
    if region not in regions:
        hint = f"write one of {listed(regions)} in tenant_cloud_region"
        raise StoppedError(
            "region", "unknown", region, f"The cloud {wish.entry} has no region {region}", hint
        )
    return connection


def entry_of(wish: Wish) -> tuple[openstack.config.OpenStackConfig, dict[str, Any]]:
    """The entry of clouds.yaml, with what secure.yaml adds."""
    if wish.config_file:
        # openstacksdk reads it, too: a file that is named there goes before all others
        os.environ["OS_CLIENT_CONFIG_FILE"] = str(Path(wish.config_file).expanduser())
    named = os.environ.get("OS_CLIENT_CONFIG_FILE", "")
    if named and not Path(named).is_file():
        hint = "put clouds.yaml there, or correct tenant_cloud_config_file (docs/cloud.md)"
        raise StoppedError("credentials", "missing", named, f"The file {named} does not exist", hint)
    config = _readable(named)
    clouds = config.cloud_config.get("clouds") or {}
    if wish.entry not in clouds:
        entries = listed(sorted(name for name in clouds if name != "envvars"))
        message = f"{config.config_filename} has no entry {wish.entry}"
        hint = f"write one of its entries in tenant_cloud ({entries}), or add this one (docs/cloud.md)"
        raise StoppedError("credentials", "missing", wish.entry, message, hint)
    return config, clouds[wish.entry] or {}


def _readable(named: str) -> openstack.config.OpenStackConfig:
    """The configuration; openstacksdk itself passes over a file that it cannot read, and takes the next."""
    candidates = [named] if named else openstack.config.loader.CONFIG_FILES
    first = next((file for file in candidates if Path(file).is_file()), None)
    if first is None:
        message = "clouds.yaml is not found on this control host"
        hint = "put it into ~/.config/openstack (docs/cloud.md), or name it in tenant_cloud_config_file"
        raise StoppedError("credentials", "missing", "clouds.yaml", message, hint)
    try:
        yaml.safe_load(Path(first).read_text())
        return openstack.config.OpenStackConfig()
    except (OSError, ValueError, yaml.YAMLError, exceptions.SDKException) as error:
        # the parser's own words show the line, and that may hold the secret
        mark = getattr(error, "problem_mark", None)
        reason = f"line {mark.line + 1} is not valid YAML" if mark else one_line(error)
        hint = "correct the file (docs/cloud.md has an example)"
        raise StoppedError(
            "credentials", "unreadable", first, f"{first} cannot be read: {reason}", hint
        ) from error


def check_entry(cloud: str, entry: Mapping[str, Any]) -> None:
    """An application credential knows its project, and Keystone refuses an entry that names one beside it."""
    if not has_credential(entry):
        return
    scope = sorted(name for name in entry["auth"] if name.startswith(SCOPE))
    if scope:
        message = f"The entry {cloud} of clouds.yaml has {listed(scope)} beside an application credential"
        hint = "remove it: the credential belongs to a project, and Keystone refuses both together"
        raise StoppedError("credentials", "scoped", cloud, message, hint)
    if entry.get("auth_type") != PLUGIN:
        message = f"The entry {cloud} of clouds.yaml has an application credential, but not its auth_type"
        hint = f"add the line auth_type: {PLUGIN} to the entry, beside auth"
        raise StoppedError("credentials", "auth_type", cloud, message, hint)


def has_credential(entry: Mapping[str, Any]) -> bool:
    """Whether the login is an application credential."""
    return any(name in (entry.get("auth") or {}) for name in CREDENTIAL)


def region_of(wish: Wish, entry: Mapping[str, Any]) -> str:
    """The region that is asked for; empty if neither inventory nor entry names one."""
    of_entry = [each["name"] if isinstance(each, dict) else str(each) for each in entry.get("regions") or []]
    of_entry = of_entry or [str(entry[name]) for name in ("region_name",) if entry.get(name)]
    if wish.region and of_entry and wish.region not in of_entry:
        of_both = f"is for {listed(of_entry)}, and tenant_cloud_region for {wish.region}"
        hint = "write the same in both, or make an entry without region_name"
        message = f"The entry {wish.entry} of clouds.yaml {of_both}"
        raise StoppedError("region", "other", wish.region, message, hint)
    return wish.region or (of_entry[0] if len(of_entry) == 1 else "")


def _connection(cloud: str, config: openstack.config.OpenStackConfig, region: str) -> Any:
    try:
        chosen = config.get_one(cloud=cloud, region_name=region or None)
        chosen.config.setdefault("api_timeout", SECONDS)
        return openstack.connection.Connection(config=chosen)
    except (*ERRORS, TypeError, ValueError) as error:
        raise _incomplete(cloud, error) from error


def _incomplete(cloud: str, error: Exception) -> StoppedError:
    message = f"The entry {cloud} of clouds.yaml is not complete: {one_line(error)}"
    return StoppedError("credentials", "incomplete", cloud, message, EXAMPLE)


def _regions(wish: Wish, known: Mapping[str, Any], connection: Any, entry: Mapping[str, Any]) -> list[str]:
    """Log in, and read the regions that the catalogue has."""
    url = str((entry.get("auth") or {}).get("auth_url") or "the entry's auth_url")
    try:
        access = connection.session.auth.get_access(connection.session)
        points = [point for service in access.service_catalog.catalog for point in service["endpoints"]]
    except keystone.Unauthorized as error:
        raise _refused(wish, known, entry, error) from error
    except keystone.MissingRequiredOptions as error:
        raise _incomplete(wish.entry, error) from error
    except keystone.NotFound as error:
        if not (has_credential(entry) and is_unknown_credential(error)):
            raise unreachable(wish.entry, url, error) from error
        message = f"Keystone does not know the application credential of {wish.entry}"
        hint = f"compare its id with what Horizon shows; if it was deleted, {RENEW}"
        raise StoppedError("credentials", "unknown", wish.entry, message, hint) from error
    except keystone.HttpError as error:
        message = f"Keystone at {url} refuses the entry {wish.entry} ({error.http_status}: {one_line(error)})"
        raise StoppedError("credentials", "refused", wish.entry, message, EXAMPLE) from error
    except (*ERRORS, OSError) as error:
        raise unreachable(wish.entry, url, error) from error
    return sorted({str(point["region"]) for point in points if point.get("region")})


def _refused(
    wish: Wish, known: Mapping[str, Any], entry: Mapping[str, Any], error: keystone.Unauthorized
) -> StoppedError:
    """Keystone answers a wrong secret and an expired credential in the same words."""
    ends = moment(str(known.get("credential_expires") or ""))
    same = known.get("credential_id") == (entry.get("auth") or {}).get("application_credential_id")
    if not has_credential(entry):
        message = f"Keystone refuses the login of {wish.entry} ({one_line(error)})"
        hint = "use an application credential (docs/cloud.md): no program logs in with a second factor"
    elif same and ends and ends <= datetime.now(UTC):
        message = f"The application credential of {wish.entry} expired on {ends:%Y-%m-%d %H:%M} UTC"
        hint = RENEW
    else:
        message = (
            f"Keystone refuses the application credential of {wish.entry}: its id or secret is wrong, "
            "or it has expired or was deleted (Keystone does not say which)"
        )
        hint = f"compare id and secret with what Horizon showed; if they are right, {RENEW}"
    return StoppedError("credentials", "refused", wish.entry, message, hint)


def moment(text: str) -> datetime | None:
    """A time as Keystone writes it, in UTC; None for any other text."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def credentials(findings: Findings, wish: Wish, expires: str, region: str) -> None:
    """Rows of an accepted login; but the credential may end soon."""
    at = moment(expires)
    if at is not None and at - datetime.now(UTC) < SOON:
        found = f"The credential of {wish.entry} expires on {at:%Y-%m-%d %H:%M} UTC"
        findings.checks.append(Check("credentials", "warning", wish.entry, found, f"in time, {RENEW}"))
    else:
        findings.ok("credentials", wish.entry, "accepted" + (f", valid until {at:%Y-%m-%d}" if at else ""))
    findings.ok("region", wish.region or "the entry's in clouds.yaml", region)
