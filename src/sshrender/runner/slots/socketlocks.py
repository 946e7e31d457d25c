"""Lock by names in the kernel's table of abstract sockets (unix(7)), and find the owner of a name.

A name belongs to one socket at a time. It leaves no file behind, and the kernel frees it when the last
process that has the socket ends, however that ends. Any user may take any name, so the owner of a name
is asked for: connect(2) to a listening socket yields its user (SO_PEERCRED), and the listener need not
accept. All names are listed in /proc/net/unix.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import enum
import os
import re
import socket
import struct
import time
from typing import List, Optional, Tuple

LISTEN_TIMEOUT = 2.0
"""Seconds between bind(2) and listen(2), at most, on a busy host. A name that gives no answer for so
long belongs to another user. If it counted as another user's too soon, there would be a slot too
many."""

_CREDENTIALS = struct.Struct("3i")
"""struct ucred (unix(7), SO_PEERCRED): pid, uid, gid."""


class NameOwner(enum.Enum):
    """The owner of a name."""

    NONE = 0
    """No process, or one that does not listen yet."""
    OURS = 1
    """A process of this user, or one that cannot be asked now."""
    OTHER_USER = 2


def default_namespace() -> str:
    """Return the namespace of this user and this pid namespace: a container has slots of its own.

    SSHRENDER_SLOT_NAMESPACE adds to it: for tests that must not share their slots.
    """
    try:
        # The inode tells name spaces of pids apart (namespaces(7)); sockets with abstract names are of
        # the network name space.
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    own = re.sub(r"[^A-Za-z0-9]", "", os.environ.get("SSHRENDER_SLOT_NAMESPACE", ""))[-20:]
    return "%d-%x%s" % (os.getuid(), space, own and "-" + own)


def name_of(namespace: str, what: str) -> bytes:
    """Return the name of ``what`` in a namespace; the NUL in front makes it abstract."""
    return ("\0sshrender-%s-%s" % (namespace, what)).encode("ascii")


def claim(name: bytes) -> Optional[socket.socket]:
    """Take a name; None when it is taken."""
    claimed = socket.socket(socket.AF_UNIX)
    try:
        claimed.bind(name)
        # A name can be asked for its owner only while its socket listens.
        # The backlog only has to hold callers that ask at the same moment: none is ever accepted.
        claimed.listen(16)
    except OSError:
        claimed.close()
        return None
    return claimed


def claim_or_ask(name: bytes) -> Tuple[Optional[socket.socket], bool]:
    """Take a name. When it is taken, return None and whether this user has it.

    A name whose owner is gone by the time it is asked is claimed again, until LISTEN_TIMEOUT.
    """
    # bind(2) and listen(2) are two calls: between them the owner's name is taken and cannot be asked.
    end = time.monotonic() + LISTEN_TIMEOUT
    while True:
        claimed = claim(name)
        if claimed is not None:
            return claimed, False
        owner = owner_of(name)
        if owner is not NameOwner.NONE:
            return None, owner is NameOwner.OURS
        if time.monotonic() > end:
            return None, False
        time.sleep(0.01)


def owner_of(name: bytes) -> NameOwner:
    """Return the owner of a name. An owner listens and never accepts: that is enough to be asked."""
    with socket.socket(socket.AF_UNIX) as caller:
        # Non-blocking: connect(2) to a listener with a full backlog would wait.
        caller.setblocking(False)
        try:
            caller.connect(name)
            size = _CREDENTIALS.size
            # The credentials are those of the moment of listen(2), so a later change of user does not
            # matter (unix(7)).
            found = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        # The name is free, or its owner has not called listen(2) yet.
        except ConnectionRefusedError:
            return NameOwner.NONE
        except OSError:
            # EAGAIN: its backlog is full of others that ask. It exists, and most names are ours.
            return NameOwner.OURS
    is_ours = _CREDENTIALS.unpack(found)[1] == os.getuid()
    return NameOwner.OURS if is_ours else NameOwner.OTHER_USER


def release(claimed: Optional[socket.socket]) -> None:
    """Close this process's descriptor of a name. The name stays taken while a child has one."""
    if claimed is not None:
        claimed.close()


def listed(namespace: str) -> List[Tuple[str, str, str, str, str]]:
    """Return the names of holders and waiters in a namespace, each as its five parts.

    They are read from /proc/net/unix (proc(5)), where @ stands for the NUL; empty if that file cannot be
    read. Other users' names are among them.
    """
    pattern = re.compile(
        # Each part has a bound, and the whole line must match: any user may bind such a name.
        r"@sshrender-%s-(holds|waits)-(\w{1,20})-(\w{1,40})-(-?\d{1,5})-(\d{1,15})$"
        % re.escape(namespace),
        re.MULTILINE | re.ASCII,
    )
    try:
        with open("/proc/net/unix", encoding="ascii", errors="replace") as file:
            # set: a listening socket and connections to it are listed under one name.
            return sorted(set(pattern.findall(file.read())))
    except OSError:
        return []
