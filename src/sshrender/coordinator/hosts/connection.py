"""The connection to one host: a thread that connects and reads. Shared threads write (writers.py).

Messages go into the coordinator's inbox. Nothing here blocks the loop, however unresponsive the host is.
A closed connection posts nothing more.
"""

from __future__ import annotations

import queue
import random
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sshrender.coordinator.hosts.writers import ElasticPool, Pinger
from sshrender.coordinator.renderrequest import HostSetup
from sshrender.transports.framing import MessageReader, encode
from sshrender.transports.interface import (
    ConnectFailed,
    HostFiles,
    Link,
    LinkClosed,
    Refusal,
    RunnerSpec,
)
from sshrender.transports.limitmessages import limit_in
from sshrender.transports.messages import (
    NEEDS_ADMINISTRATOR,
    Hello,
    Message,
    ProtocolError,
    Trouble,
)

PING_INTERVAL = 1.0
"""Seconds between two pings, and the longest wait for data."""

MAX_HANDSHAKES = 8
"""Handshakes at a time: sshd's MaxStartups starts to drop connections at 10 (sshd_config(5)), at a jump
host too."""

WRITE_TIMEOUT = 10.0
"""Seconds."""

MAX_UNHANDLED = 500
"""Messages of one host that may wait in the loop's inbox."""

WORDS_WAIT = 3.0
"""Seconds that a failed write waits for the reading thread, which ends when it has read all."""

HANDSHAKE_TIMEOUT = 60.0
"""Seconds for the handshake: ``gs --version`` may take 20 (runner/host/hostfacts.py) and the canary 30
(runner/host/fingerprint.py), which also waits for a slot lock (runner/slots/slotlocks.py)."""

START_TIMEOUT = 30.0
"""Seconds until the loader of the runner has said that it runs, or the host's ``connect_timeout`` if
that is longer: the test for another program in its place has ended then (transports/startwatch.py)."""

# Shared by all runs of this process: what counts is how many connections the machine makes.
_handshakes = threading.BoundedSemaphore(MAX_HANDSHAKES)

_writers = ElasticPool("write to hosts")
_pinger = Pinger(PING_INTERVAL / 4)


@dataclass(frozen=True, slots=True)
class HostSpoke:
    """A message arrived over this connection, ``at`` this time: the loop may handle it much later."""

    link: HostConnection
    message: Message
    at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class LinkFailed:
    """The connection failed, broke, or did not follow the protocol; ``refusal`` is the kind."""

    link: HostConnection
    refusal: Refusal
    reason: str


