"""What ``hosts`` says to try is typed, word for word, in the situation that it is said in.

One sshd on loopback with keys and files of its own; each test breaks one thing, types what is
suggested, and looks whether the host can be used then, or whether the command has explained why not.
"""

from __future__ import annotations

import io
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sshrender.api.hostremedies import Remedy
from sshrender.api.hosts import check_hosts, remedies_of
from sshrender.api.runcontext import RunContext
from sshrender.api.sshcommand import SshCommand
from sshrender.config import inventory
from sshrender.coordinator.hosts.hostcheck import HostReport
from sshrender.views.reporter import Reporter
from tests.conftest import Run
from tests.lab.host import new_key
from tests.lab.loopback import Loopback

SECRET = "pass phrase"


class Desk:
    """An inventory of that host, and a shell to type commands in."""

    def __init__(self, loopback: Loopback, home: Path) -> None:
        self.loopback = loopback
        self.home = home
        self.san = home / "san"
        self.san.mkdir()
        (home / ".ssh").mkdir()  # where ssh-copy-id keeps its temporary files
        self.known_hosts = home / "known hosts"
        self.known_hosts.write_text(loopback.known_hosts.read_text())
        # ssh asks at the terminal, or with this program where there is none.
        self._ask = home / "askpass"
        self._ask.write_text(
            f'#!/bin/sh\necho "$1" >&2\ncase "$1" in *yes/no*) echo yes;; *) echo "{SECRET}";; esac\n'
        )
        self._ask.chmod(0o700)

    def check(self, **changes: object) -> tuple[HostReport, list[Remedy]]:
        """Check the host with an inventory that has these changes; None takes a key away."""
        typed: dict[str, Any] = {"hosts": self.home / "hosts.toml"}
        if (config := changes.pop("ssh_config", None)) is not None:
            typed["ssh_config"] = config
        wanted: dict[str, Any] = {"known_hosts": self.known_hosts, **changes}
        self.loopback.inventory(typed["hosts"], self.san, **wanted)
        context = RunContext.start(typed, None, lambda _settings: Reporter(io.StringIO()))
        (report,) = check_hosts(context).reports
        return report, remedies_of(context, report)

    def type(self, *commands: str) -> subprocess.CompletedProcess[str]:
        """Type commands in one shell."""
        return subprocess.run(
            ["bash", "-c", "\n".join(commands)],
            cwd=self.home,
            env={**os.environ, "SSH_ASKPASS": str(self._ask), "SSH_ASKPASS_REQUIRE": "force"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def key(self, name: str, secret: str = "", *, is_accepted: bool = False) -> Path:
        """Make a key."""
        path = self.home / name
        assert new_key(path).wait(timeout=60) == 0
        if secret:
            command = ["ssh-keygen", "-q", "-p", "-N", secret, "-f", str(path)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        if is_accepted:
            folder = self.loopback.folder / "home" / ".ssh"
            folder.mkdir(exist_ok=True)
            with (folder / "authorized_keys").open("a") as file:
                file.write((self.home / f"{name}.pub").read_text())
        return path


@pytest.fixture
def desk(loopback: Loopback, home: Path) -> Desk:
    """Return a desk whose known_hosts has the host's key."""
    return Desk(loopback, home)


def _commands(remedies: list[Remedy]) -> list[str]:
    return [each.text for each in remedies if each.lead in ("try", "then")]


def _words(remedies: list[Remedy]) -> str:
    return "\n".join(f"{each.lead}: {each.text}" for each in remedies)


def test_a_changed_key_is_explained_and_forgotten_in_the_file_that_has_it(desk: Desk) -> None:
    """Not in ~/.ssh/known_hosts, and not under the name of port 22."""
    desk.key("other")
    kind, key, *_ = (desk.home / "other.pub").read_text().split()
    name = f"[127.0.0.1]:{desk.loopback.port}"
    desk.known_hosts.write_text(f"# a comment\n{name} {kind} {key}\nother {kind} {key}\n")
    report, remedies = desk.check()
    assert (report.state, report.refusal) == ("refused", "host key")
    assert f"{desk.known_hosts}:2" in _words(remedies)
    assert "why it has changed" in _words(remedies)
    answer = desk.type(*_commands(remedies))
    assert answer.returncode == 0, answer.stderr
    assert f"other {kind} {key}" in desk.known_hosts.read_text()
    assert desk.check()[0].state == "idle"


def test_an_unknown_key_is_accepted_by_what_is_suggested(desk: Desk) -> None:
    desk.known_hosts.write_text("")
    report, remedies = desk.check()
    assert (report.state, report.refusal) == ("refused", "host key")
    assert 'host_key = "accept-new"' in _words(remedies)
    answer = desk.type(*_commands(remedies))
    assert answer.returncode == 0, answer.stderr
    # ssh shows the fingerprint that the reason names.
    assert report.reason.split("SHA256:")[1].split()[0] in answer.stderr
    assert desk.check()[0].state == "idle"


def test_a_revoked_key_is_not_to_be_forgotten(desk: Desk) -> None:
    desk.known_hosts.write_text(f"@revoked {desk.known_hosts.read_text()}")
    report, remedies = desk.check()
    assert report.refusal == "host key"
    assert (_commands(remedies), "revokes" in _words(remedies)) == ([], True)


def test_a_key_with_a_passphrase_is_given_to_an_agent(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    locked = desk.key("locked", SECRET, is_accepted=True)
    report, remedies = desk.check(identity_file=locked)
    assert (report.state, report.refusal) == ("refused", "authentication")
    assert str(locked) in report.reason
    (command,) = _commands(remedies)
    answer = desk.type(command, "echo $SSH_AUTH_SOCK $SSH_AGENT_PID")
    assert answer.returncode == 0, answer.stderr
    socket, pid = answer.stdout.split()[-2:]
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        assert desk.check(identity_file=locked)[0].state == "idle"
    finally:
        os.kill(int(pid), 15)


def test_a_key_that_the_host_does_not_accept_is_copied_to_it(desk: Desk) -> None:
    """Where another key may log in, as ssh_config has it; without one, ssh says what is missing."""
    refused = desk.key("refused")
    report, remedies = desk.check(identity_file=refused)
    assert (report.state, report.refusal) == ("refused", "authentication")
    answer = desk.type(*_commands(remedies))
    assert "Permission denied (publickey)" in answer.stderr
    config = desk.home / "ssh_config"
    config.write_text(f"Host loopback\n  IdentityFile {desk.loopback.identity}\n")
    _, remedies = desk.check(identity_file=refused, ssh_config=config)
    answer = desk.type(*_commands(remedies))
    assert answer.returncode == 0, answer.stderr
    assert desk.check(identity_file=refused)[0].state == "idle"


def test_an_identity_file_that_is_missing_is_named_and_can_be_made(desk: Desk) -> None:
    missing_file = desk.home / "ke y"
    report, remedies = desk.check(identity_file=missing_file)
    assert (report.state, report.refusal) == ("refused", "configuration")
    (look,) = _commands(remedies)
    assert desk.type(look).returncode == 0
    make = next(each.text for each in remedies if "ssh-keygen" in each.text).partition(": ")[2]
    answer = desk.type(f"{make} -q -N ''")
    assert answer.returncode == 0, answer.stderr
    assert missing_file.is_file()


def test_a_host_that_is_down_is_tried_where_it_is_reached(desk: Desk) -> None:
    report, remedies = desk.check(port=1)
    assert report.state == "lost"
    # The port is of the inventory, which may be wrong.
    assert "or: leave out port, or correct it, for " in _words(remedies)
    answer = desk.type(*_commands(remedies))
    assert (answer.returncode, "port 1: Connection refused" in answer.stderr) == (255, True)


def test_where_the_shared_folder_is_elsewhere_there_are_three_ways_out(desk: Desk) -> None:
    elsewhere = desk.home / "else where"
    report, remedies = desk.check(seen_at=elsewhere)
    assert (report.state, report.refusal) == ("refused", "san")
    assert "No such file or directory" in desk.type(*_commands(remedies)).stderr
    words = _words(remedies)
    assert f"mount the shared folder at {elsewhere}" in words
    assert 'san = "' in words
    # What is copied into the inventory is followed by no words of ours.
    assert "or: san = false for " in words
    assert desk.check(seen_at=desk.san)[0].state == "idle"
    assert desk.check(seen_at=False)[0].state == "idle"
    elsewhere.symlink_to(desk.san)
    assert desk.check(seen_at=elsewhere)[0].state == "idle"


@pytest.mark.parametrize("program", ["python", "ghostscript"])
def test_a_program_that_the_inventory_names_wrongly_is_looked_for(desk: Desk, program: str) -> None:
    report, remedies = desk.check(**{program: "/no/such/program"})
    assert (report.state, report.refusal) == ("refused", program)
    assert desk.type(*_commands(remedies)).returncode == 1
    assert f"leave out {program}" in _words(remedies)


def test_of_a_ghostscript_that_is_too_old_the_candidate_is_shown(desk: Desk) -> None:
    """``apt-get install`` would say that it is the newest already."""
    old = desk.home / "gs"
    old.write_text("#!/bin/sh\necho 9.27\n")
    old.chmod(0o755)
    report, remedies = desk.check(ghostscript=str(old))
    assert (report.state, report.refusal) == ("refused", "ghostscript")
    answer = desk.type(*_commands(remedies))
    assert (answer.returncode, "ghostscript:" in answer.stdout) == (0, True)
    assert "apt-get install" not in _words(remedies)
    assert 'ghostscript = "/path/to/gs"' in _words(remedies)


def test_the_dashboard_s_command_and_sftp_reach_the_host(desk: Desk) -> None:
    """With the inventory's address, port, user, key and known_hosts file, although its name is none."""
    file = desk.loopback.inventory(desk.home / "hosts.toml", None, known_hosts=desk.known_hosts)
    (host,) = inventory.expand(inventory.load(file))
    made = SshCommand(host)
    answer = desk.type(f"{made.ssh()} -n echo in", made.sftp())
    assert (answer.returncode, answer.stdout.splitlines()[0]) == (0, "in"), answer.stderr
    assert shlex.split(made.resolved())[:2] == ["ssh", "-G"]
    assert desk.type(made.resolved()).returncode == 0


def test_init_ends_with_the_table_of_the_hosts(desk: Desk, sshrender: Run) -> None:
    """One host of ssh_config can be used; the other one cannot, and what is suggested mends that."""
    loopback = desk.loopback
    desk.key("refused")
    common = f"  HostName 127.0.0.1\n  Port {loopback.port}\n  User {loopback.user}\n"
    common += f"  UserKnownHostsFile {loopback.known_hosts}\n"
    config = desk.home / "ssh_config"
    config.write_text(
        f"Host good\n  IdentityFile {loopback.identity}\n{common}"
        f"Host bad\n  IdentityFile {desk.home / 'missing'}\n  IdentityAgent none\n{common}"
        "Host github.com\n  User git\n"
    )
    words = ["init", "--ssh-config", config, "--yes", "--san", desk.san, "--hosts", "hosts.toml"]
    answer = sshrender(*words)
    assert answer.returncode == 0, answer.stderr
    rows = {line.split()[0]: line.split()[1] for line in answer.stdout.splitlines() if line.strip()}
    assert (rows["good"], rows["bad"]) in (("idle", "refused"), ("busy", "refused"))
    assert "github.com" not in answer.stdout
    assert f"ssh-copy-id -F {config} bad" in answer.stdout
    assert "next: sshrender hosts --hosts hosts.toml" in answer.stdout
