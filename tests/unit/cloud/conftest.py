"""The cloud's Ansible modules as Ansible calls them, with a cloud of plain data."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible.module_utils.cloud import module as shared

from tests.support.cloud_resources import replace
from tests.support.cloud_tenant import WHOLE, WISH

LINES = asdict(WISH)


class Run:
    """Calls a module's main with arguments, as Ansible would."""

    def __init__(self, patch: pytest.MonkeyPatch, output: pytest.CaptureFixture[str]) -> None:
        self.patch, self._output = patch, output

    def __call__(
        self, name: str, lines: dict[str, Any] | None = None, *, check: bool = False, **arguments: Any
    ) -> dict[str, Any]:
        with pytest.raises(SystemExit):
            self.main(name, lines, check=check, **arguments)
        answer: dict[str, Any] = json.loads(self._output.readouterr().out)
        return answer

    def main(
        self, name: str, lines: dict[str, Any] | None = None, *, check: bool = False, **arguments: Any
    ) -> None:
        arguments |= {"options": LINES | (lines or {}), "_ansible_check_mode": check}
        asked = json.dumps({"ANSIBLE_MODULE_ARGS": arguments})
        self.patch.setattr(basic, "_ANSIBLE_ARGS", asked.encode())
        self.patch.setattr(basic, "_ANSIBLE_PROFILE", "legacy")
        MAINS[name]()

    def connected(self, connection: Any) -> None:
        """Let the modules find this connection, or this error."""

        def connect(*_: object) -> Any:
            if isinstance(connection, Exception):
                raise connection
            return connection

        self.patch.setattr(shared, "connect", connect)

    def surveyed(self, **facts: Any) -> None:
        """Let the modules find this in the cloud."""
        self.connected(object())
        self.patch.setattr(shared, "survey", lambda *_, **__: replace(WHOLE, **facts))


MAINS = {
    "cloud_tenant": shared.main_present,
    "cloud_tenant_absent": shared.main_absent,
    "cloud_host_key": shared.main_host_key,
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(monkeypatch, capsys)
