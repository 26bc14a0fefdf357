"""The rules of words that a machine can check. CONTRIBUTING.md says what they are for."""

import re
from collections.abc import Iterator, Mapping

# a pattern of what is written, and what to write instead
INSTEAD: Mapping[str, str] = {
    r"is (no|not a) (date|address of a service|list by name)\b": "is not a valid date (URL); mapping",
    r"\bis none\b(?! of the)|\bis none of\b|\bthat is none\b": "must be one of: …; is missing; is invalid",
    r"\bThere is no line\b": "Unknown variable … (did you mean …?)",
    r"\bwrite it from /": "must be an absolute path or start with ~",
    r"\blets? (us|them|it|nobody|somebody|everyone) in\b": "accepts the credentials",
    r"\bin the way\b|\bstands? in .{0,12}\bway\b": "problems found; nothing was changed",
    r"\bof before\b": "previous",
    r"\bnot found out\b|\bfound out right\b": "auto-detection is wrong",
    r"\b(is|are) such\b|\b; they do\b|^They do\b": "say what is true: the inventory resolves the VM",
    r"\bof which there is nothing\b": "no products found",
    r"\bNo way (back|in)\b": "Stop the rollback timer",
    r"\bmakes? way\b": "detach",
    r"\blacks? something\b": "a table or column is missing",
    r"\b(is|are|was|were|been) told\b|\b[Tt]ells\b": "is reported, is passed; reports, says, prints",
    r"\banother (number|landscape), another\b": "random seed",
    r"\bscenes count\b": "scenes are searched",
    r"\banew\b": "again",
    r"\bby (itself|themselves)\b": "automatically, alone, or who does it",
    r"\bcut (off|short)\b": "interrupted, incomplete",
    r"\bwithout a word\b": "without an error",
    r"\bthe matter\b": "what is wrong",
    r"\bwhat stands in\b": "what is in",
    r"\bfor good\b": "permanently",
    r"\ball the same\b": "nevertheless, also",
    r"\bin vain\b": "without success",
    r"\bin earnest\b": "in production",
    r"\bthe one(s)? that\b(?=.{0,40}\bone(s)?\b)": "name the thing",
    r"\bours\b": "name it: the project's, cbmctl's",
}
PATTERNS = {re.compile(pattern): instead for pattern, instead in INSTEAD.items()}


def to_reword(text: str) -> Iterator[str]:
    """Yield what to change in a text: the words, and what to write instead."""
    for pattern, instead in PATTERNS.items():
        if found := pattern.search(text):
            yield f"'{found[0]}': write {instead}"


# Modules that only look, and the words with which the names of their tasks begin
LOOKING = re.compile(
    r"(^|\.)(stat|slurp|find|getent|setup|service_facts|package_facts|mount_facts|debug|fail|\w+_info)$"
)
VERBS = {
    *("Ask", "Check", "Compare", "Count", "Estimate", "Explain", "Find", "Gather", "Inspect", "List", "Look"),
    *("Measure", "Predict", "Print", "Read", "Report", "Show", "Sum", "Test", "Verify", "Wait", "Warn"),
}
# with which a heading begins that says what the reader wants to do
TASKS = {
    *("Accept", "Add", "Archive", "Begin", "Change", "Check", "Choose", "Commit", "Connect", "Continue"),
    *("Create", "Delete", "Describe", "Enlarge", "Explain", "Extract", "Find", "Follow", "Get", "Give"),
    *("Install", "Keep", "Know", "Load", "Look", "Maintain", "Make", "Mend", "Onboard", "Order", "Prepare"),
    *("Provide", "Query", "Read", "Release", "Remove", "Renew", "Repair", "Replace", "Run", "Search", "See"),
    *("Set", "Stop", "Try", "Update", "Use", "Write"),
}
RIDDLES = ("Whether", "What", "Which", "Who", "Where", "How", "It ", "They", "That", "There", "And", "Its")
# all other keys of a task but these name its module
TASK_KEYWORDS = {
    *("action", "any_errors_fatal", "args", "async", "become", "become_user", "block", "always", "rescue"),
    *("changed_when", "check_mode", "collections", "connection", "debugger", "delay", "delegate_facts"),
    *("delegate_to", "diff", "environment", "failed_when", "ignore_errors", "ignore_unreachable", "listen"),
    *("local_action", "loop", "loop_control", "module_defaults", "name", "no_log", "notify", "poll", "port"),
    *("register", "remote_user", "retries", "run_once", "tags", "throttle", "timeout", "until", "vars"),
    "when",
}


def module_of(task: Mapping[str, object]) -> str:
    """Return the module that a task calls; empty for a block."""
    return next((key for key in task if key not in TASK_KEYWORDS and not key.startswith("with_")), "")
