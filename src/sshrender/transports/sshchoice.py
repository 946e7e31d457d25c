"""Chooses the client for each host: Fabric, or OpenSSH's own if ssh_config or the host needs it."""

from __future__ import annotations

import shutil

from sshrender.transports import payload, sshconfig
from sshrender.transports.interface import (
    ConnectFailed,
    Link,
    NoCommonAlgorithm,
    Refusal,
    RunnerSpec,
)
from sshrender.transports.sshconfig import Overrides, SshSettings
from sshrender.transports.startwatch import TestedLink, WatchedLink

AUTO, FABRIC, OPENSSH = "auto", "fabric", "openssh"
"""The values of the inventory's ``transport``."""


class ChosenTransport:
    """Reaches one host of the inventory with the client that fits, or that the inventory names."""

    def __init__(self, name: str, overrides: Overrides) -> None:
        self._name = name
        self._overrides = overrides
        self._chosen = overrides.client or AUTO
        self._is_incompatible = False

    def connect(self, spec: RunnerSpec, timeout: float) -> Link:
        """See Transport.connect."""
        return WatchedLink(self._connect(spec, timeout), spec)

    def _connect(self, spec: RunnerSpec, timeout: float) -> TestedLink:
        settings = sshconfig.resolve(self._name, self._overrides)
        if self._is_incompatible or self._uses_openssh(settings):
            return self._connect_openssh(settings, spec, timeout)
        from sshrender.transports.fabricssh import FabricTransport

        try:
            return FabricTransport(settings).connect(spec, timeout)
        except NoCommonAlgorithm as failed:
            # paramiko lacks some algorithms of OpenSSH, to which an administrator may have limited sshd.
            if self._chosen == FABRIC or shutil.which("ssh") is None:
                reason = f"{failed.reason}; {_lack(self._chosen)} keeps OpenSSH's client from being used"
                raise ConnectFailed(failed.refusal, reason) from None
        self._is_incompatible = True
        return self._connect_openssh(settings, spec, timeout)

    def _connect_openssh(self, settings: SshSettings, spec: RunnerSpec, timeout: float) -> TestedLink:
        from sshrender.transports.openssh import OpensshTransport

        try:
            return OpensshTransport(self._name, self._overrides).connect(spec, timeout)
        except ConnectFailed as failed:
            # Only a failed login is explained by keys that cannot be used.
            if failed.refusal is not Refusal.AUTHENTICATION:
                raise
            from sshrender.transports.sshlogin import unusable

            reason = "; ".join([failed.reason, *unusable(settings)])
            raise ConnectFailed(failed.refusal, reason) from None

    def command_line(self, python: str, label: str) -> list[str]:
        """See Transport.command_line."""
        return [*sshconfig.command_line(self._name, self._overrides), payload.command(python, label)]

    def _uses_openssh(self, settings: SshSettings) -> bool:
        """Decide. Raises ConnectFailed if the chosen client cannot do what the settings ask for."""
        # A jump host may need OpenSSH's client although the host behind it does not.
        passed = [settings, *sshconfig.route(settings)]
        # Decided by the inventory: no keyword is looked at.
        if self._chosen == OPENSSH:
            return True
        wanted = sorted({each for host in passed for each in host.openssh_only})
        if not wanted:
            return False
        # Not honouring a keyword could weaken the connection, such as Ciphers, so the host is refused.
        if self._chosen == FABRIC or shutil.which("ssh") is None:
            reason = f"{_lack(self._chosen)} cannot honour {', '.join(wanted)} of ssh_config"
            raise ConnectFailed(Refusal.CONFIGURATION, reason)
        return True


def _lack(chosen: str) -> str:
    """Return in words why OpenSSH's client is not there to be used."""
    return f'transport = "{FABRIC}"' if chosen == FABRIC else "a machine without ssh"
