"""How far a long statement is, read over a second connection while it runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import psycopg
from psycopg import sql

from cbmctl.config import Config
from cbmctl.database import connect
from cbmctl.errors import UserError

_EVERY_S = 2.0


@contextmanager
def watched(
    config: Config, share: sql.Composed, parameters: dict[str, Any], progress: Callable[[int], None]
) -> Iterator[None]:
    """Report progress while the block runs.

    Args:
        config: for the connection.
        share: a statement that returns how much is done, from 0 to 1, or NULL; in one row or none.
        parameters: of the statement.
        progress: given the percent points that were added.
    """
    stop = Event()
    thread = Thread(target=_watch, args=(config, share, parameters, progress, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _watch(
    config: Config,
    share: sql.Composed,
    parameters: dict[str, Any],
    progress: Callable[[int], None],
    stop: Event,
) -> None:
    shown = 0
    try:
        with connect(config, purpose="cbmctl maintain", autocommit=True) as conn:
            while not stop.wait(_EVERY_S):
                row = conn.execute(share, parameters).fetchone()
                percent = round(100 * min(float(row[0]), 1)) if row and row[0] is not None else 0
                if percent > shown:
                    progress(percent - shown)
                    shown = percent
    except (psycopg.Error, UserError):
        return  # the work itself goes on, or says what is wrong
