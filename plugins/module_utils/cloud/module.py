"""What the modules of a tenant's cloud share: options, login, check mode, answers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from ansible.module_utils.basic import (  # type: ignore[import-untyped] # Ansible is not typed
    AnsibleModule,
    missing_required_lib,
)

from .findings import Check, Findings, StoppedError, problem
from .wish import Wish, argument_spec

NO_SDK: ImportError | None = None
try:
    from . import absent, present
    from .answers import ERRORS, one_line
    from .console import read_keys
    from .login import connect
    from .place import recorded
    from .plan import plan
    from .survey import Survey, survey
except ImportError as error:
    NO_SDK = error


class Project:
    """A tenant's project of a cloud: one login, and as many looks as are needed."""

    def __init__(self, wish: Wish, *, whole: bool = True) -> None:
        self.wish, self._whole = wish, whole
        self.cloud: Any = None
        self.known: Mapping[str, Any] = {}
        self._stopped: Check | None = None
        try:
            self.known = recorded(wish)
            self.cloud = connect(wish, self.known)
        except StoppedError as reason:
            self._stopped = reason.check

    def look(self) -> "Survey | Check":
        """What there is, or why the cloud could not be asked."""
        try:
            return self._stopped or survey(self.cloud, self.wish.entry, whole=self._whole)
        except StoppedError as reason:
            return reason.check


def begin(**options: dict[str, Any]) -> tuple[AnsibleModule, Wish]:
    """Read the options: `options` is the role's dictionary."""
    spec = {"options": {"type": "dict", "required": True, "options": argument_spec()}, **options}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    if NO_SDK is not None:
        module.fail_json(msg=missing_required_lib("openstacksdk"), exception=str(NO_SDK))
    given = {name: value for name, value in module.params["options"].items() if value is not None}
    return module, Wish(**given)


def fail(module: AnsibleModule, found: list[Check], **answer: Any) -> NoReturn:
    """End with all problems: for people in `msg`, for programs in `problems`."""
    problems = [each.data() for each in found]
    module.fail_json(msg=" ".join(each["text"] for each in problems), **(answer | {"problems": problems}))
    raise AssertionError


def _steps(work: str) -> dict[str, Any]:
    known = [] if NO_SDK else list(present.STEPS if work == "present" else absent.STEPS)
    return {"type": "str", "default": "", "choices": ["", *known]}


def main_present() -> None:
    """The module cloud_tenant."""
    module, wish = begin(step=_steps("present"))
    _run(module, Project(wish), plan, present.STEPS, "still differs from the inventory after this run")


def main_absent() -> None:
    """The module cloud_tenant_absent."""
    module, wish = begin(step=_steps("absent"))
    project = Project(wish, whole=False)
    _run(module, project, absent.ending, absent.STEPS, f"still has resources of {wish.tenant}")


def _run(
    module: AnsibleModule,
    project: Project,
    compare: Callable[..., Any],
    steps: Mapping[str, Callable[[Any, Any], None]],
    left: str,
) -> None:
    """Plan, and outside check mode do one step or all of them; after each the cloud is asked again."""
    only, entry, done = module.params["step"], project.wish.entry, Findings()
    chosen = {name: action for name, action in steps.items() if only in ("", name)}

    def compared() -> Any:
        found = compare(project.wish, project.look(), project.known)
        if found.findings.problems:
            fail(module, found.findings.problems, diff=found.findings.diff(), **found.answer())
        return found

    now = compared()
    if module.check_mode:
        changed = any(change.step in chosen for change in now.findings.changes)
        module.exit_json(changed=changed, diff=now.findings.diff(), **now.answer())
    order = list(steps)
    waiting = [each for each in now.findings.changes if only and order.index(each.step) < order.index(only)]
    if waiting:
        message = f"The step {only} needs this before: {waiting[0].text.rstrip('.')}"
        fail(module, [problem("cloud", "order", "", message, f"do the step {waiting[0].step} first")])
    for name, action in chosen.items():
        changes = [change for change in now.findings.changes if change.step == name]
        if changes:
            try:
                action(project.cloud, now)
            except StoppedError as reason:
                fail(module, [reason.check])
            except ERRORS as error:
                what = changes[0].text.rstrip(".")
                message = f"The cloud {entry} did not do this: {what} ({one_line(error)})"
                hint = "run again in a few minutes; if it fails again, ask the cloud's support"
                fail(module, [problem("cloud", "failed", "", message, hint)])
            done.changes += changes
            now = compared()
    remaining = [change.text for change in now.findings.changes if change.step in chosen]
    if remaining:
        message = f"The cloud {entry} {left}: {' '.join(remaining)}"
        hint = f"Run it again; if that does not help, check {project.wish.name} on the cloud's web page"
        fail(module, [problem("cloud", "remaining", "", message, hint)])
    module.exit_json(changed=bool(done.changes), diff=done.diff(), **now.answer())


def main_host_key() -> None:
    """The module cloud_host_key."""
    module, wish = begin(server={"type": "str", "required": True}, interval={"type": "float", "default": 2.0})
    server = module.params["server"]
    try:
        known = recorded(wish)
        kept = (known.get("server_id"), known.get("host_keys", "console")) == (server, "console")
        if wish.host_keys:
            keys, source = wish.host_keys, "inventory"
        elif kept and (Path(wish.state_dir).expanduser() / "known_hosts").exists():
            keys, source = [], "recorded"
        else:
            cloud, source = connect(wish, known), "console"
            keys = read_keys(cloud, server, wish.ssh_timeout, module.params["interval"])
    except StoppedError as reason:
        fail(module, [reason.check], console=getattr(reason, "console", []))
    module.exit_json(changed=False, host_keys=keys, source=source)
