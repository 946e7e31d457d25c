"""Has Ghostscript count the pages of a document whose own count is not sure.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Tuple

from sshrender.renderers import ghostscript
from sshrender.renderers.constants import BWRAP
from sshrender.runner import wire
from sshrender.runner.host import jobfolder, processlimits
from sshrender.runner.host.processlimits import ProcessSetup
from sshrender.runner.rendering import warmsession
from sshrender.runner.rendering.warmsession import Session, SessionEnded
from sshrender.runner.slots import slotlocks

VISIBLE_TIMEOUT = 10.0
"""Seconds in which a document to inspect must appear: the coordinator asks another host sooner."""


def wait_for_document(folder: str, file: str) -> str:
    """Wait until a document can be read here. Return why it cannot; empty: it can."""
    document = os.path.join(folder, file)
    error = jobfolder.becomes_readable(document, VISIBLE_TIMEOUT)
    if error is None:
        return ""
    what = "does not appear" if isinstance(error, FileNotFoundError) else "cannot be read"
    return "the document %s %s on this host" % (document, what)


def report_count(
    post: wire.Wire,
    request: Dict[str, Any],
    setup: ghostscript.Setup,
    environ: Dict[str, str],
    slots: int,
) -> None:
    """Count the pages in a slot of its own, and report the number. ``slots``: of this host."""
    with slotlocks.one_off_slot(slots) as inherited:
        try:
            pages, lines = _count(request, setup, environ, inherited)
        except OSError as failure:  # no process can be started
            reason = processlimits.reached(failure) or "no renderer: %s" % failure
            post.post("trouble", reason=reason)
            return
    # Ghostscript prints the number; a document that it cannot open yields no number.
    post.post("inspected", pages=int(pages) if pages.isdigit() else 0, diagnostics=lines)


def _count(
    request: Dict[str, Any],
    setup: ghostscript.Setup,
    environ: Dict[str, str],
    inherited: Tuple[int, ...],
) -> Tuple[str, List[str]]:
    """Return how many pages Ghostscript finds, and its warnings about the document."""
    session = Session(
        # Opening and closing makes no file, but the command line needs a name for one.
        setup._replace(output="%d"),
        ProcessSetup(
            request["folder"],
            environ,
            int(request["page_memory"]),
            request.get("sandbox") == BWRAP,
            inherited,
        ),
        password=wire.password_bytes(request),
    )
    try:
        return warmsession.count_pages(session, float(request["page_timeout"]))
    except SessionEnded as end:
        # 0: it cannot tell how many; the lines say why.
        return "0", [end.reason] + end.lines
    finally:
        session.close()
