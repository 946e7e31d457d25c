"""The hosts that somebody's ssh_config names: what a first inventory is made of.

Only names are taken from it, and only those that stand there in full; what else it says of them is
asked of ssh itself when they are used (transports/sshconfig.py).
"""

from __future__ import annotations

import glob
import shlex
from collections.abc import Iterator
from pathlib import Path

MAX_DEPTH = 16
"""Includes within includes (ssh_config(5): OpenSSH stops there too)."""

_PATTERN = frozenset("*?!")


def names(file: Path) -> list[str]:
    """In the order of the file, each once; none where the file cannot be read."""
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
    """Relative names are those of ~/.ssh (ssh_config(5), Include)."""
    path = Path(pattern).expanduser()
    return path if path.is_absolute() else Path("~/.ssh").expanduser() / path


def _lines(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Keyword in lower case and values of each line; ``keyword=value`` is allowed too."""
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
        return []  # a quotation that does not end; ssh refuses the file, and says so itself
