"""Reaches hosts by SSH with Fabric: one connection each, waits bounded, host keys checked."""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
from pathlib import Path
from typing import Any

import fabric
import paramiko

from sshrender.transports import knownhosts, payload, sshconfig
from sshrender.transports.interface import (
    ConnectFailed,
    LinkClosed,
    NoCommonAlgorithm,
    Refusal,
    RunnerSpec,
    last_words,
)
from sshrender.transports.limitmessages import failed_start
from sshrender.transports.sftp import SftpFiles, open_sftp
from sshrender.transports.sshconfig import ACCEPT_NEW, Overrides, SshSettings
from sshrender.transports.sshlimits import BoundedTransport
from sshrender.transports.sshlogin import Login, LoginFailed
from sshrender.transports.sshproxy import ProxySocket

# Errors of a connection are reported as the state of its host. paramiko's threads would also print them,
# with a traceback, to our stderr.
# logging.lastResort prints warnings to stderr when a logger has no handler at all.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False


class HostKeyRefused(paramiko.SSHException):  # type: ignore[misc]  # paramiko has no types
    """The host's key is not accepted."""


class KnownHostsPolicy(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]  # as above
    """Decides about keys that paramiko has not found among the known ones, as of a new host."""

    def __init__(
        self,
        settings: SshSettings,
        known: list[knownhosts.KnownKey],
        without_port: list[knownhosts.KnownKey],
    ) -> None:
        self._settings = settings
        self._known = known
        self._without_port = without_port

    def missing_host_key(self, _client: paramiko.SSHClient, _hostname: str, key: paramiko.PKey) -> None:
        """Accept the key of a new host if the user chose that; refuse every other key."""
        shown = knownhosts.fingerprint(key.asbytes())
        # Lines of revoked keys are among the known ones, so this comes before the test of ``_known``: it
        # would report a changed key.
        check_revoked([*self._known, *self._without_port], key)
        # paramiko asks only if it found no key of the host with this type. A host with another key is
        # not new.
        if self._known:
            raise HostKeyRefused(
                f"its {key.get_name()} key {shown} is not the one in {self._known[0].where}"
            )
        # ssh accepts such a key, too (sshconnect.c, "found matching key w/out port").
        if any(line.blob == key.asbytes() for line in self._without_port):
            return
        if self._settings.host_key != ACCEPT_NEW:
            raise HostKeyRefused(f"its {key.get_name()} host key {shown} is not known")
        # "UserKnownHostsFile none" leaves no file, and the key is not stored.
        # ssh writes to the first file of UserKnownHostsFile, too.
        for file in self._settings.known_hosts[:1]:
            knownhosts.remember(
                Path(file), self._settings.known_name, key, is_hashed=self._settings.hash_known_hosts
            )


def check_revoked(known: list[knownhosts.KnownKey], key: paramiko.PKey) -> None:
    """Raise HostKeyRefused for a key that is marked @revoked."""
    for line in known:
        if line.is_revoked and line.blob == key.asbytes():
            raise HostKeyRefused(f"its host key is revoked in {line.where}")


class FabricTransport:
    """Reaches one host of the inventory; shares the connections to jump hosts."""

    def __init__(self, settings: SshSettings) -> None:
        self._settings = settings

    def connect(self, spec: RunnerSpec, timeout: float) -> FabricLink:
        """See Transport.connect."""
        connection = open_connection(self._settings, timeout)
        try:
            link = FabricLink(connection, timeout)
            link.start(payload.command(spec.python, spec.label))
            link.write(payload.loader(spec.marker), timeout)
        except LinkClosed as closed:
            # The exit code of the shell tells that python3 is missing; its text tells why.
            words = last_words(link)
            connection.close()
            raise failed_start(closed, self._settings.name, spec.python, words) from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            connection.close()
            # Only sshd's log says why: MaxSessions 0, or a ChrootDirectory of the wrong owner.
            reason = "it ended the connection after the login"
            if isinstance(error, paramiko.ChannelException):
                reason = f"its sshd opens no session: {error.text}"
            raise ConnectFailed(Refusal.UNREACHABLE, reason) from None
        return link


