"""Certificates on the control host: expired, not valid yet, unreadable, or without their key."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from .problem import Problem, shown

EXPIRED, EARLY = "certificate.expired", "certificate.not_yet_valid"


def problems(
    certificates: Mapping[str, str], keys: Mapping[str, str], made_in: Path, now: datetime
) -> Iterator[Problem]:
    """Problems of certificates.

    Args:
        certificates: paths by the variable that names them; empty ones are skipped.
        keys: paths of private keys by the variable of their certificate.
        made_in: the folder in which this project makes certificates. A run makes what is missing there, and
            renews an expired one of the server, whose problem is `certificate.renewed`.
        now: with a time zone.
    """
    for variable, said in certificates.items():
        path = Path(str(said)).expanduser()
        ours = path.parent == made_in.expanduser()
        # what is not a path is reported as such
        if not path.is_absolute() or (ours and not path.exists()):
            continue
        try:
            found = x509.load_pem_x509_certificates(path.read_bytes())
        except FileNotFoundError:
            yield _problem(
                "certificate.missing",
                variable,
                path,
                "does not exist on the control host",
                "Put it there or correct the path.",
            )
            continue
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not a certificate in PEM"
            yield _problem(
                "certificate.unreadable", variable, path, f"cannot be read ({reason})", "Replace it."
            )
            continue
        yield from _dates(variable, path, found, ours=ours, now=now)
        if key := keys.get(variable):
            yield from _key(variable, path, found[0], Path(key).expanduser())


def _dates(
    variable: str, path: Path, found: list[x509.Certificate], *, ours: bool, now: datetime
) -> Iterator[Problem]:
    """Of several CAs in one file, one that is valid is enough."""
    ended = max(each.not_valid_after_utc for each in found)
    begun = min(each.not_valid_before_utc for each in found)
    if begun > now:
        said = f"is not valid before {begun:%Y-%m-%d %H:%M} UTC, and it is {now:%Y-%m-%d %H:%M} UTC"
        yield _problem(EARLY, variable, path, said, "Set the clock of the control host.")
    if ended >= now:
        return
    said = f"expired on {ended:%Y-%m-%d}, and nobody can connect with it"
    if not ours:
        yield _problem(EXPIRED, variable, path, said, "Replace it by a new one.")
    elif path.name == "ca.crt":
        remedy = (
            f"Delete it and {path.parent / 'server.crt'}, run playbooks/onboard.yml,"
            " and send the new connection/ca.crt to all users."
        )
        yield _problem(EXPIRED, variable, path, said, remedy)
    else:
        yield _problem("certificate.renewed", variable, path, said, "playbooks/database.yml renews it.")


def _key(variable: str, path: Path, certificate: x509.Certificate, key: Path) -> Iterator[Problem]:
    """PostgreSQL does not start with a key that does not belong to the certificate."""
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    try:
        own = load_pem_private_key(key.read_bytes(), password=None).public_key().public_bytes(*form)
    except FileNotFoundError:
        return
    except (OSError, ValueError, TypeError):
        said = f"has a key that cannot be read ({key})"
        yield _problem(
            "certificate.key", variable, path, said, "Use a private key in PEM without a password."
        )
        return
    if own != certificate.public_key().public_bytes(*form):
        said = f"does not belong to the key {key}"
        yield _problem(
            "certificate.key", variable, path, said, "Use the key that the certificate was made for."
        )


def _problem(code: str, variable: str, path: Path, said: str, hint: str) -> Problem:
    return Problem(code, variable, f"{variable}: the certificate {shown(str(path))} {said}.", hint)


def utc_now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)
