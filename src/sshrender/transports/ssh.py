"""Reaches hosts by SSH with Fabric: one connection each, waits bounded, host keys checked."""

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
from sshrender.transports.interface import ConnectFailed, Link, LinkClosed, Refusal, RunnerSpec
from sshrender.transports.sftp import SftpFiles
from sshrender.transports.sshconfig import ACCEPT_NEW, Overrides, SshSettings
from sshrender.transports.sshlimits import BoundedTransport

# Errors of a connection are reported as the state of its host. paramiko's threads would also print them,
# with a traceback, to our stderr.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False


class HostKeyRefused(paramiko.SSHException):  # type: ignore[misc]  # paramiko has no types
    """The host's key is not accepted."""


class KnownHostsPolicy(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Decides about keys that paramiko has not found among the known ones, as of a new host."""

    def __init__(self, settings: SshSettings, known: list[knownhosts.KnownKey]) -> None:
        self._settings = settings
        self._known = known

    def missing_host_key(self, _client: paramiko.SSHClient, _hostname: str, key: paramiko.PKey) -> None:
        """Accept the key of a new host if the user chose that; refuse every other key."""
        shown = knownhosts.fingerprint(key.asbytes())
        check_revoked(self._known, key)
        if self._known:
            raise HostKeyRefused(
                f"its {key.get_name()} key {shown} is not the one in {self._known[0].where}"
            )
        if self._settings.host_key != ACCEPT_NEW:
            raise HostKeyRefused(f"its {key.get_name()} host key {shown} is not known")
        # "UserKnownHostsFile none" leaves no file, and the key is not stored.
        for file in self._settings.known_hosts[:1]:
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
            connection.connect_kwargs["sock"] = _connect_socket(settings, timeout)
        connection.open()
    except Exception as error:  # noqa: BLE001 - paramiko raises several dozen kinds; each becomes a Refusal
        connection.close()
        client.close()  # Fabric does not close it when the host has closed the connection already
        raise _connect_failed(settings, known, error) from None
    transport: Any = connection.transport
    # A known and revoked key passes paramiko's own comparison, so it is checked here as well.
    check = transport.get_remote_server_key()
    try:
        check_revoked(known, check)
    except HostKeyRefused as refused:
        connection.close()
        raise ConnectFailed(Refusal.HOST_KEY, str(refused)) from None
    return connection


def _connect_socket(settings: SshSettings, timeout: float) -> socket.socket:
    """Return a connected socket with Nagle's algorithm switched off.

    The handshake and all that follows are short lines in turn. With Nagle's algorithm three of them wait
    40 ms each for the acknowledgement of the line before (measured against OpenSSH 9.2).
    """
    connected = socket.create_connection((settings.hostname, settings.port), timeout)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


def _connection(settings: SshSettings, timeout: float, gateway: Any) -> fabric.Connection:
    return fabric.Connection(
        host=settings.hostname,
        user=settings.user,
        port=settings.port,
        # An empty ssh_config and a lazy Config: Fabric reads no file of its own.
        config=fabric.Config(ssh_config=paramiko.SSHConfig(), lazy=True),
        gateway=gateway,
        forward_agent=False,  # a runner needs no keys of the user
        connect_timeout=max(1, round(timeout)),
        connect_kwargs={
            "key_filename": list(settings.identity_files),
            "allow_agent": settings.uses_agent,
            "look_for_keys": False,  # ssh -G has named the identity files already
            "banner_timeout": timeout,
            "auth_timeout": timeout,
            "channel_timeout": timeout,
            "transport_factory": BoundedTransport,
        },
    )


def _agent(settings: SshSettings) -> sshagent.HostAgent:
    """Return this host's agent, with the keys that ssh would offer (ssh_config(5), IdentitiesOnly)."""
    only = sshagent.public_keys(settings.identities) if settings.identities_only else None
    return sshagent.HostAgent(settings.agent_socket, only)


def _enter_known_keys(
    client: paramiko.SSHClient, settings: SshSettings, known: list[knownhosts.KnownKey]
) -> None:
    """Give paramiko the known keys: it then asks the host for a key of those types first."""
    port = settings.port
    name = settings.hostname if port == 22 else f"[{settings.hostname}]:{port}"
    for line in known:
        if line.is_revoked:
            continue
        try:
            key = paramiko.PKey.from_type_string(line.kind, line.blob)
        except (paramiko.SSHException, paramiko.UnknownKeyType, ValueError):
            continue  # paramiko cannot negotiate a type that it does not know
        client.get_host_keys().add(name, line.kind, key)


def _connect_failed(
    settings: SshSettings, known: list[knownhosts.KnownKey], error: Exception
) -> ConnectFailed:
    """Return what paramiko raised as a kind of refusal and a reason."""
    if isinstance(error, HostKeyRefused | paramiko.BadHostKeyException):
        return ConnectFailed(Refusal.HOST_KEY, _host_key_reason(known, error))
    if isinstance(error, paramiko.AuthenticationException) or "No authentication" in str(error):
        return ConnectFailed(Refusal.AUTHENTICATION, _login_reason(settings, error))
    if isinstance(error, socket.gaierror):
        return ConnectFailed(Refusal.NO_ADDRESS, f"no address is known for {settings.hostname}")
    if isinstance(error, OSError | paramiko.SSHException | EOFError):
        return ConnectFailed(Refusal.UNREACHABLE, _network_reason(settings, error))
    return ConnectFailed(Refusal.PROTOCOL, f"{type(error).__name__}: {error}")


def _host_key_reason(known: list[knownhosts.KnownKey], error: Exception) -> str:
    if isinstance(error, paramiko.BadHostKeyException):
        shown = knownhosts.fingerprint(error.key.asbytes())
        return f"its host key has changed: it shows {shown}, not the one in {known[0].where}"
    return str(error)


def _login_reason(settings: SshSettings, error: Exception) -> str:
    if isinstance(error, paramiko.PasswordRequiredException):
        locked = [file for file in settings.identity_files if sshagent.needs_passphrase(Path(file))]
        return f"the identity file {', '.join(locked)} needs a passphrase, and no agent has its key"
    if not isinstance(error, paramiko.AuthenticationException):
        return "there is no key to log in with"
    return "it accepts none of our keys for " + (
        f"user {settings.user}" if settings.user else "this user"
    )


def _network_reason(settings: SshSettings, error: Exception) -> str:
    where = f"{settings.hostname} port {settings.port}"
    if isinstance(error, TimeoutError):
        return f"no answer from {where}"
    return f"{where}: {getattr(error, 'strerror', None) or error or 'connection closed'}"


_NUDGE_PAUSES = (0.002, 0.004, 0.008)
"""Seconds between nudges. They come too early for a distant host, but 40 ms matter little there."""


def _nudge(transport: Any) -> None:
    """Send a few SSH_MSG_IGNORE messages (RFC 4253, 11.2), so that a waiting host may send.

    sshd leaves Nagle's algorithm on until a session begins. Its answer to the opening of a channel waits
    until its earlier lines are acknowledged. Our kernel delays that acknowledgement by 40 ms (measured
    against OpenSSH 9.2) unless it has something to send.
    """
    for pause in _NUDGE_PAUSES:
        time.sleep(pause)
        if not transport.is_active():
            return
        try:
            transport.send_ignore(8)
        except (paramiko.SSHException, OSError, EOFError):
            return  # the thread that opens the channel gets the error, too


class _Jumps:
    """Connections to jump hosts, one for each, shared by the hosts behind it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._open: dict[str, fabric.Connection] = {}

    def get(self, chain: tuple[str, ...], config_file: str | None, timeout: float) -> Any:
        """Return a connection to the last host of a chain of jumps. Raises ConnectFailed."""
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
    """Split ``user@host:port``, also as ``ssh://user@[::1]:22``, into user, host and port."""
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
            return None  # "Host *" names the jump host as its own; ssh connects directly then
        return _jumps.get(chain, settings.config_file, timeout)
    return settings.proxy_command


STATUS_TIMEOUT = 0.5
"""Seconds in which an exit status may follow the end of a channel."""


class SshLink:
    """One channel with a runner at its other end. See Link."""

    def __init__(self, connection: fabric.Connection, timeout: float) -> None:
        self._connection = connection
        transport: Any = connection.transport
        threading.Thread(target=_nudge, args=(transport,), daemon=True).start()
        self._channel: paramiko.Channel = transport.open_session(timeout=timeout)
        self._channel.set_combine_stderr(True)

    def start(self, command: str) -> None:
        """Run the command."""
        self._channel.exec_command(command)
        # read() is called in a loop; this is how long it may stay in one call.
        self._channel.settimeout(1.0)

    def read(self, _timeout: float) -> bytes:
        """See Link.read. The channel's own time-out of one second is used in place of ``timeout``."""
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
        except Exception:  # noqa: BLE001 - closing a broken connection may raise anything, and nothing depends on it
            return

    def _closed(self, why: str = "") -> LinkClosed:
        """Return the error for a closed channel; its exit status may arrive a moment later."""
        end = time.monotonic() + STATUS_TIMEOUT
        while not self._channel.exit_status_ready() and time.monotonic() < end:
            time.sleep(0.01)
        status = self._channel.recv_exit_status() if self._channel.exit_status_ready() else -1
        if status < 0:
            return LinkClosed("the connection broke" + (f": {why}" if why else ""))
        return LinkClosed(f"the runner ended with exit code {status}", status)
