"""What a server's console log says: the host keys that cloud-init writes there."""

import re
from collections.abc import Callable, Iterator
from time import monotonic

BEGIN, END = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"
# what the kernel and systemd put before a line on the console
PREFIX = re.compile(r"^(?:\[[ \d.]+\] )?(?:cloud-init\[\d+\]: |ci-info: |ec2: )?")
COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
KEY = re.compile(
    r"^(ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp(?:256|384|521)) ([A-Za-z0-9+/]{40,}={0,3})(?:\s.*)?$"
)
SLOWEST = 15.0


def host_keys(log: str) -> list[str]:
    """The keys of the last complete block, as `type base64`; none before it is complete.

    The last one counts: a server that was made anew from a snapshot has new keys.
    """
    block: list[str] | None = None
    complete: list[str] = []
    for raw in COLOUR.sub("", log).splitlines():
        line = PREFIX.sub("", raw.strip()).strip()
        if BEGIN in line:
            block = []
        elif END in line:
            complete = block or complete
            block = None
        elif block is not None and (found := KEY.match(line)):
            block.append(f"{found[1]} {found[2]}")
    return list(dict.fromkeys(complete))


def last_lines(log: str, most: int = 20) -> list[str]:
    """The end of the log, for people."""
    return [line.rstrip() for line in COLOUR.sub("", log).splitlines() if line.strip()][-most:]


def pauses(first: float, timeout: float, clock: Callable[[], float] = monotonic) -> Iterator[float]:
    """Seconds to wait before each look: none at first, then longer; the last look is at the end."""
    start, pause = clock(), first
    yield 0.0
    while (left := timeout - (clock() - start)) > 0:
        yield min(pause, left)
        pause = min(pause * 1.5, SLOWEST)
