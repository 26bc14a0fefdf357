"""Host keys in a server's console log, as cloud-init writes them."""

import pytest
from ansible.module_utils.cloud_console import host_keys, last_lines, pauses

ED = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJrI0Ck5d8lq1Yxk3mFWqg7J9t3Zc1mYb5m0b6bDk0aA"
RSA = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQDLxw8QmCk4C3d0c1F6Qm9Zb0x4bG1uYWJjZGVm"
ECDSA = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBM="
BEGIN, END = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"
BLOCK = f"{BEGIN}\n{ECDSA} root@cbm-dk\n{ED} root@cbm-dk\n{RSA}\n{END}\n"


@pytest.mark.parametrize(
    "log",
    [
        f"booting\n{BLOCK}cbm-dk login: ",
        "".join(f"[   12.345678] cloud-init[712]: {line}\r\n" for line in BLOCK.splitlines()),
        "".join(f"ci-info: {line}\n" for line in BLOCK.splitlines()),
        BLOCK.replace("\n", "\x1b[0m\r\n"),
    ],
)
def test_the_keys_of_a_complete_block(log: str) -> None:
    assert host_keys(log) == [ECDSA, ED, RSA]


@pytest.mark.parametrize(
    "log",
    [
        "",
        "booting\n",
        f"{ED} root@cbm-dk\n",
        BLOCK.removesuffix(f"{END}\n"),
        f"{BEGIN}\n{END}\n",
        f"{BEGIN}\nssh-ed25519 AAAA\n{END}",
    ],
)
def test_no_keys_before_the_block_is_complete(log: str) -> None:
    assert host_keys(log) == []


def test_the_last_block_counts() -> None:
    assert host_keys(f"{BLOCK}\nrebooting\n{BEGIN}\n{ED}\n{END}\n") == [ED]
    # a boot that is not so far yet has not changed the keys
    assert host_keys(f"{BLOCK}\nrebooting\n{BEGIN}\n{ED}\n") == [ECDSA, ED, RSA]


def test_what_people_are_shown() -> None:
    log = "".join(f"line {number}\x1b[K\r\n\n" for number in range(50))
    assert last_lines(log, 2) == ["line 48", "line 49"]
    assert last_lines("") == []


def test_looks_get_rarer_and_the_last_one_is_at_the_end() -> None:
    waited: list[float] = []
    # a clock that only waiting moves
    for pause in pauses(2.0, 60.0, clock=lambda: sum(waited)):
        waited.append(pause)
    assert waited[0] == 0
    assert waited == [0, *sorted(waited[1:-1]), waited[-1]]
    assert max(waited) <= 15
    assert sum(waited) == 60
