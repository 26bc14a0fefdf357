"""What an error of the library that asks a service of S3 means, and what to do."""

import re

from cbmctl.config.archive import Service
from cbmctl.errors import UserError

CONNECT_TIMEOUT_S, TIMEOUT_S, ATTEMPTS = 10, 60, 4
BRING_BACK = (
    "Restore the object from a copy or from an older version in the bucket. If the rows are still in the"
    " database, archive them again with another prefix"
)
# Ansible writes the configuration and the keys of a tenant's VM anew.
_MANAGED = (
    ". If Ansible manages this VM, correct tenant_archive_s3 or tenant_archive_keys_file instead, and run"
    " playbooks/worker_image.yml"
)
# What the first pattern that is found in an error's text means: code, message and hint. Codes of S3 are
# spelled as the library does.
_MEANINGS = (
    (
        r"curlCode: 28\b",
        "no_answer",
        "{endpoint} does not answer: {attempts} attempts, up to {timeout} seconds each",
        "Check the network and the service, and run the command again",
    ),
    (
        r"curlCode: (35|51|58|60|77|83)\b",
        "tls_refused",
        "{endpoint}: the TLS connection is refused ({reason})",
        "If the service has a CA of its own, name the CA's certificate as ca_file of archive_s3 in"
        " db_config.json; otherwise correct endpoint",
    ),
    (
        r"NETWORK_CONNECTION|curlCode",
        "unreachable",
        "{endpoint} is unreachable ({reason})",
        "Check the network, or correct endpoint of archive_s3 in db_config.json",
    ),
    (
        r"EXPIRED_TOKEN|INVALID_ACCESS_KEY_ID|INVALID_CLIENT_TOKEN_ID|INVALID_SIGNATURE"
        r"|MISSING_AUTHENTICATION_TOKEN|SIGNATURE_DOES_NOT_MATCH|UNRECOGNIZED_CLIENT",
        "keys_refused",
        "{endpoint} does not accept the keys in {keys} ({reason})",
        "Write valid keys into that file as ACCESS_KEY:SECRET_KEY",
    ),
    (
        r"REQUEST_EXPIRED|REQUEST_TIME_TOO_SKEWED",
        "wrong_clock",
        "{endpoint} reports that this machine's clock is wrong",
        "Set it (timedatectl)",
    ),
    (
        r"NO_SUCH_BUCKET",
        "no_bucket",
        "{endpoint} has no bucket {bucket}",
        "Create it, or correct the URL of the archive, or endpoint of archive_s3 in db_config.json",
    ),
    (
        r"ACCESS_DENIED",
        "not_permitted",
        "The keys in {keys} have no permission to {doing} ({reason})",
        "Give the account the permissions s3:ListBucket, s3:GetObject and s3:PutObject, or use the keys of"
        " another account",
    ),
    (
        r"Path does not exist|NO_SUCH_KEY|RESOURCE_NOT_FOUND",
        "file_missing",
        "Cannot {doing}: the object does not exist. It was deleted or never copied",
        BRING_BACK,
    ),
    (
        r"INTERNAL_FAILURE|SERVICE_UNAVAILABLE|SLOW_DOWN|THROTTLING|REQUEST_TIMEOUT|HTTP status (429|50\d)",
        "overloaded",
        "Cannot {doing}: {endpoint} is overloaded or unavailable ({reason})",
        "Run the command again later",
    ),
    (
        r"HTTP status 30[1278]",
        "redirected",
        "{endpoint} redirects requests ({reason})",
        "Correct endpoint and region of archive_s3 in db_config.json",
    ),
    (
        "",
        "refused",
        "Cannot {doing}: {endpoint} answers '{reason}'",
        "Remove the cause, and run the command again",
    ),
)


def explain(error: OSError, doing: str, service: Service, bucket: str) -> UserError:
    """Return what is wrong, and what to do.

    Args:
        error: of the library.
        doing: what the request was for, as in "write s3://seasons/dk/2021/archive.json".
        service: that was asked.
        bucket: its name.
    """
    text = " ".join(str(error).split())
    code, message, hint = next(meaning for pattern, *meaning in _MEANINGS if re.search(pattern, text))
    if "{keys}" in message or "archive_s3" in hint:
        hint += _MANAGED
    message = message.format(
        endpoint=service.endpoint,
        keys=service.key_file,
        bucket=bucket,
        doing=doing,
        reason=_reason(text),
        attempts=ATTEMPTS,
        timeout=TIMEOUT_S,
    )
    return UserError(f"season_archive.{code}", message, hint, about="archive_s3")


def no_bucket(service: Service, bucket: str) -> UserError:
    """Return the error of a bucket that does not exist."""
    return explain(OSError("NO_SUCH_BUCKET"), "", service, bucket)


def _reason(text: str) -> str:
    """Return the code and the words of the service in an error of the library."""
    text = re.sub(r" *\(Request ID:[^)]*\)", "", text)
    if details := text.rpartition("; Details: ")[2] if "; Details: " in text else "":
        return details[:200].rstrip(". ")
    text = re.sub(r"UNKNOWN \((HTTP status \d+)\)", r"\1", text)
    found = re.search(r"AWS Error ([\w ]+) during \w+ operation:? ?(.*)", text)
    if not found:
        return text[:200].rstrip(". ") or "no reason given"
    code, said = found[1], found[2][:200].rstrip(". ")
    return f"{code}: {said}" if said and said != "No response body" else code
