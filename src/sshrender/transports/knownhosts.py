"""Looks up host keys in known_hosts files, because Fabric accepts any key (its issue 1804).

Supports what OpenSSH writes: plain, hashed and wildcard names, negation, ``[host]:port``, ``@revoked``.
``@cert-authority`` lines are about certificates of hosts, which paramiko does not check: a host with one
is reached with OpenSSH's own client.
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
    """One line of a known_hosts file that matches a host.

    ``is_exact``: it names the host, or its hash, rather than a pattern.
    """

    kind: str
    blob: bytes
    is_revoked: bool
    file: str
    line: int
    is_exact: bool = True

    @property
    def where(self) -> str:
        """File and line."""
        return f"{self.file}:{self.line}"


def lookup(files: Iterable[str], name: str) -> list[KnownKey]:
    """Return the lines of these files that match ``name``. A file that cannot be read has none."""
    return [key for file in files for key in _matching(Path(file), name)]


def has_authority(files: Iterable[str], name: str) -> bool:
    """Return whether a certificate authority is trusted for this host."""
    lines = (line for file in files for line in _lines(Path(file), name))
    return any(marker == "@cert-authority" for marker, _, _ in lines)


def _matching(file: Path, name: str) -> Iterator[KnownKey]:
    # The line of an authority has the key of the authority, not that of the host.
    for marker, (names, kind, key, *_), number in _lines(file, name):
        if marker == "@cert-authority":
            continue
        try:
            # ssh, too, skips a line that it cannot read and continues with the next.
            blob = base64.b64decode(key, validate=True)
        except ValueError:
            # Lines are compared in lower case, as OpenSSH does. A hash matches one name only, so it is
            # exact.
            continue
        is_exact = names.startswith("|1|") or name.lower() in names.lower().split(",")
        yield KnownKey(kind, blob, marker == "@revoked", str(file), number, is_exact)


def _lines(file: Path, name: str) -> Iterator[tuple[str, list[str], int]]:
    """Yield marker, fields (names, type, key) and number of each line about a host."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for number, line in enumerate(lines, 1):
        # A marker is the first field (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT), so the other fields move by
        # one.
        fields = line.split()
        marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
        if len(fields) < 3 or fields[0].startswith("#") or not names_match(fields[0], name):
            continue
        yield marker, fields, number


def names_match(patterns: str, name: str) -> bool:
    """Return whether a line's first field, hashed or a list of patterns, matches a name (sshd(8))."""
    # ``|1|`` begins a hashed name: salt and HMAC-SHA1 of one name, and never a list.
    if patterns.startswith("|1|"):
        return _hash_matches(patterns, name)
    matched = False
    name = name.lower()
    for pattern in patterns.lower().split(","):
        if _pattern_matches(pattern.removeprefix("!"), name):
            if pattern.startswith("!"):  # a negation wins over every other pattern of the line
                return False
            matched = True
    return matched


def _pattern_matches(pattern: str, name: str) -> bool:
    # Every host of a large farm reads every line: most patterns are names, and are only compared.
    if "*" not in pattern and "?" not in pattern:
        return pattern == name
    # [ and ] are literal in known_hosts; only * and ? are wildcards.
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def _hash_matches(hashed: str, name: str) -> bool:
    try:
        return bool(paramiko.HostKeys.hash_host(name, hashed) == hashed)
    except (ValueError, AssertionError):
        return False


def fingerprint(blob: bytes) -> str:
    """Return a key's fingerprint, ``SHA256:…``, as ssh-keygen -l prints it."""
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii")
    return "SHA256:" + digest.rstrip("=")


def remember(file: Path, name: str, key: paramiko.PKey, *, is_hashed: bool = False) -> None:
    """Append a new host's key, as ssh does with StrictHostKeyChecking accept-new.

    ``is_hashed``: the name is stored as a hash (HashKnownHosts).

    A single write to a file opened for appending, so that lines written at the same moment do not mix.
    """
    # 0700 and 0600 are the modes with which ssh creates both.
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shown = paramiko.HostKeys.hash_host(name) if is_hashed else name
    line = f"{shown} {key.get_name()} {key.get_base64()}\n"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line.encode("ascii"))
    finally:
        os.close(descriptor)
