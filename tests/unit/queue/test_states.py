"""The table of events and states: the database follows it, the docs show it, nothing else writes states."""

import re
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

import cbmctl
from cbmctl.config import Tables
from cbmctl.queue import states
from tests.conftest import REPOSITORY
from tests.support.sql_in_code import OTHERS, writers, writes

CODE = Path(cbmctl.__file__).parent


def test_the_docs_show_the_table() -> None:
    page = (REPOSITORY / "docs" / "queue.md").read_text()
    found = re.search(r"<!-- events: .* -->\n(.*?)<!-- end of events -->", page, re.DOTALL)
    assert found, "docs/queue.md has no place for the table"
    assert found[1] == states.markdown(), "paste the output of cbmctl.queue.states.markdown()"


def test_every_event_is_in_the_table_once() -> None:
    known = [value for value in vars(states).values() if isinstance(value, states.Event)]
    assert sorted(event.name for event in states.EVENTS) == sorted(event.name for event in known)
    assert len({event.name for event in states.EVENTS}) == len(states.EVENTS)


def test_every_event_happens() -> None:
    code = "".join(path.read_text() for path in CODE.rglob("*.py") if path.stem != "states")
    names = {name for name, value in vars(states).items() if isinstance(value, states.Event)}
    # PostgreSQL deletes the tasks of a scene that is deleted; `states.plan` enters the planned ones
    assert {name for name in names if f"states.{name}" not in code} == {"DELETED", "PLANNED"}


def test_only_the_table_writes_tasks() -> None:
    found = {module for module, write in writers() if write.table not in ("{catalogue}", "dias_catalogue")}
    assert found == {"queue/states.py"}
    for statement in (
        "UPDATE {tasks} SET state = 'done'",
        "DELETE\n    FROM {t}",
        "INSERT INTO public.tasks VALUES (1)",
        "MERGE INTO {tasks} t USING x",
        "TRUNCATE {tasks}",
        "COPY {work} FROM STDIN",
    ):
        (write,) = writes(f"query({statement!r})")
        assert write.table not in OTHERS, statement


@pytest.mark.postgis
def test_the_database_does_what_the_table_says(conn: psycopg.Connection, tables: Tables) -> None:
    for number, state in enumerate(states.STATES, 1):
        conn.execute(
            """INSERT INTO dias_catalogue (id, obstime, reference, sensor, card)
               VALUES (%s, '2021-03-05', %s, '2A', 's2')""",
            [number, state],
        )
    for event in states.EVENTS:
        if None in event.moves:
            continue
        with conn.transaction(force_rollback=True):
            for number, state in enumerate(states.STATES, 1):
                conn.execute(
                    """INSERT INTO tasks (obsid, bandset, bands, method, state, attempts, worker, reason_code,
                           failed_status, reason)
                       VALUES (%s, '10', '{B02}', '{}', %s, 2, 'w', 'archive.unreadable', 'Rio error',
                           'torn')""",
                    [number, state],
                )
            conn.execute(states.change(tables, event, sql.SQL("true")))
            after = dict(
                conn.execute(
                    """SELECT reference, state FROM dias_catalogue LEFT JOIN tasks ON obsid = id"""
                ).fetchall()
            )
            assert after == {state: event.moves.get(state, state) for state in states.STATES}, event.name
            again = (
                "SELECT attempts, reason_code, not_before, worker FROM tasks"
                " WHERE obsid = 3 AND state = 'ready'"
            )
            assert conn.execute(again).fetchall() in ([], [(0, None, None, None)]), event.name


@pytest.mark.postgis
def test_what_happens_to_no_task_makes_no_statement(tables: Tables) -> None:
    with pytest.raises(ValueError, match="'planned' happens to no task that exists"):
        states.change(tables, states.PLANNED, sql.SQL("true"))
