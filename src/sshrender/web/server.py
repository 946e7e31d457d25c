"""Runs the server: uvicorn with deadlines that it does not have itself, and the queue beside it.

uvicorn closes no connection whose headers trickle in (https://github.com/Kludex/uvicorn/issues/157).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import shlex
import signal
import socket
import struct
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sshrender.api.jobs import on_san, own_san, require_readable
from sshrender.api.queue import QueueRun
from sshrender.api.web import webaccess
from sshrender.errors import ExitCode, UserError
from sshrender.web.app import make_app
from sshrender.web.authentication import require_users
from sshrender.web.guard import Guard
from sshrender.web.settings import Auth, Limits, ServeSettings, require_safe

MAX_HEADER_BYTES = 32 << 10
KEEP_ALIVE = 15
SHUTDOWN_SECONDS = 3
RESTART_SECONDS = 30.0
"""Seconds before the queue is run again after an error of the storage."""


class Protocol(H11Protocol):
    """A connection whose headers have to be complete within ``headers_timeout`` seconds.

    A client that takes less than ``reading_rate`` bytes a second of an answer, over ``reading_timeout``
    seconds, is disconnected: asyncio waits for it without end, even if the connection is closed. The
    rest of a body whose request is answered already is read for ``rest_timeout`` seconds.
    """

    headers_timeout = 10.0
    reading_timeout = 60.0
    reading_rate = 1024
    rest_timeout = 30.0
    _deadline: asyncio.TimerHandle | None = None
    _rest: asyncio.TimerHandle | None = None
    _look: asyncio.TimerHandle | None = None
    _unread = 0
    _has_drained = False
    _idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn says Transport
        self._idle_since = self.loop.time()
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            self._make_room()
        self._arm()
        self._look_later()

    def _make_room(self) -> None:
        """Disconnect clients that have been silent for longest, before others would be refused."""
        # Those that were aborted are among the connections until the loop has told them.
        alive = [
            each
            for each in self.connections
            if isinstance(each, Protocol) and not each.transport.is_closing()
        ]
        idle = sorted(
            (each for each in alive if each is not self and each.is_idle),
            key=lambda each: each._idle_since,
        )
        for each in idle[: max(0, len(alive) + 1 - (self.limit_concurrency or 0))]:
            each.transport.abort()

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered: none has arrived whole, or the last one is answered."""
        # uvicorn declares the attribute as never None, and sets it to None.
        cycle: object = self.cycle
        return cycle is None or self.cycle.response_complete

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._has_drained = True
        super().resume_writing()

    def _look_later(self) -> None:
        self._look = self.loop.call_later(self.reading_timeout, self._look_at_reader)

    def _look_at_reader(self) -> None:
        """Disconnect a client that has taken too little since the last look."""
        unread = int(self.transport.get_write_buffer_size()) + self._unacknowledged()
        taken = self._unread - unread
        is_slow = self._unread and taken < self.reading_rate * self.reading_timeout
        # A buffer that became empty between both looks was filled again.
        if unread and is_slow and not self._has_drained:
            # Not close(), which waits until all is sent. Without the option the kernel would keep the
            # rest in its memory, and offer it to the client for minutes (socket(7), SO_LINGER).
            with contextlib.suppress(OSError):
                self.transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            self.transport.abort()
            return
        self._unread, self._has_drained = unread, False
        self._look_later()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._disarm()
        elif self._deadline is None:
            self._arm()

    def on_response_complete(self) -> None:
        """See uvicorn's H11Protocol."""
        super().on_response_complete()
        self._idle_since = self.loop.time()
        if self.conn.their_state is h11.SEND_BODY:
            # No part of the application reads this body, so none of its deadlines holds; and uvicorn
            # forgets its own with the next byte.
            self._cancel_rest()
            self._rest = self.loop.call_later(self.rest_timeout, self._drop_rest, self.cycle)

    def _drop_rest(self, answered: object) -> None:
        # The next request of this connection may have a body, too, which has deadlines of its own.
        if self.cycle is answered and self.conn.their_state is h11.SEND_BODY:
            self.transport.close()

    def _cancel_rest(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None

    def _unacknowledged(self) -> int:
        """Return the bytes that the kernel still holds: megabytes, which asyncio takes for sent."""
        found = bytearray(4)
        try:
            # SIOCOUTQ (tcp(7)), which has the number of TIOCOUTQ.
            fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, found)
        except OSError:
            return 0
        return int.from_bytes(found, sys.byteorder)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._disarm()
        self._cancel_rest()
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self.headers_timeout, self._expire)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        self._deadline = None
        # Between two requests uvicorn's own keep-alive ends the connection.
        if self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None:
            # The client may be gone already.
            with contextlib.suppress(OSError, RuntimeError):
                self.transport.write(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")
            self.transport.close()


def protocol_of(limits: Limits) -> type[asyncio.Protocol]:
    """Return the protocol of connections with these limits."""
    fields = {
        "headers_timeout": limits.headers,
        "reading_timeout": limits.reading,
        "reading_rate": limits.body_rate,
        "rest_timeout": limits.body_idle,
    }
    return type("LimitedProtocol", (Protocol,), fields)


def listen(settings: ServeSettings) -> socket.socket:
    """Return the listening socket. Raises UserError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((settings.host, settings.port))
        made.listen(1024)
    except OSError as error:
        made.close()
        raise UserError(
            ExitCode.USAGE,
            f"--bind {settings.host}:{settings.port}: {error.strerror}",
            "choose another port, as in --bind 127.0.0.1:8471",
        ) from None
    return made


def serve(
    settings: ServeSettings, print_address: Callable[[str], None], say_line: Callable[[str], None]
) -> int:
    """Serve until a signal ends it; return the exit code. Raises UserError.

    ``print_address`` gets the address, with the one-time link if that is the way in; ``say_line`` gets
    the lines about the queue, in any thread.
    """
    require_safe(settings)
    _require_users(settings)
    _prepare(settings.san)
    key = webaccess.session_key()
    listening = listen(settings)
    queue = None if settings.make_queue is None else _Queue(settings.make_queue, say_line)
    _log_to_stderr()
    server = Server(settings, key)
    ended_by: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        ended_by.append(number)
        server.should_exit = True

    # uvicorn handles INT and TERM while it runs, and raises them again afterwards: here.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
    print_address(_address(settings, listening))
    if queue is not None:
        queue.start()
    try:
        server.run(sockets=[listening])
    finally:
        listening.close()
        if queue is not None:
            queue.stop()
    return 128 + ended_by[0] if ended_by else 0


class Server(uvicorn.Server):
    """uvicorn, which ends live pages before it waits for the end of all requests."""

    def __init__(self, settings: ServeSettings, key: bytes) -> None:
        self._guard = make_app(settings, key)
        super().__init__(_config_of(settings, self._guard))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn.Server."""
        self._guard.close()
        await super().shutdown(sockets)


def _config_of(settings: ServeSettings, app: Guard) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol_of(settings.limits),
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=settings.limits.connections,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
    )


