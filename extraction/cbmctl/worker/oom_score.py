"""Which process the kernel ends if the machine runs out of memory."""

from contextlib import suppress
from pathlib import Path

# the highest of proc(5); the processes of the database have 0 and 100 (roles/postgis/files/Dockerfile)
FIRST = 1000


def offer_to_be_killed_first() -> None:
    """Have the kernel end this process and its children before any other: a task that is lost is repeated.

    Every process may raise its own value; only root may lower it again. A system without /proc is left alone.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(FIRST))
