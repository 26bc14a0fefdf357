"""Checks of the inventory's lines that need no cloud."""

import re
from collections.abc import Mapping

from ..inventory.formats import PUBLIC_KEY, is_name
from .findings import Findings, counted, listed
from .model import Wish
from .rules import unfit, wanted, words

# the manual's checklist for an account
CONTACT = {
    "account": ("account or project", "write its name there, like cloud_00341_1"),
    "name": ("contact person", "write the contact person there"),
    "email": ("e-mail address", "write the contact person's there"),
    "phone": ("telephone number", "write the contact person's there"),
    "credits": ("confirmed credits", "write there who confirmed the account's credits, and when"),
}
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def contact(findings: Findings, given: Mapping[str, object]) -> None:
    """The checklist, line by line."""
    for line, (meaning, remedy) in CONTACT.items():
        value = str(given.get(line) or "").strip()
        check = f"contact: {line}"
        if not value:
            findings.missing(check, meaning, f"tenant_contact has no {line}", remedy)
        elif line == "email" and not EMAIL.fullmatch(value):
            found = f"{value} in tenant_contact is not a valid e-mail address"
            findings.wrong(check, meaning, found, "write one like name@example.org")
        else:
            findings.ok(check, meaning, value)


def elsewhere(findings: Findings, wish: Wish) -> None:
    """Problems that others have found."""
    for problem in wish.also:
        findings.wrong(
            str(problem.get("check") or "inventory"),
            str(problem.get("wanted") or ""),
            str(problem.get("found") or ""),
            str(problem.get("remedy") or ""),
        )


def tenant(findings: Findings, wish: Wish) -> None:
    """The name, which names everything in the cloud."""
    rule = "a-z, 0-9, _ and -"
    if is_name(wish.tenant):
        findings.ok("tenant", rule, wish.tenant)
    else:
        found = f"The tenant's name {wish.tenant!r} is not a valid name in a cloud"
        remedy = "give it a tenant_name of lower-case letters, digits, _ and -, 40 at most"
        findings.wrong("tenant", rule, found, remedy)


def rules(findings: Findings, wish: Wish) -> bool:
    """CIDRs and further rules; tells whether they are fit."""
    problems = unfit(wish)
    for line, problem in problems:
        findings.wrong("rules", line, problem.found, problem.remedy)
    if not wish.ssh_cidrs:
        found = "tenant_cloud_ssh_cidrs is empty, so nobody could log in"
        remedy = "list the networks that may log in, including this control host's"
        findings.missing("rules", "tenant_cloud_ssh_cidrs", found, remedy)
    if problems or not wish.ssh_cidrs:
        return False
    incoming = [words(rule) for rule in wanted(wish) if rule.direction == "ingress"]
    findings.ok("rules", counted(len(incoming), "opening"), listed(incoming, most=6))
    return True


def keys(findings: Findings, wish: Wish) -> None:
    """Public keys of those who may log in. Without one of the operator's own, nothing could be set up."""
    check, rule = "keys", "a public SSH key"
    if not (wish.authorized_keys or wish.operator_keys):
        found = "The operator's public key is missing, so nobody could log in to the server"
        remedy = (
            "list keys in tenant_cloud_authorized_keys, or put the .pub beside ansible_ssh_private_key_file"
        )
        findings.missing(check, rule, found, remedy)
        return
    lines = {
        "tenant_cloud_authorized_keys": wish.authorized_keys,
        "base_system_operator_keys": wish.operator_keys,
        "base_system_jrc_keys": wish.further_keys,
    }
    unfit_ones = [
        (line, number, *reason)
        for line, texts in lines.items()
        for number, text in enumerate(texts, start=1)
        if (reason := _unfit_key(str(text)))
    ]
    for line, number, problem, remedy in unfit_ones:
        findings.wrong(check, rule, f"Key {number} of {line} {problem}", remedy)
    if not unfit_ones:
        known = [text for texts in lines.values() for text in texts]
        comments = [" ".join(str(text).split()[2:]) or "no comment" for text in known]
        findings.ok(check, rule, listed(comments))


def _unfit_key(text: str) -> tuple[str, str] | None:
    """Why a text is no public key, and what to do. Never with the text itself: it may be a secret."""
    if "PRIVATE KEY" in text:
        remedy = "list the line of its .pub file, and make a new pair if anybody else has seen this one"
        return "is a private key, which must never leave its owner", remedy
    if not PUBLIC_KEY.fullmatch(text.strip()):
        return "is no public key", "list the one line of the .pub file: type, key, comment"
    return None
