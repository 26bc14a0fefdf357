"""The stderr of cbmctl: its notes, and the sentence for people."""

import re

PROGRESS = re.compile(r".*: \d+ of \d+$")

# exit codes that come with a sentence of cbmctl: an error, and a season that is not set up
OWN_CODES = (1, 4)


def said(stderr: str) -> list[str]:
    """The lines of stderr without progress."""
    return [line for line in stderr.splitlines() if line.strip() and not PROGRESS.match(line)]


def sentence(code: int, stderr: str) -> str:
    """The reason for people: cbmctl's own sentence, or the last line of whatever ended it."""
    last = (said(stderr) or ["it said nothing"])[-1].strip()
    return last.removeprefix("cbmctl: ") if code in OWN_CODES else f"cbmctl ended with code {code}: {last}"
