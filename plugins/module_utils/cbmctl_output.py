"""The stderr of cbmctl: its notes, and the sentence for people."""

import re

# exit codes of a sentence for people: of any, and of a season whose tables or area do not exist yet
NOT_SET_UP = 4
SENTENCES = (1, NOT_SET_UP)
PROGRESS = re.compile(r".*: \d+ of \d+$")


def said(stderr: str) -> list[str]:
    """The lines of stderr without progress."""
    return [line for line in stderr.splitlines() if line.strip() and not PROGRESS.match(line)]


def sentence(code: int, stderr: str) -> str:
    """The reason for people: cbmctl's own sentence, or the last line of whatever ended it."""
    last = (said(stderr) or ["it said nothing"])[-1].strip()
    return last.removeprefix("cbmctl: ") if code in SENTENCES else f"cbmctl ended with code {code}: {last}"
