"""Finds the fix for a host that cannot be used: commands that work when typed, and settings.

The cause is looked up in the identity files, the agent and the known_hosts files that the connection
uses. The text of an error decides only between two commands to try: if its words change, the more
general command is shown.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sshrender.api.sshcommand import SshCommand, expanded, overrides_of
from sshrender.config.inventory import HostTable
from sshrender.coordinator.hosts.hostcheck import HostReport
from sshrender.core.compatibility import REFUSAL as DIFFERS
from sshrender.core.states import HostState
from sshrender.transports import knownhosts, sshagent, sshconfig
from sshrender.transports.interface import ConnectFailed, Refusal
from sshrender.views.summary import undrain


@dataclass(frozen=True, slots=True)
class Remedy:
    """One line below a host. ``lead``: ``try`` and ``then`` lead commands, ``or`` and ``note`` words."""

    lead: str
    text: str


@dataclass(frozen=True, slots=True)
class Problem:
    """The result of a check, and the way to the host.

    ``host`` None: it is this machine, without ssh. ``san``: the shared folder as the host sees it;
    ``own_san``: as this machine does. ``file``: the inventory, in which settings are changed.
    """

    report: HostReport
    host: HostTable | None
    san: str | None
    config_file: str | None = None
    file: Path | None = None
    own_san: str | None = None

    @property
    def ssh(self) -> SshCommand:
        """The ssh commands for the host. Only for hosts of an inventory."""
        assert self.host is not None
        return SshCommand(self.host, self.config_file)

    def there(self, command: str, *, as_root: bool = False) -> str:
        """Return a command line that runs ``command`` on the host."""
        # Root needs no sudo, which may not even be installed.
        is_root = self._logs_in_as_root()
        if as_root and not is_root:
            command = f"sudo {command}"
        if self.host is None:
            return command
        # sudo asks for its password at a terminal.
        return self.ssh.ssh(command, *(["-t"] if as_root and not is_root else []))

    def setting(self, text: str) -> str:
        """Return in words that a setting of this host is to be changed, and where."""
        return f"{text} for {self.report.name} in {self.file}" if self.file is not None else text

    def settings(self) -> sshconfig.SshSettings | None:
        """Return how ssh reaches the host; None if its configuration is broken, or needs no ssh."""
        if self.host is None:
            return None
        try:
            return sshconfig.resolve(self.host.name, overrides_of(self.host, self.config_file))
        except ConnectFailed:
            return None

    def _logs_in_as_root(self) -> bool:
        if self.host is None:
            return os.geteuid() == 0
        found = self.settings()
        return found is not None and found.user == "root"


def remedies(problem: Problem) -> list[Remedy]:
    """Return what fixes the first failed check; nothing if nothing needs to be done."""
    if problem.report.state == HostState.DRAINED.value:
        return [Remedy("try", undrain(problem.report.name))]
    # Only the first failed check is explained: later ones may follow from it.
    failing = next((check for check in problem.report.checks if check.ok is False), None)
    if failing is None:
        return []
    # This machine is not reached by ssh, so these refusals say nothing about it.
    if problem.host is None and problem.report.refusal in _BY_SSH:
        return []
    # The kind of refusal is more exact than the name of the check.
    find = _BY_REFUSAL.get(problem.report.refusal) or _BY_CHECK.get(failing.name)
    return find(problem) if find is not None else []


def _address(problem: Problem) -> list[Remedy]:
    assert problem.host is not None
    # The inventory's address is what was looked up; without it ssh_config may replace the name.
    named = problem.host.address or problem.report.name
    found = problem.settings()
    searched = named if found is None else found.hostname
    return [
        Remedy("try", f"getent hosts {shlex.quote(searched)}"),
        Remedy("or", problem.setting('address = "ADDRESS"')),
    ]


def _configuration(problem: Problem) -> list[Remedy]:
    host = problem.host
    assert host is not None
    if host.identity_file and not Path(expanded(host.identity_file)).is_file():
        file = shlex.quote(expanded(host.identity_file))
        return [
            Remedy("try", f"ls -l {shlex.quote(str(Path(expanded(host.identity_file)).parent))}"),
            Remedy("or", problem.setting("identity_file = the key that is there")),
            Remedy("or", f"make that key: ssh-keygen -t ed25519 -f {file}"),
        ]
    return [Remedy("try", problem.ssh.resolved())]


def _unreachable(problem: Problem) -> list[Remedy]:
    steps = [Remedy("try", problem.ssh.ssh("true"))]
    # ssh alone would use another port, so the inventory is the first suspect.
    if problem.host is not None and problem.host.port is not None:
        steps.append(Remedy("or", problem.setting("leave out port, or correct it,")))
    return steps


def _host_key(problem: Problem) -> list[Remedy]:
    found = problem.settings()
    if found is None:
        return _configuration(problem)
    # The same files and the same name as the connection itself has used.
    known = knownhosts.lookup(found.known_hosts, found.known_name)
    revoked = [key for key in known if key.is_revoked]
    if revoked:
        return [
            Remedy(
                "note",
                f"{revoked[0].where} revokes this key: ask the host's administrator for a new one",
            )
        ]
    # ssh asks before it records a key; ssh_config may say that it never asks.
    accept = problem.ssh.ssh("true", "-o", "StrictHostKeyChecking=ask")
    if not known:
        return [
            Remedy(
                "note", "compare the fingerprint with the one that the host's administrator tells you"
            ),
            Remedy("try", accept),
            Remedy("or", problem.setting('host_key = "accept-new"')),
        ]
    return [*_old_keys_removed(found.known_name, known), Remedy("then", accept)]


def _old_keys_removed(name: str, known: list[knownhosts.KnownKey]) -> list[Remedy]:
    """Return what removes a host's old keys: from each file that has one."""
    places = ", ".join(key.where for key in known)
    steps = [
        Remedy(
            "note",
            f"ask the administrator why it has changed before you remove the old key ({places})",
        )
    ]
    lead = "try"
    # Each file once; a pattern is left to the user, because it may be for many hosts.
    for file in dict.fromkeys(key.file for key in known if key.is_exact):
        sudo = "" if os.access(file, os.W_OK) else "sudo "
        steps.append(Remedy(lead, f"{sudo}ssh-keygen -R {shlex.quote(name)} -f {shlex.quote(file)}"))
        lead = "then"
    # ssh-keygen -R leaves lines that match by a pattern: other hosts may need them.
    steps += [
        Remedy("note", f"{key.where} matches {name} by a pattern: edit that line")
        for key in known
        if not key.is_exact
    ]
    return steps


