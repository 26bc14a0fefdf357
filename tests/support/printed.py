"""What a command that failed has printed."""

import json

from click.testing import Result

from cbmctl.errors import UserError


def expect_only_the_error(result: Result) -> None:
    """Fail unless stdout is empty, or with `--json` has the error and nothing else."""
    assert isinstance(result.exception, UserError), result.exception
    if result.stdout:
        assert json.loads(result.stdout) == {"error": result.exception.data()}
