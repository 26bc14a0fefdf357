"""The help of every command: complete in the lists, and with an example."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from cbmctl.cli import cbmctl


def paths(command: click.Command, *names: str) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Every command with whether it is a group, from the root down."""
    yield names, isinstance(command, click.Group)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found
            yield from paths(found, *names, name)


ALL = list(paths(cbmctl))


def shown(names: tuple[str, ...]) -> str:
    result = CliRunner().invoke(cbmctl, [*names, "--help"], terminal_width=80)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("names", [names for names, group in ALL if not group], ids=" ".join)
def test_every_command_has_an_example_that_calls_it(names: tuple[str, ...]) -> None:
    example = shown(names).partition("Example")[2]
    assert "cbmctl" in example
    assert " ".join(names) in example


@pytest.mark.parametrize("names", [names for names, group in ALL if group], ids=" ".join)
def test_no_list_of_commands_is_cut_off(names: tuple[str, ...]) -> None:
    assert "..." not in shown(names).partition("Commands:")[2]
