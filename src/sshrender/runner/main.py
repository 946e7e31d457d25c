"""The runner's main thread: reads requests, sends heartbeats, and ends everything that it started.

It kills its whole process group when its input ends (the connection broke, or the coordinator died), and
when no request has come for too long (a cable is out, and the connection stays half open).

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from typing import Any, Callable, Dict, List, NoReturn, Optional

from sshrender.renderers.constants import BWRAP
from sshrender.renderers.recipe import Recipe
from sshrender.runner import pagecounter, wire
from sshrender.runner.handshake import HandshakeFacts
from sshrender.runner.host import (
    earlierrunners,
    hostfacts,
    jobfolder,
    loadmeasurement,
    localworkspace,
    processlimits,
    sandbox,
    scratch,
    threadwatch,
)
from sshrender.runner.rendering import slot, slotsettings
from sshrender.runner.slots import slotlocks
from sshrender.runner.slots.taskqueue import Task, TaskQueue
from sshrender.storage import primitives

HEARTBEAT_INTERVAL = 1.0
FLUSHES_PER_HEARTBEAT = 3
"""Times between two heartbeats at which delayed messages are sent."""

DEFAULT_SILENCE = 8.0
"""Seconds without a request after which the runner ends; the coordinator sends pings more often."""


def die() -> NoReturn:
    """Kill this process group: every renderer, and this process."""
    # Before the kill: SIGKILL leaves no time for it, and most of these folders have no guardian.
    scratch.remove_all()
    # 0: this process group. sshd and the local transport make each runner the leader of one.
    os.killpg(0, signal.SIGKILL)
    os._exit(1)  # only reached if this process may not kill the group


class Runner:
    """Carries out the coordinator's requests."""

    def __init__(self, post: wire.Wire, silence: float) -> None:
        self._wire = post
        self._silence = silence
        self._tasks = TaskQueue()
        self._slots: List[slot.Slot] = []
        # Computed once: renderers of all slots start from the same variables.
        self._environ = processlimits.environment(dict(os.environ))
        self._meter = loadmeasurement.LoadMeter()
        self._handshake = HandshakeFacts(post, self._environ, self._meter)
        self._folder = "."
        self._workspace: Optional[localworkspace.LocalWorkspace] = None
        self._recipes: List[Optional[Recipe]] = []
        self._share = slotlocks.JobShare("")
        self._slot_count = 0
        self._has_slots = threading.Event()
        # Replaced by ``prepare``, when the folder is known.
        self._hang_detector = primitives.HangDetector(self._folder)
        self._operations: Dict[str, Callable[[Dict[str, Any]], None]] = {
            "hello": self._handshake.begin,
            "prepare": self._prepare,
            "render": self._render,
            "revoke": self._revoke,
            "kill": self._kill,
            "inspect": self._inspect,
            "discard": self._discard,
            "priority": self._set_priority,
            "set_slot_limit": self._set_slot_limit,
            "ping": lambda _request: None,
            "finish": self._finish,
        }

    def serve(self, descriptor: int) -> NoReturn:
        """Read requests until the input ends, then die."""
        pending = b""
        last_request = time.monotonic()
        while True:
            # A half-open connection never becomes readable, so the silence is checked every second.
            # select(2) is enough here: this is descriptor 0, and the limit of 1023 is about numbers.
            ready, _, _ = select.select([descriptor], [], [], 1.0)
            if ready:
                data = os.read(descriptor, 65536)
                if not data:
                    die()
                last_request = time.monotonic()
                lines = (pending + data).split(b"\n")
                pending = lines.pop()  # the beginning of a line that has not arrived as a whole
                # In the order of the lines: a revocation must not overtake the task that it is about.
                for line in lines:
                    self._carry_out(line)
            # Only when nothing is readable: requests that have arrived while this thread was busy count
            # as life.
            elif time.monotonic() - last_request > self._silence:
                die()

    def _carry_out(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            request = wire.parse(line)
            # Each operation returns at once; what may block has a thread of its own, or pings would go
            # unread.
            self._operations[request["op"]](request)
        # A request that cannot be read is reported; it must not end the pages that are being rendered.
        except (KeyError, ValueError, TypeError) as error:
            self._wire.post("trouble", reason="bad request: %s: %s" % (type(error).__name__, error))

    def _prepare(self, request: Dict[str, Any]) -> None:
        """Get ready for a job, in threads, because the shared folder may hang.

        Without a folder in the request this host has no shared folder, and works in a folder of its own.
        """
        if request["folder"] is None:
            self._workspace = localworkspace.LocalWorkspace(request.get("scratch"))
        self._folder = request["folder"] if self._workspace is None else self._workspace.path
        self._share = slotlocks.JobShare(request.get("tag", ""), int(request.get("priority") or 0))
        if request.get("is_limited"):
            # Until the coordinator says how many of the job's slots are on this host.
            # 0 and not None: several hosts that start at the same time would exceed the job's limit
            # together.
            self._share.slot_limit = 0
        self._hang_detector = primitives.HangDetector(self._folder)
        self._hang_detector.start()
        threading.Thread(target=self._answer_hello, args=(request,), daemon=True).start()
        threading.Thread(target=self._watch_storage, daemon=True).start()

    def _watch_storage(self) -> None:
        """Report when the shared folder hangs, because no page will come from here then."""
        # The detector asks in a thread of its own, so this one never blocks in the folder.
        while not self._hang_detector.is_hanging():
            time.sleep(HEARTBEAT_INTERVAL)
        self._wire.post("trouble", reason="the shared folder does not answer", refusal=wire.SAN)

    def _answer_hello(self, request: Dict[str, Any]) -> None:
        """Answer the handshake, start the slots, and send heartbeats until the runner ends."""
        # First of all: what follows would fail of it with another reason.
        too_low = processlimits.too_low()
        if too_low is not None:
            self._wire.post("trouble", reason=too_low, refusal=wire.LIMITS)
            return
        # A dead file server blocks this thread here, and no other.
        san = self._check_folder(request)
        scratch.clear_dead()
        is_sandboxed = request.get("sandbox") == BWRAP
        host = self._handshake
        no_sandbox = sandbox.check(host.ghostscript) if is_sandboxed else None
        # Facts are gathered since hello; a slow Ghostscript or canary delays the answer here.
        host.wait()
        is_wanted = request.get("slots") != 0  # 0: the host is only checked
        self._recipes = [Recipe.of(fields) for fields in request.get("recipes", ())]
        host.gather_mutool(self._recipes, is_checked=not is_wanted)
        missing = host.missing(self._recipes)
        # 0 is the first recipe, or Ghostscript if there is none. Without it no page could be rendered
        # here.
        is_able = san["writable"] and 0 not in missing and no_sandbox is None
        if is_wanted and is_able and not host.is_too_old(self._recipes):
            self._create_slots(request)
        workspace = "" if self._workspace is None else self._workspace.path
        self._wire.post(
            "hello",
            san=san,
            folder=workspace,
            no_sandbox=no_sandbox or "",
            missing=list(missing.values()),
            missing_recipes=list(missing),
            **host.facts,
        )
        # After the hello: what fails in a slot then cannot hide from the coordinator what is wrong here.
        for each in self._slots:
            each.start()
        self._has_slots.set()
        # This thread continues as the one of heartbeats.
        self._send_heartbeats()

    def _check_folder(self, request: Dict[str, Any]) -> Dict[str, Any]:
        if self._workspace is not None:
            return self._workspace.check()
        epoch = int(request.get("epoch") or 0)
        files = (request.get("file"), *request.get("files", ()))
        found = jobfolder.check(
            self._folder,
            request["nonce_file"],
            request["nonce"],
            epoch,
            [name for name in files if name],
        )
        if found["writable"] and request.get("leaves"):
            try:
                found["left"] = jobfolder.leave(self._folder, request["nonce"], epoch)
            except OSError as error:
                found["writable"], found["reason"] = False, primitives.reason_of(error)
        return found

    def _discard(self, request: Dict[str, Any]) -> None:
        """Remove fetched files, in a thread: a disk may be slow, and requests must be read meanwhile."""
        if self._workspace is not None:
            discard, names = self._workspace.discard, request["outputs"]
            threading.Thread(target=discard, args=(names,), daemon=True).start()

    def _send_heartbeats(self) -> None:
        """Send a heartbeat every second, and in between the messages that could wait."""
        while True:
            for _ in range(FLUSHES_PER_HEARTBEAT):
                # Three times a second: a message that can wait is late by a third of a second at most.
                time.sleep(HEARTBEAT_INTERVAL / FLUSHES_PER_HEARTBEAT)
                self._wire.flush()
            load_now: Dict[str, Any] = dict(self._meter.sample())
            # Known only after the slots were made; until then the field is missing, which means unknown.
            if self._slot_count:
                load_now["available_slots"] = slotlocks.available_to(self._share, self._slot_count)
            self._wire.post("heartbeat", free_memory=hostfacts.memory("MemAvailable"), **load_now)

    def _create_slots(self, request: Dict[str, Any]) -> None:
        # Pages must be as readable as the job's folder, whatever the login's umask is. A process has one
        # (umask(2)); files are made by its threads, and by renderers, which inherit it.
        os.umask(jobfolder.umask_for(self._folder))
        host = self._handshake
        self._slot_count = int(request.get("slots") or host.facts["slots"])
        settings = slotsettings.settings_of(
            request,
            host.ghostscript,
            self._folder,
            self._recipes,
            slotsettings.HostSlots(self._slot_count, self._share, lambda: self._is_idle(request)),
            host.chunks,
        )
        # A job of few pages needs few slots: each warms a renderer.
        for number in range(min(self._slot_count, request.get("at_once") or self._slot_count)):
            self._slots.append(slot.Slot(settings, self._tasks, self._wire, self._environ, number))

    def _is_idle(self, request: Dict[str, Any]) -> bool:
        """Return whether other people's load is low enough to start work."""
        idle_below = request.get("idle_below")
        cores = os.cpu_count() or 1
        # Without a threshold from the coordinator every host counts as idle.
        return idle_below is None or self._meter.reading()["others"] < float(idle_below) * cores

    def _set_priority(self, request: Dict[str, Any]) -> None:
        """Set the job's priority among the jobs that share this host's slots."""
        self._share.priority = int(request["priority"])

    def _set_slot_limit(self, request: Dict[str, Any]) -> None:
        """Set how many slots work for the job; the others rest."""
        # An assignment of one attribute: slots read it without a lock, before each page.
        self._share.slot_limit = None if request["slots"] is None else int(request["slots"])

    def _render(self, request: Dict[str, Any]) -> None:
        self._tasks.put(
            Task(
                attempt=wire.attempt(request),
                page=int(request["page"]),
                file=str(request["file"]),
                # ``index``: the page's number in its file, which may be a part of the document.
                number=int(request["index"]),
                output=str(request["output"]),
                recipe=request.get("recipe"),
            )
        )

    def _revoke(self, request: Dict[str, Any]) -> None:
        """Take an attempt back, and always answer: whether no slot had begun it."""
        attempt = wire.attempt(request)
        is_handed_back = self._tasks.revoke(attempt)
        # "kept": a slot has begun it, or it was reported already; then its own report says which.
        self._wire.post("revoked" if is_handed_back else "kept", attempt=attempt)

    def _kill(self, request: Dict[str, Any]) -> None:
        # First out of the queue; a slot that takes it between both lines is met by kill().
        self._revoke(request)
        for each in self._slots:
            # At most one slot has it; the others compare and do nothing.
            each.kill(wire.attempt(request))

    def _inspect(self, request: Dict[str, Any]) -> None:
        """Count the pages of a document, in a thread: the folder and Ghostscript may be slow."""
        # Read here, where a field that is missing is reported as a bad request.
        folder, file = request["folder"], request["file"]
        threading.Thread(target=self._inspect_now, args=(request, folder, file), daemon=True).start()

    def _inspect_now(self, request: Dict[str, Any], folder: str, file: str) -> None:
        reason = pagecounter.wait_for_document(folder, file)
        if reason:
            self._wire.post("trouble", reason=reason)
            return
        host = self._handshake
        host.wait()
        setup = slotsettings.setup_of(request, host.ghostscript)
        pagecounter.report_count(self._wire, request, setup, self._environ, host.facts["slots"])

    def _finish(self, _request: Dict[str, Any]) -> None:
        self._tasks.finish()
        threading.Thread(target=self._say_bye, daemon=True).start()

    def _say_bye(self) -> None:
        # ``finish`` may come before the slots exist; without the wait, ``bye`` would come at once.
        self._has_slots.wait()
        for each in self._slots:
            # A slot ends when the queue has ended and its last page was reported.
            each.join()
        self._wire.post("bye")


def main(marker: str, silence: float) -> NoReturn:
    """Run until the input ends. ``marker`` starts every line; ``silence``: seconds without a request."""
    # In an allocation the holder takes the engine's signals (allocationholder.py), and this process ends
    # with its input. Renderers inherit that: a page that can be finished must not count as crashed.
    is_held = earlierrunners.VARIABLE in os.environ
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN if is_held else lambda *_: die())
    signal.signal(signal.SIGINT, lambda *_: die())
    if is_held:
        earlierrunners.end_others()
    # 0 and 1: the streams of the connection. Renderers get neither of them.
    post = wire.Wire(1, marker)
    threadwatch.end_after_a_limit(post, die)
    try:
        Runner(post, silence).serve(0)
    except (RuntimeError, MemoryError, OSError) as error:  # if a thread cannot be started
        if processlimits.reached(error) is not None:
            threadwatch.report(post, error)
        raise


def start(marker: str, silence: Optional[float] = None) -> NoReturn:
    """Start the runner; the payload calls this. An error is printed if no thread could report it."""
    try:
        signal.alarm(0)  # set by the command that read the payload
        main(marker, DEFAULT_SILENCE if silence is None else silence)
    except Exception as error:  # noqa: BLE001 - the last resort of a process on another machine
        reason = processlimits.reached(error) or "%s: %s" % (type(error).__name__, error)
        sys.stderr.write("sshrender runner: %s\n" % reason)
        # sys.exit() would leave the threads and the renderers of other slots behind.
        die()
