"""known_hosts: is this the host that it was? Fabric accepts any key (its issue 1804), so we ask.

Understands what OpenSSH writes: plain, hashed and wildcard names, negation, ``[host]:port``,
``@revoked``. ``@cert-authority`` lines vouch for certificates, which paramiko does not check on
hosts, and count for nothing.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko


@dataclass(frozen=True, slots=True)
class KnownKey:
    """One line that speaks of a host."""

    kind: str
    blob: bytes
    is_revoked: bool
    where: str


def lookup(files: Iterable[str], name: str) -> list[KnownKey]:
    """Every line of these files that speaks of ``name``; files that cannot be read have none."""
    return [key for file in files for key in _matching(Path(file), name)]


def _matching(file: Path, name: str) -> Iterator[KnownKey]:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for number, line in enumerate(lines, 1):
        fields = line.split()
        marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
        if len(fields) < 3 or fields[0].startswith("#") or marker == "@cert-authority":
            continue
        if not names_match(fields[0], name):
            continue
        try:
            blob = base64.b64decode(fields[2], validate=True)
        except ValueError:
            continue
        yield KnownKey(fields[1], blob, marker == "@revoked", f"{file}:{number}")


def names_match(patterns: str, name: str) -> bool:
    """Whether a line's first field speaks of ``name`` (sshd(8)): hashed, or a list of patterns."""
    if patterns.startswith("|1|"):
        return _hash_matches(patterns, name)
    matched = False
    for pattern in patterns.split(","):
        plain = pattern.removeprefix("!")
        # [ and ] are literal in known_hosts; only * and ? are wildcards.
        if fnmatch.fnmatchcase(name.lower(), plain.lower().replace("[", "[[]")):
            if pattern.startswith("!"):
                return False
            matched = True
    return matched


def _hash_matches(hashed: str, name: str) -> bool:
    try:
        return bool(paramiko.HostKeys.hash_host(name, hashed) == hashed)
    except (ValueError, AssertionError):
        return False


def fingerprint(blob: bytes) -> str:
    """``SHA256:…`` as ssh-keygen -l prints it."""
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii")
    return "SHA256:" + digest.rstrip("=")


def remember(file: Path, name: str, key: paramiko.PKey) -> None:
    """Append a new host's key, as ssh does with StrictHostKeyChecking accept-new.

    One write to a file opened for appending, so that hosts met at the same moment do not mix.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    line = f"{name} {key.get_name()} {key.get_base64()}\n"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line.encode("ascii"))
    finally:
        os.close(descriptor)
