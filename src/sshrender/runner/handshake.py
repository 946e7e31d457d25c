"""Gathers what this host tells in the handshake: its facts, and which of a job's programs it lacks.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import threading
from typing import Any, Dict, Optional, Sequence, Tuple

from sshrender.renderers import ghostscript, mutool
from sshrender.renderers.encoders import png
from sshrender.renderers.recipe import Recipe
from sshrender.runner import wire
from sshrender.runner.host import (
    fingerprint,
    hostfacts,
    loadmeasurement,
    memorylimits,
    processlimits,
    threadwatch,
)
from sshrender.runner.slots import slotlocks

_WITHOUT_CHUNKS = ("-dTextAlphaBits=", "-dGraphicsAlphaBits=")
"""Switches that change the pixels of a PNG file alone."""


class HandshakeFacts:
    """What the handshake says of this host. ``environ``: the variables that renderers start with.

    ``begin`` starts to gather facts in a thread; the other methods may be called after ``wait``.
    """

    def __init__(
        self, post: wire.Wire, environ: Dict[str, str], meter: loadmeasurement.LoadMeter
    ) -> None:
        self.ghostscript = "gs"
        # Filled by the thread of ``begin``, read by others after ``wait``.
        self.facts: Dict[str, Any] = {}
        self._wire = post
        self._environ = environ
        self._meter = meter
        self._has_canary = False
        # The device and resolution of the blank page that the hello asks for, and the page.
        self._blank: Optional[Tuple[str, str]] = None
        self._blank_page = b""
        self._has_facts = threading.Event()

    def begin(self, request: Dict[str, Any]) -> None:
        """Start to gather what a ``hello`` asks for."""
        self.ghostscript = request.get("ghostscript") or "gs"
        self._has_canary = bool(request.get("canary"))
        if request.get("blank"):
            device, dpi = request["blank"]
            self._blank = str(device), str(dpi)
        slots = int(request.get("slots") or 0)
        # hello comes before the job is known, so the facts are gathered while the coordinator still
        # opens it.
        threading.Thread(target=self.gather, args=(slots,), daemon=True).start()

    def gather(self, slots: int) -> None:
        """Gather the facts, or say which limit forbids it.

        ``slots``: as the inventory says; 0: as many as memory allows.
        """
        try:
            self._gather(slots)
        except Exception as error:  # noqa: BLE001 - a worker thread turns a crash into a message
            threadwatch.report(self._wire, error)

    def _gather(self, slots: int) -> None:
        # Before Ghostscript and the canary run here, so that their load is not measured.
        self.facts.update(self._meter.greet())
        self.facts.update(hostfacts.gather())
        self.facts["slots"] = slots or memorylimits.slots(self.facts["cores"], self.facts["free_memory"])
        version, why_not = hostfacts.ask_ghostscript(self.ghostscript)
        self.facts.update(ghostscript=version, no_ghostscript=why_not)
        if self._has_canary:
            self._render_canary()
        # Not set after an error: then "trouble" was sent, and no hello follows.
        self._has_facts.set()

    def _render_canary(self) -> None:
        """Add the canary page and the fonts to the facts."""
        self.facts["fonts"] = fingerprint.fonts()
        # The canary is rendered in a slot, too, or a host would have one renderer too many.
        with slotlocks.one_off_slot(self.facts["slots"]) as inherited:
            found = fingerprint.run_ghostscript(self.ghostscript, self._environ, inherited, self._blank)
        self.facts["canary"], self._blank_page = found.canary, found.blank

    def chunks(self, setup: ghostscript.Setup) -> Optional[bytes]:
        """Return what the PNG files of such renderers contain before their pixels, if it is known.

        It is of the blank page that was written after the canary page, by a process without ``options``.
        """
        has_other = any(not option.startswith(_WITHOUT_CHUNKS) for option in setup.options)
        if self._blank != (setup.device, setup.dpi) or has_other or setup.profile is not None:
            return None
        try:
            return png.chunks_before_pixels(self._blank_page)
        except ValueError:
            return None

    def wait(self) -> None:
        """Wait until the facts are there; for ever if they could not be gathered."""
        self._has_facts.wait()

    def gather_mutool(self, recipes: Sequence[Optional[Recipe]], is_checked: bool) -> None:
        """Gather what MuPDF's pages depend on, if a recipe is rendered by a warm one.

        For a host that is only checked, only the version.
        """
        # A recipe that a warm MuPDF cannot replace (mutool.look_of) needs no canary page of MuPDF.
        is_used = any(recipe is not None and mutool.look_of(recipe) for recipe in recipes)
        if is_used or is_checked:
            self.facts["mutool"] = hostfacts.mutool_version()
        if is_used and self._has_canary:
            with slotlocks.one_off_slot(self.facts["slots"]) as inherited:
                self.facts["mutool_canary"] = fingerprint.mutool_digest(self._environ, inherited)

    def is_too_old(self, recipes: Sequence[Optional[Recipe]]) -> bool:
        """Return whether the first recipe needs Ghostscript, and this one will be refused."""
        if recipes and recipes[0] is not None:
            return False
        # The version is a text of the host's program; what cannot be read counts as too old.
        version = ghostscript.parse_version(self.facts["ghostscript"] or "")
        return version is None or not ghostscript.is_supported(version)

    def missing(self, recipes: Sequence[Optional[Recipe]]) -> Dict[int, str]:
        """Return the first program that is not installed, of each recipe that cannot run here.

        By the recipe's number; without recipes, 0 stands for Ghostscript.
        """
        programs = [self._missing_program(recipe) for recipe in recipes or (None,)]
        return {number: program for number, program in enumerate(programs) if program}

    def _missing_program(self, recipe: Optional[Recipe]) -> str:
        if recipe is None:
            return "" if self.facts["ghostscript"] is not None else self.ghostscript
        return next((name for name in recipe.programs() if processlimits.find(name) is None), "")
