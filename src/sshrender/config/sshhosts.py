"""List the hosts that an ssh_config names, for a first inventory.

Only complete names are taken, not patterns, and no servers of git, which run nothing else. All other
settings of a host are resolved by ``ssh -G`` when the host is used (transports/sshconfig.py).
"""

from __future__ import annotations

import glob
import os
import pwd
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MAX_DEPTH = 16
"""Depth of nested Include lines at which OpenSSH stops, too (READCONF_MAX_DEPTH in its readconf.c)."""

# Host lines with a pattern hold settings for many hosts, and name none.
_PATTERN = frozenset("*?!")

_GIT_HOSTS = ("github", "gitlab", "bitbucket", "codeberg", "gitea", "sourcehut", "sr.ht", "dev.azure")
"""Parts of the names of servers that offer git over ssh and no shell."""


@dataclass(slots=True)
class SshHosts:
    """Names in the order of the file, each once. ``git``: those of git servers, which are left out."""

    names: list[str] = field(default_factory=list)
    git: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Block:
    """The lines from one ``Host`` to the next."""

    names: list[str]
    user: str = ""
    hostname: str = ""

    def is_git(self, name: str) -> bool:
        # The name alone may be an alias, so the real name counts as well.
        reached = f"{name} {self.hostname}".lower()
        return self.user == "git" or any(each in reached for each in _GIT_HOSTS)


def users_file() -> Path:
    """Return the ssh_config of this user."""
    return _home() / ".ssh" / "config"


def _home() -> Path:
    """Return the home of this user as ssh(1) has it: that of the password file, whatever HOME says."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:  # ssh itself refuses such a user
        return Path("~").expanduser()


def find(file: Path) -> SshHosts:
    """Return the hosts of a file; none if it cannot be read."""
    found = SshHosts()
    for block in _blocks(file, 0):
        for name in block.names:
            # The first block of a name decides, as the first value of a keyword does.
            if name not in found.names and name not in found.git:
                (found.git if block.is_git(name) else found.names).append(name)
    return found


def _blocks(file: Path, depth: int) -> Iterator[_Block]:
    block = _Block([])
    included: list[_Block] = []
    for keyword, values in _lines(file):
        if keyword in ("host", "match"):
            # The blocks of included files come after the block in which they are included.
            yield from (block, *included)
            # A Match line has conditions and no names.
            names = [name for name in values if not _PATTERN & set(name)] if keyword == "host" else []
            block, included = _Block(names), []
        elif keyword == "user" and values:
            block.user = block.user or values[0]  # the first value of a keyword counts (ssh_config(5))
        elif keyword == "hostname" and values:
            block.hostname = block.hostname or values[0]
        # Deeper files are ignored: ssh ends with an error there.
        elif keyword == "include" and depth < MAX_DEPTH:
            for pattern in values:
                for path in sorted(glob.glob(str(_included(pattern)))):  # noqa: PTH207 - absolute
                    included += _blocks(Path(path), depth + 1)
    yield from (block, *included)


def _included(pattern: str) -> Path:
    """Return the path of an Include; relative ones are relative to ~/.ssh (ssh_config(5))."""
    if pattern.startswith("~/"):
        return _home() / pattern[2:]
    return _home() / ".ssh" / Path(pattern).expanduser()


def _lines(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the keyword, in lower case, and the values of each line; ``keyword=value`` is one, too."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        # Only in the first word: a value may hold an equals sign as well.
        words = _words(line.strip().replace("=", " ", 1) if "=" in line.split(" ")[0] else line)
        if words:
            yield words[0].lower(), words[1:]


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return []  # a quotation without an end: ssh itself refuses such a file with a message
