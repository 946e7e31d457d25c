"""Reads a host's settings from ssh_config by ``ssh -G``, which honours Include, Match and all else.

paramiko's own parser ignores Include, so it is not used.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import paramiko

from sshrender.transports import knownhosts, sshagent, sshkeywords, sshtokens
from sshrender.transports.interface import ConnectFailed, Refusal

STRICT, ACCEPT_NEW = "strict", "accept-new"

_DEFAULT_IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa")
_TIMEOUT = 10.0

MAX_JUMPS = 16
"""Hosts on the way to one host, beyond which the configuration is taken for a circle."""


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
    # The client that is given by the inventory's ``transport`` is no option of ssh, so options() leaves
    # it out.
    client: str | None = None
    """The client that connects (transports/sshchoice.py)."""


@dataclass(frozen=True, slots=True)
class SshSettings:
    """The access to one host. Paths are expanded; ``proxy_command`` has its tokens replaced.

    ``identities``: every identity file that is named; ``identity_files``: those that are there.
    ``agent_socket``: of this host's agent; None: there is none. ``openssh_only``: what the configuration
    asks for and only OpenSSH's own client can do.
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
    hash_known_hosts: bool = False
    openssh_only: tuple[str, ...] = ()

    @property
    def known_name(self) -> str:
        """The name under which known_hosts has this host (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
        if self.alias is not None:
            return self.alias
        return self.hostname if self.port == 22 else f"[{self.hostname}]:{self.port}"


def resolve(name: str, overrides: Overrides | None = None) -> SshSettings:
    """Ask ``ssh -G`` about a host. Raises ConnectFailed when the configuration is broken."""
    overrides = overrides or Overrides()
    # ssh resolves these from the values above before it prints them; what it leaves is replaced by
    # sshtokens.
    try:
        settings = parse(name, _ask_ssh(name, overrides))
        return _apply(replace(settings, config_file=overrides.config_file), overrides)
    except (ValueError, RuntimeError) as error:
        # Values that no host, file or number can have: a NUL, a port in words, ~ of an unknown user.
        raise ConnectFailed(Refusal.CONFIGURATION, f"ssh_config of {name}: {error}") from None


def command_line(name: str, overrides: Overrides) -> list[str]:
    """Return the words of OpenSSH's command that reaches the host with the inventory's settings."""
    return ["ssh", *options(overrides), "--", name]


def options(overrides: Overrides) -> list[str]:
    """Return the options of ssh(1) for the settings of the inventory."""
    known_hosts = overrides.known_hosts and _literal(str(Path(overrides.known_hosts).expanduser()))
    # ``-F`` reads this file instead of both the user's and the system's (ssh(1)).
    given = (
        ("-F", overrides.config_file and Path(overrides.config_file).expanduser()),
        ("-l", overrides.user),
        ("-p", overrides.port),
        ("-i", overrides.identity_file and Path(overrides.identity_file).expanduser()),
        # Without it ssh would offer every key of the agent first, and MaxAuthTries could end the login.
        ("-o", overrides.identity_file and "IdentitiesOnly=yes"),
        ("-o", known_hosts and f'UserKnownHostsFile="{known_hosts}"'),
        # The inventory's file is the only source of keys; the machine's own list would accept others.
        ("-o", known_hosts and "GlobalKnownHostsFile=/dev/null"),
        ("-o", overrides.host_key and f"StrictHostKeyChecking={_as_openssh(overrides.host_key)}"),
        ("-o", overrides.address and f"HostName={_literal(overrides.address)}"),
    )
    # ``--`` comes from the caller; values stand in words of their own, so no shell splits them.
    return [word for flag, value in given if value for word in (flag, str(value))]


def _literal(text: str) -> str:
    """Return a value in which ssh finds no token."""
    return text.replace("%", "%%")


def _as_openssh(host_key: str) -> str:
    """Return the value of StrictHostKeyChecking (ssh_config(5)) for ``host_key`` of the inventory."""
    return "accept-new" if host_key == ACCEPT_NEW else "yes"


_ERROR_OF_A_LINE = re.compile(r" line \d+: (?!Deprecated|Unsupported)")
"""A message of ssh about a line of the configuration, other than its warnings (readconf.c)."""

_NO_FORK = "Cannot fork into background"
"""The error of ssh if ForkAfterAuthentication is set without a command, even with -G (ssh.c)."""


@functools.cache
def client_version() -> tuple[int, int]:
    """Return the release of OpenSSH's client here, as (9, 2); (0, 0): there is none, or another one."""
    try:
        answer = subprocess.run(
            ["ssh", "-V"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    found = re.search(r"OpenSSH_(?:for_Windows_)?(\d+)\.(\d+)", answer.stderr + answer.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _ask_ssh(name: str, overrides: Overrides, *words: str) -> str:
    """Return what ``ssh -G`` prints; ``words``: further options. Raises ConnectFailed."""
    command = ["ssh", "-G", *words]
    if overrides.config_file is not None:
        command += ["-F", str(Path(overrides.config_file).expanduser())]
    if overrides.user is not None:
        command += ["-l", overrides.user]
    if overrides.port is not None:
        command += ["-p", str(overrides.port)]
    if overrides.address is not None:
        # The options of ssh(1) override the file, so that ``Match user`` and ``%h`` see the inventory's
        # values. ssh replaces tokens in it, and others contain it (%h).
        command += ["-o", f"HostName={overrides.address.replace('%', '%%')}"]
    try:
        answer = subprocess.run(
            [*command, "--", name],
            stdin=subprocess.DEVNULL,
            # surrogateescape: a path may hold bytes that are no UTF-8, and has to be opened by the same
            # bytes.
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
    if answer.returncode != 0 and _NO_FORK in answer.stderr and not words:
        return _ask_ssh(name, overrides, "-o", "ForkAfterAuthentication=no")
    if answer.returncode != 0:
        # Warnings come before the error, and after errors of lines how many there were.
        lines = answer.stderr.strip().splitlines() or ["it failed"]
        said = next((line for line in lines if _ERROR_OF_A_LINE.search(line)), lines[-1])
        raise ConnectFailed(Refusal.CONFIGURATION, f"ssh -G {name}: {said}")
    return answer.stdout


def parse(name: str, text: str) -> SshSettings:
    """Return the settings in the output of ``ssh -G``: one per line, keywords in lower case.

    Raises ValueError or RuntimeError for values that are no port or no path.
    """
    # Each keyword may come several times (identityfile); for those that hold one value the first counts.
    values = sshkeywords.parse(text)
    hostname = _first(values, "hostname") or name
    port = int(_first(values, "port") or 22)
    user = _first(values, "user")
    jump = _unless_none(_first(values, "proxyjump"))
    command = _unless_none(_first(values, "proxycommand"))
    alias = _first(values, "hostkeyalias")
    tokens = sshtokens.tokens(name, hostname, port, user, jump, alias)
    agent = _agent(_first(values, "identityagent"), tokens)
    identities = _identities(values.get("identityfile"), tokens)
    return SshSettings(
        name=name,
        hostname=hostname,
        port=port,
        user=user,
        identity_files=_existing(identities),
        # Both lists: the agent may hold the key of a file that is missing here.
        identities=identities,
        identities_only=_first(values, "identitiesonly") in ("yes", "true"),
        uses_agent=agent is not None,
        agent_socket=agent,
        known_hosts=_known_hosts(values, tokens),
        alias=alias,
        host_key=_host_key(_first(values, "stricthostkeychecking")),
        proxy_jump=jump,
        # The shell that runs it replaces variables.
        proxy_command=None if command is None else sshtokens.replace_tokens(command, tokens),
        hash_known_hosts=_first(values, "hashknownhosts") in ("yes", "true"),
        openssh_only=_openssh_only(values, identities),
    )


def _first(values: Mapping[str, list[str]], key: str) -> str | None:
    found = values.get(key)
    return found[0] if found and found[0] else None


def _unless_none(value: str | None) -> str | None:
    return None if value is None or value.lower() == "none" else value


def _identities(listed: list[str] | None, tokens: Mapping[str, str]) -> tuple[str, ...]:
    # ``ssh -G`` prints its defaults, so these count only on a machine without OpenSSH's client.
    paths = listed or [f"~/.ssh/{name}" for name in _DEFAULT_IDENTITIES]
    # A value of ssh_config that is the word ``none`` switches the default identities off.
    return tuple(sshtokens.path(path, tokens) for path in paths if path != "none")


def _existing(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the files that exist and are no public keys, which only the agent can use.

    One in a folder that cannot be searched is among them: the login says that it cannot be read.
    """
    return tuple(path for path in paths if _is_there(path) and not path.endswith(".pub"))


def _is_there(path: str) -> bool:
    try:
        return Path(path).is_file()
    except PermissionError:
        return True


def _openssh_only(values: sshkeywords.Values, identities: Iterable[str]) -> tuple[str, ...]:
    """Return what asks for OpenSSH's own client: keywords, and keys that are held by a security key."""
    kinds = (paramiko.Message(blob).get_binary() for blob in sshagent.public_keys(identities))
    has_security_key = any(kind.startswith(b"sk-") for kind in kinds)
    return (*sshkeywords.needing_openssh(values), *(["a security key"] if has_security_key else []))


def _agent(value: str | None, tokens: Mapping[str, str]) -> str | None:
    """Return the socket that IdentityAgent names (ssh_config(5)); None: no agent is used."""
    # SSH_AUTH_SOCK as a value means the variable of that name, as does no value at all.
    if value is None or value == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK") or None
    if value.lower() == "none":
        return None
    # ``$NAME`` and ``${NAME}`` (ssh_config(5)). A path that begins with a variable has a separator and
    # continues below.
    if value.startswith("$") and os.sep not in value:
        return os.environ.get(value.strip("${}")) or None
    return sshtokens.path(value, tokens)


def _known_hosts(values: Mapping[str, list[str]], tokens: Mapping[str, str]) -> tuple[str, ...]:
    # The defaults of ssh_config(5), for a machine without OpenSSH's client.
    user = _first(values, "userknownhostsfile") or "~/.ssh/known_hosts ~/.ssh/known_hosts2"
    shared = _first(values, "globalknownhostsfile") or "/etc/ssh/ssh_known_hosts"
    listed = (
        *(("UserKnownHostsFile", file) for file in sshtokens.paths(user)),
        *(("GlobalKnownHostsFile", file) for file in sshtokens.paths(shared)),
    )
    found = [(key, sshtokens.path(file, tokens)) for key, file in listed if file != "none"]
    return tuple(_whole(found))


def _whole(listed: list[tuple[str, str]]) -> Iterator[str]:
    """Yield the files that ``ssh -G`` names: a name with a space has lost its quotes.

    The pieces that together name an existing file are one. Raises ValueError if a piece is left that is
    no path: ssh would read a file that is not known here.
    """
    at = 0
    while at < len(listed):
        key, name = listed[at]
        end = at + 1
        if not Path(name).exists():
            # The longest run of pieces first: a shorter one could be the name of another file.
            for until in range(len(listed), at + 1, -1):
                joined = " ".join(piece for _, piece in listed[at:until])
                # The files of the user and of the machine are two options, and a name never spans both.
                if listed[until - 1][0] == key and Path(joined).exists():
                    name, end = joined, until
                    break
        # The first piece of an option may be relative. A later one that is relative is the rest of a
        # name with a space.
        is_continued = at > 0 and listed[at - 1][0] == key
        if is_continued and not Path(name).is_absolute() and not Path(name).exists():
            raise ValueError(f"{key} names a file with a space, which does not exist: … {name}")
        yield name
        at = end


def _host_key(checking: str | None) -> str:
    """Return how unknown keys are treated: ``ask`` as strict; ``no`` still refuses a changed key."""
    # ``no`` accepts a new key and, unlike ssh, never continues with a changed one.
    return ACCEPT_NEW if checking in ("accept-new", "no", "off", "false") else STRICT


def _apply(settings: SshSettings, overrides: Overrides) -> SshSettings:
    changes: dict[str, object] = {}
    if overrides.address is not None:
        changes["hostname"] = overrides.address
    if overrides.port is not None:
        changes["port"] = overrides.port
    if overrides.user is not None:
        changes["user"] = overrides.user
    if overrides.identity_file is not None:
        file = _identity_file(settings.name, overrides.identity_file)
        # An agent may hold the key of a file with a passphrase, or of a public key; none but this one.
        changes.update(identities=(file,), identity_files=_existing([file]), identities_only=True)
    if overrides.known_hosts is not None:
        changes["known_hosts"] = (str(Path(overrides.known_hosts).expanduser()),)
    if overrides.host_key is not None:
        changes["host_key"] = overrides.host_key
    applied = replace(settings, **changes)  # type: ignore[arg-type]  # a dict of several types
    # After the overrides, because the inventory's known_hosts decides which lines count.
    if knownhosts.has_authority(applied.known_hosts, applied.known_name):
        applied = replace(applied, openssh_only=(*applied.openssh_only, "@cert-authority"))
    return applied


def _identity_file(name: str, file: str) -> str:
    """Return the path of the inventory's identity file. Raises ConnectFailed."""
    path = str(Path(file).expanduser())
    if not _is_there(path):
        raise ConnectFailed(Refusal.CONFIGURATION, f"the identity file {file} of {name} does not exist")
    return path


def route(settings: SshSettings) -> list[SshSettings]:
    """Return the settings of the jump hosts to a host, as ssh_config has them, nearest to it first.

    Raises ConnectFailed when they form a circle, in which OpenSSH's client starts processes without end.
    """
    # The invariant of the loop: ``names`` holds every host whose own jumps are used. One that is met
    # again makes a circle.
    passed: list[SshSettings] = []
    names = [settings.name]
    current = settings
    while chain := jumps(current):
        # The first host of a chain is reached as ssh_config says of it. Each of the others is reached
        # through the one before, and its own jumps are not used (ssh_config(5), ProxyJump).
        first = destination(chain[0])[1]
        if first in names or len(passed) + len(chain) > MAX_JUMPS:
            circle = " → ".join([*names, first])
            raise ConnectFailed(Refusal.CONFIGURATION, f"the jump hosts form a circle: {circle}")
        names.append(first)
        for text in reversed(chain):
            user, name, port = destination(text)
            overrides = Overrides(user=user, port=port, config_file=settings.config_file)
            passed.append(resolve(name, overrides))
        current = passed[-1]
    return passed


def jumps(settings: SshSettings) -> list[str]:
    """Return the jump hosts of one host, the first to connect to first."""
    if settings.proxy_jump is None:
        return []
    chain = [part.strip() for part in settings.proxy_jump.split(",")]
    # "Host *" may name the jump host as its own; releases of ssh that allow that connect directly.
    return [] if destination(chain[-1])[1] == settings.name else chain


def destination(text: str) -> tuple[str | None, str, int | None]:
    """Split ``user@host:port``, also as ``ssh://user@[::1]:22``, into user, host and port."""
    # The form of a URI is allowed by ssh_config(5), ProxyJump.
    rest = text.removeprefix("ssh://").rstrip("/")
    # rpartition: a user's name may contain ``@``, as those of some directories do; a host's name may
    # not.
    user, at, rest = rest.rpartition("@")
    # Brackets hold an IPv6 address, whose colons are no separator of a port.
    if rest.startswith("["):
        host, _, tail = rest[1:].partition("]")
        port = tail.removeprefix(":")
    else:
        host, _, port = rest.partition(":")
    return (user if at else None), host, (int(port) if port else None)
