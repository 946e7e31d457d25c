"""Offers the keys of a host's ssh agent, and only those that are meant for this host.

paramiko asks the agent of SSH_AUTH_SOCK, one for the whole process, and offers all its keys. ssh_config
names an agent for each host (IdentityAgent), and may restrict its keys (IdentitiesOnly).
"""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Iterable
from pathlib import Path

import paramiko
from paramiko.agent import Agent, AgentKey, AgentSSH

_PRIVATE = "OPENSSH PRIVATE KEY"
_MAGIC = b"openssh-key-v1\0"
# The protocol of the agent has no time-out of its own; a forwarded agent may be on a dead connection.
_ANSWER_SECONDS = 10.0
# A mebibyte: a key has a few kilobytes, and IdentityFile may name anything.
_MAX_KEY_FILE = 1 << 20


class HostAgent(Agent):  # type: ignore[misc]  # paramiko has no types
    """The agent at ``path``. ``only``: the keys (their public halves) that may be offered; None: all."""

    def __init__(self, path: str | None, only: frozenset[bytes] | None) -> None:
        AgentSSH.__init__(self)  # Agent's own connects to SSH_AUTH_SOCK
        self._only = only
        if path is None:
            return
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_ANSWER_SECONDS)
        try:
            connection.connect(path)
            self._connect(connection)
            connection.settimeout(None)  # the user may have to confirm; auth_timeout bounds that
        except (OSError, ValueError, paramiko.SSHException):
            self._close()
            connection.close()  # ssh, too, continues without an agent that does not answer

    def get_keys(self) -> tuple[AgentKey, ...]:
        """Return the keys to offer."""
        keys: tuple[AgentKey, ...] = super().get_keys()
        if self._only is None:
            return keys
        # A certificate's blob differs from the key's own bytes; IdentityFile may show either of them.
        return tuple(key for key in keys if self._only & {key.blob, key.asbytes()})


def public_keys(identity_files: Iterable[str]) -> frozenset[bytes]:
    """Return the public keys of these identities that files show. Private keys may be missing.

    ssh(1), IdentitiesOnly: a public key may be named if the agent has the private one.
    """
    found = set()
    for name in identity_files:
        # ssh_config(5), IdentitiesOnly and CertificateFile: the private key, its public half, and its
        # certificate.
        for path in (Path(name), Path(f"{name}.pub"), Path(f"{name}-cert.pub")):
            key = _public_key(path)
            if key is not None:
                found.add(key)
    return frozenset(found)


def needs_passphrase(path: Path) -> bool:
    """Return whether a private key can be read only with a passphrase."""
    try:
        if path.stat().st_size > _MAX_KEY_FILE or not path.is_file():
            return False
        text = path.read_text(encoding="ascii", errors="replace")
        if _PRIVATE not in text:
            return "ENCRYPTED" in text  # PEM (RFC 1421) and PKCS#8 say so in their first lines
        data = _binary(text)
        # The first field after the magic is the cipher's name (PROTOCOL.key); "none" is a key in the
        # clear.
        return data.startswith(_MAGIC) and paramiko.Message(data[len(_MAGIC) :]).get_text() != "none"
    except (OSError, ValueError, paramiko.SSHException):
        return False


def is_too_open(path: Path) -> bool:
    """Return whether ssh(1) ignores a private key of this user because others may read or change it.

    As authfile.c (sshkey_perm_ok) has it: the keys of another user, which root may read, may be open.
    """
    try:
        status = path.stat()
        if status.st_uid != os.getuid() or not status.st_mode & 0o077 or not path.is_file():
            return False
        with path.open("rb") as file:
            return b"PRIVATE KEY" in file.read(_MAX_KEY_FILE)  # of all formats, PEM and OpenSSH's own
    except OSError:
        return False


def _public_key(path: Path) -> bytes | None:
    try:
        if path.stat().st_size > _MAX_KEY_FILE or not path.is_file():
            return None
        text = path.read_text(encoding="ascii", errors="replace")
        if _PRIVATE in text:
            return _public_half(text)
        return base64.b64decode(text.split()[1], validate=True)
    except (OSError, ValueError, IndexError, paramiko.SSHException):
        return None  # PEM files tell nothing without their passphrase


def _public_half(text: str) -> bytes | None:
    """Return the public half of an OpenSSH private key: it comes first, in the clear (PROTOCOL.key)."""
    data = _binary(text)
    if not data.startswith(_MAGIC):
        return None
    message = paramiko.Message(data[len(_MAGIC) :])
    for _ in ("cipher", "key derivation", "its options"):
        message.get_binary()
    # The number of keys, which is 1 in every file that ssh-keygen writes.
    message.get_int()
    key: bytes = message.get_binary()
    return key


def _binary(text: str) -> bytes:
    """Return the text between the lines BEGIN and END. Raises ValueError."""
    body = "".join(line for line in text.splitlines() if line and not line.startswith("-----"))
    return base64.b64decode(body)
