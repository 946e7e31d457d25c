"""Which view a run gets: what was asked for, or what its stream can show."""

from __future__ import annotations

from typing import TextIO

from sshrender.views.protocol import View


def choose(progress: str, stream: TextIO, job: str, *, quiet: bool, verbose: int, color: str) -> View:
    """Where there is no dashboard: ``auto`` is a board on a terminal and plain lines elsewhere.

    ``--quiet`` is silence.
    """
    if progress in ("auto", "tui"):
        progress = "none" if quiet else "board" if _is_terminal(stream) else "plain"
    if progress == "board":
        from sshrender.views.board import BoardView

        return BoardView(stream, job, color, verbose)
    if progress == "jsonl":
        from sshrender.views.jsonl import JsonLinesView

        return JsonLinesView(stream)
    if progress == "plain":
        from sshrender.views.plain import PlainView

        return PlainView(stream, verbose)
    from sshrender.views.silent import SilentView

    return SilentView(stream)


def _is_terminal(stream: TextIO) -> bool:
    import os

    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
