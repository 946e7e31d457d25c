"""Read PDFs with pypdf in a process of its own: a request on its input, lines of JSON as answers.

A document may be hostile, or merely broken: whatever pypdf does to it, looping and eating memory
included, happens here and not in the coordinator. It ends when its input ends.

Requests (field ``op``): ``look`` at a document (``path``, ``password``, ``box``) answers ``facts`` or
``error``, then ``boxes`` for its pages in order, and ``walked``; ``fonts`` (``path``, ``password``)
answers with the ``fonts`` that each page lacks; ``split`` it (``path``, ``password``, ``folder``,
``per_part``, ``pages``) answers ``ready`` for each part; ``cut`` it (the same without ``pages``) answers
``cut`` for each further line that names a ``part``, until its input ends. Each answer carries
``complaints``, how often pypdf has warned so far. The last one is ``end``; without it, the process died.
``within`` is the time in seconds that a request may take; the parent watches that, and the limit on
processor time here ends a process whose parent cannot.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pypdf  # while the request is still being made

from sshrender.document import boxes, fonts, pdfwarnings, readlimits, splitting
from sshrender.document.facts import PasswordError, look
from sshrender.errors import UserError

MAX_REASON = 300

CHUNK = 64
"""Boxes in one answer: the first pages render while the rest is read."""


def main() -> None:
    """Answer one request."""
    request = json.loads(sys.stdin.readline())
    readlimits.lower(resource.RLIMIT_CORE, 0)
    readlimits.lower(resource.RLIMIT_AS, readlimits.MAX_MEMORY[request["op"]])
    if request["within"] is not None:
        readlimits.lower(resource.RLIMIT_CPU, math.ceil(request["within"]) + 1)
    threading.Thread(target=_listen, daemon=True).start()
    answer = _Answers(pdfwarnings.listen())
    {"look": _look, "fonts": _fonts, "split": _split, "cut": _cut}[request["op"]](request, answer)
    answer(end=True)


_more: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()


def _listen() -> None:
    """Take further requests. The end of the input ends this process, whatever pypdf is busy with."""
    for line in sys.stdin:
        _more.put(json.loads(line))
    os._exit(0)


class _Answers:
    def __init__(self, heard: pdfwarnings.PdfWarnings) -> None:
        self._heard = heard

    def __call__(self, **fields: Any) -> None:
        print(json.dumps({**fields, "complaints": self._heard.count}), flush=True)


def _look(request: dict[str, Any], answer: _Answers) -> None:
    try:
        facts, reader = look(Path(request["path"]), request["password"])
    except UserError as error:
        answer(error=[error.what, error.hint], asks=isinstance(error, PasswordError))
        return
    answer(facts=facts)
    if reader is None or facts.pages is None:
        return
    pages = boxes.walk(reader, facts.pages, request["box"])
    while chunk := list(itertools.islice(pages, CHUNK)):
        answer(boxes=chunk)
    answer(walked=True)


def _fonts(request: dict[str, Any], answer: _Answers) -> None:
    os.nice(19)  # it can wait, and renderers may run here too
    facts, reader = look(Path(request["path"]), request["password"])
    if reader is None or facts.pages is None:
        return
    names = _missing_fonts(reader, facts.pages)
    while found := list(itertools.islice(names, CHUNK)):
        answer(fonts=found)


def _missing_fonts(reader: pypdf.PdfReader, pages: int) -> Iterator[list[str]]:
    missing = fonts.MissingFonts("/AcroForm" in reader.root_object)
    for page, values in boxes.leaves(reader, pages):
        found = missing.of(page, values.get("/Resources"))
        if missing.is_exhausted:
            return
        yield found


def _split(request: dict[str, Any], answer: _Answers) -> None:
    parts = splitting.split(
        Path(request["path"]),
        request["password"],
        Path(request["folder"]),
        request["per_part"],
        request["pages"],
    )
    try:
        for pages in parts:
            answer(ready=pages)
    except Exception as error:  # noqa: BLE001 - pypdf raises anything; the coordinator says what to do
        answer(error=_reason(error))


def _cut(request: dict[str, Any], answer: _Answers) -> None:
    try:
        with splitting.Splitter(
            Path(request["path"]),
            request["password"],
            Path(request["folder"]),
            request["per_part"],
        ) as splitter:
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
