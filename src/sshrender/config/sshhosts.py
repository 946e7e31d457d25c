"""List the hosts that an ssh_config names, for a first inventory.

Only complete names are taken, not patterns. All other settings of a host are resolved by ``ssh -G`` when
the host is used (transports/sshconfig.py).
"""

from __future__ import annotations

import glob
import shlex
from collections.abc import Iterator
from pathlib import Path

MAX_DEPTH = 16
"""Depth of nested Include lines at which OpenSSH stops, too (READCONF_MAX_DEPTH in its readconf.c)."""

_PATTERN = frozenset("*?!")


def names(file: Path) -> list[str]:
    """Return the names in the order of the file, each once; none if the file cannot be read."""
    return list(dict.fromkeys(_names(file, 0)))


def _names(file: Path, depth: int) -> Iterator[str]:
    for keyword, values in _lines(file):
        if keyword == "host":
            yield from (name for name in values if not _PATTERN & set(name))
        elif keyword == "include" and depth < MAX_DEPTH:
            for pattern in values:
                for included in sorted(glob.glob(str(_included(pattern)))):  # noqa: PTH207 - absolute
                    yield from _names(Path(included), depth + 1)


def _included(pattern: str) -> Path:
    """Return the path of an Include; relative ones are relative to ~/.ssh (ssh_config(5))."""
    path = Path(pattern).expanduser()
    return path if path.is_absolute() else Path("~/.ssh").expanduser() / path


def _lines(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the keyword, in lower case, and the values of each line; ``keyword=value`` is one, too."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        words = _words(line.strip().replace("=", " ", 1) if "=" in line.split(" ")[0] else line)
        if words:
            yield words[0].lower(), words[1:]


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return []  # a quotation without an end: ssh itself refuses such a file with a message
