"""Repeats in a hint the options without which its command would look elsewhere.

``sshrender status`` after ``sshrender hold big --san /mnt/b`` would list the jobs of another folder.
Variables need no repeating: the next command of the same shell has them, too.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence

REPEATED = ("--hosts", "--san", "--config")

WITHOUT = {
    "config": ("--hosts", "--san"),
    "init": ("--config",),
    "key": REPEATED,
    "man": REPEATED,
}
"""Options that a command does not take; all others take each of REPEATED."""

_COMMAND = re.compile(r"(?:^|(?<=: )|(?<= ))sshrender ([a-z]+)(?P<rest>.*)$")


def complete(hint: str, words: Sequence[str] | None = None) -> str:
    """Return the hint with options of this command line, if it ends in a command that takes them.

    ``words``: the command line; None: that of this process.
    """
    found = _COMMAND.search(hint)
    if found is None or "--help" in found["rest"] or "|" in found["rest"]:
        return hint
    if found[1] == "config" and not found["rest"].startswith((" show", " validate", " values")):
        return hint
    without = WITHOUT.get(found[1], ())
    given = _given(sys.argv[1:] if words is None else words)
    added = [
        shlex.join([name, value])
        for name, value in given.items()
        if name not in without and name not in found["rest"]
    ]
    return " ".join([hint, *added])


def in_hints(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines; those that are hints are completed."""
    for line in lines:
        yield complete(line) if line.startswith("hint: ") else line


def _given(words: Sequence[str]) -> dict[str, str]:
    """Return those options that a command line has, the last of each."""
    found = {}
    for at, word in enumerate(words):
        if word == "--":
            break
        name, sign, value = word.partition("=")
        if name in REPEATED and sign:
            found[name] = value
        elif word in REPEATED and at + 1 < len(words):
            found[word] = words[at + 1]
    return found