def open_connection(settings: SshSettings, timeout: float, gateway: Any = None) -> fabric.Connection:
    """Connect and authenticate, through ``gateway`` or as ssh_config says. Raises ConnectFailed."""
    known = knownhosts.lookup(settings.known_hosts, settings.known_name)
    connection = _connection(settings, timeout, gateway or _gateway(settings, timeout))
    client: Any = connection.client
    # Nothing is known of its port: what the same name has on port 22 may be the same sshd's.
    has_port = settings.alias is None and settings.port != 22 and not known
    without_port = knownhosts.lookup(settings.known_hosts, settings.hostname) if has_port else []
    client.set_missing_host_key_policy(KnownHostsPolicy(settings, known, without_port))
    connection.connect_kwargs["auth_strategy"] = Login(settings)
    _enter_known_keys(client, settings, known)
    try:
        # Through a gateway Fabric opens a channel of that connection instead.
        if connection.gateway is None:
            connection.connect_kwargs["sock"] = _connect_socket(settings, timeout)
        connection.open()
    except Exception as error:  # noqa: BLE001 - paramiko raises several dozen kinds; each becomes a Refusal
        failed = _connect_failed(settings, known, error)
        proxy = connection.connect_kwargs.get("sock")
        # Before the connection is closed: that ends the command.
        if failed.refusal is Refusal.UNREACHABLE and isinstance(proxy, ProxySocket):
            failed = ConnectFailed(Refusal.UNREACHABLE, proxy.end() or failed.reason)
        connection.close()
        client.close()  # Fabric does not close it when the host has closed the connection already
        raise failed from None
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
    """Return a socket that leads to the host, with Nagle's algorithm switched off.

    The handshake and all that follows are short lines in turn. With Nagle's algorithm three of them wait
    40 ms each for the acknowledgement of the line before (measured against OpenSSH 9.2).
    """
    # A ProxyJump without a gateway names this host itself (sshconfig.jumps): the connection is direct.
    if settings.proxy_command is not None and settings.proxy_jump is None:
        return ProxySocket(settings.proxy_command, timeout)
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
            # For the version line, for the login, and for the opening of a channel.
            "banner_timeout": timeout,
            "auth_timeout": timeout,
            "channel_timeout": timeout,
            "transport_factory": BoundedTransport,
        },
    )


def _enter_known_keys(
    client: paramiko.SSHClient, settings: SshSettings, known: list[knownhosts.KnownKey]
) -> None:
    """Give paramiko the known keys: it then asks the host for a key of those types first."""
    port = settings.port
    # paramiko looks a host up under this name, which is not that of HostKeyAlias.
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
    # The order matters: LoginFailed and BadHostKeyException are SSHExceptions as well.
    if isinstance(error, HostKeyRefused | paramiko.BadHostKeyException):
        return ConnectFailed(Refusal.HOST_KEY, _host_key_reason(known, error))
    if isinstance(error, LoginFailed):
        return ConnectFailed(Refusal.AUTHENTICATION, str(error))
    if isinstance(error, paramiko.IncompatiblePeer):
        return NoCommonAlgorithm(Refusal.CONFIGURATION, _incompatible(error))
    if isinstance(error, socket.gaierror):
        return ConnectFailed(Refusal.NO_ADDRESS, f"no address is known for {settings.hostname}")
    if isinstance(error, OSError | paramiko.SSHException | EOFError):
        return ConnectFailed(Refusal.UNREACHABLE, _network_reason(settings, error))
    # Anything else is a defect, of the host's sshd or of paramiko, and names its type.
    return ConnectFailed(Refusal.PROTOCOL, f"{type(error).__name__}: {error}")


def _incompatible(error: Exception) -> str:
    """Return the kind of algorithm that Fabric and the host do not have in common."""
    # In paramiko's words: "no acceptable ciphers".
    lacks = re.search(r"no acceptable ([^)]*)", str(error))
    return f"Fabric and its sshd have no {lacks[1]} in common" if lacks else str(error)


def _host_key_reason(known: list[knownhosts.KnownKey], error: Exception) -> str:
    if isinstance(error, paramiko.BadHostKeyException):
        shown = knownhosts.fingerprint(error.key.asbytes())
        return f"its host key has changed: it shows {shown}, not the one in {known[0].where}"
    return str(error)


