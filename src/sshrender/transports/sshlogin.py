"""Logs in with the keys that ssh(1) would offer, in its order, and never asks for anything.

paramiko's own login reports the last error alone, which for a refused RSA key is the error of reading
that key as another type. It also prompts on the terminal when a host wants a second factor.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import paramiko

from sshrender.transports import sshagent
from sshrender.transports.sshconfig import SshSettings

MAX_BANNER = 200
"""Characters of a line of the host that are shown."""


class LoginFailed(paramiko.AuthenticationException):  # type: ignore[misc]  # paramiko has no types
    """No key is accepted; the text names the keys that were tried."""


class Login:
    """Authenticates one connection: the auth_strategy of paramiko's SSHClient.connect."""

    def __init__(self, settings: SshSettings) -> None:
        self._settings = settings
        self._offered: set[bytes] = set()
        self._unusable: list[str] = []
        """The reasons why identity files could not be used."""

    def authenticate(self, transport: paramiko.Transport) -> list[str]:
        """Offer keys until one is accepted. Raises LoginFailed."""
        settings = self._settings
        # None: every key may be offered. An empty set: none may.
        only = sshagent.public_keys(settings.identities) if settings.identities_only else None
        agent = sshagent.HostAgent(settings.agent_socket if settings.uses_agent else None, only)
        try:
            return self._offer(transport, agent)
        finally:
            agent.close()

    def _offer(self, transport: paramiko.Transport, agent: sshagent.HostAgent) -> list[str]:
        user = self._settings.user or ""
        for key in self._keys(agent):
            # Noted before the answer: _closed() reports how many keys a host had been offered when it
            # hung up.
            self._offered.add(key.asbytes())
            try:
                # An empty list means that the login is complete; else it names the methods that have to
                # follow.
                further: list[str] = transport.auth_publickey(user, key)
            except paramiko.BadAuthenticationType as error:
                methods = ", ".join(error.allowed_types) or "none"
                raise LoginFailed(f"it accepts no keys (it offers: {methods})") from None
            except (paramiko.SSHException, EOFError) as error:
                # sshd closes the connection after MaxAuthTries keys; paramiko calls that a failed login,
                # or any other broken connection.
                if not transport.is_active():
                    raise LoginFailed(self._closed(transport)) from None
                # A broken session is not a refused key: open_connection() reports it as unreachable.
                if not isinstance(error, paramiko.AuthenticationException):
                    raise
                continue
            if further:
                raise LoginFailed(
                    f"it wants a second factor ({', '.join(further)}), which needs a person"
                )
            return further
        raise LoginFailed(self._nothing_accepted() + _banner(transport))

    def _keys(self, agent: sshagent.HostAgent) -> Iterator[paramiko.PKey]:
        """Yield the agent's keys that the configuration names, its other keys, then files (ssh(1))."""
        # Which keys are named does not depend on IdentitiesOnly: named ones are offered first in any
        # case.
        named = sshagent.public_keys(self._settings.identities)
        # False sorts before True, and sorted() keeps the agent's order otherwise.
        yield from sorted(agent.get_keys(), key=lambda key: not named & {key.blob, key.asbytes()})
        for file in self._settings.identity_files:
            # MaxAuthTries of sshd is 6: a key that is offered twice uses up two of them.
            if sshagent.public_keys([file]) & self._offered:
                continue  # the agent has it; the file may need a passphrase
            key = self._load(file)
            if key is None:
                continue
            if key.public_blob is not None:  # its certificate, which the host may not trust
                yield key
                key.public_blob = None
            yield key

    def _load(self, file: str) -> paramiko.PKey | None:
        """Return the key in a file; None, with the reason noted, if it cannot be used."""
        key = _loaded(file)
        if isinstance(key, str):
            self._unusable.append(key)
            return None
        return key

    def _closed(self, transport: paramiko.Transport) -> str:
        count = len(self._offered)
        # One key: too many keys cannot be the reason, so the hint at IdentitiesOnly would mislead.
        if count == 1:
            return "it closed the connection during the login" + _banner(transport)
        return (
            f"it closed the connection after {count} keys"
            " (IdentitiesOnly yes and IdentityFile in ssh_config offer only the right one)"
        )

    def _nothing_accepted(self) -> str:
        whom = f"user {self._settings.user}" if self._settings.user else "this user"
        if self._offered:
            what = f"it accepts none of our keys for {whom}"
        else:
            what = "there is no key to log in with"
        return "; ".join([what, *self._unusable])


def _loaded(file: str) -> paramiko.PKey | str:
    """Return the key in a file, or why it cannot be used."""
    path = Path(file)
    if sshagent.is_too_open(path):  # ssh(1) ignores the key then, and says so
        mode, typed = f"{path.stat().st_mode & 0o7777:04o}", shlex.join(["chmod", "600", file])
        return f"permissions {mode} for {file} are too open ({typed})"
    try:
        return paramiko.PKey.from_path(file)
    except OSError as error:
        return f"{file}: {error.strerror}"
    except (paramiko.PasswordRequiredException, TypeError):
        # TypeError is what the cryptography library raises for a missing passphrase.
        return f"the identity file {file} needs a passphrase (ssh-add {file})"
    except (paramiko.SSHException, paramiko.UnknownKeyType, ValueError):
        return f"{file} is no private key that can be read"


def unusable(settings: SshSettings) -> list[str]:
    """Return why identity files cannot be used; without a terminal ssh(1) skips them in silence."""
    agent = sshagent.HostAgent(settings.agent_socket if settings.uses_agent else None, None)
    try:
        held = {blob for key in agent.get_keys() for blob in (key.blob, key.asbytes())}
    finally:
        agent.close()
    # The agent needs no passphrase for a key that it holds, so such a file is not reported.
    files = [file for file in settings.identity_files if not sshagent.public_keys([file]) & held]
    return [why for file in files if isinstance(why := _loaded(file), str)]


def _banner(transport: paramiko.Transport) -> str:
    """Return the last line that the host showed before the login: it often says why it refuses."""
    # A banner is text of the host before the login: its length is bounded here, its packet by sshlimits.
    lines = (transport.get_banner() or b"").decode("utf-8", "replace").strip().splitlines()
    return f": {lines[-1][:MAX_BANNER]}" if lines else ""
