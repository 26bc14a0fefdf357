"""What happened on the network, in a few words: HTTP clients wrap it in towers of exceptions and URLs."""

import re

_WORDS = (
    (r"Name or service not known|Temporary failure in name resolution|getaddrinfo", "unknown host name"),
    (r"Connection refused", "connection refused"),
    (r"IncompleteRead|bytes, but expected|read, but total bytes expected", "it breaks off"),
    (r"[Tt]imed? ?out", "no answer in time"),
    (r"Connection (aborted|was closed|reset|broken)|RemoteDisconnected|reset by peer", "it hung up"),
)


def in_words(error: str) -> str | None:
    """Return what an error's text comes down to; None where it is something else."""
    return next((words for pattern, words in _WORDS if re.search(pattern, error)), None)