_START_AGENT = {False: 'eval "$(ssh-agent)"', True: "eval (ssh-agent -c)"}
"""Starts an agent from a shell; True: from fish, which takes the commands for csh."""


def _is_fish() -> bool:
    return os.environ.get("SHELL", "").endswith("/fish")


def _login(problem: Problem) -> list[Remedy]:
    found = problem.settings()
    if found is None:
        return _configuration(problem)
    opened = [file for file in found.identity_files if sshagent.is_too_open(Path(file))]
    if opened:
        return [Remedy("try", shlex.join(["chmod", "600", *opened]))]
    locked = [file for file in found.identity_files if sshagent.needs_passphrase(Path(file))]
    if locked:
        add = shlex.join(["ssh-add", *locked])
        # A socket that the environment names may be gone with its agent.
        has_agent = found.agent_socket is not None and Path(found.agent_socket).exists()
        return [
            Remedy("try", add if has_agent else f"{_START_AGENT[_is_fish()]} && {add}"),
            Remedy(
                "or",
                "from cron, which has no agent: "
                + problem.setting("identity_file = one without a passphrase"),
            ),
        ]
    steps = []
    # With no key at all the first step is to make one; then it is copied to the host.
    if not found.identity_files and not (found.uses_agent and found.agent_socket):
        steps.append(Remedy("try", "ssh-keygen -t ed25519"))
    steps.append(Remedy("then" if steps else "try", problem.ssh.copy_key()))
    steps.append(
        Remedy("or", problem.setting(f'user = "NAME" (now {found.user or "as ssh_config says"})'))
    )
    return steps


def _limits(problem: Problem) -> list[Remedy]:
    return [
        Remedy("try", problem.there("ulimit -a")),
        Remedy(
            "note",
            "its administrator sets them: /etc/security/limits.conf, limits.d beside it, a start-up file"
            " of the shell, or systemd's LimitAS= and the like",
        ),
    ]


def _system(problem: Problem) -> list[Remedy]:
    return [
        Remedy("try", problem.there("head -1 /proc/loadavg")),
        Remedy("then", problem.there("mount -t proc proc /proc", as_root=True)),
    ]


def _python(problem: Problem) -> list[Remedy]:
    wanted = problem.host.python if problem.host is not None else "python3"
    if problem.report.python:  # it is there, and too old
        return [
            Remedy("try", problem.there("ls /usr/bin/python3*")),
            Remedy("or", problem.setting('python = "/path/to/python3.11" (3.7 or later)')),
        ]
    if wanted != "python3":
        return [
            Remedy("try", problem.there(f"command -v {shlex.quote(wanted)}")),
            Remedy("or", problem.setting("leave out python, or correct it,")),
        ]
    steps = [Remedy("try", problem.there("apt-get install -y python3", as_root=True))]
    # It may be there, in a folder that is not on the PATH of a command over ssh.
    if problem.host is not None:
        steps.append(Remedy("or", problem.setting('python = "/path/to/python3"')))
    return steps


