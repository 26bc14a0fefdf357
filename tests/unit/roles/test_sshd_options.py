"""What overrules the SSH options is named with its file. The real sshd answers in the scenario `hosts`."""

from pathlib import Path

import pytest

from tests.support.plugins import load

sshd_options = load("modules", "sshd_options")
WANTED = {"PasswordAuthentication": "no", "PermitRootLogin": "prohibit-password", "X11Forwarding": "no"}
IN_FORCE = {"passwordauthentication": "no", "permitrootlogin": "without-password", "x11forwarding": "no"}


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """The layout of Debian: the main file includes a folder before its own lines."""
    (tmp_path / "sshd_config.d").mkdir()
    ours = "".join(f"{option} {value}\n" for option, value in WANTED.items())
    (tmp_path / "sshd_config.d/00-cbm.conf").write_text(ours)
    main = tmp_path / "sshd_config"
    main.write_text("Include sshd_config.d/*.conf\nPasswordAuthentication yes\n")
    return main


def problems(configuration: Path, **in_force: str) -> list[str]:
    found: list[str] = sshd_options.problems(
        WANTED, IN_FORCE | in_force, sshd_options.settings(configuration)
    )
    return found


def test_options_that_come_first_are_in_force(configuration: Path) -> None:
    assert problems(configuration) == [], "the later line of the main file does not count"


def test_a_file_that_is_read_earlier_is_named(configuration: Path) -> None:
    earlier = configuration.parent / "sshd_config.d/00-a.conf"
    earlier.write_text("# from the image\nPasswordAuthentication yes\n")
    assert problems(configuration, passwordauthentication="yes") == [
        f"PasswordAuthentication is 'yes' instead of 'no'. {earlier}, line 2, sets it."
        " Remove that line, or change base_system_sshd_options."
    ]


def test_a_block_for_some_logins_is_named(configuration: Path) -> None:
    block = configuration.parent / "sshd_config.d/90-site.conf"
    block.write_text("Match Address 192.0.2.0/24\n  PasswordAuthentication=yes\n  X11Forwarding no\n")
    (problem,) = problems(configuration)
    assert problem.startswith(
        "PasswordAuthentication is 'yes' instead of 'no' for logins that match 'Address 192.0.2.0/24'."
    )
    assert f"{block}, line 2" in problem


def test_older_names_of_options_and_values_are_understood(tmp_path: Path) -> None:
    main = tmp_path / "sshd_config"
    main.write_text('ChallengeResponseAuthentication "yes"\nPermitRootLogin without-password\n')
    found = sshd_options.problems(
        {"KbdInteractiveAuthentication": "no", "PermitRootLogin": "prohibit-password"},
        {"kbdinteractiveauthentication": "yes", "permitrootlogin": "without-password"},
        sshd_options.settings(main),
    )
    assert len(found) == 1
    assert f"{main}, line 1" in found[0]


def test_an_option_of_the_command_line_is_told_from_a_file() -> None:
    title = "sshd: /usr/sbin/sshd -D -o PasswordAuthentication=yes [listener] 0 of 10-100 startups"
    assert sshd_options.daemon_options(title) == ["-o", "PasswordAuthentication=yes"]
    (problem,) = sshd_options.problems(
        {"PasswordAuthentication": "no"}, {"passwordauthentication": "yes"}, []
    )
    assert "Check the options of ssh.service and /etc/default/ssh." in problem
