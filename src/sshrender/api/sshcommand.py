"""Builds the ssh command that reaches a host as the program itself does, for every text that shows it.

The inventory's settings of a host replace those of ssh_config (transports/sshconfig.py), so each of its
keys has an option here. ``HostName`` rather than the address as target: ssh_config may have more to say
of the host's name, as ProxyJump.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sshrender.config.inventory import HostTable

if TYPE_CHECKING:
    from sshrender.transports.sshconfig import Overrides


@dataclass(frozen=True, slots=True)
class SshCommand:
    """The commands of OpenSSH for one host. ``config_file``: of ``--ssh-config``."""

    host: HostTable
    config_file: str | None = None

    def ssh(self, command: str = "", *options: str) -> str:
        """Return an ssh command line; ``command`` is run by the host's shell."""
        host = self.host
        words = ["ssh", *self._common()]
        # Without IdentitiesOnly ssh would offer the agent's keys first.
        if host.identity_file:
            words += ["-i", expanded(host.identity_file), "-o", "IdentitiesOnly=yes"]
        if host.port:
            words += ["-p", str(host.port)]
        words += [*options, self._target()]
        return shlex.join([*words, command] if command else words)

    def sftp(self) -> str:
        """Return an sftp command line that opens a session and ends it."""
        host = self.host
        words = ["sftp", *self._common()]
        if host.identity_file:
            words += ["-i", expanded(host.identity_file), "-o", "IdentitiesOnly=yes"]
        if host.port:
            # sftp has -P where ssh has -p.
            words += ["-P", str(host.port)]
        return shlex.join([*words, self._target()])

    def copy_key(self) -> str:
        """Return an ssh-copy-id command line. Any key or password that works may log in for it."""
        host = self.host
        words = ["ssh-copy-id"]
        if host.identity_file:
            # -f: otherwise it takes a login with any other key for a sign that this key is there.
            words += ["-f", "-i", expanded(host.identity_file)]
        if host.port:
            words += ["-p", str(host.port)]
        return shlex.join([*words, *self._common(), self._target()])

    def resolved(self) -> str:
        """Return the command that shows what ssh_config says of the host."""
        host = self.host
        words = ["ssh", "-G"]
        if self.config_file:
            words += ["-F", expanded(self.config_file)]
        if host.user:
            words += ["-l", host.user]
        if host.port:
            words += ["-p", str(host.port)]
        return shlex.join([*words, host.name])

    def _common(self) -> list[str]:
        words = ["-F", expanded(self.config_file)] if self.config_file else []
        if self.host.known_hosts:
            # The value is a list of files with spaces between (ssh_config(5)): quotes keep one together.
            file = expanded(self.host.known_hosts)
            words += [
                "-o",
                f'UserKnownHostsFile="{file}"' if " " in file else f"UserKnownHostsFile={file}",
            ]
        # An address that is the name itself needs no option.
        if self.host.address and self.host.address != self.host.name:
            words += ["-o", f"HostName={self.host.address}"]
        return words

    def _target(self) -> str:
        return f"{self.host.user}@{self.host.name}" if self.host.user else self.host.name


def overrides_of(host: HostTable, config_file: str | None) -> Overrides:
    """Return what the inventory says of a host, which replaces what ssh_config says."""
    from sshrender.transports.sshconfig import Overrides

    return Overrides(
        address=host.address,
        port=host.port,
        user=host.user,
        identity_file=host.identity_file,
        known_hosts=host.known_hosts,
        host_key=host.host_key,
        config_file=config_file,
        client=host.transport,
    )


def expanded(path: str) -> str:
    """Return a path without ``~``, which ssh-keygen takes literally and a shell, when quoted, too."""
    try:
        return str(Path(path).expanduser())
    # The path then stays as it is, and the error of the command names it.
    except RuntimeError:  # ~ of an unknown user
        return path
