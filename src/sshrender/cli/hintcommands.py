"""Makes the command of a hint work where it is typed: with the options and the program of this command.

``sshrender status`` after ``sshrender hold big --san /mnt/b`` would list the jobs of another folder.
Variables need no repeating: the next command of the same shell has them, too. And in a checkout the
program is called ``.venv/bin/sshrender``, which no shell finds under its bare name.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

NAME = "sshrender"

REPEATED = ("--hosts", "--san", "--config", "--ssh-config")

WITHOUT = {
    "config": ("--hosts", "--san"),
    "init": ("--config",),
    "key": REPEATED,
    "man": REPEATED,
}
"""Options that a command does not take; all others take each of REPEATED, but for ``--ssh-config``."""

REACH_HOSTS = ("coordinate", "hosts", "init", "render", "resume", "serve", "submit")
"""Commands that take ``--ssh-config``."""

_VARIABLES = {"--hosts": "SSHRENDER_HOSTS", "--san": "SSHRENDER_SAN"}

# A command at the end of a hint: after a colon, after a space, or alone.
_COMMAND = re.compile(r"(?:^|(?<=: )|(?<= ))sshrender ([a-z]+)(?P<rest>.*)$")


_PROGRAM = re.compile(r"(?:^|(?<=: )|(?<=\| ))sshrender (?=[a-z-])")


def complete(hint: str, words: Sequence[str] | None = None) -> str:
    """Return the hint with options of this command line, if it ends in a command that takes them.

    ``words``: the command line; None: that of this process.
    """
    whole = _with_options(hint, sys.argv[1:] if words is None else words)
    return _PROGRAM.sub(lambda _: f"{_program()} ", whole)


def _program() -> str:
    """Return how this program is called: by its path, if a shell does not find it by its name."""
    called = sys.argv[0]
    # A program of another name, such as python -m, is not replaced: its name is not a command of a
    # shell.
    is_found = Path(called).name != NAME or shutil.which(NAME) is not None
    return NAME if is_found else shlex.quote(called)


def _with_options(hint: str, words: Sequence[str]) -> str:
    found = _COMMAND.search(hint)
    # After a pipe comes another program, which would get the options.
    if found is None or "--help" in found["rest"] or "|" in found["rest"]:
        return hint
    # Only these of the commands of config take the options.
    if found[1] == "config" and not found["rest"].startswith((" show", " validate", " values")):
        return hint
    without = WITHOUT.get(found[1], ())
    if found[1] not in REACH_HOSTS:
        without = (*without, "--ssh-config")
    given = _given(words)
    if " -u " in hint:
        # sudo(8) drops the variables.
        variables = {name: os.environ.get(key, "") for name, key in _VARIABLES.items()}
        given = {name: value for name, value in variables.items() if value} | given
    added = [
        shlex.join([name, given[name]])
        for name in REPEATED
        if name in given and name not in without and name not in found["rest"]
    ]
    return " ".join([hint, *added])


def in_hints(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines; those that are hints are completed."""
    for line in lines:
        yield complete(line) if line.startswith("hint: ") else line


def in_line_of_job(line: str) -> str:
    """Return a line of a job's process, whose label comes first; a hint in it is completed.

    That process does not know how this command was called.
    """
    label, hint, command = line.rpartition("hint: ")
    is_hint = bool(hint) and (not label or label.endswith(": "))
    return label + hint + complete(command) if is_hint else line


def _given(words: Sequence[str]) -> dict[str, str]:
    """Return those options that a command line has, the last of each."""
    # The last one counts, as for the parser.
    found = {}
    for at, word in enumerate(words):
        # The rest are arguments.
        if word == "--":
            break
        name, sign, value = word.partition("=")
        if name in REPEATED and sign:
            found[name] = value
        elif word in REPEATED and at + 1 < len(words):
            found[word] = words[at + 1]
    return found
