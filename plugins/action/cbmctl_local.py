"""Runs cbmctl on the control host with the tenant's database, so that secrets stay on the control host.

The database admits its writer only from the tenant's own machines, so the connection goes through SSH.
"""

import json
import os
import runpy
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

runpy.run_path(str(Path(__file__).parents[2] / "plugins" / "module_utils_path.py"))

from ansible.module_utils.cbmctl_output import NOT_SET_UP, error_of, said  # noqa: E402

DOCUMENTATION = r"""
name: cbmctl_local
short_description: Run cbmctl on the control host with the tenant's database
description:
  - Runs C(cbmctl --json) as a process of the control host. The tenant's database is reached through its host.
  - In check mode, C(--check) is added to a command that can change something, so that it only reports.
options:
  arguments:
    description: The command and its arguments.
  configuration:
    description: What is in db_config.json; C(database.connection) as the tenant's host sees it.
  input:
    description: What the command reads from stdin. Default nothing.
  mutates:
    description: Whether the command can change anything, so that it knows C(--check). Default true.
  text:
    description: Return what is printed for people as C(lines), instead of C(result).
"""

# cbmctl's exit code for "not everything was done, or something needs a person"
INCOMPLETE = 3
TUNNEL_S = 60
# beginnings of environment variables that hold the operator's own accounts and season
OPERATOR_VARIABLES = ("CBM_ORDER_", "CBM_DBPASSWD", "CBM_SEASON")
# the first value of an option counts: the tunnel must not join, or become, Ansible's shared connection
TUNNEL_OPTIONS = [
    *("-o", "ControlMaster=no", "-o", "ControlPath=none"),
    *("-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes", "-N", "-T"),
]


class ActionModule(ActionBase):
    """Returns `result` or `lines`, `notes`, `error`, `not_set_up`, and `incomplete` if it needs a person."""

    _requires_connection = True
    _VALID_ARGS = frozenset(("arguments", "configuration", "input", "mutates", "text"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the command once."""
        super().run(tmp, task_vars)
        asked = self._task.args
        mutates, text = bool(asked.get("mutates", True)), bool(asked.get("text", False))
        arguments = [str(each) for each in asked["arguments"]]
        if self._task.check_mode and mutates:
            arguments.append("--check")
        with (
            self._reached(asked["configuration"]) as (configuration, environment),
            _file(configuration) as file,
        ):
            executable = Path(sys.executable).with_name("cbmctl")
            done = subprocess.run(  # noqa: S603 - the project's own command
                [executable, "--config", file, *([] if text else ["--json"]), *arguments],
                input=asked.get("input") or "",
                env=_environment() | environment,
                capture_output=True,
                text=True,
                check=False,
            )
        answer: dict[str, Any] = {
            "changed": False,
            "notes": said(done.stderr),
            "incomplete": done.returncode == INCOMPLETE,
            "not_set_up": done.returncode == NOT_SET_UP,
        }
        if done.returncode not in (0, INCOMPLETE):
            error = error_of(done.returncode, done.stdout, done.stderr)
            return answer | {"failed": True, "msg": error["text"], "error": error}
        if text:
            return answer | {"lines": done.stdout.splitlines()}
        try:
            result = json.loads(done.stdout)
        except ValueError:
            raise AnsibleActionFail(f"cbmctl {shlex.join(arguments)} printed no JSON object") from None
        return answer | {"changed": mutates and result["changed"], "result": result}

    @contextmanager
    def _reached(
        self, configuration: Mapping[str, Any]
    ) -> Iterator[tuple[Mapping[str, Any], dict[str, str]]]:
        """Yield a configuration and environment variables that reach the database from here."""
        if self._connection.transport != "ssh":
            yield configuration, {}
            return
        database = configuration["database"]
        there = database["connection"]
        with self._tunnel(there["host"], int(there["port"])) as port:
            here = {**configuration, "database": {**database, "connection": {**there, "port": port}}}
            # PGHOSTADDR changes only the route: the certificate is still checked against the host
            yield here, {"PGHOSTADDR": "127.0.0.1"}

    @contextmanager
    def _tunnel(self, host: str, port: int) -> Iterator[int]:
        """Forward a port of this machine to a port that the tenant's host sees; yield it."""
        free = _free_port()
        to = f"[{host}]" if ":" in host else host
        command = [*self._ssh(), "-L", f"127.0.0.1:{free}:{to}:{port}", self._option("host")]
        with (
            tempfile.TemporaryFile("w+") as output,
            subprocess.Popen(  # noqa: S603 - as Ansible calls it
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            ) as ssh,
        ):
            try:
                _wait(ssh, free)
                yield free
            except TimeoutError:
                output.seek(0)
                reason = (output.read().strip().splitlines() or ["no answer"])[-1]
                raise AnsibleActionFail(
                    f"the database cannot be reached through SSH ({reason}). Check that the host is up and"
                    " that its SSH server allows TCP forwarding (AllowTcpForwarding)."
                ) from None
            finally:
                ssh.terminate()

    def _ssh(self) -> list[str]:
        """Return the command ssh with this connection's options, as Ansible itself would call it."""
        command = [self._option("ssh_executable"), *TUNNEL_OPTIONS]
        for name in ("ssh_args", "ssh_common_args", "ssh_extra_args"):
            command += shlex.split(self._option(name) or "")
        for name, option in (("port", "Port"), ("remote_user", "User"), ("private_key_file", "IdentityFile")):
            if value := self._option(name):
                command += [
                    "-o",
                    f"{option}={Path(value).expanduser() if option == 'IdentityFile' else value}",
                ]
        return command

    def _option(self, name: str) -> Any:
        return self._connection.get_option(name)


def _environment() -> dict[str, str]:
    """Return the environment without the operator's own accounts and season: the inventory has a tenant's."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OPERATOR_VARIABLES)}


@contextmanager
def _file(configuration: Mapping[str, Any]) -> Iterator[str]:
    """Write a configuration, which names files of secrets, for this user only."""
    with tempfile.NamedTemporaryFile("w", prefix="cbmctl-", suffix=".json") as file:
        json.dump(configuration, file)
        file.flush()
        yield file.name


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait(ssh: subprocess.Popen[bytes], port: int) -> None:
    """Wait until a port is open. Raises TimeoutError if ssh ends, or after TUNNEL_S seconds."""
    end = time.monotonic() + TUNNEL_S
    while ssh.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError
