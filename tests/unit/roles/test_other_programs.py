"""Recorded texts of other programs, and the codes that roles read instead of them."""

import re

import pytest
from ansible.module_utils import other_programs

from tests.conftest import REPOSITORY

CURL = "s3fs[12]: [CRT] curl.cpp:RequestPerform(2638): ### CURLE_"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (
            "s3fs.cpp:s3fs_check_service(4001): Failed to check bucket and directory for mount point :"
            " Bucket or directory access is denied. invalid credentials(host=https://s)"
            " - result of checking service.",
            "keys_refused",
        ),
        (
            "[ERR] curl.cpp:RequestPerform(2500): HTTP response code 403, returning EPERM. Body Text:",
            "keys_refused",
        ),
        ("<Code>InvalidAccessKeyId</Code>", "keys_refused"),
        ("bucket not found(host=https://s) - result of checking service.", "no_bucket"),
        ("<Code>NoSuchBucket</Code>", "no_bucket"),
        (f"{CURL}PEER_FAILED_VERIFICATION", "certificate_untrusted"),
        (
            "[CRT] s3fs.cpp:main(5621): There is no enough disk space for used as cache(or temporary)",
            "disk_full",
        ),
        (f"{CURL}COULDNT_CONNECT", "no_answer"),
    ],
)
def test_what_s3fs_says(line: str, code: str) -> None:
    assert other_programs.s3fs(["[INF] s3fs version 1.93", line, "[INF] exiting"])["code"] == code


def test_the_last_line_of_s3fs_is_shown_without_its_place() -> None:
    said = other_programs.s3fs(["x [CRT] s3fs.cpp:main(1): unable to connect"])
    assert said == {"code": "no_answer", "said": "unable to connect"}
    assert other_programs.s3fs([])["said"] == "s3fs says nothing"


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (
            "Failed to connect to the host via ssh: @@@\nHost key verification failed.\n",
            "host_key_changed",
            "Host key verification failed",
        ),
        (
            "timed out waiting for ping module test: eouser@203.0.113.5: Permission denied (publickey).",
            "no_login",
            "timed out waiting for ping module test: eouser@203.0.113.5: Permission denied (publickey)",
        ),
        ("", "no_login", "no reason given"),
    ],
)
def test_what_ssh_says(text: str, code: str, said: str) -> None:
    assert other_programs.ssh(text) == {"code": code, "said": said}


def test_what_docker_and_filesystems_say() -> None:
    assert other_programs.docker_missing("Error response from daemon: No such container: ams_db")
    assert other_programs.docker_missing("no such service: cbm_worker")
    assert not other_programs.docker_missing("Cannot connect to the Docker daemon")
    assert other_programs.grown("data blocks changed from 2096640 to 2621440")
    assert not other_programs.grown("")


def test_roles_read_no_sentences() -> None:
    """What fails has a code; texts of other programs are read in other_programs alone."""
    text = re.compile(
        r"\b(msg|stderr|said|reason)\b[^|}\n]*\| *(regex_\w+|replace|split)"
        r"|\b(msg|stderr|said|reason)\S* is (not )?(search|match)|(?<!not )' (not )?in \w+\.(msg|stderr)"
    )
    files = [*REPOSITORY.glob("roles/**/*.yml"), *REPOSITORY.glob("playbooks/**/*.yml")]
    found = [
        f"{path.relative_to(REPOSITORY)}: {line.strip()}"
        for path in files
        for line in path.read_text().splitlines()
        if text.search(line)
    ]
    # passwords are removed from what a test printed
    assert [line for line in found if "verify_passwords" not in line] == []


def test_what_the_module_uri_says() -> None:
    text = "Status code was -1 and not [200]: Request failed: <urlopen error timed out>"
    assert other_programs.http(text) == "Request failed: <urlopen error timed out>"
