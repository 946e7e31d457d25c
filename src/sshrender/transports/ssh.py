"""SSH by Fabric: one connection and one channel a host, every wait bounded, every key checked."""

from __future__ import annotations

import logging
import socket
import threading
import time
from pathlib import Path
from typing import Any

import fabric
import paramiko

from sshrender.transports import knownhosts, payload, sshagent, sshconfig
from sshrender.transports.protocol import ConnectFailed, Link, LinkClosed, Refusal, RunnerSpec
from sshrender.transports.sftp import SftpFiles
from sshrender.transports.sshconfig import ACCEPT_NEW, Overrides, SshSettings
from sshrender.transports.sshlimits import BoundedTransport

# What goes wrong on a connection is a verdict on its host. paramiko's threads would print it as well,
# with a traceback, to a stderr that is not theirs.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False


class HostKeyRefused(paramiko.SSHException):  # type: ignore[misc]  # paramiko has no types
    """The host's key is not one that we accept."""


class KnownHostsPolicy(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Meets every key that paramiko has no record of. It has none of a host that is unknown."""

    def __init__(self, settings: SshSettings, known: list[knownhosts.KnownKey]) -> None:
        self._settings = settings
        self._known = known

    def missing_host_key(self, _client: paramiko.SSHClient, _hostname: str, key: paramiko.PKey) -> None:
        """Accept a new host where the user chose that; refuse everything else."""
        shown = knownhosts.fingerprint(key.asbytes())
        check_revoked(self._known, key)
        if self._known:
            raise HostKeyRefused(
                f"its {key.get_name()} key {shown} is not the one in {self._known[0].where}"
            )
        if self._settings.host_key != ACCEPT_NEW:
            raise HostKeyRefused(
                f"its host key {shown} is not known (ssh {self._settings.name} once to accept it,"
                ' or set host_key = "accept-new")'
            )
        for file in self._settings.known_hosts[:1]:  # UserKnownHostsFile none: it is not kept
            knownhosts.remember(Path(file), self._settings.known_name, key)


def check_revoked(known: list[knownhosts.KnownKey], key: paramiko.PKey) -> None:
    """Raise HostKeyRefused for a key that is marked @revoked."""
    for line in known:
        if line.is_revoked and line.blob == key.asbytes():
            raise HostKeyRefused(f"its host key is revoked in {line.where}")


class SshTransport:
    """Reaches one host of the inventory; shares the connections to jump hosts."""

    def __init__(self, name: str, overrides: Overrides | None = None) -> None:
        self._name = name
        self._overrides = overrides or Overrides()

    def connect(self, spec: RunnerSpec, timeout: float) -> Link:
        """See Transport.connect."""
        settings = sshconfig.resolve(self._name, self._overrides)
        connection = open_connection(settings, timeout)
        try:
            link = SshLink(connection, timeout)
            link.start(payload.command(spec.python, spec.label))
            link.write(payload.build(spec.marker, spec.silence), timeout)
        except LinkClosed as closed:
            connection.close()
            refusal = Refusal.NO_PYTHON if closed.has_no_program else Refusal.UNREACHABLE
            raise ConnectFailed(refusal, closed.reason) from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            connection.close()
            raise ConnectFailed(Refusal.UNREACHABLE, f"no session: {error}") from None
        return link


def open_connection(settings: SshSettings, timeout: float, gateway: Any = None) -> fabric.Connection:
    """Connect and authenticate, through ``gateway`` or as ssh_config says. Raises ConnectFailed."""
    known = knownhosts.lookup(settings.known_hosts, settings.known_name)
    connection = _connection(settings, timeout, gateway or _gateway(settings, timeout))
    client: Any = connection.client
    client.set_missing_host_key_policy(KnownHostsPolicy(settings, known))
    if settings.uses_agent:
        client._agent = _agent(settings)
    _enter_known_keys(client, settings, known)
    try:
        if connection.gateway is None:
            connection.connect_kwargs["sock"] = _reach(settings, timeout)
        connection.open()
    except Exception as error:  # noqa: BLE001 - paramiko raises several dozen kinds; each must become a verdict
        connection.close()
        client.close()  # Fabric leaves that out where the other end has closed already
        raise _connect_failed(settings, known, error) from None
    transport: Any = connection.transport
    check = transport.get_remote_server_key()
    try:
        check_revoked(known, check)
    except HostKeyRefused as refused:
        connection.close()
        raise ConnectFailed(Refusal.HOST_KEY, str(refused)) from None
    return connection


def _reach(settings: SshSettings, timeout: float) -> socket.socket:
    """A connected socket that sends at once.

    The handshake, like all that follows, is a talk of short lines. With Nagle's algorithm three of
    them wait 40 ms each for the acknowledgement of the line before (measured against OpenSSH 9.2).
    """
    reached = socket.create_connection((settings.hostname, settings.port), timeout)
    reached.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return reached


def _connection(settings: SshSettings, timeout: float, gateway: Any) -> fabric.Connection:
    return fabric.Connection(
        host=settings.hostname,
        user=settings.user,
        port=settings.port,
        # An empty ssh_config and a lazy Config: Fabric reads no file of its own.
        config=fabric.Config(ssh_config=paramiko.SSHConfig(), lazy=True),
        gateway=gateway,
        forward_agent=False,
        connect_timeout=max(1, round(timeout)),
        connect_kwargs={
            "key_filename": list(settings.identity_files),
            "allow_agent": settings.uses_agent,
            "look_for_keys": False,
            "banner_timeout": timeout,
            "auth_timeout": timeout,
            "channel_timeout": timeout,
            "transport_factory": BoundedTransport,
        },
    )


def _agent(settings: SshSettings) -> sshagent.HostAgent:
    """This host's agent, with the keys that ssh would offer (ssh_config(5), IdentitiesOnly)."""
    only = sshagent.public_keys(settings.identities) if settings.identities_only else None
    return sshagent.HostAgent(settings.agent_socket, only)


def _enter_known_keys(
    client: paramiko.SSHClient, settings: SshSettings, known: list[knownhosts.KnownKey]
) -> None:
    """Tell paramiko the keys on record: it then asks the host for a key of those kinds first."""
    port = settings.port
    name = settings.hostname if port == 22 else f"[{settings.hostname}]:{port}"
    for line in known:
        if line.is_revoked:
            continue
        try:
            key = paramiko.PKey.from_type_string(line.kind, line.blob)
        except (paramiko.SSHException, paramiko.UnknownKeyType, ValueError):
            continue  # a kind of key that paramiko does not know cannot be met either
        client.get_host_keys().add(name, line.kind, key)


def _connect_failed(
    settings: SshSettings, known: list[knownhosts.KnownKey], error: Exception
) -> ConnectFailed:
    """What paramiko raised, as a verdict and in words."""
    if isinstance(error, HostKeyRefused | paramiko.BadHostKeyException):
        return ConnectFailed(Refusal.HOST_KEY, _key_trouble(known, error))
    if isinstance(error, paramiko.AuthenticationException) or "No authentication" in str(error):
        return ConnectFailed(Refusal.AUTHENTICATION, _login_trouble(settings, error))
    if isinstance(error, socket.gaierror):
        return ConnectFailed(Refusal.NO_ADDRESS, f"no address is known for {settings.hostname}")
    if isinstance(error, OSError | paramiko.SSHException | EOFError):
        return ConnectFailed(Refusal.UNREACHABLE, _network_trouble(settings, error))
    return ConnectFailed(Refusal.PROTOCOL, f"{type(error).__name__}: {error}")


def _key_trouble(known: list[knownhosts.KnownKey], error: Exception) -> str:
    if isinstance(error, paramiko.BadHostKeyException):
        shown = knownhosts.fingerprint(error.key.asbytes())
        return f"its host key has changed: it shows {shown}, not the one in {known[0].where}"
    return str(error)


def _login_trouble(settings: SshSettings, error: Exception) -> str:
    if isinstance(error, paramiko.PasswordRequiredException):
        return "the identity file needs a passphrase (ssh-add it first)"
    if not isinstance(error, paramiko.AuthenticationException):
        return "there is no key to show it"
    return f"it accepts none of our keys for {settings.user or 'this user'}"


def _network_trouble(settings: SshSettings, error: Exception) -> str:
    where = f"{settings.hostname} port {settings.port}"
    if isinstance(error, TimeoutError):
        return f"no answer from {where}"
    return f"{where}: {getattr(error, 'strerror', None) or error or 'connection closed'}"


_PRODS = (0.002, 0.004, 0.008)
"""Seconds between them. A far host is not helped, but then 40 ms matter little there."""


def _prod(transport: Any) -> None:
    """Send a few messages that mean nothing (RFC 4253, 11.2), so that a waiting host may speak.

    sshd leaves Nagle's algorithm on until a session begins. Its answer to the opening of a channel
    waits behind other lines of its own until those are acknowledged, which our kernel puts off by
    40 ms (measured against OpenSSH 9.2) unless there is something to send.
    """
    for pause in _PRODS:
        time.sleep(pause)
        if not transport.is_active():
            return
        try:
            transport.send_ignore(8)
        except (paramiko.SSHException, OSError, EOFError):
            return  # who opens the channel hears of a broken connection too


class _Jumps:
    """Connections to jump hosts, one each, shared by the hosts behind them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._open: dict[str, fabric.Connection] = {}

    def get(self, chain: tuple[str, ...], config_file: str | None, timeout: float) -> Any:
        """A connection to the last host of a chain of jumps."""
        key = f"{config_file}\0{','.join(chain)}"
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            found = self._open.get(key)
            if found is not None and found.is_connected:
                return found
            user, name, port = _destination(chain[-1])
            settings = sshconfig.resolve(name, Overrides(user=user, port=port, config_file=config_file))
            before = self.get(chain[:-1], config_file, timeout) if chain[1:] else None
            self._open[key] = open_connection(settings, timeout, before)
            return self._open[key]


_jumps = _Jumps()


def _destination(text: str) -> tuple[str | None, str, int | None]:
    """``user@host:port``, also as ``ssh://user@[::1]:22``."""
    rest = text.removeprefix("ssh://").rstrip("/")
    user, at, rest = rest.rpartition("@")
    if rest.startswith("["):
        host, _, tail = rest[1:].partition("]")
        port = tail.removeprefix(":")
    else:
        host, _, port = rest.partition(":")
    return (user if at else None), host, (int(port) if port else None)


def _gateway(settings: SshSettings, timeout: float) -> Any:
    if settings.proxy_jump is not None:
        chain = tuple(part.strip() for part in settings.proxy_jump.split(","))
        if _destination(chain[-1])[1] == settings.name:
            return None  # "Host *" sends the jump host through itself; ssh goes there directly
        return _jumps.get(chain, settings.config_file, timeout)
    return settings.proxy_command


STATUS_TIMEOUT = 0.5
"""Seconds that an exit status is waited for behind the end of a channel."""


class SshLink:
    """One channel with a runner at its other end."""

    def __init__(self, connection: fabric.Connection, timeout: float) -> None:
        self._connection = connection
        transport: Any = connection.transport
        threading.Thread(target=_prod, args=(transport,), daemon=True).start()
        self._channel: paramiko.Channel = transport.open_session(timeout=timeout)
        self._channel.set_combine_stderr(True)

    def start(self, command: str) -> None:
        """Run the command."""
        self._channel.exec_command(command)
        self._channel.settimeout(1.0)

    def read(self, _timeout: float) -> bytes:
        """See Link.read. The channel's own time-out, one second, is the grain of ``timeout``."""
        try:
            data: bytes = self._channel.recv(1 << 16)
        except TimeoutError:
            return b""
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise LinkClosed(f"the connection broke: {error}") from None
        if data:
            return data
        raise self._closed()

    def write(self, data: bytes, timeout: float) -> None:
        """See Link.write."""
        deadline = time.monotonic() + timeout
        view = memoryview(data)
        while view:
            try:
                sent = self._channel.send(bytes(view[: 1 << 16]))
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise LinkClosed("the host does not read what it is sent") from None
                continue
            except (OSError, EOFError, paramiko.SSHException) as error:
                raise self._closed(str(error)) from None
            if sent == 0:
                raise self._closed()
            view = view[sent:]

    def files(self, timeout: float) -> SftpFiles:
        """See Link.files."""
        return SftpFiles(self._connection.transport, timeout)

    def close(self) -> None:
        """See Link.close."""
        try:
            self._connection.close()
        except Exception:  # noqa: BLE001 - closing a broken connection may raise anything, and matters to nobody
            return

    def _closed(self, why: str = "") -> LinkClosed:
        """The end of the channel, with the command's exit status, which may come a moment later."""
        end = time.monotonic() + STATUS_TIMEOUT
        while not self._channel.exit_status_ready() and time.monotonic() < end:
            time.sleep(0.01)
        status = self._channel.recv_exit_status() if self._channel.exit_status_ready() else -1
        if status < 0:
            return LinkClosed("the connection broke" + (f": {why}" if why else ""))
        return LinkClosed(f"the runner ended with exit code {status}", status)
