"""Chooses the client for each host: Fabric, or OpenSSH's own where ssh_config needs it."""

from __future__ import annotations

import shutil

from sshrender.transports import payload, sshconfig
from sshrender.transports.interface import ConnectFailed, Link, Refusal, RunnerSpec
from sshrender.transports.sshconfig import Overrides, SshSettings

AUTO, FABRIC, OPENSSH = "auto", "fabric", "openssh"
"""The values of the inventory's ``transport``."""


class ChosenTransport:
    """Reaches one host of the inventory with the client that fits, or that the inventory names."""

    def __init__(self, name: str, overrides: Overrides) -> None:
        self._name = name
        self._overrides = overrides
        self._chosen = overrides.client or AUTO

    def connect(self, spec: RunnerSpec, timeout: float) -> Link:
        """See Transport.connect."""
        settings = sshconfig.resolve(self._name, self._overrides)
        if self._uses_openssh(settings):
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
        from sshrender.transports.ssh import SshTransport

        return SshTransport(settings).connect(spec, timeout)

    def command_line(self, python: str, label: str) -> list[str]:
        """See Transport.command_line."""
        return [*sshconfig.command_line(self._name, self._overrides), payload.command(python, label)]

    def _uses_openssh(self, settings: SshSettings) -> bool:
        """Decide. Raises ConnectFailed for what the chosen client cannot do."""
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
            cause = f'transport = "{FABRIC}"' if self._chosen == FABRIC else "a machine without ssh"
            reason = f"{cause} cannot honour {', '.join(wanted)} of ssh_config"
            raise ConnectFailed(Refusal.CONFIGURATION, reason)
        return True
