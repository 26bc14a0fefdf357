"""How long to wait before a request is made again, of a catalogue service or of a bucket.

The loops around requests differ, because HTTP services ask for pauses of their own and a bucket's account has
limits that an attempt holds. What urllib3 and botocore offer knows neither, nor an end on an event.
"""

import random


def backoff(first_s: float, attempt: int) -> float:
    """Return the seconds to wait after a failed attempt, of which the first is number 1.

    They double with each attempt, and are shortened by chance, so that many clients do not come back at the
    same instant.
    """
    return float(first_s * 2 ** (attempt - 1) * random.uniform(0.5, 1))  # noqa: S311 - nobody guesses it
