"""Reads a host's settings from ssh_config by ``ssh -G``, which honours Include, Match and all else.

paramiko's own parser ignores Include, so it is not used.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sshrender.transports.interface import ConnectFailed, Refusal

STRICT, ACCEPT_NEW = "strict", "accept-new"

_DEFAULT_IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa")
_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Overrides:
    """Settings of the inventory that replace those of ssh_config; None: not set there."""

    address: str | None = None
    port: int | None = None
    user: str | None = None
    identity_file: str | None = None
    known_hosts: str | None = None
    host_key: str | None = None
    config_file: str | None = None


@dataclass(frozen=True, slots=True)
class SshSettings:
    """How to reach one host. Paths are expanded; ``proxy_command`` has its tokens replaced.

    ``identities``: every identity file that is named; ``identity_files``: those that are there.
    ``agent_socket``: of this host's agent; None: there is none.
    """

    name: str
    hostname: str
    port: int = 22
    user: str | None = None
    identity_files: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    identities_only: bool = False
    uses_agent: bool = True
    agent_socket: str | None = None
    known_hosts: tuple[str, ...] = ()
    alias: str | None = None
    host_key: str = STRICT
    proxy_jump: str | None = None
    proxy_command: str | None = None
    config_file: str | None = None

    @property
    def known_name(self) -> str:
        """The name under which known_hosts has this host (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
        if self.alias is not None:
            return self.alias
        return self.hostname if self.port == 22 else f"[{self.hostname}]:{self.port}"


def resolve(name: str, overrides: Overrides | None = None) -> SshSettings:
    """Ask ``ssh -G`` about a host. Raises ConnectFailed when the configuration is broken."""
    overrides = overrides or Overrides()
    try:
        settings = parse(name, _ask_ssh(name, overrides))
        return _apply(replace(settings, config_file=overrides.config_file), overrides)
    except (ValueError, RuntimeError) as error:
        # Values that no host, file or number can have: a NUL, a port in words, ~ of an unknown user.
        raise ConnectFailed(Refusal.CONFIGURATION, f"ssh_config of {name}: {error}") from None


def _ask_ssh(name: str, overrides: Overrides) -> str:
    command = ["ssh", "-G"]
    if overrides.config_file is not None:
        command += ["-F", str(Path(overrides.config_file).expanduser())]
    if overrides.user is not None:
        command += ["-l", overrides.user]
    if overrides.port is not None:
        command += ["-p", str(overrides.port)]
    try:
        answer = subprocess.run(
            [*command, "--", name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=_TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        return ""  # without OpenSSH's client there is no ssh_config to read
    except subprocess.TimeoutExpired:
        reason = f"ssh -G {name} does not end within {_TIMEOUT:g} s"
        raise ConnectFailed(Refusal.CONFIGURATION, reason) from None
    if answer.returncode != 0:
        lines = answer.stderr.strip().splitlines() or ["it failed"]
        raise ConnectFailed(Refusal.CONFIGURATION, f"ssh -G {name}: {lines[-1]}")
    return answer.stdout


def parse(name: str, text: str) -> SshSettings:
    """Return the settings in the output of ``ssh -G``: one per line, keywords in lower case.

    Raises ValueError or RuntimeError for values that are no port or no path.
    """
    values: dict[str, list[str]] = {}
    for line in text.split("\n"):  # splitlines() would also split where a value holds U+0085
        key, _, value = line.partition(" ")
        values.setdefault(key.lower(), []).append(value)
    hostname = _first(values, "hostname") or name
    port = int(_first(values, "port") or 22)
    user = _first(values, "user")
    tokens = {"%": "%", "h": hostname, "p": str(port), "r": user or "", "n": name}
    agent = _agent(_first(values, "identityagent"), {**tokens, "d": str(Path.home())})
    identities = _identities(values.get("identityfile"))
    return SshSettings(
        name=name,
        hostname=hostname,
        port=port,
        user=user,
        identity_files=_existing(identities),
        identities=identities,
        identities_only=_first(values, "identitiesonly") in ("yes", "true"),
        uses_agent=agent is not None,
        agent_socket=agent,
        known_hosts=_known_hosts(values),
        alias=_first(values, "hostkeyalias"),
        host_key=_host_key(_first(values, "stricthostkeychecking")),
        proxy_jump=_unless_none(_first(values, "proxyjump")),
        proxy_command=_expand(_unless_none(_first(values, "proxycommand")), tokens),
    )


def _first(values: Mapping[str, list[str]], key: str) -> str | None:
    found = values.get(key)
    return found[0] if found and found[0] else None


def _unless_none(value: str | None) -> str | None:
    return None if value is None or value.lower() == "none" else value


def _identities(listed: list[str] | None) -> tuple[str, ...]:
    paths = listed or [f"~/.ssh/{name}" for name in _DEFAULT_IDENTITIES]
    return tuple(str(Path(path.strip('"')).expanduser()) for path in paths)


def _existing(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the files that exist and are no public keys, which only the agent can use."""
    return tuple(path for path in paths if Path(path).is_file() and not path.endswith(".pub"))


def _agent(value: str | None, tokens: Mapping[str, str]) -> str | None:
    """Return the socket that IdentityAgent names (ssh_config(5)); None: no agent is used."""
    if value is None or value == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK") or None
    if value.lower() == "none":
        return None
    if value.startswith("$") and os.sep not in value:
        return os.environ.get(value.strip("${}")) or None
    expanded = _expand(value.strip('"'), tokens) or ""
    return str(Path(expanded).expanduser())


def _known_hosts(values: Mapping[str, list[str]]) -> tuple[str, ...]:
    user = _first(values, "userknownhostsfile") or "~/.ssh/known_hosts ~/.ssh/known_hosts2"
    shared = _first(values, "globalknownhostsfile") or "/etc/ssh/ssh_known_hosts"
    files = f"{user} {shared}".split()
    return tuple(str(Path(file).expanduser()) for file in files if file != "none")


def _host_key(checking: str | None) -> str:
    """Return how unknown keys are treated: ``ask`` as strict; ``no`` still refuses a changed key."""
    return ACCEPT_NEW if checking in ("accept-new", "no", "off", "false") else STRICT


def _expand(command: str | None, tokens: Mapping[str, str]) -> str | None:
    if command is None:
        return None
    parts = command.split("%")
    text = parts[0]
    rest = iter(parts[1:])
    for part in rest:
        if part == "":  # "%%"
            text += "%" + next(rest, "")
        else:
            text += tokens.get(part[0], "%" + part[0]) + part[1:]
    return text


def _apply(settings: SshSettings, overrides: Overrides) -> SshSettings:
    changes: dict[str, object] = {}
    if overrides.address is not None:
        changes["hostname"] = overrides.address
    if overrides.port is not None:
        changes["port"] = overrides.port
    if overrides.user is not None:
        changes["user"] = overrides.user
    if overrides.identity_file is not None:
        files = _identity_file(settings.name, overrides.identity_file)
        # This key alone. If it has a passphrase, an agent may have it: ssh asks that, too.
        changes.update(identity_files=files, identities=files, identities_only=True)
    if overrides.known_hosts is not None:
        changes["known_hosts"] = (str(Path(overrides.known_hosts).expanduser()),)
    if overrides.host_key is not None:
        changes["host_key"] = overrides.host_key
    return replace(settings, **changes)  # type: ignore[arg-type]


def _identity_file(name: str, file: str) -> tuple[str, ...]:
    found = _existing(_identities([file]))
    if not found:
        raise ConnectFailed(Refusal.CONFIGURATION, f"the identity file {file} of {name} does not exist")
    return found
