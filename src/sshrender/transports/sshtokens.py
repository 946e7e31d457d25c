"""Replaces tokens, variables, quotes and ``~`` that ``ssh -G`` leaves (ssh_config(5), TOKENS).

``ssh -G`` prints a value as ssh_config has it. ssh replaces ``%h``, ``${HOME}`` and the like only when
it uses the value.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shlex
import socket
from collections.abc import Mapping
from pathlib import Path

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def tokens(
    name: str, hostname: str, port: int, user: str | None, jump: str | None, alias: str | None = None
) -> dict[str, str]:
    """Return the tokens of one host by their letter. Those that only ssh can know are not among them.

    ``name``: as the user typed it; ``alias``: HostKeyAlias.
    """
    here = socket.gethostname()
    remote = user or _user()
    # ssh_config(5), TOKENS: %C is a hash of %l%h%p%r%j. Releases without %j agree where there is no
    # jump.
    parts = here, hostname, str(port), remote, jump or ""
    return {
        "%": "%",
        # ssh itself uses SHA-1 here; it names sockets and protects nothing.
        "C": hashlib.sha1("".join(parts).encode(), usedforsecurity=False).hexdigest(),
        "d": str(home()),
        "h": hostname,
        "i": str(os.getuid()),
        "j": jump or "",
        "k": alias or name,
        "L": here.partition(".")[0],
        "l": here,
        "n": name,
        "p": str(port),
        "r": remote,
        "u": _user(),
    }


def home() -> Path:
    """Return the home of this user as ssh has it: that of the password file, whatever HOME says."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:  # ssh itself refuses such a user
        return Path.home()


def _user() -> str:
    """Return the name of this user as ssh has it, whatever LOGNAME says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def replace_tokens(text: str, known: Mapping[str, str]) -> str:
    """Return ``text`` with every ``%x`` replaced. Raises ValueError for an unknown one, as ssh does."""
    # Every part after the first begins with the letter of a token.
    parts = text.split("%")
    replaced = parts[0]
    rest = iter(parts[1:])
    for part in rest:
        # A ``%`` at the end leaves an empty part, which is treated like ``%%``.
        letter = part[:1] or "%"
        if letter not in known:
            raise ValueError(f"unknown token %{letter} in {text!r}")
        # "%%" leaves an empty part, and the text up to the next token in the part after it.
        replaced += known[letter] + (part[1:] if part else next(rest, ""))
    return replaced


def replace_variables(text: str) -> str:
    """Return ``text`` with every ``${NAME}`` replaced. Raises ValueError for one that is not set."""

    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        if name not in os.environ:
            raise ValueError(f"the variable {name} in {text!r} is not set")
        return os.environ[name]

    return _VARIABLE.sub(value, text)


def path(text: str, known: Mapping[str, str]) -> str:
    """Return a path with all of that replaced. Raises ValueError or RuntimeError."""
    # Quotes first, because they enclose the whole value.
    plain = replace_variables(replace_tokens(unquote(text), known))
    if plain == "~" or plain.startswith("~/"):
        return str(home() / plain[2:])
    # Of another user, as ~ann/key; the password file is asked for it anyway.
    return str(Path(plain).expanduser())


def paths(text: str) -> list[str]:
    """Split a list of paths as in UserKnownHostsFile; some of them may be in quotes."""
    try:
        # shlex knows backslashes as well, so a value without quotes is only split at spaces.
        return shlex.split(text, posix=True) if '"' in text else text.split()
    except ValueError:  # a quote without its partner is part of a name
        return text.split()


def unquote(text: str) -> str:
    """Return a value without the quotes around it."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
