"""The process that reads PDFs with pypdf: one request on its input, lines of JSON as its answer.

A document may be hostile, or merely broken: whatever pypdf does to it, looping and eating memory
included, happens here and not in the coordinator. It ends when its input ends.

Requests (field ``op``): ``look`` at a document (``path``, ``password``) answers ``facts`` or ``error``,
then ``boxes`` for its pages in order, and ``walked``; ``fonts`` (the same) answers with the ``fonts``
that each page lacks; ``split`` it (``path``, ``password``, ``folder``, ``per_part``, ``pages``) answers
``ready`` for each part; ``cut`` it (the same without ``pages``) answers ``cut`` for each further line
that names a ``part``, until its input ends. Each answer carries ``complaints``, how often pypdf has
warned so far. The last one is ``end``; without it, the process died.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import resource
import sys
import threading
from pathlib import Path
from typing import Any

import pypdf  # noqa: F401 - imported while the request is still being made

from sshrender.document import boxes, complaints, fonts, splitting
from sshrender.document.facts import look
from sshrender.errors import UserError

MEMORY = 4 << 30
"""Bytes of address space: far more than any sound document needs, as files are read piece by piece."""

CHUNK = 64
"""Boxes in one answer: the first pages render while the rest is read."""


def main() -> None:
    """Answer one request."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_listen, daemon=True).start()
    answer = _Answers(complaints.listen())
    {"look": _look, "fonts": _fonts, "split": _split, "cut": _cut}[request["op"]](request, answer)
    answer(end=True)


_more: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()


def _listen() -> None:
    """Take further requests; the end of the input is ours, whatever pypdf is busy with."""
    for line in sys.stdin:
        _more.put(json.loads(line))
    os._exit(0)


class _Answers:
    def __init__(self, heard: complaints.Complaints) -> None:
        self._heard = heard

    def __call__(self, **fields: Any) -> None:
        print(json.dumps({**fields, "complaints": self._heard.count}), flush=True)


def _look(request: dict[str, Any], answer: _Answers) -> None:
    try:
        facts, reader = look(Path(request["path"]), request["password"])
    except UserError as error:
        answer(error=[error.what, error.hint])
        return
    answer(facts=facts)
    if reader is None:
        return
    pages = boxes.walk(reader)
    while chunk := list(itertools.islice(pages, CHUNK)):
        answer(boxes=chunk)
    answer(walked=True)


def _fonts(request: dict[str, Any], answer: _Answers) -> None:
    os.nice(19)  # it can wait, and renderers may run here too
    _, reader = look(Path(request["path"]), request["password"])
    if reader is None:
        return
    missing = fonts.MissingFonts("/AcroForm" in reader.root_object)
    names = (missing.of(page, values.get("/Resources")) for page, values in boxes.leaves(reader))
    while found := list(itertools.islice(names, CHUNK)):
        answer(fonts=found)


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
        answer(error=[f"{type(error).__name__}: {error}", ""])


def _cut(request: dict[str, Any], answer: _Answers) -> None:
    try:
        splitter = splitting.Splitter(
            Path(request["path"]),
            request["password"],
            Path(request["folder"]),
            request["per_part"],
        )
        while True:
            part = _more.get()["part"]
            splitter.write(part, splitting.fed_place)
            answer(cut=part)
    except Exception as error:  # noqa: BLE001 - as in _split
        answer(error=[f"{type(error).__name__}: {error}", ""])


if __name__ == "__main__":
    main()
