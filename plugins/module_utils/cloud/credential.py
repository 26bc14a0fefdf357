"""When a credential ends, and the region it was used in."""

from datetime import UTC, datetime, timedelta

from .findings import Findings
from .model import Survey, Wish

SOON = timedelta(days=30)
RENEW = "make a new application credential and write its id and secret in clouds.yaml (docs/cloud.md)"


def moment(text: str) -> datetime | None:
    """A time as Keystone writes it, in UTC. None: there is none, or it is none."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def expired(text: str, now: datetime | None = None) -> bool:
    """Whether a credential that ends then has ended."""
    at = moment(text)
    return at is not None and at <= (now or datetime.now(UTC))


def credentials(findings: Findings, wish: Wish, survey: Survey, now: datetime | None = None) -> None:
    """Both are right if there is a survey at all; but the credential may end soon."""
    at = moment(survey.credential_expires)
    if at is None:
        findings.ok("credentials", wish.cloud, "accepted")
    elif at - (now or datetime.now(UTC)) < SOON:
        found = f"The credential of {wish.cloud} expires on {at:%Y-%m-%d %H:%M} UTC"
        findings.warn("credentials", wish.cloud, found, f"in time, {RENEW}")
    else:
        findings.ok("credentials", wish.cloud, f"accepted, valid until {at:%Y-%m-%d}")
    findings.ok("region", wish.region or "the entry's in clouds.yaml", survey.region)
