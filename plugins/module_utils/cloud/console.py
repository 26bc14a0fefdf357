"""The host keys of a server, from its console log: cloud-init writes them there at the first boot."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from openstack.exceptions import HttpException, NotFoundException, SDKException

from .answers import one_line
from .findings import StoppedError

BEGIN, END = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"
# what the kernel and systemd put before a line on the console
PREFIX = re.compile(r"^(?:\[[ \d.]+\] )?(?:cloud-init\[\d+\]: |ci-info: |ec2: )?")
COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
KEY = re.compile(
    r"^(ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp(?:256|384|521)) ([A-Za-z0-9+/]{40,}={0,3})(?:\s.*)?$"
)
SLOWEST = 15.0
BY_HAND = "open the console on the cloud's web page, and write the keys shown there in tenant_cloud_host_keys"


def read_keys(cloud: Any, server: str, timeout: int, interval: float) -> list[str]:
    """Look until the keys are there; they come over the cloud's own checked TLS, so they are the server's."""
    log = reason = ""
    try:
        for pause in pauses(interval, timeout):
            time.sleep(pause)
            log, reason = _console(cloud.compute, server)
            if keys := host_keys(log):
                return keys
    except NotFoundException as error:
        message, hint = f"The server {server} does not exist", "run playbooks/cloud.yml again"
        raise StoppedError("server", "missing", server, message, hint) from error
    reason = reason or ("its console does not show them" if log.strip() else "its console says nothing")
    message = f"The server {server} did not show its host keys within {timeout} s ({reason})"
    raise UnreadableError(message, last_lines(log))


class UnreadableError(StoppedError):
    """The console does not show the keys. `console`: its last lines."""

    def __init__(self, message: str, console: list[str]) -> None:
        super().__init__("host keys", "unreadable", "", message, BY_HAND)
        self.console = console


def _console(compute: Any, server: str) -> tuple[str, str]:
    """The log so far, and the reason if it is empty: a new server has no console yet."""
    try:
        return str(compute.get_server_console_output(server).get("output") or ""), ""
    except NotFoundException:
        # Nova says the same of a server without a console
        compute.get_server(server)
        return "", "the cloud shows no console"
    except HttpException as error:
        return "", f"the cloud does not show its console, {error.status_code}: {one_line(error)}"
    except SDKException as error:
        return "", one_line(error)


def host_keys(log: str) -> list[str]:
    """The keys of the last complete block, as `type base64`: a server made again has new ones."""
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


def pauses(first: float, timeout: float, clock: Callable[[], float] = time.monotonic) -> Iterator[float]:
    """Seconds to wait before each look: none at first, then longer; the last look is at the end."""
    start, pause = clock(), first
    yield 0.0
    while (left := timeout - (clock() - start)) > 0:
        yield min(pause, left)
        pause = min(pause * 1.5, SLOWEST)
