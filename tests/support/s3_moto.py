"""A real S3 server that takes objects, moto, with accounts that have different permissions."""

import http.client
import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.session import Session

from tests import peers

Keys = tuple[str, str]
_ACTIONS = {"owner": ["s3:*"], "reader": ["s3:Get*", "s3:List*"]}
_LIMIT_S = 120


@dataclass(frozen=True)
class Moto:
    """A server.

    Attributes:
        port: of this machine.
        keys: access key and secret of the accounts "owner" and "reader".
    """

    port: int
    keys: Mapping[str, Keys]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Any:
        return _client("s3", self.url, self.keys["owner"])

    def key_file(self, folder: Path, account: str = "owner", *, secret: str = "") -> Path:
        """Write the keys of an account into a file; `secret` replaces the right one."""
        access, right = self.keys.get(account, (account, "unknown"))
        path = folder / f"{account}.keys"
        path.write_text(f"{access}:{secret or right}\n")
        path.chmod(0o600)
        return path


@contextmanager
def moto(log: Path) -> Iterator[Moto]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    # permissions are checked only once the accounts are there
    environment = {"INITIAL_NO_AUTH_ACTION_COUNT": "inf"}
    with peers.serving("moto_server", "-H", "127.0.0.1", "-p", str(port), environment=environment, log=log):
        url = f"http://127.0.0.1:{port}"
        _await(port, log)
        iam = _client("iam", url, ("any", "any"))
        keys = {}
        for name, actions in _ACTIONS.items():
            allowed = {"Effect": "Allow", "Action": actions, "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
            iam.create_user(UserName=name)
            iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=policy)
            made = iam.create_access_key(UserName=name)["AccessKey"]
            keys[name] = made["AccessKeyId"], made["SecretAccessKey"]
        # from the next request on
        with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            connection.request("POST", "/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"})
            assert connection.getresponse().status == 200
        yield Moto(port, keys)


def _client(service: str, url: str, keys: Keys) -> Any:
    return Session().create_client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1],
    )


def _await(port: int, log: Path) -> None:
    end = time.monotonic() + _LIMIT_S
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 5):
                return
        except OSError:
            assert time.monotonic() < end, f"moto does not start: {log.read_text()}"
            time.sleep(0.1)
