"""Read PDFs in a process of its own: requests on its input, lines of JSON as answers.

A document may be hostile, or merely broken: whatever qpdf or pypdf does to it, looping and eating memory
included, happens here and not in the coordinator. It ends when its input ends.

Requests (field ``op``): ``read`` a document (``path``, ``password``, ``box``) answers ``facts`` or
``error``, and ``counted``: whether its number of pages is sure. Each further line then asks for some
pages, as a list of first and last ones: for their ``boxes``, or for the ``fonts`` that each lacks.
``split`` it (``path``, ``password``, ``folder``, ``per_part``, ``pages``, ``total``) answers ``ready``
for each part; ``cut`` it (the same without ``pages``) answers ``cut`` for each further line that names a
``part``, until its input ends. Each answer carries ``warnings``, how often qpdf or pypdf has warned so
far. The last one to a line is ``end``; without it, the process died. ``within`` is the time in seconds
that a request may take, ``cpu`` the processor time of all; the parent watches the former, and the limit
on processor time here ends a process whose parent cannot.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import queue
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pikepdf  # noqa: F401 - loaded while the request is still being made

from sshrender.document import boxes, fonts, opening, pdfwarnings, readlimits, splitting
from sshrender.document.facts import PasswordError
from sshrender.errors import UserError

MAX_REASON = 300

CHUNK = 64
"""Boxes in one answer: the first pages are verified while the rest is read."""

AFTERWARDS = 19
"""The niceness while pages are read: that can wait, and renderers may run here too."""


def main() -> None:
    """Answer one request."""
    request = json.loads(sys.stdin.readline())
    # No core files: they would hold the document, and its password.
    readlimits.lower(resource.RLIMIT_CORE, 0)
    memory = readlimits.MAX_MEMORY[request["op"]]
    if request["op"] == "read":
        # qpdf maps the file: its size is part of the address space, whatever else is read.
        memory += opening.mapped_bytes(Path(request["path"]))
    readlimits.lower(resource.RLIMIT_AS, memory)
    seconds = request.get("cpu") or request["within"]
    if seconds is not None:
        # One second more, as the parent stops it first if it can.
        readlimits.lower(resource.RLIMIT_CPU, math.ceil(seconds) + 1)
    threading.Thread(target=_listen, daemon=True).start()
    answer = _Answers()
    {"read": _read, "split": _split, "cut": _cut}[request["op"]](request, answer)
    answer(end=True)


_more: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()


def _listen() -> None:
    """Take further requests. The end of the input ends this process, whatever it is busy with."""
    for line in sys.stdin:
        _more.put(json.loads(line))
    # _exit: the main thread may be in qpdf, where no exception reaches it.
    os._exit(0)


class _Answers:
    def __init__(self) -> None:
        self.warnings: Callable[[], int] = lambda: 0

    def __call__(self, **fields: Any) -> None:
        # flush: the parent waits for this line.
        print(json.dumps({**fields, "warnings": self.warnings()}), flush=True)


def _read(request: dict[str, Any], answer: _Answers) -> None:
    try:
        facts, document = opening.read_facts(Path(request["path"]), request["password"])
    except UserError as error:
        answer(error=[error.what, error.hint], asks=isinstance(error, PasswordError))
        return
    if document is not None:
        answer.warnings = lambda: document.warnings
    answer(facts=facts)
    if document is None or facts.pages is None:
        return
    # After the facts: the caller needs these first.
    answer(counted=document.counts_right())
    os.nice(AFTERWARDS)
    while True:
        # Each request ends with one of these; the first ends that of the facts.
        answer(end=True)
        wanted = _more.get()
        if "boxes" in wanted:
            found = boxes.walk(document, facts.pages, _ranges(wanted["boxes"]), request["box"])
            _in_chunks(found, lambda chunk: answer(boxes=chunk))
        else:
            names = _missing_fonts(document, facts.pages, _ranges(wanted["fonts"]))
            _in_chunks(names, lambda chunk: answer(fonts=chunk))


def _ranges(wanted: list[list[int]]) -> list[range]:
    return [range(first, last + 1) for first, last in wanted]


def _in_chunks(values: Iterator[Any], send: Callable[[list[Any]], None]) -> None:
    # A single one first: its page may be the only one that is rendered by then.
    size = 1
    while chunk := list(itertools.islice(values, size)):
        send(chunk)
        size = CHUNK


def _missing_fonts(
    document: opening.OpenDocument, pages: int, wanted: list[range]
) -> Iterator[list[str]]:
    missing = fonts.MissingFonts("/AcroForm" in document.pdf.Root)
    for page, values in boxes.leaves(document, pages, wanted):
        found = missing.of(page, values.get("/Resources"))
        # The rest would be incomplete, so it is not reported as complete.
        if missing.is_exhausted:
            return
        yield found


def _split(request: dict[str, Any], answer: _Answers) -> None:
    heard = pdfwarnings.listen()
    answer.warnings = lambda: heard.count
    try:
        with _splitter(request, heard) as splitter:
            for pages in splitting.split(splitter, request["pages"]):
                answer(ready=pages)
    except Exception as error:  # noqa: BLE001 - pypdf raises anything; the coordinator says what to do
        answer(error=_reason(error))


def _splitter(request: dict[str, Any], heard: pdfwarnings.PdfWarnings) -> splitting.Splitter:
    splitter = splitting.Splitter(
        Path(request["path"]), request["password"], Path(request["folder"]), request["per_part"]
    )
    # Before the first part: a document that pypdf had to repair must not be split at all.
    splitter.require_sound(request["total"], heard)
    return splitter


def _cut(request: dict[str, Any], answer: _Answers) -> None:
    heard = pdfwarnings.listen()
    answer.warnings = lambda: heard.count
    try:
        with _splitter(request, heard) as splitter:
            while True:
                part = _more.get()["part"]
                splitter.write(part, splitting.fed_place)
                answer(cut=part)
    except Exception as error:  # noqa: BLE001 - as in _split
        answer(error=_reason(error))


def _reason(error: Exception) -> list[str]:
    """Return the text of what pypdf raised, which may quote the document."""
    return [f"{type(error).__name__}: {error}"[:MAX_REASON], ""]


if __name__ == "__main__":
    main()
