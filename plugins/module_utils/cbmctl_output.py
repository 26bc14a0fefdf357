"""What cbmctl printed: its notes, and its error as data (docs/errors.md)."""

import json
import re

# exit codes of errors for people: of any, and of a season whose tables or area do not exist yet
NOT_SET_UP = 4
EXPECTED = (1, NOT_SET_UP)
PROGRESS = re.compile(r".*: \d+ of \d+$")
OPTION_NAMES = "CBM_OPTION_NAMES"


def said(stderr: str) -> list[str]:
    """The lines of stderr without progress."""
    return [line for line in stderr.splitlines() if line.strip() and not PROGRESS.match(line)]


def error_of(code: int, stdout: str, stderr: str) -> dict[str, str]:
    """The error of a command that failed: code, about, message, hint, and both as sentences in `text`.

    Without `--json`, and after a defect of cbmctl, only `message` and `text` are known.
    """
    try:
        error = dict(json.loads(stdout)["error"])
    except (KeyError, TypeError, ValueError):
        last = (said(stderr) or ["it printed no message"])[-1].strip()
        message = (
            last.removeprefix("cbmctl: ") if code in EXPECTED else f"cbmctl ended with code {code}: {last}"
        )
        return {"code": "", "about": "", "message": message, "hint": "", "text": message}
    # a hint may end with a statement of SQL and its semicolon
    sentences = [
        each if each.endswith(";") else f"{each}." for each in (error["message"], error["hint"]) if each
    ]
    return {**error, "text": " ".join(sentences)}
