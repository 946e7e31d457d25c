"""The runner's main thread: reads requests, beats, and makes sure that nothing outlives it.

It ends, and takes its whole process group along, when its input ends (the wire broke, the
coordinator died) or when the coordinator has been silent too long (a cable is out and the wire is
half open).

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from typing import Any, Callable, Dict, List, NoReturn, Optional, Tuple

from sshrender.renderers import ghostscript
from sshrender.renderers.recipe import Recipe
from sshrender.renderers.renderer import BWRAP
from sshrender.runner import (
    fingerprint,
    hostfacts,
    jobfolder,
    load,
    localworkspace,
    memory,
    processlimits,
    sandbox,
    scratch,
    slot,
    slotlocks,
    wire,
)
from sshrender.runner.taskqueue import Task, TaskQueue
from sshrender.runner.warmsession import Session, SessionEnded
from sshrender.storage import primitives

BEAT = 1.0
FLUSHES = 3
"""In a beat."""

SEEN_TIMEOUT = 10.0
"""Seconds that a document to be inspected gets to appear: another host may see it sooner."""


def die() -> NoReturn:
    """Kill this process group: every renderer, and ourselves."""
    scratch.remove_all()
    os.killpg(0, signal.SIGKILL)
    os._exit(1)  # only reached where the group is not ours to kill


class Runner:
    """Carries out requests until told to finish."""

    def __init__(self, post: wire.Wire, silence: float) -> None:
        self._wire = post
        self._silence = silence
        self._tasks = TaskQueue()
        self._slots: List[slot.Slot] = []
        self._environ = processlimits.environment(dict(os.environ))
        self._meter = load.LoadMeter()
        self._folder = "."
        self._own: Optional[localworkspace.LocalWorkspace] = None
        self._recipes: List[Optional[Recipe]] = []
        self._place = slotlocks.JobShare("")
        self._count = 0
        self._found: Dict[str, Any] = {}
        self._has_looked = threading.Event()
        self._ghostscript = "gs"
        self._storage = primitives.HangDetector(self._folder)
        self._operations: Dict[str, Callable[[Dict[str, Any]], None]] = {
            "hello": self._hello,
            "prepare": self._prepare,
            "render": self._render,
            "revoke": self._revoke,
            "kill": self._kill,
            "inspect": self._inspect,
            "discard": self._discard,
            "priority": self._rank,
            "set_slot_limit": self._widen,
            "ping": lambda _request: None,
            "finish": self._finish,
        }

    def serve(self, descriptor: int) -> NoReturn:
        """Read requests until the input ends, then die."""
        pending = b""
        heard = time.monotonic()
        while True:
            ready, _, _ = select.select([descriptor], [], [], 1.0)
            if ready:
                data = os.read(descriptor, 65536)
                if not data:
                    die()
                heard = time.monotonic()
                lines = (pending + data).split(b"\n")
                pending = lines.pop()
                for line in lines:
                    self._obey(line)
            elif time.monotonic() - heard > self._silence:
                die()

    def _obey(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            request = wire.parse(line)
            self._operations[request["op"]](request)
        except (KeyError, ValueError, TypeError) as error:
            self._wire.post("trouble", reason="bad request: %s: %s" % (type(error).__name__, error))

    def _hello(self, request: Dict[str, Any]) -> None:
        """Look at this host; what is found is said when ``prepare`` tells what it is wanted for."""
        self._ghostscript = request.get("ghostscript") or "gs"
        is_compared = bool(request.get("canary"))
        slots = int(request.get("slots") or 0)
        threading.Thread(target=self._look_around, args=(is_compared, slots), daemon=True).start()

    def _look_around(self, is_compared: bool, slots: int) -> None:
        """``slots``: those that it is said to have; 0: as many as its memory allows."""
        self._found.update(self._meter.greet())
        self._found.update(hostfacts.gather(self._ghostscript))
        self._found["slots"] = slots or memory.slots(self._found["cores"], self._found["free_memory"])
        if is_compared:
            self._found["fonts"] = fingerprint.fonts()
            with slotlocks.one_off_slot(self._found["slots"]) as seat:
                self._found["canary"] = fingerprint.picture(self._ghostscript, self._environ, seat)
        self._has_looked.set()

    def _prepare(self, request: Dict[str, Any]) -> None:
        """In threads, because the shared folder may hang. No folder: this host has no SAN."""
        if request["folder"] is None:
            self._own = localworkspace.LocalWorkspace(request.get("scratch"))
        self._folder = request["folder"] if self._own is None else self._own.path
        self._place = slotlocks.JobShare(request.get("tag", ""), int(request.get("priority") or 0))
        if request.get("is_limited"):
            self._place.slot_limit = 0  # until the coordinator says how many of the job's slots are here
        self._storage = primitives.HangDetector(self._folder)
        self._storage.start()
        threading.Thread(target=self._greet, args=(request,), daemon=True).start()
        threading.Thread(target=self._watch_storage, daemon=True).start()

    def _watch_storage(self) -> None:
        """Whoever waits for a page from here must know that none will come."""
        while not self._storage.is_hanging():
            time.sleep(BEAT)
        self._wire.post("trouble", reason="the shared folder does not answer")

    def _greet(self, request: Dict[str, Any]) -> None:
        """Warm the slots up if the host is idle, and answer with what it is."""
        san = self._look(request)
        scratch.clear_dead()
        is_sandboxed = request.get("sandbox") == BWRAP
        walls = sandbox.check(self._ghostscript) if is_sandboxed else None
        self._has_looked.wait()
        is_wanted = request.get("slots") != 0  # nobody renders who is only asked how he is
        too_low = processlimits.too_low()
        if too_low is not None:
            self._wire.post("trouble", reason=too_low)
            return
        self._recipes = [Recipe.of(fields) for fields in request.get("recipes", ())]
        missing = self._missing_recipes()
        is_able = san["writable"] and 0 not in missing and walls is None
        if is_wanted and is_able:
            self._start_slots(request)
        own = "" if self._own is None else self._own.path
        self._wire.post(
            "hello",
            san=san,
            folder=own,
            no_sandbox=walls or "",
            missing=[self._lacks(number) for number in missing],
            missing_recipes=missing,
            **self._found,
        )
        self._beat()

    def _missing_recipes(self) -> List[int]:
        """The recipes whose programs are not here; without recipes, 0 stands for Ghostscript."""
        return [number for number in range(max(1, len(self._recipes))) if self._lacks(number)]

    def _lacks(self, number: int) -> str:
        """The first program that a recipe wants and this host has not."""
        recipe = self._recipes[number] if self._recipes else None
        if recipe is None:
            return "" if self._found["ghostscript"] is not None else self._ghostscript
        return next((name for name in recipe.programs() if processlimits.find(name) is None), "")

    def _look(self, request: Dict[str, Any]) -> Dict[str, Any]:
        if self._own is not None:
            return self._own.as_seen()
        epoch = int(request.get("epoch") or 0)
        return jobfolder.check(self._folder, request["nonce_file"], request["nonce"], epoch)

    def _discard(self, request: Dict[str, Any]) -> None:
        """In a thread of its own: a disk may be slow, and the wire must be read."""
        if self._own is not None:
            threading.Thread(target=self._own.discard, args=(request["outputs"],), daemon=True).start()

    def _beat(self) -> None:
        """Every beat says how the host is; in between, what could wait a little is sent."""
        while True:
            for _ in range(FLUSHES):
                time.sleep(BEAT / FLUSHES)
                self._wire.flush()
            load_now: Dict[str, Any] = dict(self._meter.sample())
            if self._count:
                load_now["available_slots"] = slotlocks.available_to(self._place, self._count)
            self._wire.post("heartbeat", free_memory=hostfacts.memory("MemAvailable"), **load_now)

    def _setup(self, request: Dict[str, Any]) -> ghostscript.Setup:
        return ghostscript.Setup(
            program=self._ghostscript,
            device=request["device"],
            dpi=request["dpi"],
            document=request["file"],
            folder="work",
            output="",
            options=tuple(request.get("options", ())),
            tag=request.get("tag", ""),
            thumbnails=request.get("thumbnails") or "",
        )

    def _start_slots(self, request: Dict[str, Any]) -> None:
        os.umask(jobfolder.umask_for(self._folder))
        cores = os.cpu_count() or 1
        idle_below = request.get("idle_below")
        is_idle = idle_below is None or self._found["others"] < float(idle_below) * cores
        self._count = int(request.get("slots") or self._found["slots"])
        plan = slot.Plan(
            setup=self._setup(request),
            folder=self._folder,
            password=request.get("password"),
            page_timeout=float(request["page_timeout"]),
            page_memory=int(request["page_memory"]),
            recycle_pages=int(request["recycle_pages"]),
            recycle_memory=int(request["recycle_memory"]),
            is_eager=is_idle and not (self._recipes and self._recipes[0] is not None),
            guard=memory.Guard(),
            seats=self._count,
            place=self._place,
            recipes=tuple(self._recipes),
            is_sandboxed=request.get("sandbox") == BWRAP,
            epoch=int(request.get("epoch") or 0),
        )
        for number in range(self._count):
            self._slots.append(slot.Slot(plan, self._tasks, self._wire, self._environ, number))
            self._slots[-1].start()

    def _rank(self, request: Dict[str, Any]) -> None:
        """The job's place among those that want the same seats."""
        self._place.priority = int(request["priority"])

    def _widen(self, request: Dict[str, Any]) -> None:
        """How many slots draw for the job; the others rest."""
        self._place.slot_limit = None if request["slots"] is None else int(request["slots"])

    def _render(self, request: Dict[str, Any]) -> None:
        self._tasks.put(
            Task(
                attempt=wire.attempt(request),
                page=int(request["page"]),
                file=str(request["file"]),
                number=int(request["index"]),
                output=str(request["output"]),
                recipe=request.get("recipe"),
            )
        )

    def _revoke(self, request: Dict[str, Any]) -> None:
        """Always answered."""
        attempt = wire.attempt(request)
        is_handed_back = self._tasks.revoke(attempt)
        self._wire.post("revoked" if is_handed_back else "kept", attempt=attempt)

    def _kill(self, request: Dict[str, Any]) -> None:
        self._revoke(request)
        for each in self._slots:
            each.kill(wire.attempt(request))

    def _inspect(self, request: Dict[str, Any]) -> None:
        self._folder = request["folder"]
        threading.Thread(target=self._inspect_now, args=(request,), daemon=True).start()

    def _inspect_now(self, request: Dict[str, Any]) -> None:
        document = os.path.join(self._folder, request["file"])
        if not jobfolder.becomes_visible(document, SEEN_TIMEOUT):
            self._wire.post("trouble", reason="does not see the document %s" % document)
            return
        self._has_looked.wait()
        with slotlocks.one_off_slot(self._found["slots"]) as seat:
            pages, lines = self._count_pages(request, seat)
        self._wire.post("inspected", pages=int(pages) if pages.isdigit() else 0, diagnostics=lines)

    def _count_pages(self, request: Dict[str, Any], seat: Tuple[int, ...]) -> Tuple[str, List[str]]:
        """How many Ghostscript finds, and what it says of the document."""
        session = Session(
            self._setup(request)._replace(output="%d"),
            self._folder,
            "sshrender-" + os.urandom(8).hex(),
            int(request["page_memory"]),
            self._environ,
            request.get("password"),
            request.get("sandbox") == BWRAP,
            seat=seat,
        )
        try:
            return slot.inspect(session, float(request["page_timeout"]))
        except SessionEnded as end:
            return "0", [end.reason] + end.lines
        finally:
            session.close()

    def _finish(self, _request: Dict[str, Any]) -> None:
        self._tasks.finish()
        threading.Thread(target=self._say_bye, daemon=True).start()

    def _say_bye(self) -> None:
        for each in self._slots:
            each.join()
        self._wire.post("bye")


def main(marker: str, silence: float) -> NoReturn:
    """Run until the input ends. ``marker`` starts every line of ours; ``silence`` is in seconds."""
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: die())
    Runner(wire.Wire(1, marker), silence).serve(0)


def start(marker: str, silence: Optional[float] = None) -> NoReturn:
    """The payload's entry point; prints to the wire's noise what no thread could report."""
    try:
        signal.alarm(0)  # set by the command that read the payload
        main(marker, 8.0 if silence is None else silence)
    except Exception as error:  # noqa: BLE001 - the last line of defence of a process far away
        sys.stderr.write("sshrender runner: %s: %s\n" % (type(error).__name__, error))
        die()
