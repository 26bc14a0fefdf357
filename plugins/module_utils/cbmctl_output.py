"""What cbmctl says on stderr: its notes, and the sentence for people."""

import re

PROGRESS = re.compile(r".*: \d+ of \d+$")


def said(stderr: str) -> list[str]:
    """What the command said on the way, without how far it was."""
    return [line for line in stderr.splitlines() if line.strip() and not PROGRESS.match(line)]


def sentence(code: int, stderr: str) -> str:
    """The reason for people: cbmctl's own sentence, or the last thing said by whatever ended it."""
    last = (said(stderr) or ["it said nothing"])[-1].strip()
    return last.removeprefix("cbmctl: ") if code == 1 else f"cbmctl ended with code {code}: {last}"