class HostConnection:
    """A connection to one host's runner. ``delay``: seconds, randomized, before it connects."""

    def __init__(
        self,
        setup: HostSetup,
        label: str,
        post: Callable[[HostSpoke | LinkFailed], None],
        delay: float = 0.0,
    ) -> None:
        self.setup = setup
        self.host = setup.plan.name
        self._post = post
        self._delay = delay
        # The runner frames its messages with it, so that what a login shell prints is not a message.
        self._marker = secrets.token_hex(6)
        self._label = label
        self._outbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._free_places = threading.Semaphore(MAX_UNHANDLED)
        self._link: Link | None = None
        # Guards _is_closed, _is_writing and _link, which the loop and three kinds of threads use.
        self._lock = threading.Lock()
        self._is_closed = self._is_writing = False
        self._sent_at = 0.0
        self._has_spoken = False
        self._prepared_at: float | None = None
        self._reader = MessageReader(self._marker)
        self._thread = threading.Thread(target=self._run, name=f"host {self.host}", daemon=True)

    def start(self) -> None:
        """Start to connect."""
        self._thread.start()

    def send(self, op: str, **fields: Any) -> None:
        """Queue a request. The runner answers ``prepare`` with its hello."""
        if op == "prepare":
            # Set before the request is queued: the time of the handshake begins with it.
            self._prepared_at = time.monotonic()
        # Put before _begin_writing(), which starts a writer only if none would see it.
        self._outbox.put(encode(op, **fields))
        self._begin_writing()

    def ping_if_due(self, now: float) -> None:
        """Queue a ping if nothing was queued for a while: the host takes silence for our end."""
        if now - self._sent_at >= PING_INTERVAL and not self._is_writing:
            self.send("ping")

    def files(self, timeout: float) -> HostFiles:
        """Open a file channel over this connection. Raises LinkClosed or FilesFailed."""
        with self._lock:
            link = None if self._is_closed else self._link
        if link is None:
            raise LinkClosed("the connection is closed")
        # Outside of the lock: opening a channel waits for the host.
        return link.files(timeout)

    def close(self) -> None:
        """Close the connection; return at once."""
        with self._lock:
            self._is_closed = True
            link = self._link
        # Outside of the lock: the pinger has one of its own, and no thread holds both.
        _pinger.remove(self)
        if link is not None:
            _writers.run(link.close)  # which may block on a dead connection

    def join(self, timeout: float) -> None:
        """Wait for the reading thread to end."""
        self._thread.join(timeout)

    def _run(self) -> None:
        """Run in the reading thread; post whatever fails as LinkFailed."""
        try:
            self._read_messages()
        except ConnectFailed as failed:
            self._report_failure(failed.refusal, failed.reason)
        except LinkClosed as closed:
            self._report_end(closed)
        except ProtocolError as error:
            self._report_failure(Refusal.PROTOCOL, self._with_noise(f"protocol error: {error}"))
        except Exception as error:  # noqa: BLE001 - a worker thread turns a crash into an event
            self._report_failure(Refusal.PROTOCOL, f"{type(error).__name__}: {error}")

    def _read_messages(self) -> None:
        link = self._connect()
        if link is None:
            return
        # Requests were queued before there was a link.
        self._begin_writing()
        connected_at, has_completed_handshake = time.monotonic(), False
        while True:
            # Returns after PING_INTERVAL without data, so that _has_ended() is tested.
            for message in self._reader.feed(link.read(PING_INTERVAL)):
                self._has_spoken = True
                # Tested for each message: what is posted after close() would belong to a connection
                # that is not in use.
                if self._has_ended():
                    return
                if isinstance(message, Hello):
                    if has_completed_handshake:
                        raise ProtocolError("it sent a second hello")
                    has_completed_handshake = True
                # Trouble may come instead of a hello: the runner cannot start its work.
                elif not has_completed_handshake:
                    _require_trouble(message)
                self._post_message(message)
            if not has_completed_handshake:
                self._require_hello(connected_at)

    def _post_message(self, message: Message) -> None:
        """Post a message. A host that sends faster than the loop handles messages has to wait."""
        # The semaphore is the only brake: the transport reads no further, so TCP slows the host down.
        while not self._free_places.acquire(timeout=PING_INTERVAL):
            if self._has_ended():
                return
        self._post(HostSpoke(self, message))

    def message_taken(self) -> None:
        """Note that the loop has taken one of this connection's messages."""
        self._free_places.release()

    def _require_hello(self, connected_at: float) -> None:
        if self._prepared_at is None:
            return  # the job is not open yet, so nothing was requested
        waited = time.monotonic() - max(self._prepared_at, connected_at)
        if self._reader.has_begun and waited > HANDSHAKE_TIMEOUT:
            raise LinkClosed(f"connected, but sent no hello within {HANDSHAKE_TIMEOUT:g} s")
        start_timeout = max(START_TIMEOUT, self.setup.connect_timeout)
        if not self._reader.has_begun and waited > start_timeout:
            raise LinkClosed(
                f"connected, but {self.setup.python} did not start within {start_timeout:g} s:"
                " a start-up file of the shell (~/.bashrc) may wait for something"
            )

    def _connect(self) -> Link | None:
        # At random, as many coordinators may start at the same moment, with the same jump host.
        time.sleep(self._delay * random.uniform(0.5, 1.5))
        spec = RunnerSpec(self.setup.python, self._label, self._marker, self.setup.silence)
        # The semaphore is shared by all connections of this process: jump hosts see them together.
        with _handshakes:
            if self._has_ended():
                return None
            link = self.setup.transport.connect(spec, self.setup.connect_timeout)
        with self._lock:
            self._link = link
        if (
            self._has_ended()
        ):  # close() was called while this thread connected, and found no link to close
            link.close()
            return None
        # After the link is there, as a ping of a connection without one would only be queued.
        _pinger.add(self)
        if self._has_ended():  # close() may have come between
            _pinger.remove(self)
        return link

    def _has_ended(self) -> bool:
        with self._lock:
            return self._is_closed

    def _begin_writing(self) -> None:
        """Have a shared thread write the queue, unless one does so already."""
        self._sent_at = time.monotonic()
        with self._lock:
            if self._is_writing or self._is_closed or self._link is None:
                return
            self._is_writing = True
        _writers.run(self._write)

    def _write(self) -> None:
        """Write until nothing is queued. After a failure nothing more is written."""
        while True:
            with self._lock:
                link = None if self._is_closed else self._link
                # The loop of the thread, not the caller, clears the flag: so no line waits without a
                # writer.
                # Under the lock: what is queued after this check finds that no thread writes.
                if link is None or self._outbox.empty():
                    self._is_writing = False
                    return
            # Lines that were queued meanwhile go out with one write.
            lines = []
            while not self._outbox.empty():
                lines.append(self._outbox.get())
            try:
                link.write(b"".join(lines), WRITE_TIMEOUT)
            # The report closes the connection, so that the next turn of this loop ends it.
            except LinkClosed as closed:
                # The reading thread gets the host's output instead of a hello; it tells the reason.
                if not self._has_spoken:
                    self._thread.join(WORDS_WAIT)
                self._report_end(closed)
            except Exception as error:  # noqa: BLE001 - as in the reading thread
                self._report_failure(Refusal.PROTOCOL, f"{type(error).__name__}: {error}")

    def _report_end(self, closed: LinkClosed) -> None:
        """Report the end of the connection, if the other thread has not done so."""
        limit = "" if self._has_spoken else limit_in(self._reader.noise)
        words = self._reader.noise[-1] if self._reader.noise and not self._has_spoken else ""
        if limit:
            self._report_failure(Refusal.LIMITS, limit)
        elif closed.lacks_program(words) or (closed.status is not None and not self._has_spoken):
            reason = closed.reason_on(self.host, self.setup.python, words)
            self._report_failure(closed.refusal(words), reason)
        else:
            self._report_failure(Refusal.UNREACHABLE, self._with_noise(closed.reason))

    def _report_failure(self, refusal: Refusal, reason: str) -> None:
        with self._lock:
            # The first of both threads reports; the second finds the connection closed.
            was_closed, self._is_closed = self._is_closed, True
        _pinger.remove(self)
        if not was_closed:
            self._post(LinkFailed(self, refusal, reason))

    def _with_noise(self, reason: str) -> str:
        """Add the host's last output, which often explains the end (no python3, a failing profile)."""
        return f"{reason}: {self._reader.noise[-1]}" if self._reader.noise else reason


def _require_trouble(message: Message) -> None:
    """Raise ProtocolError for any other message before the hello; ConnectFailed for lasting trouble."""
    if not isinstance(message, Trouble):
        raise ProtocolError("it sent a message about pages before its hello")
    if message.refusal is not None and message.refusal in NEEDS_ADMINISTRATOR:
        raise ConnectFailed(message.refusal, message.reason)