def _network_reason(settings: SshSettings, error: Exception) -> str:
    where = f"{settings.hostname} port {settings.port}"
    words = str(error)
    if isinstance(error, TimeoutError):
        return f"no answer from {where}"
    # paramiko says the second one if the time for the first line has passed before it looked.
    if words.startswith(("Error reading SSH protocol banner", "No existing session")):
        rest = words.removeprefix("Error reading SSH protocol banner")
        if isinstance(error.__context__, EOFError | ConnectionError):
            return (
                f"{where} closed the connection before its first line: no ssh server,"
                " or one with too many logins at the same time (MaxStartups)"
            )
        return f"{where} accepts connections, but no ssh server answers there" + (
            "" if rest in (words, "") else f": {rest}"
        )
    if words.startswith("Indecipherable protocol version"):
        sent = words.removeprefix("Indecipherable protocol version ")
        return f"{where} is not an ssh server: it sent {sent}"
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
        # Two configuration files may give the same name different addresses.
        key = f"{config_file}\0{','.join(chain)}"
        # One lock for each jump host: hosts behind different jumps connect at the same time, and a slow
        # one delays none.
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        # The hosts behind one jump wait here for the first of them, so the jump gets one login and not
        # one for each host.
        with lock:
            found = self._open.get(key)
            if found is not None and found.is_connected:
                return found
            user, name, port = sshconfig.destination(chain[-1])
            settings = sshconfig.resolve(name, Overrides(user=user, port=port, config_file=config_file))
            # Locks are taken in the order of the way, and sshconfig.route() has refused circles, so no
            # two threads wait for each other.
            before = self.get(chain[:-1], config_file, timeout) if chain[1:] else None
            try:
                self._open[key] = open_connection(settings, timeout, before)
            except ConnectFailed as failed:
                raise type(failed)(failed.refusal, f"jump host {name}: {failed.reason}") from None
            return self._open[key]


# For the whole process: a host that is connected again finds the jump's connection open.
_jumps = _Jumps()


def _gateway(settings: SshSettings, timeout: float) -> Any:
    chain = tuple(sshconfig.jumps(settings))
    return _jumps.get(chain, settings.config_file, timeout) if chain else None


STATUS_TIMEOUT = 3.0
"""Seconds in which an exit status may follow the end of a channel, on a host that is loaded. A
connection that has broken is not waited for."""


class FabricLink:
    """One channel with a runner at its other end. See Link."""

    def __init__(self, connection: fabric.Connection, timeout: float) -> None:
        self._connection = connection
        transport: Any = connection.transport
        threading.Thread(target=_nudge, args=(transport,), daemon=True).start()
        # open_session waits for the answer of the host; the nudges must run meanwhile, so they have a
        # thread.
        self._channel: paramiko.Channel = transport.open_session(timeout=timeout)
        # One stream, because text of the shell and lines of the runner are told apart by the marker.
        self._channel.set_combine_stderr(True)
        self._command = ""

    def start(self, command: str) -> None:
        """Run the command."""
        self._command = command
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
                # send() takes what fits into the channel's window; a slice bounds the copy that bytes()
                # makes.
                sent = self._channel.send(bytes(view[: 1 << 16]))
            except TimeoutError:
                # The channel's time-out is a second, so the deadline is checked at least once in a
                # second.
                if time.monotonic() > deadline:
                    raise LinkClosed("the host does not read what it is sent") from None
                continue
            except (OSError, EOFError, paramiko.SSHException) as error:
                raise self._closed(str(error)) from None
            if sent == 0:
                raise self._closed()
            view = view[sent:]

    def test(self, timeout: float) -> int | None:
        """See TestedLink.test."""
        transport: Any = self._connection.transport
        end = time.monotonic() + timeout
        try:
            channel = transport.open_session(timeout=timeout)
            try:
                channel.settimeout(timeout)
                channel.exec_command(self._command)
                channel.sendall(payload.TEST)
                channel.shutdown_write()
                while not channel.exit_status_ready() and time.monotonic() < end:
                    time.sleep(0.05)
                status = channel.recv_exit_status() if channel.exit_status_ready() else -1
            finally:
                channel.close()
        except (OSError, EOFError, paramiko.SSHException):
            return None
        return None if status < 0 else status

    def files(self, timeout: float) -> SftpFiles:
        """See Link.files."""
        return open_sftp(self._connection.transport, timeout)

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
        # recv_exit_status() blocks without limit, so it is called only when the status is there.
        status = self._channel.recv_exit_status() if self._channel.exit_status_ready() else -1
        if status < 0 and self._connection.transport.is_active():
            # The kernel ends a process like this if memory runs out; a broken interpreter ends itself.
            return LinkClosed("the runner was ended by a signal on the host")
        if status < 0:
            return LinkClosed("the connection broke" + (f": {why}" if why else ""))
        return LinkClosed(f"the runner ended with exit code {status}", status)