def _ghostscript(problem: Problem) -> list[Remedy]:
    wanted = problem.host.ghostscript if problem.host is not None else "gs"
    if problem.report.ghostscript:  # it is there, and too old
        return [
            Remedy("try", problem.there("apt-cache policy ghostscript")),
            Remedy(
                "note",
                "if that shows no candidate from 10.0 on, this release has none: upgrade the host",
            ),
            Remedy("or", problem.setting('install one beside it, and ghostscript = "/path/to/gs"')),
        ]
    if wanted != "gs":
        return [
            Remedy("try", problem.there(f"command -v {shlex.quote(wanted)}")),
            Remedy("or", problem.setting("leave out ghostscript, or correct it,")),
        ]
    steps = [Remedy("try", problem.there("apt-get install -y ghostscript", as_root=True))]
    if problem.host is not None:
        steps.append(Remedy("or", problem.setting('ghostscript = "/path/to/gs"')))
    return steps


def _sandbox(problem: Problem) -> list[Remedy]:
    return [
        Remedy("try", problem.there("apt-get install -y bubblewrap", as_root=True)),
        Remedy("then", problem.there("bwrap --ro-bind / / true")),
        Remedy("or", problem.setting('sandbox = "none"')),
    ]


def _san(problem: Problem) -> list[Remedy]:
    seen = shlex.quote(str(problem.san))
    # Any command that looks at a hanging folder hangs, too.
    command = "findmnt" if "does not answer" in problem.report.reason else f"ls -ld {seen}"
    steps = [Remedy("try", problem.there(command))]
    if problem.host is None:
        return steps
    if problem.host.san is None and problem.own_san not in (None, problem.san):
        note = f"--san {problem.own_san} is for this machine alone; hosts use {problem.san}"
        steps.append(Remedy("note", f"{note}, which is san.path of {problem.file}"))
    return [
        *steps,
        Remedy("or", f"mount the shared folder at {problem.san} on {problem.report.name}"),
        Remedy("or", problem.setting('san = "/where/the/host/sees/it"')),
        Remedy("or", f"{problem.setting('san = false')}: files travel by SFTP"),
    ]


def _files(problem: Problem) -> list[Remedy]:
    return [
        Remedy("try", problem.ssh.sftp()),
        Remedy("then", problem.there("df -h /var/tmp /tmp")),
        Remedy("or", problem.setting('scratch = "/a/folder/with/space"')),
    ]


def _canary(problem: Problem) -> list[Remedy]:
    return [
        Remedy("try", problem.there(f"{problem.host.ghostscript if problem.host else 'gs'} --version")),
        Remedy("note", "install the Ghostscript and the fonts that the other hosts have"),
        Remedy("or", "use it nevertheless: render with --mixed"),
    ]


def _protocol(problem: Problem) -> list[Remedy]:
    if "may not run commands" in problem.report.reason:  # an account without a shell
        return [
            Remedy("try", problem.ssh.ssh("true")),
            Remedy("or", problem.setting('user = "NAME" (a user who has a shell there)')),
        ]
    return [
        # -n: a shell that a start-up file begins would wait for what is typed.
        Remedy("try", problem.ssh.ssh("echo in", "-n")),
        Remedy(
            "note",
            "that has to print the word in, and nothing else; look for exec, exit, read and output in"
            " the start-up file of the shell there (~/.bashrc), and for command= in authorized_keys",
        ),
    ]


def _space(problem: Problem) -> list[Remedy]:
    # Without an expansion: shells differ in what they do with a variable that is not set.
    return [Remedy("try", problem.there("printenv TMPDIR; df -h /tmp"))]


def _clock(problem: Problem) -> list[Remedy]:
    return [Remedy("try", problem.there("timedatectl"))]


def _picture(problem: Problem) -> list[Remedy]:
    program = problem.host.ghostscript if problem.host else "gs"
    return [Remedy("try", problem.there(f"{shlex.quote(program)} -q -dNODISPLAY -c quit"))]


_Find = Callable[[Problem], list[Remedy]]

_BY_REFUSAL: Mapping[str, _Find] = {
    Refusal.NO_ADDRESS.value: _address,
    Refusal.CONFIGURATION.value: _configuration,
    Refusal.UNREACHABLE.value: _unreachable,
    Refusal.HOST_KEY.value: _host_key,
    Refusal.AUTHENTICATION.value: _login,
    Refusal.LIMITS.value: _limits,
    Refusal.SYSTEM.value: _system,
    Refusal.NO_PYTHON.value: _python,
    Refusal.NO_GHOSTSCRIPT.value: _ghostscript,
    Refusal.NO_SANDBOX.value: _sandbox,
    Refusal.SAN.value: _san,
    Refusal.FILES.value: _files,
    DIFFERS: _canary,
    Refusal.PROTOCOL.value: _protocol,
}

_BY_SSH = frozenset(
    each.value
    for each in (
        Refusal.NO_ADDRESS,
        Refusal.CONFIGURATION,
        Refusal.UNREACHABLE,
        Refusal.HOST_KEY,
        Refusal.AUTHENTICATION,
        Refusal.FILES,
        Refusal.PROTOCOL,
    )
)
"""Refusals that only a host reached by ssh can have."""

_BY_CHECK: Mapping[str, _Find] = {"space": _space, "clock": _clock, "picture": _picture}
"""Checks that a usable host may fail: warnings."""
