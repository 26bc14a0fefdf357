"""Checks of the inventory's lines that need no cloud."""

import re

from ..inventory.formats import PUBLIC_KEY, is_name
from .findings import Findings, counted, listed
from .rules import unfit, wanted, words
from .wish import Wish

# the manual's checklist for an account
CONTACT = {
    "account": ("account or project", "write its name there, like cloud_00341_1"),
    "name": ("contact person", "write the contact person there"),
    "email": ("e-mail address", "write the contact person's there"),
    "phone": ("telephone number", "write the contact person's there"),
    "credits": ("confirmed credits", "write there who confirmed the account's credits, and when"),
}
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def contact(findings: Findings, wish: Wish) -> None:
    """The checklist, line by line."""
    for line, (meaning, hint) in CONTACT.items():
        value, check = str(wish.contact.get(line) or "").strip(), f"contact: {line}"
        if not value:
            findings.problem(check, "missing", meaning, f"tenant_contact has no {line}", hint)
        elif line == "email" and not EMAIL.fullmatch(value):
            message = f"{value} in tenant_contact is not a valid e-mail address"
            findings.problem(check, "invalid", meaning, message, "write one like name@example.org")
        else:
            findings.ok(check, meaning, value)


def tenant(findings: Findings, wish: Wish) -> None:
    """The name, which names everything in the cloud."""
    rule = "a-z, 0-9, _ and -"
    if is_name(wish.tenant):
        findings.ok("tenant", rule, wish.tenant)
    else:
        message = f"The tenant's name {wish.tenant!r} is not a valid name in a cloud"
        hint = "give it a tenant_name of lower-case letters, digits, _ and -, 40 at most"
        findings.problem("tenant", "invalid", rule, message, hint)


def rules(findings: Findings, wish: Wish) -> bool:
    """Client CIDRs and further rules. Return whether they are valid."""
    problems = unfit(wish)
    for option, error in problems:
        findings.problem("rules", "invalid", option, error.message, error.hint, option=option)
    if not wish.ssh_cidrs:
        option, message = "tenant_cloud_ssh_cidrs", "tenant_cloud_ssh_cidrs is empty, so nobody could log in"
        hint = "list the networks that may log in, including this control host's"
        findings.problem("rules", "missing", option, message, hint, option=option)
    if problems or not wish.ssh_cidrs:
        return False
    incoming = [words(rule) for rule in wanted(wish) if rule.direction == "ingress"]
    findings.ok("rules", counted(len(incoming), "opening"), listed(incoming, most=6))
    return True


def keys(findings: Findings, wish: Wish) -> None:
    """Public keys of those who may log in. Without one of the operator's own, nothing could be set up."""
    check, rule = "keys", "a public SSH key"
    if not (wish.authorized_keys or wish.operator_keys):
        message = "The operator's public key is missing, so nobody could log in to the server"
        hint = (
            "list keys in tenant_cloud_authorized_keys, or put the .pub beside ansible_ssh_private_key_file"
        )
        findings.problem(check, "missing", rule, message, hint)
        return
    lines = {
        "tenant_cloud_authorized_keys": wish.authorized_keys,
        "base_system_operator_keys": wish.operator_keys,
        "base_system_jrc_keys": wish.further_keys,
    }
    noted = len(findings.checks)
    for option, texts in lines.items():
        for number, text in enumerate(texts, start=1):
            _key(findings, f"Key {number} of {option}", text, option)
    if len(findings.checks) == noted:
        comments = [" ".join(text.split()[2:]) or "no comment" for texts in lines.values() for text in texts]
        findings.ok(check, rule, listed(comments))


def _key(findings: Findings, which: str, text: str, option: str) -> None:
    """Judge one key. Never with the text itself: it may be a secret."""
    if "PRIVATE KEY" in text:
        message = f"{which} is a private key, which must never leave its owner"
        hint = "list the line of its .pub file, and make a new pair if anybody else has seen this one"
        findings.problem("keys", "private", "a public SSH key", message, hint, option=option)
    elif not PUBLIC_KEY.fullmatch(text.strip()):
        hint = "list the one line of the .pub file: type, key, comment"
        findings.problem(
            "keys", "invalid", "a public SSH key", f"{which} is no public key", hint, option=option
        )