def _require_users(settings: ServeSettings) -> None:
    file = settings.htpasswd
    if settings.auth is not Auth.HTPASSWD or file is None:
        return
    try:
        names = require_users(file)
    except OSError as error:
        raise UserError(
            ExitCode.USAGE, f"{file}: {error.strerror}", f"htpasswd -B -c {shlex.quote(str(file))} NAME"
        ) from None
    if not names:
        raise UserError(
            ExitCode.USAGE,
            f"{file}: no user has a bcrypt password",
            f"htpasswd -B {shlex.quote(str(file))} NAME",
        )


def _prepare(san: Path) -> None:
    """Raise UserError if the shared folder is not there; the user's own is made."""
    if not on_san(san.parent, san.exists):
        own_san()
    require_readable(san)


def _address(settings: ServeSettings, listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    base = f"http://{shown}:{port}{settings.base_path}/"
    if settings.auth is Auth.LINK:
        return f"{base}enter/{on_san(settings.san, lambda: webaccess.make_link(settings.san))}"
    return base


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("sshrender: %(message)s"))
    for name in ("uvicorn.error", "sshrender.web"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.WARNING if name == "uvicorn.error" else logging.INFO)
        logger.propagate = False
    # Each connection that sends no HTTP would be a line.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    # If an answer ends early, the guard has reported the reason.
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: "without completing response" not in str(record.msg)
    )


class _Queue:
    """Runs the queue in a thread. After an error it is run again: the storage may come back."""

    def __init__(
        self,
        make: Callable[[Callable[[str], None]], QueueRun],
        say_line: Callable[[str], None],
    ) -> None:
        self._make = make
        self._run: QueueRun | None = None
        self._say_line = say_line
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True, name="queue")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Stop running jobs, which stay in the queue, and wait for that."""
        self._ended.set()
        if self._run is not None:
            self._run.stop(signal.SIGTERM)
        self._thread.join(30)

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                self._run = self._make(self._say_line)
                if self._ended.is_set():
                    return
                self._run.run()
            except UserError as error:
                self._say_line(f"the queue is not run for now: {error.what}")
            self._ended.wait(RESTART_SECONDS)
