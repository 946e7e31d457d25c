"""Choose the view of a run: the one that the user chose, or one that the stream can show."""

from __future__ import annotations

import os
from typing import TextIO

from sshrender.views.backgroundprocess import is_in_background
from sshrender.views.interface import View


def choose(progress: str, stream: TextIO, job: str, *, quiet: bool, verbose: int, color: str) -> View:
    """Return a view for ``--progress``, if no dashboard runs.

    ``auto`` and ``tui`` mean a board on a terminal, plain lines elsewhere, and nothing with ``--quiet``.
    """
    if progress in ("auto", "tui"):
        # A board cannot show anything in the background, where the terminal belongs to the shell.
        progress = "none" if quiet else "board" if _is_terminal(stream) else "plain"
    if progress == "board":
        # Imported for a board alone, because Rich takes long to load.
        from sshrender.views.progressboard import BoardView

        return BoardView(stream, job, color, verbose)
    if progress == "jsonl":
        from sshrender.views.jsonl import JsonLinesView

        return JsonLinesView(stream, job)
    if progress == "plain":
        from sshrender.views.plain import PlainView

        return PlainView(stream, verbose)
    from sshrender.views.silent import SilentView

    return SilentView(stream)


def _is_terminal(stream: TextIO) -> bool:
    is_simple = os.environ.get("TERM", "dumb") in ("dumb", "unknown")
    return stream.isatty() and not is_simple and not is_in_background(stream)
