"""Whether a season is closed: it is over, and everything is extracted."""

import psycopg

from cbmctl.config import Config
from cbmctl.database import one, query
from cbmctl.errors import UserError, counted
from cbmctl.invocation import command


def require_closed(conn: psycopg.Connection, config: Config, what: str, *, instead: str = "") -> None:
    """Refuse a season that is still extracted.

    Args:
        conn: a connection.
        config: says when the season ends.
        what: is done only then: "Tables are clustered".
        instead: what to do until then, as a sentence that begins with a blank.

    Raises:
        UserError: the season is not over, or tasks are not done.
    """
    (over, unfinished) = one(
        conn,
        query(
            """SELECT current_date >= %s::date,
                   (SELECT count(*) FROM {tasks} WHERE state IN ('ready', 'running'))""",
            tasks=config.tables.tasks.sql,
        ),
        [config.args.end],
    )
    if not over:
        raise UserError(
            "maintain.season_open",
            f"The season ends on {config.args.end}. {what} only after that",
            instead,
        )
    if unfinished:
        raise UserError(
            "maintain.tasks_open",
            f"{counted(unfinished, 'unfinished task')} found. {what} only when no task is ready or running",
            f"Run {command('extract run')} first. {instead}",
        )
